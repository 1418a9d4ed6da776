"""Money that races: whoever comes together, again or in another order, money is asked for once and booked once."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
from sqlalchemy import bindparam, update
from sqlalchemy.exc import DBAPIError

from quittance.domain.errors import IdempotencyConflict
from quittance.domain.ids import MerchantId
from quittance.domain.money import msat
from quittance.domain.payment import OptionState, PaymentStatus
from quittance.domain.policy import OverPolicy
from quittance.providers.base import FeedPosition, Invoice, InvoiceRequest
from quittance.providers.lnd._proto import routerrpc_pb2 as router
from quittance.providers.lnd.provider import LndProvider
from quittance.resolvers.invoices import retry_payment
from quittance.resolvers.payments import cancel_payment, check_payment
from quittance.resolvers.services import Services
from quittance.resolvers.settlements import Booking
from quittance.sandbox.clock import SandboxClock
from quittance.sandbox.lnd import paying
from quittance.sandbox.rails import SandboxRails
from quittance.store.database import Database
from quittance.store.models import Row
from quittance.store.postgres import PostgresDatabase
from quittance.store.statement import Statement
from quittance.store.transaction import Transaction

MERCHANT_TABLE = Row.metadata.tables["merchant"]
RENAME = Statement(
    lambda _: update(MERCHANT_TABLE).where(MERCHANT_TABLE.c.id == bindparam("which")).values(name=bindparam("to"))
)


class Wrapped:
    """A rail that does what the one inside does."""

    def __init__(self, inside: LndProvider) -> None:
        self._inside = inside

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inside, name)


class DiesAfterTheNodeActed(Wrapped):
    async def create_invoice(self, request: InvoiceRequest) -> Invoice:
        await self._inside.create_invoice(request)
        raise asyncio.CancelledError


class SlowToAnswer:
    """A database whose first write commits at once, and is answered later."""

    def __init__(self, inside: Database, *, delay_s: float) -> None:
        self._inside = inside
        self._delay_s = delay_s

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inside, name)

    async def write(self, unit: Callable[[Transaction], Any]) -> Any:
        delay_s, self._delay_s = self._delay_s, 0.0
        result = await self._inside.write(unit)
        await asyncio.sleep(delay_s)
        return result


def node_invoices(rails: SandboxRails) -> int:
    return len(rails.nodes["merchant"].invoices)


async def test_r1_twenty_equal_calls_to_two_processes_make_one_invoice(
    till: Any, new_services: Callable[[], Services], rails: SandboxRails
) -> None:
    tills = [till, till.on(new_services())]

    answers = await asyncio.gather(*(tills[n % 2].order(idempotency_key="k") for n in range(20)))

    assert len({answer.payment.id for answer in answers}) == 1
    assert len({answer.client_secret for answer in answers}) == 1
    assert {answer.payment.status for answer in answers} == {PaymentStatus.PENDING_PAYMENT}
    assert sorted(answer.replayed for answer in answers) == [False] + [True] * 19
    assert node_invoices(rails) == 1
    assert len(await till.rows("payment")) == len(await till.rows("payment_option")) == 1


async def test_r1_who_comes_while_the_first_caller_is_being_answered_does_not_hold_it_up(
    till: Any, rails: SandboxRails
) -> None:
    slow = till.on(replace(till.services, database=SlowToAnswer(till.services.database, delay_s=0.2)))
    began = time.monotonic()

    first = asyncio.create_task(slow.order(idempotency_key="k"))
    await asyncio.sleep(0.1)
    answers = await asyncio.gather(first, slow.order(idempotency_key="k"))

    assert time.monotonic() - began < till.services.rules.claim_s / 2
    assert [answer.replayed for answer in answers] == [False, True]
    assert node_invoices(rails) == 1


async def test_r2_the_same_key_with_other_input_is_a_conflict_and_makes_nothing(till: Any, rails: SandboxRails) -> None:
    await till.order(idempotency_key="k")

    with pytest.raises(IdempotencyConflict):
        await till.order(idempotency_key="k", amount=msat(6_000))
    with pytest.raises(IdempotencyConflict):
        await till.order(idempotency_key="k", description="another")

    assert node_invoices(rails) == 1
    assert len(await till.rows("payment")) == 1


async def test_r2_together_one_of_two_inputs_wins_and_the_other_is_refused(till: Any, rails: SandboxRails) -> None:
    answers = await asyncio.gather(
        *(till.order(idempotency_key="k", amount=msat(1_000 + n % 2)) for n in range(10)), return_exceptions=True
    )

    made = [answer for answer in answers if not isinstance(answer, BaseException)]
    assert len(made) == 5
    assert len({answer.payment.id for answer in made}) == 1
    assert [type(answer) for answer in answers if isinstance(answer, BaseException)] == [IdempotencyConflict] * 5
    assert node_invoices(rails) == 1


async def test_r2_the_same_key_of_another_merchant_is_independent(
    till: Any, other_shop: Any, rails: SandboxRails
) -> None:
    mine = await till.order(idempotency_key="k")
    theirs = await till.of(other_shop).order(idempotency_key="k", amount=msat(7_000))

    assert mine.payment.id != theirs.payment.id
    assert (mine.replayed, theirs.replayed) == (False, False)
    assert node_invoices(rails) == 2


async def test_r3_a_process_that_died_after_the_node_acted_leaves_an_invoice_that_is_found(
    till: Any, new_services: Callable[[], Services], rails: SandboxRails, lnd: LndProvider, clock: SandboxClock
) -> None:
    dying = till.on(replace(till.services, rails={"lnd": DiesAfterTheNodeActed(lnd)}, making={}))
    with pytest.raises(asyncio.CancelledError):
        await dying.order(idempotency_key="k")
    assert node_invoices(rails) == 1

    clock.advance(till.services.rules.claim_s + 1)
    restarted = till.on(new_services())
    again = await restarted.order(idempotency_key="k")

    assert (again.replayed, again.payment.status) == (True, PaymentStatus.PENDING_PAYMENT)
    assert node_invoices(rails) == 1
    assert await restarted.report(await restarted.pay(again.payment.id)) is Booking.BOOKED


async def test_r3_without_another_call_the_reconciler_finds_the_invoice(
    till: Any, new_services: Callable[[], Services], rails: SandboxRails, lnd: LndProvider, clock: SandboxClock
) -> None:
    dying = till.on(replace(till.services, rails={"lnd": DiesAfterTheNodeActed(lnd)}, making={}))
    with pytest.raises(asyncio.CancelledError):
        await dying.order(idempotency_key="k")

    clock.advance(till.services.rules.reconcile_interval_s + 1)
    restarted = till.on(new_services())
    await restarted.reconcile()

    payments = await restarted.rows("payment")
    assert [row["status"] for row in payments] == ["PENDING_PAYMENT"]
    assert (await restarted.order(idempotency_key="k")).payment.id == payments[0]["id"]
    assert node_invoices(rails) == 1


@pytest.mark.parametrize("order", list(permutations(["stream", "poller", "reconciler"])), ids="-".join)
async def test_r7_every_reporter_in_every_order_twice_books_money_once(
    till: Any, clock: SandboxClock, order: tuple[str, ...]
) -> None:
    article_id = await _article(till)
    payment_id = (await till.order(article_id=article_id)).payment.id
    settlement = await till.pay(payment_id)
    told = replace(settlement, position=FeedPosition(source="node", index=1))
    clock.advance(till.services.rules.reconcile_interval_s + 1)

    for reporter in [*order, *order]:
        if reporter == "stream":
            await till.report(told)
        elif reporter == "poller":
            await check_payment(till.services, till.shop.principal, payment_id, None)
        else:
            await till.reconcile()

    await _assert_booked_once(till, payment_id)
    assert [(row["source"], row["feed_index"]) for row in await till.rows("feed_position")] == [("node", 1)]
    assert [row["views"] for row in await till.rows("article")] == [1]


async def test_r7_every_reporter_together_in_two_processes_books_money_once(
    till: Any, new_services: Callable[[], Services], clock: SandboxClock
) -> None:
    payment_id = (await till.order()).payment.id
    settlement = await till.pay(payment_id)
    clock.advance(till.services.rules.reconcile_interval_s + 1)
    tills = [till, till.on(new_services())]

    bookings = await asyncio.gather(
        *(tills[n % 2].report(settlement) for n in range(10)),
        *(check_payment(one.services, one.shop.principal, payment_id, None) for one in tills),
        *(one.reconcile() for one in tills),
    )

    assert bookings[:10].count(Booking.BOOKED) <= 1
    assert set(bookings[:10]) <= {Booking.BOOKED, Booking.DUPLICATE}
    await _assert_booked_once(till, payment_id)


async def test_r8_the_row_is_locked_before_it_is_written_and_read_under_the_lock(till: Any) -> None:
    payment_id = (await till.order()).payment.id
    settlement = await till.pay(payment_id)
    ran: list[str] = []
    till.services.database.counter = ran.append

    await till.report(settlement)
    till.services.database.counter = None

    said = [" ".join(sql.split()) for sql in ran]
    reads = [n for n, sql in enumerate(said) if sql.startswith("SELECT") and "FROM payment WHERE" in sql]
    writes = [n for n, sql in enumerate(said) if sql.startswith("UPDATE payment SET")]
    assert len(reads) == len(writes) == 1
    assert reads[0] < writes[0]
    assert said[reads[0]].endswith("FOR UPDATE") is (till.services.database.dialect == "postgresql")
    assert "payment.status = " in said[writes[0]].partition("WHERE")[2]
    head = [n for n, sql in enumerate(said) if sql.startswith("UPDATE event_head")]
    assert head[0] > max(n for n, sql in enumerate(said) if "ledger_account" in sql)


@pytest.mark.parametrize("write", ["retry", "cancel", "expire"])
async def test_r8_every_change_of_a_payment_locks_it_first(till: Any, clock: SandboxClock, write: str) -> None:
    payment_id = (await till.order(expires_in_s=600)).payment.id
    if write != "cancel":
        clock.advance(601)
    if write == "retry":
        await till.reconcile()
    ran: list[str] = []
    till.services.database.counter = ran.append

    if write == "retry":
        await retry_payment(till.services, till.shop.principal, payment_id)
    elif write == "cancel":
        await cancel_payment(till.services, till.shop.principal, payment_id)
    else:
        await till.reconcile()
    till.services.database.counter = None

    said = [" ".join(sql.split()) for sql in ran]
    locks = [n for n, sql in enumerate(said) if "FROM payment WHERE payment.id =" in sql]
    writes = [n for n, sql in enumerate(said) if sql.startswith("UPDATE payment SET")]
    assert writes
    assert min(locks) < min(writes)
    if till.services.database.dialect == "postgresql":
        assert all(said[n].endswith("FOR UPDATE") for n in locks)


async def test_r9_two_units_in_a_deadlock_are_both_done_once(till: Any, other_shop: Any) -> None:
    database = till.services.database
    one, other = till.shop.principal.merchant_id, other_shop.principal.merchant_id
    order = (await till.order()).payment.id
    settlement = await till.pay(order)
    runs: list[str] = []

    def crossing(first: MerchantId, second: MerchantId, label: str) -> Callable[[Transaction], str]:
        def unit(transaction: Transaction) -> str:
            runs.append(label)
            transaction.execute(RENAME, {"which": first, "to": label})
            _pause(transaction)
            transaction.execute(RENAME, {"which": second, "to": label})
            return label

        return unit

    results: Any = await asyncio.gather(
        database.write(crossing(one, other, "a")),
        database.write(crossing(other, one, "b")),
        till.report(settlement),
    )

    assert results == ["a", "b", Booking.BOOKED]
    assert (len(runs) > 2) is (database.dialect == "postgresql")  # the loser of a deadlock ran again
    assert len({row["name"] for row in await till.rows("merchant")}) == 1
    await _assert_booked_once(till, order)


async def test_r9_a_serialization_failure_of_the_server_runs_the_unit_again(till: Any) -> None:
    database = till.services.database
    if not isinstance(database, PostgresDatabase):
        pytest.skip("one writer cannot fail to serialize")
    payment_id = (await till.order()).payment.id
    settlement = await till.pay(payment_id)
    stale = PostgresDatabase(database._dsn, append_events=database._append_events)
    stale._engine = stale._engine.execution_options(isolation_level="REPEATABLE READ")
    errors: list[str] = []

    def renaming(name: str) -> Callable[[Transaction], str]:
        def unit(transaction: Transaction) -> str:
            transaction.all(Statement(lambda _: MERCHANT_TABLE.select()))  # takes the snapshot
            _pause(transaction)
            try:
                transaction.execute(RENAME, {"which": till.shop.principal.merchant_id, "to": name})
            except DBAPIError as error:
                errors.append(str(getattr(error.orig, "sqlstate", None)))
                raise
            return name

        return unit

    results = await asyncio.gather(*(stale.write(renaming(name)) for name in "abc"))
    again = await asyncio.gather(*(till.on(replace(till.services, database=stale)).report(settlement) for _ in "abc"))
    await stale.close()

    assert results == ["a", "b", "c"]
    assert set(errors) == {"40001"}
    assert sorted(again) == [Booking.BOOKED, Booking.DUPLICATE, Booking.DUPLICATE]
    await _assert_booked_once(till, payment_id)


async def test_r10_a_node_that_pays_itself_is_refused_unless_it_asks_for_it_and_is_booked_once(
    till: Any, rails: SandboxRails
) -> None:
    payment_id = (await till.order()).payment.id
    option = (await till.options(payment_id))[0]
    node = rails.nodes["merchant"]
    rich = rails._network
    node.keep(replace(node.record, balance_msat=10**9))
    asked = router.SendPaymentRequest(payment_request=option.payment_request, fee_limit_msat=10_000)

    with pytest.raises(Exception, match="self-payments not allowed"):
        paying.start(rich, node, paying.order_from(asked, now_s=rich.now_s()))
    assert await till.balances() == {}
    asked.allow_self_payment = True
    paying.start(rich, node, paying.order_from(asked, now_s=rich.now_s()))
    await check_payment(till.services, till.shop.principal, payment_id, None)

    await _assert_booked_once(till, payment_id)


async def test_two_options_that_settle_together_complete_once_and_leave_a_surplus(
    till: Any, new_services: Callable[[], Services], clock: SandboxClock
) -> None:
    await till.set_policy(over=OverPolicy.REFUND)
    payment_id = await _retried(till, clock)
    reports = [await till.money(payment_id, option=option, at=till.clock.now()) for option in (0, 1)]
    tills = [till, till.on(new_services())]

    bookings = await asyncio.gather(
        *(tills[n].report(report) for n in (0, 1) for report in reports),
    )

    assert sorted(bookings) == [Booking.BOOKED] * 2 + [Booking.DUPLICATE] * 2
    assert sorted(row["disposition"] for row in await till.rows("settlement")) == ["ACCEPTED", "SURPLUS_REFUNDABLE"]
    assert [event for event in await till.events(payment_id) if event[0] == "payment.settled"] == [
        ("payment.settled", "COMPLETE")
    ]
    assert await till.balances() == {"PROVIDER": 10_000, "MERCHANT": -5_000, "REFUNDABLE": -5_000}
    payment = await till.payment(payment_id)
    assert (payment.status, payment.received) == (PaymentStatus.COMPLETE, msat(10_000))


async def test_a_lookup_that_is_slower_than_the_settlement_does_not_wake_an_ended_attempt(
    till: Any, lnd: LndProvider, clock: SandboxClock
) -> None:
    payment_id = (await till.order()).payment.id
    reached, go = asyncio.Event(), asyncio.Event()

    class Slow(Wrapped):
        async def lookup_invoice(self, reference: str) -> Invoice:
            found = await self._inside.lookup_invoice(reference)
            reached.set()
            await go.wait()
            return found

    slow = till.on(replace(till.services, rails={"lnd": Slow(lnd)}))
    check = asyncio.create_task(check_payment(slow.services, slow.shop.principal, payment_id, None))
    await reached.wait()
    await till.report(await till.pay(payment_id))
    go.set()
    await check

    clock.advance(100_000)
    assert [row["state"] for row in await till.rows("payment_option")] == ["SETTLED"]
    assert await till.rows("job") == []
    await till.reconcile()
    await _assert_booked_once(till, payment_id)


async def test_a_call_that_outlives_its_claim_cannot_undo_what_another_found(
    till: Any, lnd: LndProvider, clock: SandboxClock, new_services: Callable[[], Services]
) -> None:
    reached, go = asyncio.Event(), asyncio.Event()

    class Late(Wrapped):
        async def create_invoice(self, request: InvoiceRequest) -> Invoice:
            reached.set()
            await go.wait()
            return await LndProvider.create_invoice(
                self._inside, replace(request, amount=msat(9_999))
            )  # the node holds another amount under this preimage: refused

    late = till.on(replace(till.services, rails={"lnd": Late(lnd)}, making={}))
    first = asyncio.create_task(late.order(idempotency_key="k"))
    await reached.wait()
    clock.advance(till.services.rules.claim_s + 1)
    second = await till.on(new_services()).order(idempotency_key="k")
    settlement = await till.pay(second.payment.id)
    await till.report(settlement)
    go.set()
    answer = await first

    assert answer.payment.id == second.payment.id
    assert answer.payment.status is PaymentStatus.COMPLETE
    assert [row["state"] for row in await till.rows("payment_option")] == [OptionState.SETTLED]


async def _article(till: Any) -> str:
    from quittance.resolvers.articles import ArticleDraft, create_article

    draft = ArticleDraft(title="T", content="the text", summary=None, price=msat(5_000))
    return str((await create_article(till.services, till.shop.principal, draft)).id)


async def _retried(till: Any, clock: SandboxClock) -> str:
    payment_id = (await till.order(expires_in_s=60)).payment.id
    clock.advance(61)
    await till.reconcile()
    await retry_payment(till.services, till.shop.principal, payment_id)
    return str(payment_id)


async def _assert_booked_once(till: Any, payment_id: str) -> None:
    settlements = await till.rows("settlement")
    assert [(row["payment_id"], row["amount_value"], row["disposition"]) for row in settlements] == [
        (payment_id, 5_000, "ACCEPTED")
    ]
    assert await till.events(payment_id) == [
        ("payment.updated", "PENDING_INVOICE"),
        ("payment.updated", "PENDING_PAYMENT"),
        ("payment.settled", "COMPLETE"),
    ]
    assert await till.balances() == {"PROVIDER": 5_000, "MERCHANT": -5_000}
    assert [row["value"] for row in await till.rows("ledger_entry")] == [-5_000, 5_000]
    payment = await till.payment(payment_id)
    assert (payment.status, payment.received) == (PaymentStatus.COMPLETE, msat(5_000))


def _pause(transaction: Transaction) -> None:
    """Give the other unit time to take its first lock; on SQLite there is no other."""
    from sqlalchemy import func, select

    if type(transaction).__name__ == "PostgresTransaction":
        transaction.all(Statement(lambda _: select(func.pg_sleep(0.2).is_(None))))
