"""The board: what every pair that is asked for is worth now, kept fresh in the background.

Whoever needs a rate reads it here and waits for nobody (A3). Each process has a board of its own; nothing about money
depends on it later, because the rate that was used is stored with the payment.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Final

import structlog

from quittance.domain.currency import is_currency
from quittance.domain.money import BTC_SAT, LTC_LITOSHI
from quittance.domain.rate import CombinedRate, Rate, RateFlaw, RateRules, RateUnavailable
from quittance.providers.rates.asked import AskedSource
from quittance.providers.rates.base import RateSource
from quittance.providers.rates.pair import Pair, Standing

log = structlog.get_logger("quittance.rates")

TICK_S: Final = 1.0
WARM_S: Final = 86_400
PAIRS_MAX: Final = 40
PAIR_REST_S: Final = 600
BASES: Final = frozenset({BTC_SAT.code, LTC_LITOSHI.code})


class RateBoard:
    """Combines sources by rules. ``sources`` is called once, when a pair is first asked for."""

    def __init__(
        self, sources: Callable[[], Sequence[RateSource]], *, rules: RateRules, now: Callable[[], datetime]
    ) -> None:
        self._open = sources
        self._opened: Sequence[RateSource] | None = None
        self._rules = rules
        self._now = now
        self._pairs: dict[tuple[str, str], Pair] = {}

    def current(self, base: str, quote: str) -> CombinedRate:
        """Return what amounts are converted at now, and ask nobody; may be called on any thread.

        Raises:
            RateUnavailable: none that can be believed is known.
        """
        pair = self._pairs.get((base, quote))
        if pair is None:
            raise RateUnavailable(base, quote, self._why_missing(base, quote))
        pair.asked_at = self._now()
        standing = self._standing(pair)
        if isinstance(standing, RateFlaw):
            raise RateUnavailable(base, quote, standing)
        return standing

    async def begin(self, base: str, quote: str) -> None:
        """Wait for the first rate of a pair whose sources were not asked within a day; callers share the wait.

        It ends with the first rate, at the latest when every source has answered or had its time; at once where there
        is nothing to wait for: the board keeps the pair by itself, or cannot take it.
        """
        pair = self._pairs.get((base, quote)) or self._place(base, quote)
        if pair is None or (pair.tried_at is not None and self._is_recent(pair.tried_at)):
            return
        async with aclosing(self._standings(pair)) as standings:
            async for standing in standings:
                if isinstance(standing, CombinedRate) or pair.round is None:
                    return

    async def watch(self, base: str, quote: str) -> AsyncGenerator[Standing]:
        """Yield how a pair stands, and then each change; a slow reader misses what was overtaken meanwhile.

        The pair is kept fresh while somebody watches. Of one that the board cannot take it only says why.
        """
        await self.begin(base, quote)
        pair = self._pairs.get((base, quote))
        if pair is None:
            yield self._why_missing(base, quote)
            return
        told: Standing | None = None
        async with aclosing(self._standings(pair)) as standings:
            async for standing in standings:
                if standing != told:
                    told = standing
                    yield standing

    async def run(self) -> None:
        """Keep every pair fresh that somebody needed within a day; ends when it is canceled."""
        try:
            while True:
                self.tick()
                await asyncio.sleep(TICK_S)
        finally:
            await self.aclose()

    def tick(self) -> None:
        """Begin the rounds that are due, and tell those who watch of rates that grew too old."""
        now = self._now()
        for pair in self._pairs.values():
            if (pair.watchers or self._is_recent(pair.asked_at)) and any(one.is_due(now) for one in pair.sources):
                self._begin_round(pair)
            pair.tell(now=now, rules=self._rules)

    async def aclose(self) -> None:
        """Stop the rounds that are under way."""
        rounds = [pair.round for pair in self._pairs.values() if pair.round is not None]
        for task in rounds:
            task.cancel()
        await asyncio.gather(*rounds, return_exceptions=True)

    async def answers(self, base: str, quote: str) -> Mapping[str, Rate | RateFlaw]:
        """Ask every source now, past what the board remembers, and return what each says."""
        asked = [AskedSource(source) for source in self._sources()]
        await asyncio.gather(*(one.ask(base, quote, now=self._now, rules=self._rules) for one in asked))
        return {one.name: one.quote or one.flaw or RateFlaw.NO_ANSWER for one in asked}

    def _sources(self) -> Sequence[RateSource]:
        if self._opened is None:
            self._opened = self._open()
        return self._opened

    def _is_recent(self, moment: datetime) -> bool:
        return self._now() - moment <= timedelta(seconds=WARM_S)

    def _standing(self, pair: Pair) -> Standing:
        return pair.standing(now=self._now(), rules=self._rules)

    def _place(self, base: str, quote: str) -> Pair | None:
        """Put a new pair on the board; a full one gives up the pair that was needed longest ago, if that is a while."""
        if not _is_pair(base, quote):
            return None
        now = self._now()
        if len(self._pairs) >= PAIRS_MAX:
            key, oldest = min(self._pairs.items(), key=lambda item: (bool(item[1].watchers), item[1].asked_at))
            if oldest.watchers or now - oldest.asked_at < timedelta(seconds=PAIR_REST_S):
                return None
            del self._pairs[key]
        pair = Pair(base, quote, sources=[AskedSource(source) for source in self._sources()], asked_at=now)
        self._pairs[base, quote] = pair
        return pair

    def _why_missing(self, base: str, quote: str) -> RateFlaw:
        if not _is_pair(base, quote):
            return RateFlaw.UNKNOWN_PAIR
        return RateFlaw.TOO_MANY_PAIRS if len(self._pairs) >= PAIRS_MAX else RateFlaw.NO_ANSWER

    async def _standings(self, pair: Pair) -> AsyncGenerator[Standing]:
        """Yield how a pair stands, now and whenever it may stand otherwise."""
        news = asyncio.Event()
        pair.tell(now=self._now(), rules=self._rules)
        pair.watchers[news] = None
        pair.told = self._standing(pair)
        try:
            if any(one.is_due(self._now()) for one in pair.sources):
                self._begin_round(pair)
            while True:
                news.clear()
                yield self._standing(pair)
                await news.wait()
        finally:
            del pair.watchers[news]

    def _begin_round(self, pair: Pair) -> None:
        if pair.round is None:
            pair.round = asyncio.get_running_loop().create_task(self._round(pair))

    async def _round(self, pair: Pair) -> None:
        """Ask the sources that are due, together; the first rate is told before the slowest has answered."""
        due = [one for one in pair.sources if one.is_due(self._now())]
        try:
            ended = await asyncio.gather(*(self._ask(pair, one) for one in due), return_exceptions=True)
            for one, error in zip(due, ended, strict=True):
                if error is not None:
                    log.error("rate_source_failed", source=one.name, exc_info=error)
        finally:
            pair.round = None
            pair.tried_at = self._now()
            pair.settle(now=self._now(), rules=self._rules)
            for news in pair.watchers:
                news.set()

    async def _ask(self, pair: Pair, one: AskedSource) -> None:
        await one.ask(pair.base, pair.quote, now=self._now, rules=self._rules)
        if isinstance(self._standing(pair), RateFlaw):
            pair.settle(now=self._now(), rules=self._rules)
            pair.tell(now=self._now(), rules=self._rules)


def _is_pair(base: str, quote: str) -> bool:
    """Tell whether this may be on a board: a coin, priced in a national currency."""
    return base in BASES and is_currency(quote)
