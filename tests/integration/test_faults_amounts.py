"""Money that does not come as it was asked for: more, less, late, for what ended, or for nobody."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from quittance.domain.money import msat
from quittance.domain.payment import PaymentStatus
from quittance.domain.policy import LatePolicy, OverPolicy, UnderPolicy
from quittance.resolvers.invoices import retry_payment
from quittance.resolvers.payments import cancel_payment, check_payment
from quittance.resolvers.settlements import Booking
from quittance.sandbox.clock import SandboxClock


@pytest.mark.parametrize("over", list(OverPolicy))
async def test_u4_a_payer_that_sends_more_is_booked_as_received(till: Any, over: OverPolicy) -> None:
    await till.set_policy(over=over)
    payment_id = (await till.order()).payment.id

    await till.report(await till.pay(payment_id, amount_msat=8_000))

    payment = await till.payment(payment_id)
    assert (payment.status, payment.received) == (PaymentStatus.COMPLETE, msat(8_000))
    assert await till.balances() == (
        {"PROVIDER": 8_000, "MERCHANT": -5_000, "REFUNDABLE": -3_000}
        if over is OverPolicy.REFUND
        else {"PROVIDER": 8_000, "MERCHANT": -8_000}
    )


@pytest.mark.parametrize("under", list(UnderPolicy))
async def test_u4_too_little_never_completes_and_ends_with_the_payments_time(
    till: Any, clock: SandboxClock, under: UnderPolicy
) -> None:
    await till.set_policy(under=under)
    payment_id = (await till.order(expires_in_s=600)).payment.id

    booking = await till.report(await till.money(payment_id, amount_msat=4_999))
    again = await till.report(await till.money(payment_id, amount_msat=4_999))
    waiting = (await till.payment(payment_id)).status
    clock.advance(600 + till.services.rules.expiry_grace_s + 1)
    await till.reconcile()

    payment = await till.payment(payment_id)
    assert (booking, again, waiting) == (Booking.BOOKED, Booking.DUPLICATE, PaymentStatus.PENDING_PAYMENT)
    assert (payment.status, payment.received) == (PaymentStatus.EXPIRED, msat(4_999))
    kept, owed = ("MERCHANT", "REFUNDABLE") if under is UnderPolicy.WAIT else ("REFUNDABLE", "MERCHANT")
    assert await till.balances() == {"PROVIDER": 4_999, kept: -4_999}
    assert owed not in await till.balances()
    assert ("payment.settled", "COMPLETE") not in await till.events(payment_id)


async def test_u4_what_is_missing_within_the_tolerance_completes(till: Any) -> None:
    await till.set_policy(under_tolerance_ppm=10_000)
    one, other = (await till.order()).payment.id, (await till.order()).payment.id

    await till.report(await till.money(one, amount_msat=4_950))
    await till.report(await till.money(other, amount_msat=4_949))

    assert (await till.payment(one)).status is PaymentStatus.COMPLETE
    assert (await till.payment(other)).status is PaymentStatus.PENDING_PAYMENT
    assert await till.balances() == {"PROVIDER": 9_899, "MERCHANT": -9_899}


async def test_u4_two_parts_on_two_invoices_complete_together(till: Any, clock: SandboxClock) -> None:
    await till.set_policy(over=OverPolicy.REFUND)
    payment_id = (await till.order(expires_in_s=60)).payment.id
    await till.report(await till.money(payment_id, amount_msat=3_000))
    clock.advance(121)
    await till.reconcile()
    await retry_payment(till.services, till.shop.principal, payment_id)

    await till.report(await till.money(payment_id, amount_msat=3_000))

    payment = await till.payment(payment_id)
    assert (payment.status, payment.received) == (PaymentStatus.COMPLETE, msat(6_000))
    assert await till.balances() == {"PROVIDER": 6_000, "MERCHANT": -5_000, "REFUNDABLE": -1_000}


@pytest.mark.parametrize("late", list(LatePolicy))
@pytest.mark.parametrize("ended", ["expired", "canceled", "retried"])
async def test_u5_money_for_a_payment_that_ended_is_found_and_follows_the_policy(
    till: Any, clock: SandboxClock, late: LatePolicy, ended: str
) -> None:
    await till.set_policy(late=late, late_grace_s=10)
    payment_id = (await till.order(expires_in_s=60)).payment.id
    if ended == "canceled":
        await cancel_payment(till.services, till.shop.principal, payment_id)
    else:
        clock.advance(61)
        await till.reconcile()
    if ended == "retried":
        await retry_payment(till.services, till.shop.principal, payment_id)
    before = (await till.payment(payment_id)).status

    report = await till.money(payment_id, option=0, at=clock.now() + timedelta(seconds=11))
    booking = await till.report(report)
    await till.reconcile()

    payment = await till.payment(payment_id)
    assert booking is Booking.BOOKED
    assert payment.received == msat(5_000)
    if late is LatePolicy.ACCEPT:
        assert payment.status is PaymentStatus.COMPLETE
        assert await till.balances() == {"PROVIDER": 5_000, "MERCHANT": -5_000}
        assert {row["state"] for row in await till.rows("payment_option")} <= {"SETTLED", "CLOSED"}
    else:
        assert payment.status is before
        assert await till.balances() == {"PROVIDER": 5_000, "REFUNDABLE": -5_000}
    assert [row["disposition"] for row in await till.rows("settlement")] == [
        "ACCEPTED" if late is LatePolicy.ACCEPT else "LATE_REFUNDABLE"
    ]


async def test_u5_late_money_that_is_refused_before_anybody_saw_the_expiry_lets_the_payment_expire(
    till: Any, clock: SandboxClock
) -> None:
    await till.set_policy(late=LatePolicy.REFUND, late_grace_s=0)
    payment_id = (await till.order(expires_in_s=60)).payment.id
    clock.advance(100)

    await till.report(await till.money(payment_id))
    clock.advance(till.services.rules.expiry_grace_s)
    await till.reconcile()

    assert (await till.payment(payment_id)).status is PaymentStatus.EXPIRED
    assert await till.balances() == {"PROVIDER": 5_000, "REFUNDABLE": -5_000}


async def test_money_for_what_is_not_ours_is_not_booked(till: Any) -> None:
    payment_id = (await till.order()).payment.id
    report = await till.money(payment_id)

    assert await till.report(replace(report, reference="00" * 32)) is Booking.FOREIGN
    assert await till.report(report, provider="strike") is Booking.FOREIGN

    assert await till.rows("settlement") == []
    assert await till.balances() == {}
    assert (await check_payment(till.services, till.shop.principal, payment_id, None)).status is (
        PaymentStatus.PENDING_PAYMENT
    )
