"""Price sources that speak the wires of CoinGecko, Kraken and Coinbase (sheet 4).

Their prices lie a little apart and move together in sandbox time. Each can be broken alone: its call is the fault's
method.
"""

import asyncio
import math
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from quittance.sandbox.clock import SandboxClock
from quittance.sandbox.coordinates import PRICES_PATH
from quittance.sandbox.faults import FaultKind, Faults

RAIL: Final = "prices"
ROOT: Final = PRICES_PATH
METHOD: Final = "simple/price"
KRAKEN: Final = "Ticker"
COINBASE: Final = "exchange-rates"
METHODS: Final = frozenset({METHOD, KRAKEN, COINBASE})

_PRICES: Final[Mapping[str, Mapping[str, Decimal]]] = {
    "bitcoin": {
        "usd": Decimal(95_000),
        "eur": Decimal(87_000),
        "gbp": Decimal(74_000),
        "chf": Decimal(84_000),
        "jpy": Decimal(14_200_000),
        "kwd": Decimal(29_100),
        "huf": Decimal(34_500_000),
    },
    "litecoin": {"usd": Decimal(110), "eur": Decimal(101)},
}
_APART: Final[Mapping[str, Decimal]] = {METHOD: Decimal(1), KRAKEN: Decimal("1.0004"), COINBASE: Decimal("0.9994")}
_KRAKEN_COINS: Final[Mapping[str, str]] = {"XBT": "bitcoin", "LTC": "litecoin"}
_COINBASE_COINS: Final[Mapping[str, str]] = {"BTC": "bitcoin", "LTC": "litecoin"}
_UPDATE_S: Final = 60
_DAY_S: Final = 86_400
_SWING: Final = 200  # the price moves by one part in 200 around its middle within a day
_STALE_S: Final = 86_400

_Breaking = Callable[[Decimal], str]
_BROKEN_PRICES: Final[Mapping[str, tuple[str, _Breaking]]] = {
    "zero": ("The price is 0.", lambda _: "0"),
    "negative": ("The price is below 0.", lambda price: f"-{price}"),
    "not_a_number": ("The price is NaN, which is not even JSON.", lambda _: "NaN"),
    "null": ("The price is null.", lambda _: "null"),
    "text": ("The price is a string for a number, or a number for a string.", lambda price: f'"{price}"'),
    "inverted": ("The price is of the currency in coins.", lambda price: f"{1 / price:.12f}"),
    "ten_times_off": ("The price is ten times too high.", lambda price: f"{price * 10}"),
}


def _kind(
    name: str, description: str, *, seconds: float | None = None, methods: frozenset[str] = frozenset()
) -> FaultKind:
    return FaultKind(rail=RAIL, name=name, description=description, seconds=seconds, methods=methods)


KINDS: Final = (
    *(_kind(name, description) for name, (description, _) in _BROKEN_PRICES.items()),
    _kind("missing", "The currency is left out of the answer, as for one that the source does not know."),
    _kind("stale", "last_updated_at lies a day back; the others do not say.", methods=frozenset({METHOD})),
    _kind("garbage", "The answer is not JSON."),
    _kind("rate_limited", "The answer is 429; Kraken's is 200 and says so."),
    _kind("unavailable", "The answer is 503."),
    _kind("delay", "The answer comes after `seconds`.", seconds=1.0),
    _kind("hang", "The answer does not come for an hour.", seconds=3_600.0),
)


def price(coin: str, currency: str, *, at: datetime, source: str = METHOD) -> Decimal | None:
    """Return a price in whole currency units with two places, the same for everybody who asks within one minute."""
    middle = _PRICES.get(coin, {}).get(currency)
    if middle is None:
        return None
    minute = int(at.timestamp()) // _UPDATE_S
    wave = Decimal(round(math.sin(minute * _UPDATE_S * math.tau / _DAY_S) * 10_000)) / 10_000
    return ((middle + middle * wave / _SWING) * _APART[source]).quantize(Decimal("0.01"))


