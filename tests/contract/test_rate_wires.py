"""Kraken and Coinbase are read exactly, and what cannot be a price is refused, as with CoinGecko."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from quittance.domain.errors import ProviderUnavailable
from quittance.providers.rates.base import RateSource
from quittance.providers.rates.coinbase import Coinbase
from quittance.providers.rates.coingecko import key_header
from quittance.providers.rates.kraken import Kraken
from quittance.sandbox import prices
from quittance.sandbox.coordinates import SandboxCoordinates
from quittance.sandbox.rails import SandboxRails
from quittance.server.rates import RateSourcesOnDemand
from quittance.server.settings import Settings

NOW = datetime(2026, 3, 1, tzinfo=UTC)
TICKER = '{"error":[],"result":{"XXBTZUSD":{"a":["95010.1","1","1.0"],"c":["95000.10000","0.01"]}}}'
TABLE = '{"data":{"currency":"BTC","rates":{"USD":"94950.55","EUR":"87000"}}}'

Answering = Callable[[str], RateSource]


def _client(body: str, status: int) -> httpx.AsyncClient:
    transport = httpx.MockTransport(lambda _: httpx.Response(status, text=body))
    return httpx.AsyncClient(transport=transport, base_url="http://localhost")


def kraken(body: str, *, status: int = 200) -> Kraken:
    return Kraken(_client(body, status), now=lambda: NOW)


def coinbase(body: str, *, status: int = 200) -> Coinbase:
    return Coinbase(_client(body, status), now=lambda: NOW)


@pytest.fixture
async def sources(rails: SandboxRails, tmp_path: Path) -> AsyncIterator[dict[str, RateSource]]:
    settings = Settings(state_dir=tmp_path, _env_file=None)  # type: ignore[call-arg]
    opened = RateSourcesOnDemand(settings, rails.coordinates, now=rails.clock.now)
    yield {source.name: source for source in opened()}
    await opened.aclose()


METHODS = {"coingecko": prices.METHOD, "kraken": prices.KRAKEN, "coinbase": prices.COINBASE}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(("pair", "coin"), [(("BTC", "USD"), "bitcoin"), (("LTC", "EUR"), "litecoin")])
async def test_each_source_of_the_sandbox_has_its_own_price(
    rails: SandboxRails, sources: dict[str, RateSource], name: str, pair: tuple[str, str], coin: str
) -> None:
    before = rails.clock.now()
    rate = await sources[name].rate(*pair)

    assert rate is not None
    assert (rate.base, rate.quote, rate.source) == (*pair, name)
    assert rate.value == prices.price(coin, pair[1].lower(), at=before, source=METHODS[name])
    assert (before - rate.observed_at).total_seconds() <= 60


async def test_the_sources_of_the_sandbox_lie_apart_but_not_far(rails: SandboxRails) -> None:
    at = rails.clock.now()
    values = [prices.price("bitcoin", "usd", at=at, source=method) for method in METHODS.values()]

    low, high = min(value for value in values if value), max(value for value in values if value)
    assert len(set(values)) == 3
    assert high / low < Decimal("1.002")


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("pair", [("BTC", "XXX"), ("DOGE", "USD"), ("LTC", "JPY")])
async def test_an_unknown_pair_has_no_rate(sources: dict[str, RateSource], name: str, pair: tuple[str, str]) -> None:
    assert await sources[name].rate(*pair) is None


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(
    "fault", ["zero", "negative", "not_a_number", "null", "text", "garbage", "rate_limited", "unavailable"]
)
async def test_a_fault_meets_the_one_source_that_it_names(
    rails: SandboxRails, sources: dict[str, RateSource], name: str, fault: str
) -> None:
    await rails.faults.arm("prices", fault, method=METHODS[name])

    for other in METHODS.keys() - {name}:
        assert await sources[other].rate("BTC", "USD") is not None
    with pytest.raises(ProviderUnavailable):
        await sources[name].rate("BTC", "USD")
    assert await sources[name].rate("BTC", "USD") is not None


@pytest.mark.parametrize("name", METHODS)
async def test_a_currency_that_is_left_out_has_no_rate(
    rails: SandboxRails, sources: dict[str, RateSource], name: str
) -> None:
    await rails.faults.arm("prices", "missing", method=METHODS[name])

    assert await sources[name].rate("BTC", "USD") is None


async def test_prices_in_text_are_read_as_written() -> None:
    last, tabled = await kraken(TICKER).rate("BTC", "USD"), await coinbase(TABLE).rate("BTC", "USD")

    assert last is not None
    assert tabled is not None
    assert (last.value, last.observed_at) == (Decimal("95000.10000"), NOW)
    assert (tabled.value, tabled.observed_at) == (Decimal("94950.55"), NOW)


HOSTILE_PRICES = [
    '"1e5"',
    '"0"',
    '"-1"',
    '"NaN"',
    '"Infinity"',
    '""',
    '"1,000"',
    '"٣"',
    "95000.1",
    "null",
    "true",
    "[]",
]


@pytest.mark.parametrize("price", [*HOSTILE_PRICES, f'"{"9" * 21}"', f'"1.{"1" * 31}"'])
async def test_what_is_no_price_is_refused(price: str) -> None:
    with pytest.raises(ProviderUnavailable):
        await kraken(f'{{"error":[],"result":{{"XXBTZUSD":{{"c":[{price},"1"]}}}}}}').rate("BTC", "USD")
    with pytest.raises(ProviderUnavailable):
        await coinbase(f'{{"data":{{"currency":"BTC","rates":{{"USD":{price}}}}}}}').rate("BTC", "USD")


@pytest.mark.parametrize(
    "body",
    [
        "[]",
        "{}",
        "5",
        "null",
        '{"error":["EGeneral:Internal error"],"result":{}}',
        '{"error":["EQuery:Unknown asset pair","EService:Busy"]}',
        '{"error":null,"result":{}}',
        '{"error":[],"result":{}}',
        '{"error":[],"result":{"A":{"c":["1","1"]},"B":{"c":["2","1"]}}}',
        '{"error":[],"result":{"A":{"c":[]}}}',
        '{"error":[],"result":{"A":{"c":"12"}}}',
        "[" * 100_000,
        TICKER + " " * 70_000,
    ],
)
async def test_hostile_tickers_are_refused(body: str) -> None:
    with pytest.raises(ProviderUnavailable):
        await kraken(body).rate("BTC", "USD")


@pytest.mark.parametrize(
    "body",
    [
        "[]",
        "{}",
        '{"data":[]}',
        '{"data":{"rates":{"USD":"1"}}}',
        '{"data":{"currency":"ETH","rates":{"USD":"1"}}}',
        '{"data":{"currency":"BTC","rates":[]}}',
        TABLE + " " * 70_000,
    ],
)
async def test_hostile_tables_are_refused(body: str) -> None:
    with pytest.raises(ProviderUnavailable):
        await coinbase(body).rate("BTC", "USD")


async def test_a_redirect_is_not_followed() -> None:
    for source in (kraken(TICKER, status=302), coinbase(TABLE, status=302)):
        with pytest.raises(ProviderUnavailable):
            await source.rate("BTC", "USD")


@pytest.mark.parametrize(
    ("url", "header"),
    [
        ("https://api.coingecko.com/api/v3", "x-cg-demo-api-key"),
        ("https://pro-api.coingecko.com/api/v3", "x-cg-pro-api-key"),
        ("https://pro-api.coingecko.com.evil.example/api/v3", "x-cg-demo-api-key"),
    ],
)
def test_a_key_goes_into_the_header_of_its_root(url: str, header: str) -> None:
    assert key_header(url) == header


async def test_the_key_goes_to_coingecko_alone_and_is_not_shown(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path, coingecko_api_key=SecretStr("CG-secret"), _env_file=None)  # type: ignore[call-arg]
    opened = RateSourcesOnDemand(settings, None, now=lambda: NOW)

    names = [source.name for source in opened()]

    sent = {str(client.base_url): client.headers.get("x-cg-demo-api-key") for client in opened._clients}
    await opened.aclose()
    assert names == ["coingecko", "kraken", "coinbase"]
    assert sent == {
        "https://api.coingecko.com/api/v3/": "CG-secret",
        "https://api.kraken.com": None,
        "https://api.coinbase.com": None,
    }
    assert "CG-secret" not in repr(settings)


async def test_sources_that_rails_bring_come_last(rails: SandboxRails, tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path, rates_sources=["kraken"], _env_file=None)  # type: ignore[call-arg]
    ticker = kraken(TICKER)

    opened = RateSourcesOnDemand(settings, rails.coordinates, now=rails.clock.now, more=[ticker])

    assert opened.names == ["kraken", "kraken"]
    assert opened()[-1] is ticker
    await opened.aclose()


def test_where_prices_are_found_is_told_by_the_address_of_coingecko(rails: SandboxRails) -> None:
    coordinates: SandboxCoordinates = rails.coordinates

    assert coordinates.prices_url == coordinates.prices_root + prices.ROOT
