"""Death at every await: whatever was cut off, the next process finds it, and money is neither lost nor doubled."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.integration.mortal import Fate, dies, mortal

from quittance.domain.payment import PaymentStatus
from quittance.providers.lnd._proto import lnrpc_pb2 as ln
from quittance.resolvers.payments import cancel_payment, check_payment
from quittance.resolvers.services import Services
from quittance.sandbox.clock import SandboxClock
from quittance.sandbox.rails import SandboxRails

POINTS_MAX = 60


def settled_and_open(rails: SandboxRails) -> tuple[int, int]:
    states = [invoice.state for invoice in rails.nodes["merchant"].invoices.values()]
    return states.count(ln.Invoice.SETTLED), states.count(ln.Invoice.OPEN)


async def assert_one_payment_is_paid_once(till: Any, rails: SandboxRails, key: str, *, paid: int) -> None:
    payment_ids = [row["payment_id"] for row in await till.rows("idempotency") if row["key"] == key]
    assert len(payment_ids) == 1
    payment = await till.payment(payment_ids[0])
    assert payment.status is PaymentStatus.COMPLETE
    assert payment.received == payment.amount
    settlements = [row for row in await till.rows("settlement") if row["payment_id"] == payment.id]
    assert [row["disposition"] for row in settlements] == ["ACCEPTED"]
    told = [event for event in await till.events(payment.id) if event[0] == "payment.settled"]
    assert told == [("payment.settled", "COMPLETE")]
    assert await till.balances() == {"PROVIDER": 5_000 * paid, "MERCHANT": -5_000 * paid}
    assert len(await till.rows("payment")) == len(await till.rows("settlement")) == paid
    assert settled_and_open(rails) == (paid, 0)


@pytest.mark.parametrize("found_by", ["the same key", "the reconciler"])
async def test_a_death_at_any_await_of_making_an_invoice_leaves_one_that_can_be_paid_once(
    till: Any, rails: SandboxRails, clock: SandboxClock, found_by: str
) -> None:
    for point in range(POINTS_MAX):
        key = f"k{point}"
        fate = Fate(point)
        dead = await dies(till.on(mortal(till.services, fate)).order(idempotency_key=key))
        reborn = till.on(replace(till.services, making={}))
        clock.advance(till.services.rules.claim_s + 1)
        if found_by == "the reconciler":
            await reborn.reconcile()

        again = await reborn.order(idempotency_key=key)
        assert again.payment.status is PaymentStatus.PENDING_PAYMENT
        assert settled_and_open(rails) == (point, 1)
        await reborn.report(await reborn.pay(again.payment.id))
        clock.advance(till.services.rules.reconcile_interval_s + 1)
        await reborn.reconcile()

        await assert_one_payment_is_paid_once(reborn, rails, key, paid=point + 1)
        if not dead:
            assert point >= 6
            return
    raise AssertionError("the use case never ran through untouched")


@pytest.mark.parametrize("use", ["report", "check", "reconcile", "cancel"])
async def test_a_death_at_any_await_of_booking_money_books_it_once(
    till: Any, rails: SandboxRails, clock: SandboxClock, use: str
) -> None:
    uses: dict[str, Callable[[Any, Any, Any], Awaitable[Any]]] = {
        "report": lambda one, _, settlement: one.report(settlement),
        "check": lambda one, id_, _: check_payment(one.services, one.shop.principal, id_, None),
        "reconcile": lambda one, _, __: one.reconcile(),
        "cancel": lambda one, id_, _: _refused(cancel_payment(one.services, one.shop.principal, id_)),
    }
    for point in range(POINTS_MAX):
        key = f"k{point}"
        payment_id = (await till.order(idempotency_key=key)).payment.id
        settlement = await till.pay(payment_id)
        clock.advance(till.services.rules.reconcile_interval_s + 1)
        dead = await dies(uses[use](till.on(mortal(till.services, Fate(point))), payment_id, settlement))
        reborn = till.on(replace(till.services, making={}))
        clock.advance(till.services.rules.reconcile_interval_s + 1)

        await reborn.reconcile()
        await reborn.report(settlement)

        await assert_one_payment_is_paid_once(reborn, rails, key, paid=point + 1)
        if not dead:
            assert point >= 2
            return
    raise AssertionError("the use case never ran through untouched")


async def test_a_death_at_any_await_of_a_cancel_leaves_a_payment_that_is_canceled_or_can_be(
    till: Any, rails: SandboxRails, clock: SandboxClock
) -> None:
    for point in range(POINTS_MAX):
        payment_id = (await till.order()).payment.id
        doomed = till.on(mortal(till.services, Fate(point)))
        dead = await dies(cancel_payment(doomed.services, doomed.shop.principal, payment_id))
        clock.advance(till.services.rules.reconcile_interval_s + 1)
        await till.reconcile()

        await cancel_payment(till.services, till.shop.principal, payment_id)

        assert (await till.payment(payment_id)).status is PaymentStatus.CANCELED
        assert settled_and_open(rails) == (0, 0)
        assert await till.balances() == {}
        if not dead:
            assert point >= 6
            return
    raise AssertionError("the use case never ran through untouched")


async def test_every_point_of_death_at_once(
    till: Any, rails: SandboxRails, clock: SandboxClock, new_services: Callable[[], Services]
) -> None:
    async def life(point: int) -> None:
        await dies(till.on(mortal(till.services, Fate(point))).order(idempotency_key=f"k{point}"))

    await asyncio.gather(*(life(point) for point in range(12)))
    clock.advance(till.services.rules.claim_s + 1)
    reborn = till.on(new_services())
    answers = await asyncio.gather(*(reborn.order(idempotency_key=f"k{point}") for point in range(12)))
    reports = [await reborn.pay(answer.payment.id) for answer in answers]
    await asyncio.gather(*(dies(till.on(mortal(till.services, Fate(n % 4))).report(r)) for n, r in enumerate(reports)))
    clock.advance(till.services.rules.reconcile_interval_s + 1)
    await reborn.reconcile()

    assert len({answer.payment.id for answer in answers}) == 12
    assert settled_and_open(rails) == (12, 0)
    assert await reborn.balances() == {"PROVIDER": 60_000, "MERCHANT": -60_000}
    assert len(await reborn.rows("settlement")) == 12


async def _refused(doing: Awaitable[Any]) -> None:
    from quittance.domain.errors import PaymentNotPayable

    with pytest.raises(PaymentNotPayable):
        await doing
