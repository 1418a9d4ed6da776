"""Payments of the sandbox's Strike account: quoted, executed once, and found again."""

import asyncio
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import httpx
import pytest
from tests.contract.strike.strike_client import (
    FEE,
    NOBODY,
    StrikeClient,
    btc,
    dollars_per_bitcoin,
    ok,
    refusal,
    state_at_alice,
    usd,
)

from quittance.domain import bolt11
from quittance.providers.lnd._proto import lnrpc_pb2 as ln
from quittance.sandbox.lnd import paying
from quittance.sandbox.lnd.keys import NodeKey
from quittance.sandbox.rails import SandboxRails


async def test_a_payment_arrives_and_shows_its_proof(strike: StrikeClient, rails: SandboxRails) -> None:
    request = rails.new_invoice("alice", amount_msat=21_000_000, memo="tea")
    before_msat = rails.nodes["alice"].balance_msat

    quote = await strike.payment_quote(request)
    executed = await strike.execute(quote)

    payment = ok(executed)
    invoice = rails.nodes["alice"].invoices[bytes.fromhex(paying.read_invoice(request).payment_hash)]
    assert rails.nodes["alice"].balance_msat - before_msat == 21_000_000
    assert payment == {
        "paymentId": payment["paymentId"],
        "state": "COMPLETED",
        "result": "SUCCESS",
        "amount": btc("0.00021000"),
        "totalFee": btc(FEE),
        "totalAmount": btc("0.00021002"),
        "completed": payment["completed"],
        "delivered": payment["completed"],
        "lightningNetworkFee": btc(FEE),
        "lightning": {"networkFee": btc(FEE), "preImage": invoice.preimage.hex()},
    }
    assert await strike.payment(payment) == payment
    assert (await strike.balance("BTC"))["available"] == "0.99978998"


async def test_a_quote_says_what_a_payment_will_cost(strike: StrikeClient, rails: SandboxRails) -> None:
    request = rails.new_invoice("alice", amount_msat=21_000_000, memo="tea")

    quote = await strike.payment_quote(request)

    left = datetime.fromisoformat(quote["validUntil"]) - rails.clock.now()
    assert timedelta(seconds=50) < left <= timedelta(seconds=60)
    assert quote == {
        "paymentQuoteId": quote["paymentQuoteId"],
        "description": "tea",
        "validUntil": quote["validUntil"],
        "amount": btc("0.00021000"),
        "totalFee": btc(FEE),
        "totalAmount": btc("0.00021002"),
        "lightningNetworkFee": btc(FEE),
    }
    assert (await strike.balance("BTC"))["available"] == "1.00000000"
    assert dict(rails.nodes["strike"].payments) == {}


async def test_dollars_pay_an_invoice_at_the_price_of_the_moment(strike: StrikeClient, rails: SandboxRails) -> None:
    at_price = dollars_per_bitcoin(rails)
    request = rails.new_invoice("alice", amount_msat=21_000_000)

    quote = await strike.payment_quote(request, source="USD")
    payment = ok(await strike.execute(quote))

    amount, fee, total = (Decimal(quote[name]["amount"]) for name in ("amount", "totalFee", "totalAmount"))
    assert amount - Decimal("0.01") < Decimal("0.00021") * at_price <= amount
    assert (fee, total) == (Decimal("0.01"), amount + fee)
    assert quote["conversionRate"]["targetCurrency"] == "BTC"
    assert payment["totalAmount"] == quote["totalAmount"]
    assert Decimal((await strike.balance("USD"))["available"]) == Decimal(10_000) - total
    assert (await strike.balance("BTC"))["available"] == "1.00000000"


async def test_an_account_pays_in_its_default_currency_unless_told(strike: StrikeClient, rails: SandboxRails) -> None:
    request = rails.new_invoice("alice", amount_msat=21_000_000)

    quote = ok(await strike.post("/payment-quotes/lightning", {"lnInvoice": request}))

    assert quote["totalAmount"]["currency"] == "USD"


async def test_part_of_a_satoshi_costs_a_whole_one(strike: StrikeClient, rails: SandboxRails) -> None:
    quote = await strike.payment_quote(rails.new_invoice("alice", amount_msat=21_000_001))

    assert quote["amount"] == btc("0.00021001")
    assert ok(await strike.execute(quote))["state"] == "COMPLETED"


@pytest.mark.parametrize(
    ("policy", "amount", "total", "sent_msat"),
    [
        ({}, "0.00010000", "0.00010002", 10_000_000),
        ({"feePolicy": "EXCLUSIVE"}, "0.00010000", "0.00010002", 10_000_000),
        ({"feePolicy": "INCLUSIVE"}, "0.00009998", "0.00010000", 9_998_000),
    ],
)
async def test_the_payer_says_the_amount_where_the_invoice_does_not(
    strike: StrikeClient, rails: SandboxRails, policy: dict[str, str], amount: str, total: str, sent_msat: int
) -> None:
    request, before_msat = rails.new_invoice("alice", amount_msat=None), rails.nodes["alice"].balance_msat

    quote = await strike.payment_quote(request, amount=btc("0.00010000") | policy)
    await strike.execute(quote)

    assert (quote["amount"], quote["totalAmount"]) == (btc(amount), btc(total))
    assert rails.nodes["alice"].balance_msat - before_msat == sent_msat