class PriceSource:
    """Answers ``GET /api/v3/simple/price``, ``/0/public/Ticker`` and ``/v2/exchange-rates``."""

    def __init__(self, *, clock: SandboxClock, faults: Faults) -> None:
        self._clock = clock
        self._faults = faults

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route(f"{ROOT}/{METHOD}", self._simple_price),
                Route(f"/0/public/{KRAKEN}", self._ticker),
                Route(f"/v2/{COINBASE}", self._exchange_rates),
            ]
        )

    async def _simple_price(self, request: Request) -> Response:
        ids, currencies = request.query_params.get("ids"), request.query_params.get("vs_currencies")
        if not ids or not currencies:
            return _json('{"error":"Missing parameter ids or vs_currencies"}', status=422)
        name = await self._fault(METHOD)
        if name == "rate_limited":
            return _json('{"status":{"error_code":429,"error_message":"You\'ve exceeded the Rate Limit."}}', status=429)
        if (broken := _broken_answer(name)) is not None:
            return broken
        dated = request.query_params.get("include_last_updated_at") == "true"
        rows = (self._row(coin, currencies.split(","), fault=name, dated=dated) for coin in ids.split(","))
        return _json("{" + ",".join(row for row in rows if row) + "}")

    def _row(self, coin: str, currencies: list[str], *, fault: str, dated: bool) -> str:
        if coin not in _PRICES:
            return ""
        now = self._clock.now()
        members = []
        for currency in currencies:
            value = price(coin, currency.lower(), at=now)
            if value is not None and fault != "missing":
                members.append(f'"{currency.lower()}":{_written(value, fault)}')
        if dated:
            updated_at_s = int(now.timestamp()) // _UPDATE_S * _UPDATE_S - (_STALE_S if fault == "stale" else 0)
            members.append(f'"last_updated_at":{updated_at_s}')
        return f'"{coin}":{{{",".join(members)}}}'

    async def _ticker(self, request: Request) -> Response:
        pair = request.query_params.get("pair") or ""
        name = await self._fault(KRAKEN)
        if name == "rate_limited":
            return _json('{"error":["EAPI:Rate limit exceeded"]}')
        if (broken := _broken_answer(name)) is not None:
            return broken
        coin, currency = _KRAKEN_COINS.get(pair[:3], ""), pair[3:].lower()
        value = price(coin, currency, at=self._clock.now(), source=KRAKEN)
        if value is None or name == "missing":
            return _json('{"error":["EQuery:Unknown asset pair"]}')
        last = _written_in_text(value, name)
        return _json(f'{{"error":[],"result":{{"X{pair[:3]}Z{pair[3:]}":{{"c":[{last},"0.01000000"]}}}}}}')

    async def _exchange_rates(self, request: Request) -> Response:
        coin = request.query_params.get("currency") or "USD"
        name = await self._fault(COINBASE)
        if name == "rate_limited":
            return _json('{"errors":[{"id":"rate_limit_exceeded","message":"Too many requests"}]}', status=429)
        if (broken := _broken_answer(name)) is not None:
            return broken
        now, known = self._clock.now(), _COINBASE_COINS.get(coin)
        if known is None:
            return _json('{"errors":[{"id":"invalid_request","message":"Currency is invalid"}]}', status=400)
        values = {each: price(known, each, at=now, source=COINBASE) for each in _PRICES[known]}
        rates = [
            f'"{each.upper()}":{_written_in_text(value, name)}'
            for each, value in values.items()
            if value is not None and name != "missing"
        ]
        return _json(f'{{"data":{{"currency":"{coin}","rates":{{{",".join(rates)}}}}}}}')

    async def _fault(self, method: str) -> str:
        """Use up one call of what is armed for this method, wait if it says so, and return its name."""
        fault = self._faults.take(RAIL, *(kind.name for kind in KINDS), method=method)
        if fault is None:
            return ""
        if fault.kind.name in {"delay", "hang"}:
            await asyncio.sleep(fault.seconds)
        return fault.kind.name


def _broken_answer(fault: str) -> Response | None:
    """Return what every source answers alike when it is broken as a whole."""
    if fault == "unavailable":
        return Response("Service Unavailable", status_code=503)
    return _json("<html>one moment please</html>") if fault == "garbage" else None


def _written(value: Decimal, fault: str) -> str:
    return _BROKEN_PRICES[fault][1](value) if fault in _BROKEN_PRICES else f"{value}"


def _written_in_text(value: Decimal, fault: str) -> str:
    """Return a price as sources write it that send strings; wrongly typed ones lose their quotes instead."""
    if fault in {"null", "text"}:
        return "null" if fault == "null" else f"{value}"
    return f'"{_written(value, fault)}"'


def _json(text: str, *, status: int = 200) -> Response:
    return Response(text, status_code=status, media_type="application/json")
