"""Price sources that lie, age or hang (A2, A3): nothing is priced by what cannot be believed, and nobody waits."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from decimal import Decimal
from typing import Any

import pytest
from tests.integration.pricing import METHODS, CountedSource, PricedTill, fiat, with_rules
from tests.integration.test_isolation import refused

from quittance.domain.access import ANONYMOUS, Principal, Scope
from quittance.domain.rate import RateRules
from quittance.gql.schema import schema
from quittance.sandbox import prices

RATE = 'query ($quote: String!) { rate(base: "BTC", quote: $quote) { value applied sources observedAt } }'
UPDATED = """
subscription ($quote: String!) { rateUpdated(base: "BTC", quote: $quote) {
  __typename ... on Rate { value sources } ... on RateUnavailableError { code base quote reason retryable }
} }
"""
BROKEN = ("zero", "negative", "not_a_number", "null", "text", "garbage", "rate_limited", "unavailable", "missing")


@pytest.mark.parametrize("fault", [*BROKEN, "inverted", "ten_times_off"])
@pytest.mark.parametrize("method", METHODS)
async def test_a_source_that_is_broken_moves_nothing(priced: PricedTill, fault: str, method: str) -> None:
    await priced.arm(fault, method, calls=100)

    made = await priced.payment(fiat("10"))

    assert len(made["rate"]["sources"]) == 2
    assert abs(Decimal(made["rate"]["value"]) / priced.value() - 1) < Decimal("0.001")


@pytest.mark.parametrize("fault", BROKEN)
async def test_one_source_alone_is_refused(priced: PricedTill, fault: str) -> None:
    await priced.arm(fault, prices.KRAKEN, prices.COINBASE, calls=100)

    answer = await priced.ask(fiat("10"))

    assert answer | {"message": ""} == {
        "__typename": "RateUnavailableError",
        "code": "RATE_UNAVAILABLE",
        "message": "",
        "retryable": True,
        "base": "BTC",
        "quote": "USD",
        "reason": "TOO_FEW_SOURCES",
    }
    assert await priced.till.rows("payment") == []
    assert await priced.till.rows("idempotency") == []


async def test_of_two_sources_that_disagree_neither_is_believed(priced: PricedTill) -> None:
    await priced.arm("unavailable", prices.KRAKEN, calls=100)
    await priced.arm("ten_times_off", prices.COINBASE, calls=100)

    answer = await priced.ask(fiat("10"))

    assert answer["reason"] == "SOURCES_DISAGREE"


async def test_a_price_that_is_old_at_its_source_does_not_count(till: Any, counted: Sequence[CountedSource]) -> None:
    coingecko = with_rules(till, [source for source in counted if source.name == "coingecko"], RateRules(sources_min=1))
    await coingecko.arm("stale", prices.METHOD, calls=100)

    answer = await coingecko.ask(fiat("10"))

    assert answer["reason"] == "STALE"
    await coingecko.board.aclose()


async def test_one_source_is_enough_where_the_operator_says_so(till: Any, counted: Sequence[CountedSource]) -> None:
    priced = with_rules(till, counted, RateRules(sources_min=1))
    await priced.arm("unavailable", prices.METHOD, prices.COINBASE, calls=100)

    made = await priced.payment(fiat("10"))

    assert made["rate"]["sources"] == ["kraken"]
    await priced.board.aclose()


async def test_all_sources_ten_times_off_leave_the_last_rate_and_then_none(priced: PricedTill) -> None:
    before = await priced.payment(fiat("10"))
    await priced.round()
    await priced.arm("ten_times_off", calls=1_000)
    await priced.refresh()
    during = await priced.payment(fiat("10"))
    for _ in range(5):
        await priced.refresh()

    answer = await priced.ask(fiat("10"))

    assert abs(int(during["amount"]["value"]) / int(before["amount"]["value"]) - 1) < 0.01
    assert answer["reason"] == "JUMPED"
    assert len(await priced.till.rows("payment")) == 2


async def test_sources_that_hang_hold_up_no_invoice_and_then_are_refused_at_once(priced: PricedTill) -> None:
    await priced.payment(fiat("10"))
    await priced.round()
    await priced.arm("hang", calls=1_000)
    priced.till.clock.advance(60)
    priced.board.tick()
    for _ in range(5):
        await asyncio.sleep(0)
    hanging = priced.calls  # three that were asked by the board; none of them ever answers

    during = await asyncio.gather(*(priced.payment(fiat("10")) for _ in range(20)))
    priced.till.clock.advance(301)
    after = await asyncio.gather(*(priced.ask(fiat("10")) for _ in range(20)))

    assert hanging == 6
    assert {payment["status"] for payment in during} == {"PENDING_PAYMENT"}
    assert {(answer["__typename"], answer["reason"]) for answer in after} == {("RateUnavailableError", "STALE")}
    assert priced.calls == hanging
    assert [pair.round is not None and not pair.round.done() for pair in priced.board._pairs.values()] == [True]
    assert len(await priced.till.rows("payment")) == 21


async def test_bitcoin_prices_need_no_source(priced: PricedTill) -> None:
    await priced.arm("hang", calls=1_000)

    made = await priced.payment({"sat": "10"})

    assert made["status"] == "PENDING_PAYMENT"
    assert priced.calls == 0


async def test_many_first_invoices_share_one_round(priced: PricedTill) -> None:
    made = await asyncio.gather(*(priced.payment(fiat("10")) for _ in range(20)))
    await priced.round()

    assert len({payment["id"] for payment in made}) == 20
    assert [source.calls for source in priced.sources] == [1, 1, 1]


async def test_a_merchant_is_told_the_rate_and_everybody_else_what_is_known(priced: PricedTill) -> None:
    shop = priced.till.shop

    unknown = await shop.run(RATE, {"quote": "usd"}, as_=ANONYMOUS)
    asked_for_a_stranger = priced.calls
    told = (await shop.run(RATE, {"quote": "usd"}))["rate"]
    await priced.round()
    known = (await shop.run(RATE, {"quote": "usd"}, as_=ANONYMOUS))["rate"]

    assert (unknown, asked_for_a_stranger) == ({"rate": None}, 0)
    assert abs(Decimal(told["value"]) / priced.value() - 1) < Decimal("0.001")
    assert Decimal(known["value"]) == priced.value()
    assert known["sources"] == ["coinbase", "coingecko", "kraken"]


@pytest.mark.parametrize("quote", ["XXX", "BTC", "", "USD,EUR", "u\x00d"])
async def test_there_is_no_rate_of_what_is_no_currency(priced: PricedTill, quote: str) -> None:
    assert await priced.till.shop.run(RATE, {"quote": quote}) == {"rate": None}
    assert priced.calls == 0


async def test_without_sources_there_is_no_rate(till: Any) -> None:
    assert await till.shop.run(RATE, {"quote": "USD"}) == {"rate": None}


async def watching(till: Any, quote: str = "USD", *, as_: Principal | None = None) -> Any:
    return await schema.subscribe(UPDATED, {"quote": quote}, till.shop.context(as_))


async def next_of(stream: Any) -> dict[str, Any]:
    async with asyncio.timeout(5):
        result = await anext(stream)
    assert result.errors is None, result.errors
    update: dict[str, Any] = result.data["rateUpdated"]
    return update


async def test_who_watches_a_rate_is_told_what_is_and_what_becomes_of_it(priced: PricedTill) -> None:
    await priced.till.shop.run(RATE, {"quote": "USD"})
    await priced.round()
    async with aclosing(await watching(priced.till)) as stream:
        first = await next_of(stream)
        priced.till.clock.advance(3_600)
        await priced.round()
        moved = await next_of(stream)
        value = priced.value()
        await priced.arm("unavailable", calls=1_000)
        priced.till.clock.advance(301)
        await priced.round()
        gone = await next_of(stream)
        while gone.get("reason") == "STALE":  # told before the sources were asked in vain
            gone = await next_of(stream)
        priced.till.rails.faults.clear("prices")
        priced.till.clock.advance(300)
        await priced.round()
        back = await next_of(stream)

    assert first["__typename"] == moved["__typename"] == back["__typename"] == "Rate"
    assert first["value"] != moved["value"]
    assert Decimal(moved["value"]) == value
    assert gone == {
        "__typename": "RateUnavailableError",
        "code": "RATE_UNAVAILABLE",
        "base": "BTC",
        "quote": "USD",
        "reason": "NO_ANSWER",
        "retryable": True,
    }


async def test_a_rate_is_watched_without_more_calls_however_many_watch(priced: PricedTill) -> None:
    streams = [await watching(priced.till) for _ in range(10)]
    told = [await next_of(stream) for stream in streams]
    await priced.round()

    assert {update["__typename"] for update in told} == {"Rate"}
    assert [source.calls for source in priced.sources] == [1, 1, 1]
    for stream in streams:
        await stream.aclose()
    assert [len(pair.watchers) for pair in priced.board._pairs.values()] == [0]


async def test_what_is_no_currency_is_told_once(priced: PricedTill) -> None:
    async with aclosing(await watching(priced.till, "XXX")) as stream:
        assert (await next_of(stream))["reason"] == "UNKNOWN_PAIR"
        with pytest.raises(StopAsyncIteration):
            await anext(stream)


@pytest.mark.parametrize("scopes", [frozenset(), frozenset({Scope.ARTICLES_WRITE})])
async def test_only_a_merchant_has_sources_asked_again_and_again(priced: PricedTill, scopes: frozenset[Scope]) -> None:
    merchant_id = priced.till.shop.principal.merchant_id
    who = ANONYMOUS if not scopes else Principal(merchant_id=merchant_id, scopes=scopes)

    error = await refused(priced.till, UPDATED, {"quote": "USD"}, as_=who)

    assert error == "PermissionDenied"
    assert priced.calls == 0
