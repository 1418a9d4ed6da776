"""Rates from Strike's ticker."""

from decimal import Decimal
from typing import Any

import httpx
import pytest
from tests.contract.strike.scripted import START, TICKER, Clock, ScriptedStrike, html_403, no, ok

from quittance.domain.errors import ProviderUnavailable
from quittance.domain.rate import Rate
from quittance.providers.strike.rates import StrikeTicker


def row(amount: Any, source: str = "BTC", target: str = "USD") -> dict[str, Any]:
    return {"amount": amount, "sourceCurrency": source, "targetCurrency": target}


ROWS = [row("0.00004697", "USD", "BTC"), row("21283.6006"), row("1.0000", "USD", "USDT"), row("19000", target="EUR")]


@pytest.fixture
def strike() -> ScriptedStrike:
    scripted = ScriptedStrike()
    scripted.answer(TICKER, ok(ROWS))
    return scripted


@pytest.mark.parametrize(
    ("base", "quote", "value"), [("BTC", "USD", "21283.6006"), ("USD", "BTC", "0.00004697"), ("BTC", "EUR", "19000")]
)
async def test_rate_is_the_pair_s_own_exactly_as_written(
    strike: ScriptedStrike, base: str, quote: str, value: str
) -> None:
    rate = await StrikeTicker(strike.client(), now=Clock().now).rate(base, quote)

    assert rate == Rate(base=base, quote=quote, value=Decimal(value), observed_at=START, source="strike")


@pytest.mark.parametrize(("base", "quote"), [("BTC", "CHF"), ("LTC", "USD"), ("USDT", "USD"), ("btc", "usd")])
async def test_pair_that_strike_does_not_have_is_none(strike: ScriptedStrike, base: str, quote: str) -> None:
    assert await StrikeTicker(strike.client(), now=Clock().now).rate(base, quote) is None


@pytest.mark.parametrize(
    "answer",
    [
        *(ok([row(amount)]) for amount in ("0", "-1", "NaN", "Infinity", "1e5", "", None, 21283.6, "1" * 40)),
        ok({}), ok(None), httpx.Response(200, text="<html>"), html_403(), no("UNAUTHORIZED", status=401),
        no("RATE_LIMIT_EXCEEDED", status=429), no("BAD_GATEWAY", status=502), httpx.ReadTimeout("slow"),
    ],
)  # fmt: skip
async def test_what_cannot_be_a_rate_is_no_answer(strike: ScriptedStrike, answer: httpx.Response | Exception) -> None:
    strike.answer(TICKER, answer)

    with pytest.raises(ProviderUnavailable):
        await StrikeTicker(strike.client(), now=Clock().now).rate("BTC", "USD")


async def test_ticker_that_hangs_is_given_up(strike: ScriptedStrike) -> None:
    strike.hang(TICKER)

    with pytest.raises(ProviderUnavailable):
        await StrikeTicker(strike.client(timeout_s=0.05), now=Clock().now).rate("BTC", "USD")
