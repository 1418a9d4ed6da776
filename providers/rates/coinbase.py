"""Prices from Coinbase's table of exchange rates (sheet 4.2)."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Final

import httpx

from quittance.domain.rate import Rate
from quittance.providers.rates.reader import JsonReader, members, price_in_text

PUBLIC_URL: Final = "https://api.coinbase.com"
_COINS: Final = frozenset({"BTC", "LTC"})


class Coinbase:
    """Reads the table of one coin. It has no time of its own, so the moment of the answer is taken."""

    name = "coinbase"

    def __init__(self, http: httpx.AsyncClient, *, now: Callable[[], datetime]) -> None:
        self._reader = JsonReader(http, source=self.name)
        self._now = now

    async def rate(self, base: str, quote: str) -> Rate | None:
        """Return the price in the table, or None for a currency that is not in it.

        Raises:
            ProviderUnavailable: no answer, or one that cannot be a price of this coin.
        """
        if base not in _COINS:
            return None
        value = await self._reader.read("/v2/exchange-rates", {"currency": base}, lambda body: _pick(body, base, quote))
        if value is None:
            return None
        return Rate(base=base, quote=quote, value=value, observed_at=self._now(), source=self.name)


def _pick(body: object, base: str, quote: str) -> Decimal | None:
    data = members(members(body)["data"])
    if data["currency"] != base:
        raise ValueError("the table is of another currency")
    rates = members(data["rates"])
    return price_in_text(rates[quote]) if quote in rates else None
