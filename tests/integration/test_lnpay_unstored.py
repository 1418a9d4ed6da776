"""Orders of which a database lost a part: the seed gave out an invoice that nobody knew of (strike.md L9, W8)."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.integration.lnpay_shop import GRANTED_S, LnpayShop, NewShop
from tests.integration.strike_account import RAIL, StrikeAccount
from tests.integration.test_strike_sales import QUOTE_S

from quittance.domain.payment import PaymentStatus
from quittance.resolvers.merchants import MerchantChange, update_merchant

WRITES = 4  # of an order
MADE_FROM = 2  # that were stored, Strike has been asked


class Failing:
    """A database that stores so much, and then nothing more."""

    def __init__(self, inside: Any, *, writes: int) -> None:
        self._inside = inside
        self._left = writes
        self.stored = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inside, name)

    async def write(self, unit: Callable[[Any], Any]) -> Any:
        if self._left == self.stored:
            raise OSError("the disk is full at /var/lib/quittance")
        self.stored += 1
        return await self._inside.write(unit)


@pytest.fixture
def new_failing(new_lnpay: NewShop, strike: StrikeAccount) -> Callable[[int], LnpayShop]:
    def make(writes: int) -> LnpayShop:
        failing = Failing(strike.till.services.database, writes=writes)
        return new_lnpay(services=replace(strike.till.services, database=failing, making={}))

    return make


async def on_strike(strike: StrikeAccount) -> None:
    principal = strike.till.shop.principal
    change = MerchantChange(default_provider=RAIL)
    await update_merchant(strike.till.services, principal, principal.merchant_id, change)


async def look_after(strike: StrikeAccount, *, after_s: float) -> None:
    strike.till.clock.advance(after_s)
    await strike.till.reconcile()


async def tracked(strike: StrikeAccount) -> dict[str, str]:
    """Return how each invoice at Strike stands, by our attempt to which it belongs."""
    options = {row["reference"]: row["state"] for row in await strike.till.rows("payment_option")}
    invoices = await strike.client.newest_invoices(count=10)
    return {options[invoice.correlation_id or ""]: invoice.state for invoice in invoices}


@pytest.mark.parametrize("writes", range(WRITES))
async def test_w8_an_order_that_cannot_be_stored_hands_nothing_out_and_all_that_was_made_is_watched(
    new_failing: Callable[[int], LnpayShop], strike: StrikeAccount, writes: int
) -> None:
    await on_strike(strike)

    answer = await new_failing(writes).order()
    await look_after(strike, after_s=GRANTED_S / 2)
    watched = await tracked(strike)
    await look_after(strike, after_s=GRANTED_S + QUOTE_S + strike.till.services.rules.expiry_grace_s)
    await look_after(strike, after_s=QUOTE_S)

    assert (answer.status_code, answer.json()) == (500, {"status": "error", "message": "Unexpected error."})
    assert watched == ({"OPEN": "UNPAID"} if writes >= MADE_FROM else {})
    assert await tracked(strike) == ({"CLOSED": "CANCELLED"} if writes >= MADE_FROM else {})
    assert {row["status"] for row in await strike.till.rows("payment")} == (
        {"EXPIRED"} if writes >= MADE_FROM else set()
    )
    assert await strike.till.rows("job") == []


@pytest.mark.parametrize("writes", range(MADE_FROM, WRITES))
async def test_w8_what_is_paid_of_it_all_the_same_is_booked(
    new_failing: Callable[[int], LnpayShop], strike: StrikeAccount, writes: int
) -> None:
    await on_strike(strike)
    await new_failing(writes).order()
    await look_after(strike, after_s=GRANTED_S / 2)
    (payment_id,) = [row["id"] for row in await strike.till.rows("payment")]

    await strike.pay(payment_id)
    await strike.catch_up()

    assert (await strike.till.payment(payment_id)).status is PaymentStatus.COMPLETE
    assert len(await strike.till.rows("settlement")) == 1


async def test_w8_an_order_that_is_stored_takes_no_more_writes_than_were_made_to_fail(
    new_failing: Callable[[int], LnpayShop], strike: StrikeAccount
) -> None:
    await on_strike(strike)

    answer = await new_failing(WRITES).order()

    assert (answer.status_code, answer.json()["status"]) == (200, "success")
