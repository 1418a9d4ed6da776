"""Whatever a price source sends: a price that can be one, nothing for an unknown pair, or a typed failure."""

import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from quittance.domain.errors import ProviderUnavailable
from quittance.providers.rates.base import RateSource
from quittance.providers.rates.coinbase import Coinbase
from quittance.providers.rates.coingecko import CoinGecko
from quittance.providers.rates.kraken import Kraken

NAMES = ("bitcoin", "usd", "last_updated_at", "error", "result", "XXBTZUSD", "c", "data", "currency", "rates", "USD")
GOOD: tuple[dict[str, Any], ...] = (
    {"bitcoin": {"usd": 95_000.5, "last_updated_at": 1_711_356_300}},
    {"error": [], "result": {"XXBTZUSD": {"c": ["95000.5", "1"]}}},
    {"data": {"currency": "BTC", "rates": {"USD": "95000.5"}}},
)

leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8),
    st.from_regex(r"-?[0-9]{1,30}(\.[0-9]+)?"), st.just("BTC"), st.integers(10**300, 10**301),
)  # fmt: skip
answers = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)


def sources(body: bytes) -> list[RateSource]:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=body))
    http = httpx.AsyncClient(transport=transport, base_url="http://localhost", trust_env=False)
    now = datetime(2026, 3, 1, tzinfo=UTC)
    return [CoinGecko(http), Kraken(http, now=lambda: now), Coinbase(http, now=lambda: now)]


async def check(body: bytes) -> int:
    """Ask every source, and return how many gave a price."""
    found = 0
    for source in sources(body):
        try:
            rate = await source.rate("BTC", "USD")
        except ProviderUnavailable:
            continue
        if rate is not None:
            assert rate.value.is_finite()
            assert rate.value > 0
            assert rate.observed_at.tzinfo is not None
            found += 1
    return found


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(answer=answers)
@example(answer={"bitcoin": {"usd": 1, "last_updated_at": 10**30}})
@example(answer={"bitcoin": {"usd": 1, "last_updated_at": -(10**12)}})
@example(answer={"bitcoin": {"usd": 1, "last_updated_at": 1e300}})
async def test_no_json_gets_through_that_is_no_price(answer: Any) -> None:
    assert await check(json.dumps(answer).encode()) <= 1


@settings(max_examples=100, deadline=None)
@given(body=st.binary(max_size=200))
async def test_no_bytes_get_through_that_are_no_price(body: bytes) -> None:
    await check(body)


@settings(max_examples=100, deadline=None)
@given(
    number=st.integers(0, len(GOOD) - 1),
    place=st.integers(0, 200),
    byte=st.integers(0, 255),
)
async def test_a_good_answer_with_one_wrong_byte_is_a_price_or_refused(number: int, place: int, byte: int) -> None:
    body = bytearray(json.dumps(GOOD[number]).encode())
    body[place % len(body)] = byte

    await check(bytes(body))


@pytest.mark.parametrize("answer", GOOD)
async def test_each_good_answer_is_one_sources_own(answer: dict[str, Any]) -> None:
    assert await check(json.dumps(answer).encode()) == 1
