"""Prices from CoinGecko, and from everybody who speaks its simple price call (sheet 4.1)."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

import httpx

from quittance.domain.rate import Rate
from quittance.providers.rates.reader import JsonReader, members, price_in_number

PATH: Final = "/api/v3"
_PAID_HOST: Final = "pro-api.coingecko.com"
_COINS: Final[Mapping[str, str]] = {"BTC": "bitcoin", "LTC": "litecoin"}


class CoinGecko:
    """Reads ``/simple/price``. The client's base address is the root of the service, such as ``…/api/v3``."""

    name = "coingecko"

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._reader = JsonReader(http, source=self.name)

    async def rate(self, base: str, quote: str) -> Rate | None:
        """Return the newest price, exactly as written and with its own time, or None for a pair it does not know.

        Raises:
            ProviderUnavailable: no answer, or one that cannot be a price.
        """
        coin = _COINS.get(base)
        if coin is None or not (quote.isascii() and quote.isalnum()):
            return None
        currency = quote.lower()
        query = {"ids": coin, "vs_currencies": currency, "include_last_updated_at": "true", "precision": "full"}
        read = await self._reader.read("/simple/price", query, lambda body: _pick(body, coin, currency))
        if read is None:
            return None
        return Rate(base=base, quote=quote, value=read[0], observed_at=read[1], source=self.name)


def key_header(url: str) -> str:
    """Return the header that carries a key to this root: the paid one has a name of its own."""
    return "x-cg-pro-api-key" if httpx.URL(url).host == _PAID_HOST else "x-cg-demo-api-key"


def _pick(body: object, coin: str, currency: str) -> tuple[Decimal, datetime] | None:
    """Return a price and its time, or ``None`` where CoinGecko leaves a currency out: it does not know it."""
    row = members(members(body)[coin])
    if currency not in row:
        return None
    seen_at_s = row["last_updated_at"]
    if not isinstance(seen_at_s, Decimal):
        raise TypeError("the time of a price is a number")
    return price_in_number(row[currency]), datetime.fromtimestamp(int(seen_at_s), UTC)
