"""Prices in national currencies: converted once, for the merchant, at a rate that is stored with the payment."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from sqlalchemy import Connection, inspect
from tests.integration.buying import buy, reader
from tests.integration.pricing import CountedSource, PricedTill, fiat, with_rules
from tests.integration.test_migrated_rows import go_back, told
from tests.integration.test_refunds import address

from quittance.domain.money import Asset, msat
from quittance.domain.rate import RateRules
from quittance.providers.base import Invoice, InvoiceRequest
from quittance.providers.lnd.provider import LndProvider
from quittance.store.migrate import differences, upgrade

PAYMENT = """
query ($id: ID!) { payment(id: $id) {
  amount { value } fiatAmount { value assetCode assetScale formatted }
  rate { base quote value spread applied sources observedAt }
} }
"""
CREATE_ARTICLE = """
mutation ($price: AmountInput!) { createArticle(input: {title: "A text", content: "It.", price: $price}) {
  __typename ... on CreateArticleSuccess { article { id lightningAddress price { value assetCode assetScale } } }
  ... on UserError { code message }
} }
"""
RETRY = """
mutation ($id: ID!) { retryPayment(id: $id) {
  __typename ... on RetryPaymentSuccess { payment { amount { value } rate { value } options { amount { value } } } }
} }
"""


def msat_of(amount: str, value: Decimal, *, spread_ppm: int = 0) -> int:
    """Return the least millisatoshi that are worth an amount, by another way than the code goes."""
    exact = Fraction(amount) * 10**11 * 1_000_000 / (Fraction(value) * (1_000_000 - spread_ppm))
    return exact.__ceil__()


async def article(till: Any, price: dict[str, object]) -> dict[str, Any]:
    answer: dict[str, Any] = await till.shop.mutate("createArticle", CREATE_ARTICLE, {"price": price})
    return answer


@pytest.mark.parametrize(
    ("amount", "currency", "minor", "scale"),
    [
        ("12.34", "USD", 1_234, 2),
        ("0.01", "EUR", 1, 2),
        ("1500", "JPY", 1_500, 0),
        ("1.234", "KWD", 1_234, 3),
        ("990.50", "HUF", 99_050, 2),
    ],
)
async def test_a_price_in_a_currency_is_asked_for_in_millisatoshi(
    priced: PricedTill, amount: str, currency: str, minor: int, scale: int
) -> None:
    made = await priced.payment(fiat(amount, currency))

    value = Decimal(made["rate"]["value"])
    assert abs(value / priced.value(currency.lower()) - 1) < Decimal("0.001")
    asked = {"value": str(msat_of(amount, value)), "assetCode": "BTC", "assetScale": 11}
    assert made["amount"] == asked
    assert made["options"] == [{"amount": {"value": asked["value"]}}]
    assert made["fiatAmount"] | {"formatted": ""} == {
        "value": str(minor), "assetCode": currency, "assetScale": scale, "formatted": "",
    }  # fmt: skip
    assert (made["rate"]["base"], made["rate"]["quote"], made["rate"]["spread"]) == ("BTC", currency, "0")


async def test_the_rate_that_was_used_is_stored_with_the_payment(priced: PricedTill) -> None:
    made = await priced.payment(fiat("12.34"))
    priced.till.clock.advance(6 * 3_600)
    await priced.round()

    stored = (await priced.till.shop.run(PAYMENT, {"id": made["id"]}))["payment"]

    assert stored["rate"] == made["rate"]
    assert stored["fiatAmount"] == {"value": "1234", "assetCode": "USD", "assetScale": 2, "formatted": "12.34 USD"}
    assert int(stored["amount"]["value"]) == msat_of("12.34", Decimal(stored["rate"]["applied"]))
    assert set(stored["rate"]["sources"]) <= {"coingecko", "kraken", "coinbase"}
    assert len(stored["rate"]["sources"]) >= 2
    assert Decimal(stored["rate"]["value"]) != priced.value()


async def test_an_amount_in_bitcoin_has_no_rate(priced: PricedTill) -> None:
    made = await priced.payment({"sat": "5"})

    assert (made["fiatAmount"], made["rate"]) == (None, None)
    assert priced.calls == 0


async def test_a_currency_may_be_said_as_an_asset(priced: PricedTill) -> None:
    said = await priced.payment({"asset": {"assetCode": "USD", "assetScale": 3, "value": "12340"}})

    assert said["fiatAmount"] == {"value": "1234", "assetCode": "USD", "assetScale": 2, "formatted": "12.34 USD"}


async def test_the_spread_is_for_the_merchant(till: Any, counted: Sequence[CountedSource]) -> None:
    priced = with_rules(till, counted, RateRules(spread_ppm=15_000))
    await priced.board.begin("BTC", "USD")
    await priced.round()

    made = await priced.payment(fiat("100"))

    assert made["rate"]["spread"] == "0.015"
    assert Decimal(made["rate"]["applied"]) == Decimal(made["rate"]["value"]) * Decimal("0.985")
    asked = msat_of("100", Decimal(made["rate"]["value"]), spread_ppm=15_000)
    assert made["amount"]["value"] == str(asked)
    assert asked > msat_of("100", Decimal(made["rate"]["value"]))


@pytest.mark.parametrize(
    ("amount", "message"),
    [
        (fiat("0"), "greater than zero"),
        (fiat("-1"), "greater than zero"),
        (fiat("1.001"), "more than 2 decimal places"),
        (fiat("0.5", "JPY"), "more than 0 decimal places"),
        (fiat("1.0001", "KWD"), "more than 3 decimal places"),
        (fiat("1" + "0" * 30), "too large"),
        (fiat("100000000"), "at most"),
        (fiat("1", "XXX"), "no such currency"),
        (fiat("1", "usd"), "no such currency"),
        (fiat("1", "BTC"), "no such currency"),
        (fiat("1", ""), "no such currency"),
        ({"asset": {"assetCode": "USD", "assetScale": 4, "value": "1"}}, "more than 2 decimal places"),
    ],
)
async def test_an_amount_that_cannot_be_meant_makes_nothing(
    priced: PricedTill, amount: dict[str, object], message: str
) -> None:
    refused = await priced.ask(amount)

    assert refused["__typename"] == "InvalidAmountError"
    assert message in refused["message"]
    assert await priced.till.rows("payment") == []


@pytest.mark.parametrize("value", ["NaN", "Infinity", "sNaN", "1,5", ""])
async def test_what_is_no_decimal_is_no_amount(priced: PricedTill, value: str) -> None:
    with pytest.raises(AssertionError, match=r"\$input"):
        await priced.ask(fiat(value))

    assert await priced.till.rows("payment") == []


async def test_the_same_key_gives_the_first_payment_although_the_rate_moved(priced: PricedTill) -> None:
    first = await priced.payment(fiat("12.34"), idempotencyKey="k")
    priced.till.clock.advance(6 * 3_600)
    await priced.round()

    again = await priced.ask(fiat("12.34"), idempotencyKey="k")
    other = await priced.ask(fiat("12.35"), idempotencyKey="k")
    fresh = await priced.payment(fiat("12.34"), idempotencyKey="l")

    assert again == {"__typename": "GenerateInvoiceSuccess", "replayed": True, "payment": first}
    assert other["code"] == "IDEMPOTENCY_CONFLICT"
    assert fresh["amount"] != first["amount"]


async def test_the_first_payment_is_found_again_without_any_rate(priced: PricedTill) -> None:
    first = await priced.payment(fiat("12.34"), idempotencyKey="k")
    await priced.arm("unavailable", calls=100)
    priced.till.clock.advance(3_600)
    await priced.round()

    again = await priced.ask(fiat("12.34"), idempotencyKey="k")
    fresh = await priced.ask(fiat("12.34"), idempotencyKey="l")
    priced.till.rails.faults.clear("prices")
    priced.till.clock.advance(600)
    await priced.round()
    with_the_key_that_failed = await priced.ask(fiat("12.34"), idempotencyKey="l")

    assert again["payment"] == first
    assert fresh["code"] == "RATE_UNAVAILABLE"
    assert with_the_key_that_failed["replayed"] is False


async def test_another_try_asks_for_the_amount_of_the_first(priced: PricedTill) -> None:
    made = await priced.payment(fiat("12.34"), expiresIn=60)
    priced.till.clock.advance(6 * 3_600)
    await priced.till.reconcile()
    await priced.round()

    retried = (await priced.till.shop.mutate("retryPayment", RETRY, {"id": made["id"]}))["payment"]

    assert retried["amount"]["value"] == made["amount"]["value"]
    assert [option["amount"]["value"] for option in retried["options"]] == [made["amount"]["value"]] * 2
    assert retried["rate"]["value"] == made["rate"]["value"]


async def test_an_article_keeps_its_price_in_its_currency(priced: PricedTill) -> None:
    made = (await article(priced.till, fiat("2.50", "EUR")))["article"]
    asked_at_making = priced.calls
    first = await priced.payment(articleId=made["id"])
    priced.till.clock.advance(6 * 3_600)
    await priced.round()
    later = await priced.payment(articleId=made["id"])

    assert made["price"] == {"value": "250", "assetCode": "EUR", "assetScale": 2}
    assert made["lightningAddress"] is None
    assert asked_at_making == 0
    for payment in (first, later):
        assert int(payment["amount"]["value"]) == msat_of("2.50", Decimal(payment["rate"]["value"]))
        assert payment["fiatAmount"]["formatted"] == "2.50 EUR"
    assert first["amount"] != later["amount"]


@pytest.mark.parametrize(
    ("price", "message"), [(fiat("0"), "greater than zero"), (fiat("1", "XXX"), "no such currency")]
)
async def test_an_article_has_a_price_that_can_be_meant(
    priced: PricedTill, price: dict[str, object], message: str
) -> None:
    refused = await article(priced.till, price)

    assert refused["code"] == "INVALID_AMOUNT"
    assert message in refused["message"]
    assert await priced.till.rows("article") == []


async def test_without_price_sources_nothing_is_priced_in_a_currency(till: Any) -> None:
    bare = PricedTill(till, None, ())  # type: ignore[arg-type]

    refused, unmade = await bare.ask(fiat("1")), await article(till, fiat("1"))

    assert refused["__typename"] == "InvalidAmountError"
    assert "no exchange rate from USD is connected" in refused["message"]
    assert unmade["code"] == "INVALID_AMOUNT"


PAYOUT = """
mutation ($amount: AmountInput!, $to: String!) { requestPayout(input: {
  amount: $amount, destination: $to, idempotencyKey: "p"
}) { __typename ... on UserError { code message } } }
"""
WITHDRAWAL = """
mutation ($amount: AmountInput!) { createWithdrawal(input: {amountMax: $amount}) {
  __typename ... on UserError { code message }
} }
"""
REFUND = """
mutation ($id: ID!, $amount: AmountInput!, $to: String!) { refundPayment(input: {
  paymentId: $id, amount: $amount, destination: $to, idempotencyKey: "r"
}) { __typename ... on UserError { code message } } }
"""


async def test_money_that_goes_out_is_said_in_its_own_asset(priced: PricedTill) -> None:
    sold = await priced.till.sold(amount_msat=1_000_000)
    variables: dict[str, Any] = {"amount": fiat("0.01")}
    to = {"to": address(priced.till)}

    payout = await priced.till.shop.mutate("requestPayout", PAYOUT, variables | to)
    withdrawal = await priced.till.shop.mutate("createWithdrawal", WITHDRAWAL, variables)
    refund = await priced.till.shop.mutate("refundPayment", REFUND, variables | to | {"id": sold.id})

    assert [answer["code"] for answer in (payout, withdrawal, refund)] == ["INVALID_AMOUNT"] * 3
    assert await priced.till.rows("transfer") == []
    assert priced.calls == 0


async def test_readers_and_strangers_buy_what_is_priced_in_a_currency(priced: PricedTill) -> None:
    made = (await article(priced.till, fiat("2.50", "EUR")))["article"]
    alice = await reader(priced.till)

    own = await buy(priced.till, made["id"], as_=alice)
    priced.till.clock.advance(600)
    await priced.round()
    again = await buy(priced.till, made["id"], as_=alice)
    stranger = await buy(priced.till, made["id"])

    assert own["payment"]["amount"] == again["payment"]["amount"]
    assert again["replayed"]
    for bought in (own, stranger):
        stored = await priced.till.payment(bought["payment"]["id"])
        assert stored.rate is not None
        assert stored.fiat_amount is not None
        assert stored.fiat_amount.formatted == "2.50 EUR"
        assert stored.amount.value == msat_of("2.50", stored.rate.value)


async def test_an_upvote_may_be_said_in_a_currency(priced: PricedTill) -> None:
    made = (await article(priced.till, {"sat": "10"}))["article"]
    alice = await reader(priced.till)

    low = await buy(priced.till, made["id"], as_=alice, purpose="UPVOTE", amount=fiat("0.01"))
    high = await buy(priced.till, made["id"], as_=alice, purpose="UPVOTE", amount=fiat("5"))

    assert (low["code"], low["message"]) == ("INVALID_AMOUNT", "an upvote pays at least 1,000 sat")
    assert (await priced.till.payment(high["payment"]["id"])).fiat_amount is not None


async def test_a_price_in_a_currency_may_be_paid_in_litecoin(priced: PricedTill, lnd_ltc: LndProvider) -> None:
    services = priced.till.services
    till = priced.till.on(replace(services, rails={**services.rails, "lnd-ltc": lnd_ltc}))
    shop = PricedTill(till, priced.board, priced.sources)

    made = await shop.payment(fiat("5"), provider="lnd-ltc")

    assert (made["rate"]["base"], made["amount"]["assetCode"]) == ("LTC", "LTC")
    assert int(made["amount"]["value"]) == msat_of("5", Decimal(made["rate"]["value"]))


DOLLARS = Asset("USD", 2)


@dataclass
class DollarRail:
    """A rail that takes dollars: invoices come from the node behind it, as far as anybody here looks."""

    inside: LndProvider
    name: str = "dollars"
    asset: Asset = DOLLARS

    def __getattr__(self, member: str) -> Any:
        return getattr(self.inside, member)

    async def create_invoice(self, request: InvoiceRequest) -> Invoice:
        assert request.amount.asset == self.asset
        return await self.inside.create_invoice(replace(request, amount=msat(request.amount.value)))


async def test_a_rail_that_takes_the_currency_is_asked_for_it_without_a_rate(
    priced: PricedTill, lnd: LndProvider
) -> None:
    services = priced.till.services
    till = priced.till.on(replace(services, rails={**services.rails, "dollars": DollarRail(lnd)}))
    shop = PricedTill(till, priced.board, priced.sources)

    made = await shop.payment(fiat("12.34"), provider="dollars")

    assert made["amount"] == {"value": "1234", "assetCode": "USD", "assetScale": 2}
    assert (made["fiatAmount"]["value"], made["rate"]) == ("1234", None)
    assert priced.calls == 0


async def test_what_a_version_without_rates_reads_is_the_amount_that_was_asked(
    priced: PricedTill, database_url: str
) -> None:
    made = await priced.payment(fiat("12.34"))
    before = await priced.till.payment(made["id"])

    await go_back(database_url, "fiat prices")
    columns = await told(database_url, columns_of_payment)
    await asyncio.to_thread(upgrade, database_url)
    after = await priced.till.payment(made["id"])

    assert before.rate is not None
    assert [name for name in columns if name.startswith(("fiat", "rate"))] == []
    assert after == replace(before, fiat_amount=None, rate=None)
    assert await asyncio.to_thread(differences, database_url) is None


def columns_of_payment(connection: Connection) -> list[str]:
    return [column["name"] for column in inspect(connection).get_columns("payment")]
