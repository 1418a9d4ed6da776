"""What may be asked for when rails take different assets: one price in one asset, and what to write instead."""

from dataclasses import replace
from typing import Any

import pytest
from tests.integration.litecoin import Counter, litoshi

CREATE_ARTICLE = """
mutation ($price: AmountInput!) {
  createArticle(input: {title: "A text", content: "It.", price: $price}) {
    __typename
    ... on CreateArticleSuccess { article { id price { value assetCode assetScale formatted } } }
    ... on UserError { code message }
  }
}
"""
AS_LITECOIN = 'say the amount as asset: {assetCode: "LTC", assetScale: 8, value: …}'
NO_RATE = "and no exchange rate from"
BITCOIN_AS_ASSET = {"asset": {"assetCode": "BTC", "assetScale": 8, "value": "5"}}


async def article(till: Any, price: dict[str, object]) -> dict[str, Any]:
    answer: dict[str, Any] = await till.shop.mutate("createArticle", CREATE_ARTICLE, {"price": price})
    return answer


@pytest.mark.parametrize("amount", [{"sat": "1000"}, {"msat": "1000"}, BITCOIN_AS_ASSET])
async def test_bitcoin_on_the_litecoin_rail_is_told_what_to_write(
    both: Any, counter: Counter, amount: dict[str, object]
) -> None:
    refused = await counter.ask(amount=amount)

    assert refused == {
        "__typename": "InvalidAmountError",
        "code": "INVALID_AMOUNT",
        "message": f"lnd-ltc takes LTC, {NO_RATE} BTC is connected; {AS_LITECOIN}",
    }
    assert await both.rows("payment") == []


@pytest.mark.parametrize("provider", ["lnd", None])
async def test_litecoin_on_the_bitcoin_rail_is_told_what_to_write(
    both: Any, counter: Counter, provider: str | None
) -> None:
    refused = await counter.ask(provider=provider)

    assert (refused["__typename"], refused["message"]) == (
        "InvalidAmountError",
        f"lnd takes BTC, {NO_RATE} LTC is connected; say the amount in sat or msat",
    )
    assert await both.rows("payment") == []


@pytest.mark.parametrize(
    ("amount", "message"),
    [
        (litoshi(0), "an amount is greater than zero"),
        (litoshi(-1), "an amount is greater than zero"),
        (litoshi(10_000_000_001), "an amount is at most 100 LTC"),
        (
            {"asset": {"assetCode": "LTC", "assetScale": 12, "value": "1"}},
            "0.000000000001 LTC has more than 11 decimal places",
        ),
        (
            {"asset": {"assetCode": "USD", "assetScale": 2, "value": "1"}},
            f"lnd-ltc takes LTC, {NO_RATE} USD is connected; {AS_LITECOIN}",
        ),
    ],
)
async def test_amounts_of_litecoin_have_their_limits(
    both: Any, counter: Counter, amount: dict[str, object], message: str
) -> None:
    refused = await counter.ask(amount=amount)

    assert (refused["__typename"], refused["message"]) == ("InvalidAmountError", message)
    assert await both.rows("payment") == []


@pytest.mark.parametrize(
    ("amount", "value"),
    [
        (litoshi(10_000_000_000), "10000000000000"),
        ({"asset": {"assetCode": "LTC", "assetScale": 0, "value": "2"}}, "200000000000"),
        ({"asset": {"assetCode": "LTC", "assetScale": 11, "value": "1"}}, "1"),
    ],
)
async def test_litecoin_is_taken_in_any_scale_up_to_the_limit(
    counter: Counter, amount: dict[str, object], value: str
) -> None:
    payment = await counter.payment(amount=amount)

    assert (payment["amount"]["value"], payment["amount"]["assetScale"]) == (value, 11)


async def test_the_limit_of_litecoin_is_a_rule_of_its_own(both: Any) -> None:
    rules = replace(both.services.rules, amount_litoshi_max=999, amount_msat_max=1_000)
    narrow = Counter(both.on(replace(both.services, rules=rules)))

    refused = await narrow.ask()
    bitcoin = await narrow.ask(provider="lnd", amount={"sat": "1"})

    assert refused["message"] == "an amount is at most 0.00000999 LTC"
    assert bitcoin["__typename"] == "GenerateInvoiceSuccess"


@pytest.mark.parametrize(("provider", "other", "takes"), [("lnd", "lnd-ltc", "BTC"), ("lnd-ltc", "lnd", "LTC")])
async def test_one_payment_is_not_offered_in_two_assets(
    both: Any, counter: Counter, provider: str, other: str, takes: str
) -> None:
    amount = {"sat": "5"} if provider == "lnd" else litoshi(5)

    refused = await counter.ask(provider=provider, amount=amount, alsoAccept=[other])

    assert (refused["__typename"], refused["code"]) == ("InvalidInputError", "INVALID_INPUT")
    assert refused["message"].startswith(f"a payment has one price in one asset: {provider} takes {takes}")
    assert await both.rows("payment") == []


async def test_an_article_is_sold_on_the_rail_of_its_price(both: Any, counter: Counter) -> None:
    in_litecoin = (await article(both, litoshi(70_000)))["article"]
    in_bitcoin = (await article(both, {"sat": "70"}))["article"]

    sold = await counter.payment(articleId=in_litecoin["id"], amount=None)
    on_bitcoin = await counter.ask(articleId=in_litecoin["id"], amount=None, provider=None)
    on_litecoin = await counter.ask(articleId=in_bitcoin["id"], amount=None)

    assert in_litecoin["price"] == {"value": "70000", "assetCode": "LTC", "assetScale": 8, "formatted": "0.0007 LTC"}
    assert sold["amount"]["formatted"] == "0.0007 LTC"
    assert sold["paymentRequest"].startswith("lnrltc")
    assert (on_bitcoin["__typename"], on_bitcoin["message"]) == (
        "InvalidAmountError",
        f"lnd takes BTC, {NO_RATE} LTC is connected; the price is 0.0007 LTC, so name a rail that takes LTC",
    )
    assert (on_litecoin["__typename"], on_litecoin["message"]) == (
        "InvalidAmountError",
        f"lnd-ltc takes LTC, {NO_RATE} BTC is connected; the price is 70 sat, so name a rail that takes BTC",
    )


async def test_an_upvote_in_litecoin_is_refused(both: Any, counter: Counter) -> None:
    sold = (await article(both, litoshi(70_000)))["article"]["id"]

    said = await counter.ask(articleId=sold, purpose="UPVOTE")
    unsaid = await counter.ask(articleId=sold, purpose="UPVOTE", amount=None)

    assert (said["__typename"], said["message"]) == ("InvalidAmountError", "an upvote is paid in BTC")
    assert unsaid["__typename"] == "InvalidAmountError"
    assert await both.rows("payment") == []


async def test_without_a_litecoin_rail_nothing_is_priced_in_litecoin(till: Any) -> None:
    refused = await article(till, litoshi(1))
    unknown = await Counter(till).ask()

    assert (refused["__typename"], refused["message"]) == (
        "InvalidAmountError",
        "LTC needs an exchange rate, and none is connected; the rails take BTC",
    )
    assert unknown["__typename"] == "UnknownProviderError"
