"""Settlements that race: whoever reports money, together, again or in another order, it is booked once."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
from tests.integration.racing import Wrapped, assert_booked_once

from quittance.domain.money import msat
from quittance.domain.payment import OptionState, PaymentStatus
from quittance.domain.policy import OverPolicy
from quittance.providers.base import FeedPosition, Invoice, InvoiceRequest
from quittance.providers.lnd._proto import routerrpc_pb2 as router
from quittance.providers.lnd.provider import LndProvider
from quittance.resolvers.invoices import retry_payment
from quittance.resolvers.payments import check_payment
from quittance.resolvers.services import Services
from quittance.resolvers.settlements import Booking
from quittance.sandbox.clock import SandboxClock
from quittance.sandbox.lnd import paying
from quittance.sandbox.rails import SandboxRails


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

    await assert_booked_once(till, payment_id)
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
    await assert_booked_once(till, payment_id)


async def test_r10_a_node_that_pays_itself_is_refused_unless_it_asks_for_it_and_is_booked_once(
    till: Any, rails: SandboxRails
) -> None:
    payment_id = (await till.order()).payment.id
    option = (await till.options(payment_id))[0]
    node = rails.nodes["merchant"]
    rich = rails.network_of("merchant")
    node.keep(replace(node.record, balance_msat=10**9))
    asked = router.SendPaymentRequest(payment_request=option.payment_request, fee_limit_msat=10_000)

    with pytest.raises(Exception, match="self-payments not allowed"):
        paying.start(rich, node, paying.order_from(asked, chain=rich.chain, now_s=rich.now_s()))
    assert await till.balances() == {}
    asked.allow_self_payment = True
    order = paying.order_from(asked, chain=rich.chain, now_s=rich.now_s())
    paying.start(rich, node, replace(order, settles_own=True))  # as where a way leads back to it
    await check_payment(till.services, till.shop.principal, payment_id, None)

    await assert_booked_once(till, payment_id)


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
    await assert_booked_once(till, payment_id)


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
