"""Prices from CoinGecko, and from everybody who speaks its simple price call."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Final

import httpx

from quittance.domain.errors import ProviderUnavailable
from quittance.domain.rate import Rate

_COINS: Final[Mapping[str, str]] = {"BTC": "bitcoin", "LTC": "litecoin"}
_TIMEOUT_S: Final = 5.0
_BODY_BYTES_MAX: Final = 65_536
_VALUE_MAX: Final = Decimal(10) ** 18
_VALUE_MIN: Final = Decimal(10) ** -18


class CoinGecko:
    """Reads ``/simple/price``. The client's base address is the root of the service, such as ``…/api/v3``."""

    name = "coingecko"

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def rate(self, base: str, quote: str) -> Rate | None:
        """Return the newest price, exactly as written, or None for a pair that CoinGecko does not know.

        Raises:
            ProviderUnavailable: no answer, or one that cannot be a price.
        """
        coin = _COINS.get(base)
        if coin is None or not (quote.isascii() and quote.isalnum()):
            return None
        try:
            body = await self._fetch(coin, quote.lower())
            read = _read(body, coin, quote.lower())
        except (httpx.HTTPError, httpx.StreamError, TimeoutError) as error:
            raise ProviderUnavailable(self.name) from error
        except (ArithmeticError, KeyError, OSError, RecursionError, TypeError, ValueError) as error:
            raise ProviderUnavailable(self.name) from error
        if read is None:
            return None
        return Rate(base=base, quote=quote, value=read[0], observed_at=read[1], source=self.name)

    async def _fetch(self, coin: str, currency: str) -> bytes:
        query = {"ids": coin, "vs_currencies": currency, "include_last_updated_at": "true", "precision": "full"}
        content = bytearray()
        async with self._http.stream(
            "GET", "/simple/price", params=query, timeout=_TIMEOUT_S, follow_redirects=False
        ) as response:
            if not response.is_success:
                raise ValueError(f"the answer's status is {response.status_code}")
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > _BODY_BYTES_MAX:
                    raise ValueError("the answer is too long")
        return bytes(content)


def _read(body: bytes, coin: str, currency: str) -> tuple[Decimal, datetime] | None:
    """Return a price and its time, or ``None`` where CoinGecko leaves a currency out: it does not know it."""
    row = json.loads(body, parse_float=Decimal, parse_int=Decimal, parse_constant=_refuse)[coin]
    if isinstance(row, dict) and currency not in row:
        return None
    value, seen_at_s = row[currency], row["last_updated_at"]
    if not (isinstance(value, Decimal) and isinstance(seen_at_s, Decimal)):
        raise TypeError("a price and its time are numbers")
    if not _VALUE_MIN <= value <= _VALUE_MAX:
        raise ValueError("no price is that low or that high")
    return value, datetime.fromtimestamp(int(seen_at_s), UTC)


def _refuse(constant: str) -> Decimal:
    raise InvalidOperation(f"{constant} is no number")
