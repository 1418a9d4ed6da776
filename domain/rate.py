"""Exchange rates: what one source says, what several together are worth, and what an amount comes to."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal, localcontext
from enum import StrEnum
from fractions import Fraction
from statistics import median
from typing import Final

from quittance.domain.errors import InvalidAmount, QuittanceError
from quittance.domain.money import MONEY_VALUE_MAX, Asset, Money

MILLION: Final = 1_000_000
CLOCKS_APART_S: Final = 60
_DIGITS: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """``value`` units of ``quote`` for one whole unit of ``base``, as ``source`` observed it."""

    base: str
    quote: str
    value: Decimal
    observed_at: datetime
    source: str


class RateFlaw(StrEnum):
    """Why there is no rate, or why one source's word does not count."""

    UNKNOWN_PAIR = "UNKNOWN_PAIR"
    TOO_MANY_PAIRS = "TOO_MANY_PAIRS"
    NO_ANSWER = "NO_ANSWER"
    NO_PRICE = "NO_PRICE"
    STALE = "STALE"
    TOO_FEW_SOURCES = "TOO_FEW_SOURCES"
    SOURCES_DISAGREE = "SOURCES_DISAGREE"
    JUMPED = "JUMPED"
    IMPLAUSIBLE = "IMPLAUSIBLE"


_SENTENCES: Final[Mapping[RateFlaw, str]] = {
    RateFlaw.UNKNOWN_PAIR: "no source quotes this pair",
    RateFlaw.TOO_MANY_PAIRS: "too many other pairs are asked for",
    RateFlaw.NO_ANSWER: "no source answers",
    RateFlaw.NO_PRICE: "what the sources say is no price",
    RateFlaw.STALE: "what the sources say is too old",
    RateFlaw.TOO_FEW_SOURCES: "too few sources agree on it",
    RateFlaw.SOURCES_DISAGREE: "the sources are too far apart",
    RateFlaw.JUMPED: "it is too far from the last one that was believed",
    RateFlaw.IMPLAUSIBLE: "no such price was ever heard of",
}
assert _SENTENCES.keys() == set(RateFlaw)


class RateUnavailable(QuittanceError):
    """There is no rate that can be believed now; nothing was made."""

    code = "RATE_UNAVAILABLE"
    retryable = True

    def __init__(self, base: str, quote: str, reason: RateFlaw) -> None:
        super().__init__(f"there is no rate from {base} to {quote} now: {_SENTENCES[reason]}; nothing was made")
        self.base = base
        self.quote = quote
        self.reason = reason


