"""One source, asked for one pair: what it said last, and when it is asked again."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from quittance.domain.errors import ProviderUnavailable
from quittance.domain.rate import Rate, RateFlaw, RateRules, is_fresh
from quittance.providers.rates.base import RateSource

ANSWER_S_MAX: Final = 5.5
REFRESH_S: Final = 60.0
BACKOFF_S_MIN: Final = 5.0
BACKOFF_S_MAX: Final = 300.0
UNKNOWN_PAIR_S: Final = 3_600.0


class AskedSource:
    """Asks once a minute. A failure is remembered, so that a source in trouble is asked less and less often.

    What it said before stays until it is too old: one lost answer changes nothing.
    """

    __slots__ = ("_due_at", "_failures", "_source", "flaw", "quote")

    def __init__(self, source: RateSource) -> None:
        self._source = source
        self._due_at: datetime | None = None
        self._failures = 0
        self.quote: Rate | None = None
        self.flaw: RateFlaw | None = None

    @property
    def name(self) -> str:
        return self._source.name

    def is_due(self, now: datetime) -> bool:
        """Tell whether to ask again; also when a clock was set back, by more than anybody waits."""
        due = self._due_at
        return due is None or not timedelta(0) < due - now <= timedelta(seconds=UNKNOWN_PAIR_S)

    async def ask(self, base: str, quote: str, *, now: Callable[[], datetime], rules: RateRules) -> None:
        """Ask, within ``ANSWER_S_MAX``, and remember the answer or why there is none."""
        self._wait(BACKOFF_S_MIN, now())  # also if this is canceled, or fails as nothing should
        try:
            async with asyncio.timeout(ANSWER_S_MAX):
                rate = await self._source.rate(base, quote)
        except (ProviderUnavailable, TimeoutError):
            self._fail(RateFlaw.NO_ANSWER, now())
            return
        if rate is None:
            self.quote, self.flaw = None, RateFlaw.UNKNOWN_PAIR
            self._wait(UNKNOWN_PAIR_S, now())
        elif not is_fresh(rate.observed_at, now=now(), rules=rules):
            self._fail(RateFlaw.STALE, now())
        else:
            self.quote, self.flaw, self._failures = rate, None, 0
            self._wait(min(REFRESH_S, rules.age_s_max / 2), now())

    def _fail(self, flaw: RateFlaw, now: datetime) -> None:
        self.flaw = flaw
        self._wait(min(BACKOFF_S_MIN * 2**self._failures, BACKOFF_S_MAX), now)
        self._failures = min(self._failures + 1, 16)

    def _wait(self, seconds: float, now: datetime) -> None:
        self._due_at = now + timedelta(seconds=seconds)
