"""Amounts as Strike writes them, and what one currency is worth in another."""

from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Final

from quittance.sandbox import prices
from quittance.sandbox.strike.refusals import Refused, unprocessable

BTC: Final = "BTC"
KNOWN: Final = frozenset({BTC, "USD", "EUR", "USDT", "GBP", "AUD"})
FIAT: Final = ("USD", "EUR", "GBP")
HELD: Final = (BTC, *FIAT)
MSAT_PER_BTC: Final = 10**11
MSAT_PER_SAT: Final = 1_000
_COIN_PLACES: Final = 8
_CASH_PLACES: Final = 2
_RATE_PLACES: Final = 4
_BTC_MAX: Final = Decimal(10)
_VALUE_MAX: Final = Decimal(10**12)  # of any currency: enough to be told that it is too much


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """Whole units of a currency, with the places in which they were said."""

    value: Decimal
    currency: str

    def shown(self) -> dict[str, str]:
        return {"amount": plain(self.value), "currency": self.currency}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """What one unit of ``source`` is in ``target``."""

    value: Decimal
    source: str
    target: str

    def shown(self) -> dict[str, str]:
        return {"amount": plain(self.value), "sourceCurrency": self.source, "targetCurrency": self.target}


def plain(value: Decimal) -> str:
    """Return a number without an exponent, with the places that it has."""
    return f"{value:f}"


def places_of(currency: str) -> int:
    return _COIN_PLACES if currency == BTC else _CASH_PLACES


def rounded(value: Decimal, currency: str, *, up: bool) -> Decimal:
    """Return ``value`` in the smallest units that an account counts: satoshi or cents."""
    return value.quantize(Decimal(1).scaleb(-places_of(currency)), ROUND_CEILING if up else ROUND_FLOOR)


def btc_of_msat(amount_msat: int, *, up: bool = True) -> Decimal:
    """Return an amount in whole coins; a part of a satoshi counts as one, or else as nothing."""
    sat = -(-amount_msat // MSAT_PER_SAT) if up else amount_msat // MSAT_PER_SAT
    return rounded(Decimal(sat).scaleb(-_COIN_PLACES), BTC, up=True)


def msat_of_btc(value: Decimal) -> int:
    return int(value.scaleb(11))


def rate(source: str, target: str, *, at: datetime) -> Rate:
    """Return the price at which Strike changes money: four places towards cash, eight towards coins.

    Raises:
        Refused: one of the two has no price.
    """
    if source == target:
        return Rate(value=Decimal("1.0000"), source=source, target=target)
    value = _btc_price(target, at=at) / _btc_price(source, at=at)
    places = _COIN_PLACES if target == BTC else _RATE_PLACES
    return Rate(value=value.quantize(Decimal(1).scaleb(-places)), source=source, target=target)


def converted(money: Money, target: str, *, at: datetime, up: bool) -> Money:
    """Return the same in another currency, rounded to its smallest unit.

    The price of a coin is used in both directions: the eight places of its inverse are too few to calculate with.

    Raises:
        Refused: one of the two has no price.
    """
    if money.currency == target:
        return money
    value = money.value * _btc_price(target, at=at) / _btc_price(money.currency, at=at)
    return Money(value=rounded(value, target, up=up), currency=target)


def check_amount(money: Money, *, at: datetime) -> None:
    """Accept an amount that can be asked for or paid.

    Raises:
        Refused: it is none, of too many places, too little or too much.
    """
    if not money.value > 0:
        raise unprocessable("INVALID_AMOUNT", "Amount must be greater than zero.")
    if money.value > _VALUE_MAX:
        raise unprocessable("AMOUNT_TOO_HIGH", "Amount is too high.")
    exponent = money.value.as_tuple().exponent
    if not isinstance(exponent, int) or -exponent > places_of(money.currency):
        raise unprocessable("INVALID_AMOUNT", "Amount has too many decimal places.")
    value_btc = converted(money, BTC, at=at, up=False).value
    if value_btc <= 0:
        raise unprocessable("AMOUNT_TOO_LOW", "Amount is too low.")
    if value_btc > _BTC_MAX:
        raise unprocessable("AMOUNT_TOO_HIGH", "Amount is too high.")


def _btc_price(currency: str, *, at: datetime) -> Decimal:
    if currency == BTC:
        return Decimal(1)
    price = prices.price("bitcoin", currency.lower(), at=at)
    if price is None:
        raise _no_price(currency)
    return price


def _no_price(currency: str) -> Refused:
    return unprocessable("EXCHANGE_RATE_NOT_AVAILABLE", f"No exchange rate for {currency}.")
