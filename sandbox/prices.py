"""A price source that speaks CoinGecko's simple price call; its price moves in sandbox time and can be broken."""

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
from quittance.sandbox.faults import FaultKind, Faults

RAIL: Final = "prices"
ROOT: Final = "/api/v3"
METHOD: Final = "simple/price"
METHODS: Final = frozenset({METHOD})

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
    "text": ("The price is a string.", lambda price: f'"{price}"'),
    "inverted": ("The price is of the currency in coins.", lambda price: f"{1 / price:.12f}"),
    "ten_times_off": ("The price is ten times too high.", lambda price: f"{price * 10}"),
}


def _kind(name: str, description: str, *, seconds: float | None = None) -> FaultKind:
    return FaultKind(rail=RAIL, name=name, description=description, seconds=seconds)


KINDS: Final = (
    *(_kind(name, description) for name, (description, _) in _BROKEN_PRICES.items()),
    _kind("missing", "The currency is left out of the answer, as CoinGecko does for one that it does not know."),
    _kind("stale", "last_updated_at lies a day back."),
    _kind("garbage", "The answer is not JSON."),
    _kind("rate_limited", "The answer is 429."),
    _kind("unavailable", "The answer is 503."),
    _kind("delay", "The answer comes after `seconds`.", seconds=1.0),
    _kind("hang", "The answer does not come for an hour.", seconds=3_600.0),
)


def price(coin: str, currency: str, *, at: datetime) -> Decimal | None:
    """Return a price in whole currency units with two places, the same for everybody who asks within one minute."""
    middle = _PRICES.get(coin, {}).get(currency)
    if middle is None:
        return None
    minute = int(at.timestamp()) // _UPDATE_S
    wave = Decimal(round(math.sin(minute * _UPDATE_S * math.tau / _DAY_S) * 10_000)) / 10_000
    return (middle + middle * wave / _SWING).quantize(Decimal("0.01"))


class PriceSource:
    """Answers ``GET /api/v3/simple/price``."""

    def __init__(self, *, clock: SandboxClock, faults: Faults) -> None:
        self._clock = clock
        self._faults = faults

    def app(self) -> Starlette:
        return Starlette(routes=[Route(f"{ROOT}/{METHOD}", self._simple_price)])

    async def _simple_price(self, request: Request) -> Response:
        ids, currencies = request.query_params.get("ids"), request.query_params.get("vs_currencies")
        if not ids or not currencies:
            return _json('{"error":"Missing parameter ids or vs_currencies"}', status=422)
        fault = self._faults.take(RAIL, *(kind.name for kind in KINDS), method=METHOD)
        name = fault.kind.name if fault is not None else ""
        if fault is not None and name in ("delay", "hang"):
            await asyncio.sleep(fault.seconds)
        if name == "rate_limited":
            return _json('{"status":{"error_code":429,"error_message":"You\'ve exceeded the Rate Limit."}}', status=429)
        if name == "unavailable":
            return Response("Service Unavailable", status_code=503)
        if name == "garbage":
            return _json("<html>one moment please</html>")
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
                text = _BROKEN_PRICES[fault][1](value) if fault in _BROKEN_PRICES else f"{value}"
                members.append(f'"{currency.lower()}":{text}')
        if dated:
            updated_at_s = int(now.timestamp()) // _UPDATE_S * _UPDATE_S - (_STALE_S if fault == "stale" else 0)
            members.append(f'"last_updated_at":{updated_at_s}')
        return f'"{coin}":{{{",".join(members)}}}'


def _json(text: str, *, status: int = 200) -> Response:
    return Response(text, status_code=status, media_type="application/json")
