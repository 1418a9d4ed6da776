"""Payments on the chain from the sandbox's Strike account."""

from typing import Any
from uuid import uuid4

import pytest
from tests.contract.strike.conftest import Arm
from tests.contract.strike.strike_client import StrikeClient, btc, ok, refusal, usd

from quittance.sandbox.rails import SandboxRails

_SEGWIT = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"  # BIP-173
_TAPROOT = "tb1pqqqqp399et2xygdj5xreqhjjvcmzhxw4aywxecjdzew6hylgvsesf3hn0c"  # BIP-350
_OLD = "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn"  # the key hash of many documents, on the test network
_MAIN = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"


def _body(**members: Any) -> dict[str, Any]:
    amount = btc("0.00100000") | {"feePolicy": "EXCLUSIVE"}
    terms = {"btcAddress": _SEGWIT, "sourceCurrency": "BTC", "amount": amount, "onchainTierId": "tier_fast"}
    return terms | members


async def _quote(strike: StrikeClient, **members: Any) -> Any:
    return ok(await strike.post("/payment-quotes/onchain", _body(**members), key=str(uuid4())))


@pytest.mark.parametrize("address", [_SEGWIT, _TAPROOT, _OLD, _SEGWIT.upper()])
async def test_there_is_a_fast_way_and_a_free_one(strike: StrikeClient, address: str) -> None:
    tiers = ok(await strike.post("/payment-quotes/onchain/tiers", {"btcAddress": address, "amount": btc("0.001")}))

    assert tiers == [
        {"id": "tier_fast", "estimatedDeliveryDurationInMin": 10, "estimatedFee": btc("0.00002000")},
        {
            "id": "tier_free",
            "estimatedDeliveryDurationInMin": 1_440,
            "estimatedFee": btc("0.00000000"),
            "minimumAmount": btc("0.00050000"),
        },
    ]


async def test_a_payment_is_pending_until_the_chain_has_it(strike: StrikeClient, rails: SandboxRails) -> None:
    quote = await _quote(strike)

    executed = await strike.execute(quote)
    pending = executed.json()
    rails.clock.advance(9 * 60)
    still = await strike.payment(pending)
    rails.clock.advance(61)
    done = await strike.payment(pending)

    assert (quote["totalFee"], quote["totalAmount"]) == (btc("0.00002000"), btc("0.00102000"))
    assert (quote["estimatedDeliveryDurationInMin"], "lightningNetworkFee" in quote) == (10, False)
    assert (executed.status_code, pending["state"], still["state"]) == (202, "PENDING", "PENDING")
    assert not {"lightning", "onchain", "completed"} & pending.keys()
    assert (done["state"], len(done["onchain"]["txnId"])) == ("COMPLETED", 64)
    balance = await strike.balance("BTC")
    assert (balance["available"], balance["outgoing"]) == ("0.99898000", "0.00000000")


async def test_what_is_pending_is_released_or_fails(strike: StrikeClient, arm: Arm) -> None:
    first = (await strike.execute(await _quote(strike))).json()
    await arm("release_pending")
    second = (await strike.execute(await _quote(strike))).json()
    await arm("fail_pending")

    assert (await strike.payment(first))["state"] == "COMPLETED"
    assert (await strike.payment(second))["state"] == "FAILED"
    assert (await strike.balance("BTC"))["available"] == "0.99898000"


async def test_pending_for_ever_means_whatever_time_passes(strike: StrikeClient, rails: SandboxRails, arm: Arm) -> None:
    await arm("pending_forever")
    payment = (await strike.execute(await _quote(strike))).json()

    rails.clock.advance(86_400)
    before = (await strike.payment(payment))["state"]
    await arm("release_pending")

    assert (before, (await strike.payment(payment))["state"]) == ("PENDING", "COMPLETED")


async def test_the_fee_may_be_taken_out_of_the_amount(strike: StrikeClient) -> None:
    quote = await _quote(strike, amount=btc("0.00100000") | {"feePolicy": "INCLUSIVE"})

    assert (quote["amount"], quote["totalAmount"]) == (btc("0.00098000"), btc("0.00100000"))


async def test_dollars_pay_on_the_chain(strike: StrikeClient) -> None:
    quote = await _quote(strike, sourceCurrency="USD", amount=usd("100.00") | {"feePolicy": "EXCLUSIVE"})

    assert quote["amount"] == usd("100.00")
    assert quote["totalFee"]["currency"] == quote["totalAmount"]["currency"] == "USD"


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"btcAddress": _MAIN}, (422, "INVALID_BITCOIN_ADDRESS")),
        ({"btcAddress": f"{_SEGWIT[:-1]}q"}, (422, "INVALID_BITCOIN_ADDRESS")),
        ({"btcAddress": f"T{_SEGWIT[1:]}"}, (422, "INVALID_BITCOIN_ADDRESS")),
        ({"btcAddress": f"{_OLD[:-1]}m"}, (422, "INVALID_BITCOIN_ADDRESS")),
        ({"btcAddress": "tb1"}, (422, "INVALID_BITCOIN_ADDRESS")),
        ({"btcAddress": None}, (400, "INVALID_DATA")),
        ({"onchainTierId": "tier_slow"}, (400, "INVALID_DATA")),
        ({"onchainTierId": None}, (400, "INVALID_DATA")),
        ({"sourceCurrency": None}, (400, "INVALID_DATA")),
        ({"amount": btc("0.001")}, (400, "INVALID_DATA")),
        ({"amount": btc("0.001") | {"feePolicy": "NONE"}}, (400, "INVALID_DATA")),
        ({"description": "x" * 251}, (400, "INVALID_DATA")),
        ({"onchainTierId": "tier_free", "amount": btc("0.0004") | {"feePolicy": "EXCLUSIVE"}}, (422, "AMOUNT_TOO_LOW")),
        ({"amount": btc("0.00002") | {"feePolicy": "INCLUSIVE"}}, (422, "AMOUNT_TOO_LOW")),
        ({"amount": btc("1") | {"feePolicy": "EXCLUSIVE"}}, (422, "BALANCE_TOO_LOW")),
    ],
)
async def test_what_cannot_be_paid_is_not_quoted(
    strike: StrikeClient, members: dict[str, Any], expected: tuple[int, str]
) -> None:
    assert refusal(await strike.post("/payment-quotes/onchain", _body(**members))) == expected


async def test_a_key_makes_one_quote(strike: StrikeClient) -> None:
    key = str(uuid4())
    first = ok(await strike.post("/payment-quotes/onchain", _body(), key=key))

    again = await strike.post("/payment-quotes/onchain", _body(), key=key)

    assert refusal(again) == (422, "DUPLICATE_PAYMENT_QUOTE")
    assert again.json()["data"]["values"] == {"paymentQuoteId": first["paymentQuoteId"]}
