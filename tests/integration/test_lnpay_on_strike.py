"""An LNPay shop whose backend sells through a Strike account, as the seed's does: order, notice of Strike's, notice."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.integration.lnpay_shop import GRANTED_S, LnpayShop, NewShop
from tests.integration.strike_account import RAIL, StrikeAccount
from tests.integration.strike_door import Answers, Noting, StrikeDoor
from tests.integration.webhook_receiver import Receiver

from quittance.domain.payment import PaymentStatus
from quittance.domain.policy import LatePolicy
from quittance.resolvers.merchants import MerchantChange, update_merchant
from quittance.sandbox.http import LoopbackServer

TRIES, PAUSE_S = 500, 0.02


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
async def backend(
    new_lnpay: NewShop, strike: StrikeAccount, strike_door: StrikeDoor, answers: Answers
) -> AsyncIterator[LnpayShop]:
    """The shop's door on a socket of its own, which Strike tells of what is paid."""
    principal = strike.till.shop.principal
    change = MerchantChange(default_provider=RAIL)
    await update_merchant(strike.till.services, principal, principal.merchant_id, change)
    shop = new_lnpay(services=strike.till.services, hears=False)
    shop.app.add_middleware(Noting, answers=answers)
    server = LoopbackServer(shop.app)
    await server.start()
    await strike_door.subscribe(url=f"http://127.0.0.1:{server.port}/webhook")
    yield shop
    await server.stop()


async def heard(shop: LnpayShop, count: int) -> list[dict[str, Any]]:
    """Return what Strike told, once it told so much."""
    for _ in range(TRIES):
        found: list[dict[str, Any]] = await shop.till.rows("provider_callback")
        if len(found) >= count:
            return found
        await asyncio.sleep(PAUSE_S)
    raise AssertionError(f"Strike told {len(found)} of {count}")


async def test_a_sale_is_told_by_strike_and_then_by_us(
    backend: LnpayShop, strike: StrikeAccount, receiver: Receiver
) -> None:
    data = await backend.ordered()
    payment_id = data["invoice"]["invoiceId"]
    await strike.pay(payment_id, request=data["quote"]["lnInvoice"])

    (told,) = await heard(backend, 1)
    await strike.work()
    await backend.tell()

    payment = await backend.till.payment(payment_id)
    assert (payment.provider, payment.status) == (RAIL, PaymentStatus.COMPLETE)
    assert told["kind"] == "invoice.updated"
    assert [one.message["invoice"] for one in receiver.received] == [data["quote"]["lnInvoice"]]
    assert data["quote"]["sourceAmount"] == {"amount": "0.00025000", "currency": "BTC"}


async def test_w20_the_merchant_s_seconds_count_and_not_strike_s_hour(
    backend: LnpayShop, strike: StrikeAccount, receiver: Receiver
) -> None:
    await backend.till.set_policy(late=LatePolicy.REFUND, late_grace_s=0)
    data = await backend.ordered()
    payment_id = data["invoice"]["invoiceId"]
    backend.till.clock.advance(GRANTED_S + 5)

    await strike.pay(payment_id, request=data["quote"]["lnInvoice"])  # Strike still takes it
    await heard(backend, 1)
    await strike.work()
    await backend.tell()

    created, ends = (datetime.fromisoformat(text) for text in (data["invoice"]["created"], data["expiration_time"]))
    assert ends - created <= timedelta(seconds=GRANTED_S + 1)
    assert [row["disposition"] for row in await backend.till.rows("settlement")] == ["LATE_REFUNDABLE"]
    assert (await backend.till.payment(payment_id)).status is not PaymentStatus.COMPLETE
    assert receiver.connections == 0


async def test_what_strike_tells_twice_sells_once(
    backend: LnpayShop, strike: StrikeAccount, receiver: Receiver, answers: Answers
) -> None:
    data = await backend.ordered()
    await strike.till.rails.faults.arm(RAIL, "duplicate_webhook")
    await strike.pay(data["invoice"]["invoiceId"])

    await answers.reach(3)  # of which the first is the order's
    await strike.work()
    await strike.catch_up()
    await backend.tell()

    assert answers.statuses == [200, 200, 200]
    assert len(await backend.till.rows("provider_callback")) == 1
    assert len(await backend.till.rows("settlement")) == 1
    assert len(receiver.received) == 1
