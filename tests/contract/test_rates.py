"""The price source is read exactly, and what cannot be a price is refused."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import httpx
import pytest

from quittance.domain.errors import ProviderUnavailable
from quittance.providers.rates.coingecko import CoinGecko
from quittance.sandbox import prices
from quittance.sandbox.rails import SandboxRails


@pytest.fixture
async def source(rails: SandboxRails) -> AsyncIterator[CoinGecko]:
    async with httpx.AsyncClient(base_url=rails.prices_url) as http:
        yield CoinGecko(http)


def answering(body: str, *, status: int = 200) -> CoinGecko:
    transport = httpx.MockTransport(lambda _: httpx.Response(status, text=body))
    return CoinGecko(httpx.AsyncClient(transport=transport, base_url="http://localhost/api/v3"))


async def test_a_price_is_read_as_written(rails: SandboxRails, source: CoinGecko) -> None:
    rate = await source.rate("BTC", "USD")

    assert rate is not None
    assert rate.value == prices.price("bitcoin", "usd", at=rails.clock.now())
    assert (rate.base, rate.quote, rate.source) == ("BTC", "USD", "coingecko")
    assert timedelta(0) <= rails.clock.now() - rate.observed_at <= timedelta(minutes=2)


async def test_the_price_moves_with_the_sandbox_clock(rails: SandboxRails, source: CoinGecko) -> None:
    first = await source.rate("BTC", "EUR")
    rails.clock.advance(3 * 3600)

    second = await source.rate("BTC", "EUR")

    assert first is not None
    assert second is not None
    assert first.value != second.value
    assert second.observed_at - first.observed_at >= timedelta(hours=3) - timedelta(minutes=1)


async def test_digits_that_no_float_holds_survive() -> None:
    source = answering('{"bitcoin":{"usd":95000.12345678901234567890,"last_updated_at":1711356300}}')

    rate = await source.rate("BTC", "USD")

    assert rate is not None
    assert rate.value == Decimal("95000.12345678901234567890")
    assert rate.observed_at == datetime(2024, 3, 25, 8, 45, tzinfo=UTC)


@pytest.mark.parametrize("pair", [("BTC", "XXX"), ("DOGE", "USD"), ("BTC", "usd,eur")])
async def test_an_unknown_pair_has_no_rate(source: CoinGecko, pair: tuple[str, str]) -> None:
    assert await source.rate(*pair) is None


@pytest.mark.parametrize(
    "fault", ["zero", "negative", "not_a_number", "null", "text", "garbage", "rate_limited", "unavailable"]
)
async def test_what_is_no_price_is_refused(rails: SandboxRails, source: CoinGecko, fault: str) -> None:
    await rails.faults.arm("prices", fault)

    with pytest.raises(ProviderUnavailable):
        await source.rate("BTC", "USD")

    assert await source.rate("BTC", "USD") is not None


async def test_a_stale_price_keeps_its_date(rails: SandboxRails, source: CoinGecko) -> None:
    await rails.faults.arm("prices", "stale")

    rate = await source.rate("BTC", "USD")

    assert rate is not None
    assert rails.clock.now() - rate.observed_at >= timedelta(days=1)


@pytest.mark.parametrize(
    "body",
    [
        "[]",
        "{}",
        "5",
        '{"bitcoin":5}',
        '{"bitcoin":{"usd":1}}',
        '{"bitcoin":{"usd":1,"last_updated_at":1e99}}',
        '{"bitcoin":{"usd":1e999999,"last_updated_at":1711356300}}',
        '{"bitcoin":{"usd":true,"last_updated_at":1711356300}}',
        '{"bitcoin":{"usd":Infinity,"last_updated_at":1711356300}}',
        "[" * 100_000,
        '{"bitcoin":{"usd":1,"last_updated_at":1711356300}}' + " " * 70_000,
    ],
)
async def test_hostile_answers_are_refused(body: str) -> None:
    with pytest.raises(ProviderUnavailable):
        await answering(body).rate("BTC", "USD")


async def test_a_source_that_is_not_there_is_unavailable(rails: SandboxRails) -> None:
    async with httpx.AsyncClient(base_url="http://127.0.0.1:1/api/v3") as http:
        with pytest.raises(ProviderUnavailable):
            await CoinGecko(http).rate("BTC", "USD")
