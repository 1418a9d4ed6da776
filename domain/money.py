"""Money: an integer count of an asset's smallest unit. No float anywhere."""

from dataclasses import dataclass
from decimal import Decimal, Inexact, localcontext
from typing import NewType

from quittance.domain.errors import InvalidAmount

Millisatoshi = NewType("Millisatoshi", int)

MONEY_VALUE_MAX = 2**63 - 1
_MONEY_DIGITS_MAX = len(str(MONEY_VALUE_MAX))
ASSET_SCALE_MAX = 18
_DIGITS = 60


@dataclass(frozen=True, slots=True)
class Asset:
    """What is counted: a code, and how many decimal places its smallest unit has (the Open Payments form)."""

    code: str
    scale: int

    def __post_init__(self) -> None:
        if not (1 <= len(self.code) <= 12 and self.code.isascii() and self.code.isalnum() and self.code.isupper()):
            raise InvalidAmount("an asset code is 1 to 12 capital letters or digits, such as BTC or USD")
        if not 0 <= self.scale <= ASSET_SCALE_MAX:
            raise InvalidAmount(f"an asset scale lies between 0 and {ASSET_SCALE_MAX}")


COIN_SCALE = 8
BTC_MSAT = Asset("BTC", 11)
BTC_SAT = Asset("BTC", COIN_SCALE)
LTC_MSAT = Asset("LTC", 11)
LTC_LITOSHI = Asset("LTC", COIN_SCALE)


@dataclass(frozen=True, slots=True)
class Money:
    """``value`` smallest units of ``asset``; for Lightning that is millisatoshi."""

    value: int
    asset: Asset

    def __add__(self, other: "Money") -> "Money":
        return Money(self.value + self._same(other), self.asset)

    def __sub__(self, other: "Money") -> "Money":
        return Money(self.value - self._same(other), self.asset)

    def _same(self, other: "Money") -> int:
        if other.asset != self.asset:
            raise ValueError(f"cannot mix {self.asset} and {other.asset}")
        return other.value

    @property
    def decimal(self) -> Decimal:
        """The exact amount in whole units of the asset, with all its places."""
        with localcontext() as context:
            context.prec = _DIGITS
            return Decimal(self.value).scaleb(-self.asset.scale)

    @property
    def formatted(self) -> str:
        """The amount for people: satoshi for Bitcoin, ``0.001 LTC`` for Litecoin, ``12.34 USD`` for the rest."""
        with localcontext() as context:
            context.prec = _DIGITS
            if self.asset.code == BTC_SAT.code:
                return f"{self.decimal.scaleb(BTC_SAT.scale).normalize():,f} sat"
            if self.asset.code == LTC_LITOSHI.code:
                return f"{self.decimal.normalize():,f} LTC"
        return f"{self.decimal:,f} {self.asset.code}"

    def rescaled_exactly(self, asset: Asset) -> "Money":
        """Return the same amount counted in another scale of the same asset.

        Raises:
            InvalidAmount: the amount has a fraction that ``asset`` cannot hold.
        """
        if asset.code != self.asset.code:
            raise ValueError(f"cannot turn {self.asset.code} into {asset.code} without a rate")
        if asset.scale >= self.asset.scale:
            return Money(self.value * 10 ** (asset.scale - self.asset.scale), asset)
        value, rest = divmod(self.value, 10 ** (self.asset.scale - asset.scale))
        if rest:
            raise InvalidAmount(f"{self.decimal:f} {self.asset.code} has more than {asset.scale} decimal places")
        return Money(value, asset)


def money_from_decimal(amount: Decimal, asset: Asset) -> Money:
    """Return ``amount`` whole units as money, exactly.

    Raises:
        InvalidAmount: not a finite number, finer than the asset's smallest unit, or more than 64 bits hold.
    """
    if not amount.is_finite():
        raise InvalidAmount("the amount is not a finite decimal number")
    if not amount:
        return Money(0, asset)
    if amount.adjusted() + asset.scale >= _MONEY_DIGITS_MAX:
        raise InvalidAmount("the amount is too large")
    try:
        with localcontext() as context:
            context.prec = _DIGITS
            context.traps[Inexact] = True
            value = int(amount.scaleb(asset.scale).to_integral_exact())
    except Inexact as error:
        raise InvalidAmount(f"the amount has more than {asset.scale} decimal places") from error
    if abs(value) > MONEY_VALUE_MAX:
        raise InvalidAmount("the amount is too large")
    return Money(value, asset)


def msat(value: int) -> Money:
    """Return ``value`` millisatoshi."""
    return Money(value, BTC_MSAT)
