"""Prices from Kraken's public ticker (sheet 4.2)."""

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final

import httpx

from quittance.domain.rate import Rate
from quittance.providers.rates.reader import JsonReader, members, price_in_text

PUBLIC_URL: Final = "https://api.kraken.com"
_COINS: Final[Mapping[str, str]] = {"BTC": "XBT", "LTC": "LTC"}
_UNKNOWN_PAIR: Final = "EQuery:Unknown asset pair"


class Kraken:
    """Reads the last trade. An answer has no time of its own, so the moment of the answer is taken."""

    name = "kraken"

    def __init__(self, http: httpx.AsyncClient, *, now: Callable[[], datetime]) -> None:
        self._reader = JsonReader(http, source=self.name)
        self._now = now

    async def rate(self, base: str, quote: str) -> Rate | None:
        """Return the price of the last trade, or None for a pair that is not traded there.

        Raises:
            ProviderUnavailable: no answer, an error (with status 200, as always there), or what cannot be a price.
        """
        coin = _COINS.get(base)
        if coin is None or not (quote.isascii() and quote.isalnum()):
            return None
        value = await self._reader.read("/0/public/Ticker", {"pair": f"{coin}{quote}"}, _pick)
        if value is None:
            return None
        return Rate(base=base, quote=quote, value=value, observed_at=self._now(), source=self.name)


def _pick(body: object) -> Decimal | None:
    answer = members(body)
    errors = answer["error"]
    if errors == [_UNKNOWN_PAIR]:
        return None
    if errors != []:
        raise ValueError("the answer is an error")
    (pair,) = members(answer["result"]).values()
    last = members(pair)["c"]
    if not isinstance(last, list):
        raise TypeError("the last trade is a price and a volume")
    return price_in_text(last[0])
