"""Strike locks out who asks too often: nothing is asked meanwhile, and nothing is lost by it (strike.md 1.7, W7)."""

from contextlib import suppress
from datetime import timedelta

import pytest
from tests.integration.strike_account import PRICE_MSAT, RAIL, StrikeAccount

from quittance.domain.errors import ProviderUnavailable
from quittance.domain.money import msat
from quittance.domain.payment import PaymentStatus

LOCKED_OUT_S = 60
LONG_LOCKED_OUT_S = 3_600
INVOICES = 100
CALLS_MAX, WITHIN_S = 1_000, 600  # of the kind that an hour's lock-out is for
STEP_S = 60
REFUSED = 429


def asked(strike: StrikeAccount, method: str, path: str) -> list[int]:
    """Return how Strike answered each call of one kind."""
    return [status for how, where, status in strike.answers if (how, where) == (method, path)]


async def test_a_lock_out_makes_no_invoice_and_the_same_key_succeeds_after_it(strike: StrikeAccount) -> None:
    till = strike.till
    await till.rails.faults.arm(RAIL, "rate_limited", method="issue_invoice")
    with pytest.raises(ProviderUnavailable):
        await strike.order(idempotency_key="k")
    for _ in range(3):
        till.clock.advance(LOCKED_OUT_S / 4)
        with pytest.raises(ProviderUnavailable):
            await strike.order(idempotency_key="k")
        await till.reconcile()
    during, made = asked(strike, "POST", "/v1/invoices"), await strike.client.newest_invoices(count=10)

    till.clock.advance(LOCKED_OUT_S / 4 + 1)
    again = await strike.order(idempotency_key="k")
    await strike.pay(again.payment.id)
    await strike.catch_up()

    assert (during, made) == ([REFUSED], ())
    assert asked(strike, "POST", "/v1/invoices") == [REFUSED, 201]
    assert (await till.payment(again.payment.id)).received == msat(PRICE_MSAT)
    assert len(await till.rows("payment")) == len(await till.rows("settlement")) == 1


async def test_while_strike_locks_our_questions_out_for_an_hour_none_is_asked(strike: StrikeAccount) -> None:
    till = strike.till
    made = await strike.order(expires_in_s=2 * LONG_LOCKED_OUT_S)
    await strike.pay(made.payment.id)
    await till.rails.faults.arm(RAIL, "rate_limited", method="list_events")
    with pytest.raises(ProviderUnavailable):
        await strike.catch_up()
    before = len(strike.answers)
    for _ in range(11):
        till.clock.advance(LONG_LOCKED_OUT_S / 12)
        await till.reconcile()
        with pytest.raises(ProviderUnavailable):
            await strike.catch_up()
    during = strike.answers[before:]

    till.clock.advance(LONG_LOCKED_OUT_S / 12 + 1)
    await strike.catch_up()

    assert during == []
    assert asked(strike, "GET", "/v1/events")[0] == REFUSED
    assert (await till.payment(made.payment.id)).status is PaymentStatus.COMPLETE
    assert len(await till.rows("settlement")) == 1


async def read_feed(strike: StrikeAccount) -> bool:
    """Read the feed as far as the calls allow that are left; tell whether it could be read."""
    with suppress(ProviderUnavailable):
        await strike.catch_up()
        return True
    return False


async def test_a_hundred_unpaid_invoices_never_get_us_locked_out(strike: StrikeAccount) -> None:
    """W7: the seed asked for each of them at once, and again every second."""
    till = strike.till
    for _ in range(INVOICES):
        await strike.order(expires_in_s=600)
    ends = till.clock.now() + timedelta(seconds=LONG_LOCKED_OUT_S)
    while till.clock.now() < ends:
        till.clock.advance(STEP_S)
        await till.reconcile()
        await read_feed(strike)
    asked_for = len(strike.answers)
    last = await strike.order()
    await strike.pay(last.payment.id)
    while not await read_feed(strike):
        till.clock.advance(STEP_S)

    assert REFUSED not in {status for _, _, status in strike.answers}
    assert INVOICES < asked_for < CALLS_MAX * (LONG_LOCKED_OUT_S // WITHIN_S)
    assert asked(strike, "POST", "/v1/invoices") == [201] * (INVOICES + 1)
    assert (await till.payment(last.payment.id)).status is PaymentStatus.COMPLETE
    assert len(await till.rows("settlement")) == 1
