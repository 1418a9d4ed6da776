"""How every source is read: one GET, a capped body, exact numbers, and one error for whatever goes wrong."""

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Final, TypeVar

import httpx

from quittance.domain.errors import ProviderUnavailable

TIMEOUT_S: Final = 5.0
BODY_BYTES_MAX: Final = 65_536
_VALUE_MAX: Final = Decimal(10) ** 18
_VALUE_MIN: Final = Decimal(10) ** -18
_DIGITS_MAX: Final = 40
_PLAIN: Final = re.compile(r"\d{1,20}(\.\d{1,30})?", re.ASCII)

T = TypeVar("T")


class JsonReader:
    """Reads one source. The client's base address is the root of the service."""

    def __init__(self, http: httpx.AsyncClient, *, source: str) -> None:
        self._http = http
        self._source = source

    async def read(self, path: str, query: Mapping[str, str], pick: Callable[[object], T]) -> T:
        """Return what ``pick`` finds in the answer; all of it within ``TIMEOUT_S``.

        ``pick`` is given the parsed body, its numbers as decimals, and may raise whatever indexing raises.

        Raises:
            ProviderUnavailable: no answer, or one that makes no sense.
        """
        try:
            async with asyncio.timeout(TIMEOUT_S):
                body = await self._fetch(path, query)
            return pick(json.loads(body, parse_float=Decimal, parse_int=Decimal, parse_constant=_refuse))
        except (httpx.HTTPError, httpx.StreamError, TimeoutError) as error:
            raise ProviderUnavailable(self._source) from error
        except (ArithmeticError, LookupError, OSError, RecursionError, TypeError, ValueError) as error:
            raise ProviderUnavailable(self._source) from error

    async def _fetch(self, path: str, query: Mapping[str, str]) -> bytes:
        content = bytearray()
        async with self._http.stream("GET", path, params=query, timeout=TIMEOUT_S, follow_redirects=False) as response:
            if not response.is_success:
                raise ValueError(f"the answer's status is {response.status_code}")
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > BODY_BYTES_MAX:
                    raise ValueError("the answer is too long")
        return bytes(content)


def members(value: object) -> dict[str, object]:
    """Return a JSON object's members.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(value, dict):
        raise TypeError("a JSON object was expected")
    return value


def price_in_number(value: object) -> Decimal:
    """Return a price that is written as a JSON number, exactly.

    Raises:
        TypeError, ValueError: it is something else, or no price is that low, that high or that long.
    """
    if not isinstance(value, Decimal):
        raise TypeError("a price is a number")
    return _checked(value)


def price_in_text(value: object) -> Decimal:
    """Return a price that is written as a JSON string of plain digits; raises as ``price_in_number``."""
    if not isinstance(value, str):
        raise TypeError("a price is a string")
    if _PLAIN.fullmatch(value) is None:
        raise ValueError("a price is written in plain digits")
    return _checked(Decimal(value))


def _checked(value: Decimal) -> Decimal:
    if not _VALUE_MIN <= value <= _VALUE_MAX or len(value.as_tuple().digits) > _DIGITS_MAX:
        raise ValueError("no price is that low, that high or that long")
    return value


def _refuse(constant: str) -> Decimal:
    raise InvalidOperation(f"{constant} is no number")
