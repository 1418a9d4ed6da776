"""One pair on the board: its sources, the rate that was believed last, and who watches it."""

import asyncio
from collections.abc import Sequence
from datetime import datetime

import structlog

from quittance.domain.rate import CombinedRate, RateFlaw, RateRules, combine, is_fresh
from quittance.providers.rates.asked import AskedSource

log = structlog.get_logger("quittance.rates")

Standing = CombinedRate | RateFlaw


class Pair:
    """``asked_at`` is when somebody last needed it, ``tried_at`` when its sources were last asked to the end."""

    __slots__ = ("_dropped", "_flaw", "_rate", "asked_at", "base", "quote", "round", "sources", "told", "tried_at",
                 "watchers")  # fmt: skip

    def __init__(self, base: str, quote: str, *, sources: Sequence[AskedSource], asked_at: datetime) -> None:
        self.base = base
        self.quote = quote
        self.sources = sources
        self.asked_at = asked_at
        self.tried_at: datetime | None = None
        self.round: asyncio.Task[None] | None = None
        self.watchers: dict[asyncio.Event, None] = {}
        self.told: Standing | None = None
        self._rate: CombinedRate | None = None
        self._flaw = RateFlaw.NO_ANSWER
        self._dropped: dict[str, RateFlaw] = {}

    def standing(self, *, now: datetime, rules: RateRules) -> Standing:
        """Return the rate that was believed last while it is young enough, else why there is none."""
        rate = self._rate
        if rate is not None and is_fresh(rate.observed_at, now=now, rules=rules):
            return rate
        return self._flaw

    def settle(self, *, now: datetime, rules: RateRules) -> None:
        """Make what the sources said a rate, or note why it is none; the one before stays until it is too old."""
        quotes = [source.quote for source in self.sources if source.quote is not None]
        found = combine(quotes, now=now, rules=rules, last=self._rate)
        flaws = {source.flaw for source in self.sources}
        common = flaws.pop() if len(flaws) == 1 else None
        if found.rate is not None:
            self._rate = found.rate
            self._flaw = RateFlaw.STALE  # once it is too old
        else:
            self._flaw = common or found.flaw or RateFlaw.NO_ANSWER
        dropped = {source.name: source.flaw for source in self.sources if source.flaw is not None}
        dropped.update(found.dropped)
        if dropped != self._dropped:
            self._dropped = dropped
            say = log.warning if dropped else log.info
            say("rate_sources", base=self.base, quote=self.quote, not_believed=dropped)

    def tell(self, *, now: datetime, rules: RateRules) -> None:
        """Wake who watches, if the pair stands otherwise than they were told."""
        if not self.watchers:
            return
        standing = self.standing(now=now, rules=rules)
        if standing != self.told:
            self.told = standing
            for news in self.watchers:
                news.set()
