"""Every way in which our books can differ from the rail's and from themselves."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import delete, update
from tests.integration.books import RECONCILIATION, counted, named, paid, reconciled, sabotage, table

from quittance.domain.access import ANONYMOUS, Principal, Scope
from quittance.domain.errors import PermissionDenied, RateLimited
from quittance.domain.ids import Preimage
from quittance.domain.money import BTC_MSAT, msat
from quittance.gql.schema import schema
from quittance.providers.base import Invoice, InvoiceRequest, InvoiceStatus, ProviderHealth
from quittance.providers.lnd.channel import LndConnection, open_channel
from quittance.providers.lnd.provider import LndProvider
from quittance.resolvers.reports import reconciliation
from quittance.sandbox.coordinates import LndCoordinates

SETTLED, BOOKED = "SETTLED_AT_PROVIDER_NOT_BOOKED", "BOOKED_NOT_SETTLED_AT_PROVIDER"
AMOUNT, MISSING = "AMOUNT_DIFFERS", "OPEN_HERE_MISSING_AT_PROVIDER"
UNBALANCED, DRIFT = "LEDGER_UNBALANCED", "BALANCE_DRIFT"
UNPOSTED, RECEIVED = "SETTLEMENT_NOT_IN_LEDGER", "PAYMENT_AND_SETTLEMENTS_DIFFER"


async def reference_of(till: Any, payment_id: str) -> str:
    return str((await till.options(payment_id))[-1].reference)


async def foreign_invoice(till: Any) -> None:
    """Make an invoice at the node that nobody here asked for."""
    request = InvoiceRequest(amount=msat(7_000), description="x", expires_in_s=600, preimage=Preimage(os.urandom(32)))
    await till.services.rails["lnd"].create_invoice(request)


async def delete_settlement(till: Any, payment_id: str) -> None:
    row = next(row for row in await till.rows("settlement") if row["payment_id"] == payment_id)
    entry, settlement = table("ledger_entry"), table("settlement")
    await sabotage(
        till,
        update(entry).where(entry.c.settlement_id == row["id"]).values(settlement_id=None),
        delete(settlement).where(settlement.c.id == row["id"]),
    )


async def test_healthy_shop_of_300_payments_differs_in_nothing(till: Any) -> None:
    async def one(n: int) -> None:
        payment_id = (await till.order()).payment.id
        if n % 3:
            await till.report(await till.pay(payment_id))
        elif n % 2:
            await till.shop.run(f'mutation {{ cancelPayment(id: "{payment_id}") {{ __typename }} }}')

    for begin in range(0, 300, 50):
        await asyncio.gather(*(one(n) for n in range(begin, begin + 50)))
    await foreign_invoice(till)

    found = await reconciled(till)

    assert found["findings"] == []
    assert counted(found) == {"FOREIGN_AT_PROVIDER": 1}
    assert found["rails"] == [
        {
            "provider": "lnd",
            "reachable": True,
            "comparable": True,
            "complete": True,
            "detail": None,
            "invoices": 300,
            "foreignInvoices": 1,
            "settlements": 200,
            "openOptions": 50,
        }
    ]
    assert found["truncated"] is False
    assert (found["transactionsCompared"], found["accountsCompared"]) == (200, 2)
    assert (found["settlementsCompared"], found["paymentsCompared"]) == (200, 300)


async def test_settlement_that_vanished_is_named(till: Any) -> None:
    await paid(till)
    broken = await paid(till)
    await delete_settlement(till, broken)

    found = await reconciled(till)

    assert named(found) == [(RECEIVED, broken, "0", "5000"), (SETTLED, broken, "5000", "0")]
    assert counted(found) == {RECEIVED: 1, SETTLED: 1}
    assert found["findings"][0]["reference"] == await reference_of(till, broken)
    assert found["findings"][0]["message"] == (
        f"lnd received 5 sat that is not booked; invoice {await reference_of(till, broken)} of payment {broken}"
    )


async def test_money_that_no_feed_reported_is_named(till: Any) -> None:
    await paid(till)
    unheard = (await till.order()).payment.id
    await till.pay(unheard)

    found = await reconciled(till)

    assert named(found) == [(SETTLED, unheard, "5000", "0")]


async def test_money_that_is_booked_between_two_looks_is_no_difference(till: Any) -> None:
    payment_id = (await till.order()).payment.id
    settlement = await till.pay(payment_id)

    looking = asyncio.create_task(reconciled(till))
    await asyncio.sleep(0.2)
    assert not looking.done()
    await till.report(settlement)

    assert (await looking)["findings"] == []


async def test_booking_that_the_node_does_not_confirm_is_named(till: Any) -> None:
    payment_id = (await till.order()).payment.id
    await till.report(await till.money(payment_id))

    found = await reconciled(till)

    assert named(found) == [(BOOKED, payment_id, "SETTLED", "OPEN")]


async def test_another_amount_than_the_nodes_is_named(till: Any) -> None:
    payment_id = await paid(till)
    settlement = table("settlement")
    await sabotage(till, update(settlement).values(amount_value=4_999))

    found = await reconciled(till)

    assert named(found) == sorted(
        [
            (AMOUNT, payment_id, "5000", "4999"),
            (UNPOSTED, payment_id, "4999", "5000"),
            (RECEIVED, payment_id, "4999", "5000"),
        ]
    )


async def test_balance_that_drifted_is_named(till: Any) -> None:
    await paid(till)
    account = table("ledger_account")
    await sabotage(till, update(account).where(account.c.kind == "MERCHANT").values(balance_value=-6_000))

    found = await reconciled(till)

    owner = till.shop.principal.merchant_id
    assert named(found) == [(DRIFT, f"MERCHANT/{owner}/BTC/11", "-5000", "-6000")]


async def test_transaction_that_does_not_sum_to_zero_is_named(till: Any) -> None:
    await paid(till)
    entry, account = table("ledger_entry"), table("ledger_account")
    await sabotage(
        till,
        update(entry).where(entry.c.value < 0).values(value=-5_001),
        update(account).where(account.c.kind == "MERCHANT").values(balance_value=-5_001),
    )

    found = await reconciled(till)

    (transaction_id,) = {row["transaction_id"] for row in await till.rows("ledger_entry")}
    assert named(found) == [(UNBALANCED, transaction_id, "0", "-1")]


async def test_settlement_without_a_ledger_transaction_is_named(till: Any) -> None:
    payment_id = await paid(till)
    entry = table("ledger_entry")
    await sabotage(till, update(entry).values(settlement_id=None))

    found = await reconciled(till)

    assert named(found) == [(UNPOSTED, payment_id, "5000", "0")]


async def test_everything_at_once_is_named_once_each(till: Any) -> None:
    await paid(till)
    vanished = await paid(till)
    unheard = (await till.order()).payment.id
    unconfirmed = (await till.order()).payment.id
    await delete_settlement(till, vanished)
    await till.pay(unheard)
    await till.report(await till.money(unconfirmed))
    account = table("ledger_account")
    await sabotage(till, update(account).where(account.c.kind == "PROVIDER").values(balance_value=1))
    for _ in range(3):
        await foreign_invoice(till)

    found = await reconciled(till)

    assert named(found) == sorted(
        [
            (SETTLED, vanished, "5000", "0"),
            (RECEIVED, vanished, "0", "5000"),
            (SETTLED, unheard, "5000", "0"),
            (BOOKED, unconfirmed, "SETTLED", "OPEN"),
            (DRIFT, "PROVIDER/lnd/BTC/11", "15000", "1"),
        ]
    )
    assert counted(found) == {SETTLED: 2, RECEIVED: 1, BOOKED: 1, DRIFT: 1, "FOREIGN_AT_PROVIDER": 3}


def node_at(where: LndCoordinates, *, address: str | None = None) -> LndProvider:
    connection = LndConnection(
        address=address or where.address,
        tls_cert=where.tls_cert_path.read_bytes(),
        macaroon=SecretStr(where.macaroon_path.read_bytes().hex()),
    )
    return LndProvider(open_channel(connection), network="regtest", timeout_s=2.0)


@pytest.fixture
async def new_node(till: Any) -> AsyncIterator[LndProvider]:
    """Another node under the same name: what the first one held, it does not know."""
    provider = node_at(till.rails.node_coordinates("bob", "receive.macaroon"))
    yield provider
    await provider.aclose()


async def test_what_the_node_has_forgotten_is_named(till: Any, new_node: LndProvider) -> None:
    offered = (await till.order()).payment.id
    settled = await paid(till)
    canceled = (await till.order()).payment.id
    await till.shop.run(f'mutation {{ cancelPayment(id: "{canceled}") {{ __typename }} }}')
    elsewhere = till.on(replace(till.services, rails={"lnd": new_node}))

    found = await reconciled(elsewhere)

    assert named(found) == sorted([(MISSING, offered, "OPEN", "MISSING"), (BOOKED, settled, "SETTLED", "MISSING")])
    assert found["rails"][0]["complete"] is True


class ManyInvoices:
    """A rail whose list begins with thousands of invoices that are not ours."""

    name, asset = "lnd", BTC_MSAT

    def __init__(self, lnd: LndProvider, *, foreign: int) -> None:
        self._lnd = lnd
        self._foreign = foreign

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lnd, name)

    async def invoices(self) -> AsyncIterator[Invoice]:
        for n in range(self._foreign):
            yield Invoice(
                reference=f"{n:064x}",
                status=InvoiceStatus.SETTLED,
                payment_request=None,
                received=msat(1),
                expires_at=None,
                settled_at=None,
            )
        async for invoice in self._lnd.invoices():
            yield invoice


async def test_long_list_is_compared_in_pages(till: Any) -> None:
    await paid(till)
    unheard = (await till.order()).payment.id
    await till.pay(unheard)
    busy: Any = ManyInvoices(till.services.rails["lnd"], foreign=2_499)
    ran: list[str] = []
    till.services.database.counter = ran.append

    found = await reconciled(till.on(replace(till.services, rails={"lnd": busy})))

    till.services.database.counter = None
    assert named(found) == [(SETTLED, unheard, "5000", "0")]
    assert found["rails"][0]["foreignInvoices"] == 2_499
    of_options = [sql for sql in ran if "payment_option.reference IN" in sql]
    assert len(of_options) == 4  # three pages, and the second look


class SilentRail:
    """A rail that cannot list what it holds."""

    name, asset = "silent", BTC_MSAT

    async def health(self) -> ProviderHealth:
        return ProviderHealth(ready=True, detail="well")


async def test_rail_without_a_list_is_not_taken_for_equal(till: Any) -> None:
    silent: Any = SilentRail()

    found = await reconciled(till.on(replace(till.services, rails={"silent": silent})))

    (rail,) = found["rails"]
    assert (rail["reachable"], rail["comparable"], rail["complete"]) == (True, False, False)
    assert rail["detail"] == "silent cannot list its invoices, so nothing was compared"
    assert found["findings"] == []


async def test_rail_that_does_not_answer_leaves_the_other_books_compared(till: Any) -> None:
    payment_id = await paid(till)
    settlement = table("settlement")
    await sabotage(till, update(settlement).values(amount_value=4_999))
    gone = node_at(till.rails.lnd, address="127.0.0.1:1")

    found = await reconciled(till.on(replace(till.services, rails={"lnd": gone})))

    await gone.aclose()
    (rail,) = found["rails"]
    assert (rail["reachable"], rail["comparable"], rail["complete"]) == (False, True, False)
    assert rail["detail"]
    assert named(found) == sorted([(UNPOSTED, payment_id, "4999", "5000"), (RECEIVED, payment_id, "4999", "5000")])


async def test_comparison_ends_when_more_findings_do_not_help(till: Any) -> None:
    for _ in range(3):
        await till.report(await till.money((await till.order()).payment.id))

    found = await reconciliation(till.services, till.shop.principal, findings_max=2)

    assert (len(found.findings), found.truncated, found.rails[0].complete) == (2, True, False)


async def test_reconciliations_together_are_made_one_at_a_time(till: Any) -> None:
    await paid(till)

    first, second = await asyncio.gather(
        *(reconciliation(till.services, till.shop.principal) for _ in range(2)), return_exceptions=True
    )
    later = await reconciliation(till.services, till.shop.principal)

    assert isinstance(second, RateLimited)
    assert (second.retryable, second.retry_after_s) == (True, 10)
    assert not isinstance(first, BaseException)
    assert first.checked == later.checked


async def test_reconciliation_needs_an_admin_key(till: Any) -> None:
    merchant_id = till.shop.principal.merchant_id

    for who in (ANONYMOUS, Principal(merchant_id=merchant_id, scopes=frozenset(Scope) - {Scope.ADMIN})):
        result = await schema.execute(RECONCILIATION, {}, till.shop.context(who))
        assert result.data == {"reconciliation": None}
        assert result.errors is not None
        assert type(result.errors[0].original_error) is PermissionDenied