# What holds before any rate was believed: an inverted price, or one of another unit, lies far outside.
PLAUSIBLE: Final[Mapping[tuple[str, str], tuple[Decimal, Decimal]]] = {
    ("BTC", "USD"): (Decimal(5_000), Decimal(5_000_000)),
    ("BTC", "EUR"): (Decimal(5_000), Decimal(5_000_000)),
    ("BTC", "GBP"): (Decimal(4_000), Decimal(4_000_000)),
    ("BTC", "CHF"): (Decimal(5_000), Decimal(5_000_000)),
    ("LTC", "USD"): (Decimal(5), Decimal(50_000)),
    ("LTC", "EUR"): (Decimal(5), Decimal(50_000)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RateRules:
    """What is believed, and what a merchant is given on top.

    ``age_s_max``: how old a price may be, at its source, when it is used. ``apart_ppm_max``: how far two sources may be
    apart. ``jump_factor_max``: how far from the last rate that was believed, while that one is
    younger than ``memory_s``; an honest price does not double within an hour. ``plausible``: the least and the most
    that a pair may be worth.
    """

    age_s_max: int = 300
    sources_min: int = 2
    spread_ppm: int = 0
    apart_ppm_max: int = 50_000
    jump_factor_max: int = 2
    memory_s: int = 3_600
    plausible: Mapping[tuple[str, str], tuple[Decimal, Decimal]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CombinedRate:
    """The median of what ``sources`` say; ``observed_at`` is when the oldest of them observed it."""

    base: str
    quote: str
    value: Decimal
    spread_ppm: int
    sources: tuple[str, ...]
    observed_at: datetime

    @property
    def spread(self) -> Decimal:
        """The spread as a fraction: 0.01 is one percent."""
        return Decimal(self.spread_ppm).scaleb(-6).normalize()

    @property
    def applied(self) -> Decimal:
        """What amounts are converted at: the value less the spread, so that the merchant is asked for more."""
        with localcontext() as context:
            context.prec = _DIGITS
            return (self.value * (MILLION - self.spread_ppm)).scaleb(-6).normalize()


@dataclass(frozen=True, slots=True, kw_only=True)
class Combination:
    """What came of several sources: a rate, or why there is none; and whose word did not count."""

    rate: CombinedRate | None = None
    flaw: RateFlaw | None = None
    dropped: Mapping[str, RateFlaw] = field(default_factory=dict)


def combine(
    quotes: Sequence[Rate], *, now: datetime, rules: RateRules, last: CombinedRate | None = None
) -> Combination:
    """Return the median of the quotes that can be believed (A2).

    Dropped are those that are no price, too old or from the future, far from ``last``, and far from the median of
    what is left. Of two that disagree neither is believed. What is left must come from ``sources_min`` sources.
    """
    dropped: dict[str, RateFlaw] = {}
    left = list({quote.source: quote for quote in quotes}.values())
    left = _keep(left, lambda quote: _flaw_alone(quote, now=now, rules=rules), dropped)
    left = _keep(left, lambda quote: _flaw_beside_last(quote, last, now=now, rules=rules), dropped)
    left = _keep(left, _flaw_beside_others(left, rules), dropped)
    if not left or len(left) < rules.sources_min:
        return Combination(flaw=_why_none(quotes, dropped), dropped=dropped)
    rate = CombinedRate(
        base=left[0].base,
        quote=left[0].quote,
        value=_median(left),
        spread_ppm=rules.spread_ppm,
        sources=tuple(sorted(quote.source for quote in left)),
        observed_at=min(quote.observed_at for quote in left),
    )
    return Combination(rate=rate, dropped=dropped)


def is_fresh(observed_at: datetime, *, now: datetime, rules: RateRules) -> bool:
    """Tell whether a price may be used now, by its age at the source."""
    return -timedelta(seconds=CLOCKS_APART_S) <= now - observed_at <= timedelta(seconds=rules.age_s_max)


def convert(amount: Money, rate: CombinedRate, asset: Asset) -> Money:
    """Return what ``amount`` of the rate's quote comes to in ``asset``, its base; rounded up once, to its unit.

    So the merchant never gets less than quoted, and never a whole unit more (A1).

    Raises:
        InvalidAmount: more than 64 bits hold.
    """
    if (rate.quote, rate.base) != (amount.asset.code, asset.code):
        raise ValueError(f"a rate from {rate.base} to {rate.quote} turns no {amount.asset.code} into {asset.code}")
    exact = Fraction(amount.value, 10**amount.asset.scale) / Fraction(rate.applied) * 10**asset.scale
    value = -(-exact.numerator // exact.denominator)
    if value > MONEY_VALUE_MAX:
        raise InvalidAmount("the amount is too large")
    return Money(value, asset)


def _keep(
    quotes: Sequence[Rate], flaw_of: Callable[[Rate], RateFlaw | None], dropped: dict[str, RateFlaw]
) -> list[Rate]:
    """Return the quotes without a flaw, and note the flaws of the others."""
    flaws = {quote.source: flaw for quote in quotes if (flaw := flaw_of(quote)) is not None}
    dropped.update(flaws)
    return [quote for quote in quotes if quote.source not in flaws]


def _flaw_alone(quote: Rate, *, now: datetime, rules: RateRules) -> RateFlaw | None:
    if not quote.value.is_finite() or quote.value <= 0:
        return RateFlaw.NO_PRICE
    least, most = rules.plausible.get((quote.base, quote.quote), (quote.value, quote.value))
    if not least <= quote.value <= most:
        return RateFlaw.IMPLAUSIBLE
    return None if is_fresh(quote.observed_at, now=now, rules=rules) else RateFlaw.STALE


def _flaw_beside_last(quote: Rate, last: CombinedRate | None, *, now: datetime, rules: RateRules) -> RateFlaw | None:
    """An inverted price, or one ten times off, is caught here even when every source says the same."""
    if last is None or now - last.observed_at > timedelta(seconds=rules.memory_s):
        return None
    factor = Fraction(quote.value) / Fraction(last.value)
    return None if Fraction(1, rules.jump_factor_max) <= factor <= rules.jump_factor_max else RateFlaw.JUMPED


def _flaw_beside_others(quotes: Sequence[Rate], rules: RateRules) -> Callable[[Rate], RateFlaw | None]:
    if not quotes:
        return lambda _: None
    middle = Fraction(_median(quotes))
    most = middle * rules.apart_ppm_max / MILLION / 2  # so that two that are kept are no further apart
    return lambda quote: None if abs(Fraction(quote.value) - middle) <= most else RateFlaw.SOURCES_DISAGREE


def _median(quotes: Sequence[Rate]) -> Decimal:
    with localcontext() as context:
        context.prec = _DIGITS
        return median(quote.value for quote in quotes)


def _why_none(quotes: Sequence[Rate], dropped: Mapping[str, RateFlaw]) -> RateFlaw:
    """Return the flaw that all share, or that there are too few without one."""
    if not quotes:
        return RateFlaw.NO_ANSWER
    flaws = set(dropped.values())
    if len(flaws) == 1 and len(dropped) == len({quote.source for quote in quotes}):
        return flaws.pop()
    return RateFlaw.TOO_FEW_SOURCES
