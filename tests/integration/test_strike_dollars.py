"""A Strike account that invoices in dollars: quotes of half a minute, renewed while one may still pay (1.4, W20)."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from tests.integration.lnpay_shop import NewShop
from tests.integration.strike_account import RAIL, StrikeAccount

from quittance.domain.bolt11 import decode
from quittance.domain.errors import RefundAddressRefused
from quittance.domain.money import Asset, Money
from quittance.domain.outgoing_errors import CannotPayFrom
from quittance.domain.payment import PaymentStatus
from quittance.providers.lightning import signer
from quittance.resolvers.merchants import MerchantChange, update_merchant
from quittance.resolvers.payments import check_payment
from quittance.resolvers.refunds import RefundOrder, refund_payment

USD = Asset("USD", 2)
PRICE = Money(1_234, USD)
QUOTE_S = 30


@pytest.fixture
def strike_currency() -> str:
    return "USD"


async def requests_of(strike: StrikeAccount, payment_id: str) -> str:
    option = (await strike.till.options(payment_id))[-1]
    assert option.payment_request is not None
    assert option.payable_until is not None
    assert timedelta(0) < option.payable_until - strike.till.clock.now() <= timedelta(seconds=QUOTE_S)
    return str(option.payment_request)


async def accounts(till: Any) -> dict[str, int]:
    rows = await till.rows("ledger_account")
    assert sum(row["balance_value"] for row in rows) == 0
    return {f"{row['kind']} {row['asset_code']}": row["balance_value"] for row in rows if row["balance_value"]}


async def test_what_is_paid_by_is_renewed_and_dollars_are_booked(strike: StrikeAccount) -> None:
    till = strike.till
    made = await strike.order(amount=PRICE, expires_in_s=600)
    first = await requests_of(strike, made.payment.id)
    till.clock.advance(QUOTE_S - 2)
    await till.reconcile()
    second = await requests_of(strike, made.payment.id)
    till.clock.advance(QUOTE_S + 60)
    await till.reconcile()
    third = await requests_of(strike, made.payment.id)

    await strike.pay(made.payment.id, request=third)
    await strike.catch_up()

    payment = await till.payment(made.payment.id)
    assert len({first, second, third}) == 3
    assert (payment.status, payment.received, payment.fiat_amount, payment.rate) == (
        PaymentStatus.COMPLETE, PRICE, PRICE, None,
    )  # fmt: skip
    assert await accounts(till) == {"PROVIDER USD": 1_234, "MERCHANT USD": -1_234}
    assert len(await strike.client.newest_invoices(count=10)) == 1


async def test_the_quote_before_is_still_watched(strike: StrikeAccount) -> None:
    """Strike may take money on it until its own end."""
    till = strike.till
    made = await strike.order(amount=PRICE, expires_in_s=600)
    first = await requests_of(strike, made.payment.id)
    till.clock.advance(QUOTE_S - 2)
    await till.reconcile()

    await strike.pay(made.payment.id, request=first)
    await strike.catch_up()

    assert await requests_of(strike, made.payment.id) != first
    assert (await till.payment(made.payment.id)).status is PaymentStatus.COMPLETE


async def test_a_payer_who_comes_later_gets_another_at_once(strike: StrikeAccount) -> None:
    """Nothing was due, as no worker ran: who asks now is answered by something that can be paid."""
    till = strike.till
    made = await strike.order(amount=PRICE, expires_in_s=600)
    till.clock.advance(300)

    await check_payment(till.services, till.shop.principal, made.payment.id, None)

    await strike.pay(made.payment.id, request=await requests_of(strike, made.payment.id))


async def test_quotes_that_fail_leave_the_invoice_and_are_tried_again(strike: StrikeAccount) -> None:
    till = strike.till
    made = await strike.order(amount=PRICE, expires_in_s=600)
    till.clock.advance(QUOTE_S - 2)
    await till.rails.faults.arm(RAIL, "unavailable", method="issue_quote")
    await till.reconcile()
    till.clock.advance(5)
    await till.reconcile()

    await strike.pay(made.payment.id, request=await requests_of(strike, made.payment.id))
    await strike.catch_up()

    assert (await till.payment(made.payment.id)).status is PaymentStatus.COMPLETE


async def test_dollars_are_not_refunded_in_bitcoin(strike: StrikeAccount) -> None:
    """We exchange nothing: what came in dollars stays owed in dollars, and the merchant is told."""
    till = strike.till
    made = await strike.order(amount=PRICE)
    await strike.pay(made.payment.id)
    await strike.catch_up()
    order = RefundOrder(payment_id=made.payment.id, idempotency_key="r", destination=till.rails.address_of("bob"))

    with pytest.raises(CannotPayFrom):
        await refund_payment(till.services, till.shop.principal, order)

    assert await till.rows("transfer") == []


async def test_a_shop_s_customer_is_told_what_to_send_and_until_when(strike: StrikeAccount, new_lnpay: NewShop) -> None:
    """L2, S3, S4: the page prints bitcoin, and counts down to the end of the invoice that it shows."""
    principal = strike.till.shop.principal
    await update_merchant(strike.till.services, principal, principal.merchant_id, MerchantChange(default_provider=RAIL))

    data = await new_lnpay(services=strike.till.services, hears=False).ordered()

    quote, asked = data["quote"], decode(data["quote"]["lnInvoice"], recover=signer)
    option = (await strike.till.options(data["invoice"]["invoiceId"]))[-1]
    assert quote["targetAmount"] == data["invoice"]["amount"] == {"amount": "12.50", "currency": "USD"}
    assert quote["sourceAmount"]["currency"] == "BTC"
    assert Decimal(quote["sourceAmount"]["amount"]) * 10**11 == asked.amount_msat
    assert Decimal(quote["conversionRate"]["amount"]) == pytest.approx(Decimal(95_000), rel=Decimal("0.02"))
    latest = strike.till.clock.now() + timedelta(seconds=QUOTE_S)
    assert datetime.fromisoformat(data["expiration_time"]) <= option.payable_until <= latest


async def test_a_refund_address_is_refused_where_nothing_could_go_back(strike: StrikeAccount) -> None:
    with pytest.raises(RefundAddressRefused, match="leave refundAddress out"):
        await strike.order(amount=PRICE, refund_address=strike.till.rails.address_of("bob"))

    assert await strike.till.rows("payment") == []
    assert await strike.client.newest_invoices(count=10) == ()