async def test_an_amount_is_said_once(strike: StrikeClient, rails: SandboxRails) -> None:
    fixed, free = rails.new_invoice("alice", amount_msat=1_000_000), rails.new_invoice("alice", amount_msat=None)

    twice = await strike.post("/payment-quotes/lightning", {"lnInvoice": fixed, "amount": btc("0.00001000")})
    never = await strike.post("/payment-quotes/lightning", {"lnInvoice": free})
    foreign = {"lnInvoice": free, "amount": {"amount": "1.00", "currency": "EUR"}, "sourceCurrency": "USD"}
    other = await strike.post("/payment-quotes/lightning", foreign)

    assert [refusal(one) for one in (twice, never, other)] == [(400, "INVALID_DATA")] * 3


async def test_a_key_makes_one_quote(strike: StrikeClient, rails: SandboxRails) -> None:
    key, body = str(uuid4()), {"lnInvoice": rails.new_invoice("alice", amount_msat=1_000_000)}

    first = ok(await strike.post("/payment-quotes/lightning", body, key=key))
    again = await strike.post("/payment-quotes/lightning", body, key=key.upper())
    different = {"lnInvoice": rails.new_invoice("bob", amount_msat=2_000_000)}
    changed = await strike.post("/payment-quotes/lightning", different, key=key)

    for repeated in (again, changed):
        assert refusal(repeated) == (422, "DUPLICATE_PAYMENT_QUOTE")
        assert repeated.json()["data"]["values"] == {"paymentQuoteId": first["paymentQuoteId"]}


async def test_one_key_was_used_before_anybody_came(strike: StrikeClient, rails: SandboxRails) -> None:
    body = {"lnInvoice": rails.new_invoice("alice", amount_msat=1_000_000)}

    used = await strike.post("/payment-quotes/lightning", body, key="4822bd76-7f73-45c2-8788-69cc9017cf75")
    malformed = await strike.post("/payment-quotes/lightning", body, key="mine")

    assert refusal(used) == (422, "DUPLICATE_PAYMENT_QUOTE")
    assert used.json()["data"]["values"].keys() == {"paymentQuoteId"}
    assert refusal(malformed) == (400, "INVALID_DATA")


async def test_a_quote_is_executed_once(strike: StrikeClient, rails: SandboxRails) -> None:
    before_msat = rails.nodes["alice"].balance_msat
    quote = await strike.payment_quote(rails.new_invoice("alice", amount_msat=1_000_000))

    answers = await asyncio.gather(*(strike.execute(quote) for _ in range(5)))

    assert sorted(answer.status_code for answer in answers) == [200, 422, 422, 422, 422]
    codes = {answer.json()["data"]["code"] for answer in answers if answer.status_code == 422}
    assert codes <= {"PAYMENT_PROCESSED", "PROCESSING_PAYMENT"}
    assert rails.nodes["alice"].balance_msat - before_msat == 1_000_000
    assert (await strike.balance("BTC"))["available"] == "0.99998998"


async def test_a_quote_expires(strike: StrikeClient, rails: SandboxRails) -> None:
    request = rails.new_invoice("alice", amount_msat=1_000_000)
    quote = await strike.payment_quote(request)

    rails.clock.advance(61)

    assert refusal(await strike.execute(quote)) == (422, "PAYMENT_QUOTE_EXPIRED")
    assert state_at_alice(rails, request) == ln.Invoice.OPEN


async def test_an_invoice_is_paid_once_whatever_quotes_there_are(strike: StrikeClient, rails: SandboxRails) -> None:
    request = rails.new_invoice("alice", amount_msat=1_000_000)
    first, second = await strike.payment_quote(request), await strike.payment_quote(request)
    ok(await strike.execute(first))

    assert refusal(await strike.execute(second)) == (422, "LN_INVOICE_PROCESSED")
    third = await strike.post("/payment-quotes/lightning", {"lnInvoice": request})
    assert refusal(third) == (422, "LN_INVOICE_PROCESSED")


async def test_an_invoice_that_another_paid_fails_and_costs_nothing(strike: StrikeClient, rails: SandboxRails) -> None:
    request = rails.new_invoice("alice", amount_msat=1_000_000)
    quote = await strike.payment_quote(request)
    await rails.pay(request, node="bob")

    payment = ok(await strike.execute(quote))

    assert (payment["state"], payment["result"]) == ("FAILED", "FAILURE")
    assert "preImage" not in payment["lightning"]
    assert "completed" not in payment
    assert (await strike.balance("BTC"))["available"] == "1.00000000"


