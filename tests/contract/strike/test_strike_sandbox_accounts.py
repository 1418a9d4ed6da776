"""Prices, exchange, balances and profiles of the sandbox's Strike account."""

from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from tests.contract.strike.strike_client import NOBODY, StrikeClient, btc, dollars_per_bitcoin, ok, refusal, usd

from quittance.sandbox.rails import SandboxRails


async def test_the_ticker_has_every_pair_in_both_directions(strike: StrikeClient, rails: SandboxRails) -> None:
    at_price = dollars_per_bitcoin(rails)

    rows = ok(await strike.get("/rates/ticker"))

    found = {(row["sourceCurrency"], row["targetCurrency"]): row["amount"] for row in rows}
    assert len(found) == len(rows) == 12
    assert found["BTC", "USD"] == f"{at_price:.4f}"
    assert found["USD", "BTC"] == f"{1 / at_price:.8f}"
    assert found["EUR", "USD"].partition(".")[0] == "1"
    assert {pair[::-1] for pair in found} == found.keys()


async def test_a_balance_is_told_for_every_currency(strike: StrikeClient) -> None:
    rows = ok(await strike.get("/balances"))

    assert [row["currency"] for row in rows] == ["BTC", "USD", "EUR", "GBP"]
    assert rows[0] == {
        "currency": "BTC",
        "current": "1.00000000",
        "pending": "0.00000000",
        "outgoing": "0.00000000",
        "reserved": "0.00000000",
        "available": "1.00000000",
        "total": "1.00000000",
    }
    assert rows[1]["available"] == "10000.00"


async def test_the_balance_is_seen_from_outside(strike: StrikeClient, rails: SandboxRails) -> None:
    await rails.pay((await strike.quote(await strike.invoice(btc("0.00021000"))))["lnInvoice"])

    nodes: Any = rails.status()["nodes"]

    [node] = [one for one in nodes if one["name"] == "strike"]
    assert node["balanceMsat"] == 10**11 + 21_000_000
    assert node["balances"] == {"BTC": "1.00021000", "USD": "10000.00", "EUR": "10000.00", "GBP": "10000.00"}
    assert (node["pubkey"], node["lightningAddress"]) == (rails.nodes["strike"].pubkey, None)


async def test_a_profile_is_found_by_handle_and_by_id(strike: StrikeClient) -> None:
    frank = ok(await strike.get("/accounts/handle/frank_test/profile"))
    invoice = await strike.invoice(btc("0.00001000"))
    owner = ok(await strike.get(f"/accounts/{invoice['receiverId']}/profile"))

    assert ok(await strike.get(f"/accounts/{frank['id']}/profile")) == frank
    assert (frank["handle"], frank["canReceive"], owner["handle"]) == ("frank_test", True, "quittance_test")
    assert frank["id"] != owner["id"]
    assert {"currency": "EUR", "isDefaultCurrency": False, "isAvailable": True, "isInvoiceable": True} in frank[
        "currencies"
    ]
    assert [one["currency"] for one in frank["currencies"] if one["isDefaultCurrency"]] == ["USD"]
    assert refusal(await strike.get("/accounts/handle/nobody/profile")) == (404, "NOT_FOUND")
    assert refusal(await strike.get(f"/accounts/{NOBODY}/profile")) == (404, "NOT_FOUND")
    assert refusal(await strike.get("/accounts/7/profile")) == (400, "INVALID_DATA")


async def test_limits_are_told_by_period(strike: StrikeClient) -> None:
    limits = ok(await strike.get("/accounts/limits"))["limits"]

    assert [row["period"] for row in limits] == ["DAY", "WEEK", "MONTH"]


def _sale(amount: dict[str, str], **members: Any) -> dict[str, Any]:
    return {"sell": "USD", "buy": "BTC", "amount": amount, **members}


async def test_money_is_changed_once(strike: StrikeClient) -> None:
    quote = ok(await strike.post("/currency-exchange-quotes", _sale(usd("100.00"))))
    path = f"/currency-exchange-quotes/{quote['id']}"
    before = (await strike.balance("USD"))["available"]

    executed = await strike.patch(f"{path}/execute")
    again = await strike.patch(f"{path}/execute")

    assert (quote["state"], quote["source"], quote["fee"], before) == ("NEW", usd("100.10"), usd("0.10"), "10000.00")
    assert (executed.status_code, executed.content) == (202, b"")
    assert refusal(again) == (422, "CURRENCY_EXCHANGE_QUOTE_PROCESSED")
    found = ok(await strike.get(path))
    assert (found["state"], found["target"]) == ("COMPLETED", quote["target"])
    assert found["completed"] >= found["created"]
    assert (await strike.balance("USD"))["available"] == "9899.90"
    gained = Decimal((await strike.balance("BTC"))["available"]) - 1
    assert gained == Decimal(quote["target"]["amount"]) > 0


@pytest.mark.parametrize(
    ("amount", "source", "target"),
    [
        (usd("100.00") | {"feePolicy": "INCLUSIVE"}, usd("100.00"), None),
        (btc("0.00100000"), None, btc("0.00100000")),
    ],
)
async def test_the_amount_says_what_is_fixed(
    strike: StrikeClient, amount: dict[str, str], source: dict[str, str] | None, target: dict[str, str] | None
) -> None:
    quote = ok(await strike.post("/currency-exchange-quotes", _sale(amount)))

    assert source in (None, quote["source"])
    assert target in (None, quote["target"])


async def test_an_exchange_quote_expires(strike: StrikeClient, rails: SandboxRails) -> None:
    quote = ok(await strike.post("/currency-exchange-quotes", _sale(usd("100.00"))))

    rails.clock.advance(61)

    answer = await strike.patch(f"/currency-exchange-quotes/{quote['id']}/execute")
    assert refusal(answer) == (422, "CURRENCY_EXCHANGE_QUOTE_EXPIRED")
    assert (await strike.balance("USD"))["available"] == "10000.00"


async def test_an_exchange_key_makes_one_quote(strike: StrikeClient) -> None:
    key = str(uuid4())
    first = ok(await strike.post("/currency-exchange-quotes", _sale(usd("100.00")), key=key))

    again = await strike.post("/currency-exchange-quotes", _sale(usd("100.00")), key=key)

    assert refusal(again) == (422, "DUPLICATE_CURRENCY_EXCHANGE_QUOTE")
    assert again.json()["data"]["values"] == {"currencyExchangeQuoteId": first["id"]}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, (400, "INVALID_DATA")),
        (_sale(usd("1.00"), buy=None), (400, "INVALID_DATA")),
        (_sale(usd("1.00"), buy="XYZ"), (400, "INVALID_DATA")),
        (_sale({"amount": "1.00", "currency": "EUR"}), (400, "INVALID_DATA")),
        (_sale(usd("1.00"), buy="USD"), (422, "CURRENCY_EXCHANGE_PAIR_NOT_SUPPORTED")),
        (_sale(usd("1.00"), buy="USDT"), (422, "CURRENCY_EXCHANGE_PAIR_NOT_SUPPORTED")),
        (_sale(usd("10000.00")), (422, "BALANCE_TOO_LOW")),
        (_sale(usd("0.00")), (422, "INVALID_AMOUNT")),
    ],
)
async def test_what_cannot_be_changed_is_not_quoted(
    strike: StrikeClient, body: dict[str, Any], expected: tuple[int, str]
) -> None:
    assert refusal(await strike.post("/currency-exchange-quotes", body)) == expected