async def test_what_cannot_be_paid_is_not_quoted(strike: StrikeClient, rails: SandboxRails) -> None:
    async def code_for(request: str, **members: object) -> tuple[int, str]:
        return refusal(await strike.post("/payment-quotes/lightning", {"lnInvoice": request, **members}))

    expiring = rails.new_invoice("alice", amount_msat=1_000, expiry_s=5)
    rails.clock.advance(10)

    assert await code_for("lnbcrt1nothing") == (422, "INVALID_LN_INVOICE")
    assert await code_for(rails.new_invoice("dave", amount_msat=1_000)) == (422, "INVALID_LN_INVOICE")
    assert await code_for(expiring) == (422, "INVALID_STATE_FOR_INVOICE_EXPIRED")
    assert await code_for(_of_a_stranger(rails)) == (422, "LN_ROUTE_NOT_FOUND")
    dear = rails.new_invoice("alice", amount_msat=2 * 10**11)
    assert await code_for(dear, sourceCurrency="BTC") == (422, "BALANCE_TOO_LOW")
    assert await code_for(dear, sourceCurrency="USD") == (422, "BALANCE_TOO_LOW")
    assert await code_for("", sourceCurrency="XYZ") == (400, "INVALID_DATA")


def _of_a_stranger(rails: SandboxRails) -> str:
    unsigned = bolt11.UnsignedInvoice(
        prefix="bcrt",
        amount_msat=1_000_000,
        timestamp=int(rails.clock.now().timestamp()),
        payment_hash=b"\x01" * 32,
        payment_secret=b"\x02" * 32,
        description="",
    )
    return bolt11.encode(unsigned, sign=NodeKey(b"\x07" * 32).sign)


async def test_an_invoice_that_expires_before_it_is_paid_is_not(strike: StrikeClient, rails: SandboxRails) -> None:
    quote = await strike.payment_quote(rails.new_invoice("alice", amount_msat=1_000_000, expiry_s=10))

    rails.clock.advance(12)

    assert refusal(await strike.execute(quote)) == (422, "INVALID_STATE_FOR_INVOICE_EXPIRED")
    assert (await strike.balance("BTC"))["available"] == "1.00000000"


async def test_money_that_is_gone_since_the_quote_is_not_spent(strike: StrikeClient, rails: SandboxRails) -> None:
    requests = [rails.new_invoice("alice", amount_msat=6 * 10**10) for _ in range(2)]
    first, second = [await strike.payment_quote(request) for request in requests]
    ok(await strike.execute(first))

    assert refusal(await strike.execute(second)) == (422, "BALANCE_TOO_LOW")
    assert state_at_alice(rails, requests[1]) == ln.Invoice.OPEN


async def test_nobody_pays_itself(strike: StrikeClient) -> None:
    own = await strike.quote(await strike.invoice(btc("0.00001000")))

    answer = await strike.post("/payment-quotes/lightning", {"lnInvoice": own["lnInvoice"]})

    assert refusal(answer) == (422, "SELF_PAYMENT_NOT_ALLOWED")


async def test_another_customer_is_paid_without_a_fee(strike: StrikeClient) -> None:
    invoice = ok_or_made(await strike.post("/invoices/handle/frank_test", {"amount": btc("0.00001000")}))
    quote = await strike.payment_quote((await strike.quote(invoice))["lnInvoice"])

    payment = ok(await strike.execute(quote))

    assert (payment["state"], payment["totalFee"]) == ("COMPLETED", btc("0.00000000"))
    assert (await strike.found(invoice))["state"] == "PAID"
    assert (await strike.balance("BTC"))["available"] == "0.99999000"


def ok_or_made(answer: httpx.Response) -> dict[str, str]:
    assert answer.is_success, answer.text
    body: dict[str, str] = answer.json()
    return body


async def test_what_does_not_exist_is_not_found(strike: StrikeClient) -> None:
    assert refusal(await strike.patch(f"/payment-quotes/{NOBODY}/execute")) == (404, "NOT_FOUND")
    assert refusal(await strike.get(f"/payments/{NOBODY}")) == (404, "NOT_FOUND")
    malformed = await strike.get("/payments/7")
    assert refusal(malformed) == (400, "INVALID_DATA")
    assert malformed.json()["data"]["validationErrors"].keys() == {"paymentId"}
    for nowhere in ("/payments", "/nothing", f"/payment-quotes/{NOBODY}"):
        assert refusal(await strike.get(nowhere)) == (404, "NOT_FOUND")


async def test_a_quote_in_dollars_may_pay_an_amount_in_dollars(strike: StrikeClient, rails: SandboxRails) -> None:
    request, before_msat = rails.new_invoice("alice", amount_msat=None), rails.nodes["alice"].balance_msat
    at_price = dollars_per_bitcoin(rails)

    quote = await strike.payment_quote(request, source="USD", amount=usd("5.00"))
    ok(await strike.execute(quote))

    sent_msat = rails.nodes["alice"].balance_msat - before_msat
    assert (quote["amount"], quote["totalAmount"]) == (usd("5.00"), usd("5.01"))
    assert 0 <= Decimal(5) / at_price * 10**11 - sent_msat < 1_000
