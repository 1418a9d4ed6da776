"""The board: asked in the background, read without waiting, shared by all who ask."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from quittance.domain.errors import ProviderUnavailable
from quittance.domain.rate import CombinedRate, Rate, RateFlaw, RateRules, RateUnavailable
from quittance.providers.rates import asked
from quittance.providers.rates.board import PAIR_REST_S, PAIRS_MAX, WARM_S, RateBoard

CURRENCIES = (
    *("AED", "ARS", "AUD", "BRL", "CAD", "CHF", "CLP", "CNY", "COP", "CZK", "DKK", "EUR", "GBP", "HKD", "HUF", "IDR"),
    *("ILS", "INR", "JPY", "KES", "KRW", "KWD", "MXN", "MYR", "NGN", "NOK", "NZD", "PEN", "PHP", "PLN", "QAR", "RON"),
    *("RSD", "SAR", "SEK", "SGD", "THB", "TND", "TRY", "TWD", "UAH", "USD"),
)


@dataclass
class Clock:
    at: datetime = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at

    def advance(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@dataclass
class Source:
    """Answers as it is told to: with a value, None, an error; or hangs while its gate is shut."""

    name: str
    clock: Clock
    says: Decimal | Exception | None = Decimal(100)
    age_s: float = 0
    calls: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    async def rate(self, base: str, quote: str) -> Rate | None:
        self.calls += 1
        await self.gate.wait()
        if isinstance(self.says, Exception):
            raise self.says
        if self.says is None:
            return None
        observed_at = self.clock() - timedelta(seconds=self.age_s)
        return Rate(base=base, quote=quote, value=self.says, observed_at=observed_at, source=self.name)


async def settled() -> None:
    """Let everything go on that can."""
    for _ in range(10):
        await asyncio.sleep(0)


@dataclass
class Desk:
    """A board over three sources, with a clock of its own."""

    clock: Clock
    sources: list[Source]
    board: RateBoard

    @property
    def calls(self) -> list[int]:
        return [source.calls for source in self.sources]

    def shut(self) -> None:
        for source in self.sources:
            source.gate.clear()

    async def tick(self) -> None:
        """Let the board do what is due, and end the rounds that can end."""
        self.board.tick()
        await settled()

    async def begin(self) -> None:
        """Wait for the first rate, and for the rest of its round."""
        await self.board.begin("BTC", "USD")
        await settled()

    def value(self) -> Decimal:
        return self.board.current("BTC", "USD").value

    def flaw(self, quote: str = "USD") -> RateFlaw:
        with pytest.raises(RateUnavailable) as refused:
            self.board.current("BTC", quote)
        return refused.value.reason

    async def refused(self, quote: str) -> RateFlaw:
        """Have the board take a pair, and return why there is no rate of it."""
        await self.board.begin("BTC", quote)
        return self.flaw(quote)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    clock = Clock()
    sources = [Source(name, clock) for name in ("one", "two", "three")]
    board = RateBoard(lambda: sources, rules=RateRules(), now=clock)
    yield Desk(clock, sources, board)
    await board.aclose()


async def test_the_first_who_asks_waits_once_and_everybody_else_not_at_all(desk: Desk) -> None:
    assert desk.flaw() is RateFlaw.NO_ANSWER

    await desk.begin()
    await desk.begin()

    assert desk.value() == 100
    assert desk.calls == [1, 1, 1]


async def test_many_who_ask_first_share_one_round(desk: Desk) -> None:
    await asyncio.gather(*(desk.begin() for _ in range(50)))

    assert desk.calls == [1, 1, 1]


async def test_the_first_rate_does_not_wait_for_the_slowest_source(desk: Desk) -> None:
    desk.sources[2].gate.clear()

    async with asyncio.timeout(2):
        await desk.begin()

    assert desk.board.current("BTC", "USD").sources == ("one", "two")


async def test_nobody_is_asked_before_somebody_needs_a_rate(desk: Desk) -> None:
    await desk.tick()

    assert desk.calls == [0, 0, 0]


async def test_sources_are_asked_once_a_minute_in_the_background(desk: Desk) -> None:
    await desk.begin()
    desk.clock.advance(59)
    await desk.tick()
    before = desk.calls
    desk.sources[0].says = desk.sources[1].says = Decimal(101)
    desk.clock.advance(1)
    await desk.tick()

    assert before == [1, 1, 1]
    assert desk.calls == [2, 2, 2]
    assert desk.value() == 101


async def test_a_pair_that_nobody_needs_for_a_day_is_left_alone_and_begun_again(desk: Desk) -> None:
    await desk.begin()
    desk.clock.advance(WARM_S + 1)
    await desk.tick()
    left_alone = desk.calls

    await desk.begin()

    assert left_alone == [1, 1, 1]
    assert desk.value() == 100


async def test_a_rate_is_used_while_it_is_young_and_then_refused_at_once_when_sources_hang(desk: Desk) -> None:
    await desk.begin()
    desk.shut()
    desk.clock.advance(60)
    await desk.tick()
    hanging = desk.calls
    desk.clock.advance(239)

    still = desk.value()
    desk.clock.advance(2)
    flaw = desk.flaw()
    await desk.begin()

    assert hanging == [2, 2, 2]
    assert still == 100
    assert flaw is RateFlaw.STALE
    assert desk.calls == [2, 2, 2]  # none was asked because of those who need the rate


async def test_sources_that_hang_are_given_up_and_asked_again_later(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asked, "ANSWER_S_MAX", 0.01)
    desk.shut()

    await desk.begin()

    assert desk.flaw() is RateFlaw.NO_ANSWER
    for source in desk.sources:
        source.gate.set()
    await desk.tick()
    too_early = desk.calls
    desk.clock.advance(asked.BACKOFF_S_MIN)
    await desk.tick()
    assert too_early == [1, 1, 1]
    assert desk.value() == 100


async def test_one_lost_answer_changes_nothing(desk: Desk) -> None:
    await desk.begin()
    desk.sources[0].says = ProviderUnavailable("one")
    desk.clock.advance(60)
    await desk.tick()

    assert desk.board.current("BTC", "USD").sources == ("one", "three", "two")


async def test_a_source_in_trouble_is_asked_less_and_less_often(desk: Desk) -> None:
    desk.sources[0].says = ProviderUnavailable("one")
    await desk.begin()
    for _ in range(3_600):
        desk.clock.advance(1)
        desk.board.current("BTC", "USD")
        await desk.tick()

    assert desk.calls[1:] == [61, 61]
    assert desk.calls[0] == 17  # after 5, 10, 20, … 160 s, and then every 300 s


async def test_one_source_alone_is_not_believed(desk: Desk) -> None:
    desk.sources[0].says = ProviderUnavailable("one")
    desk.sources[1].says = ProviderUnavailable("two")

    await desk.begin()

    assert desk.flaw() is RateFlaw.TOO_FEW_SOURCES


async def test_prices_that_are_old_at_the_source_are_refused(desk: Desk) -> None:
    for source in desk.sources:
        source.age_s = 301

    await desk.begin()

    assert desk.flaw() is RateFlaw.STALE


async def test_a_pair_that_no_source_quotes_is_known_to_be_none(desk: Desk) -> None:
    for source in desk.sources:
        source.says = None

    await desk.begin()
    desk.clock.advance(600)
    await desk.tick()

    assert desk.flaw() is RateFlaw.UNKNOWN_PAIR
    assert desk.calls == [1, 1, 1]


async def test_a_price_ten_times_off_at_every_source_leaves_the_last_one_until_it_is_old(desk: Desk) -> None:
    await desk.begin()
    for source in desk.sources:
        source.says = Decimal(1_000)
    desk.clock.advance(60)
    await desk.tick()
    value = desk.value()
    desk.clock.advance(241)

    assert value == 100
    assert desk.flaw() is RateFlaw.JUMPED


async def test_a_bug_in_one_source_is_the_loss_of_that_source(desk: Desk) -> None:
    desk.sources[0].says = ZeroDivisionError()

    await desk.begin()
    await desk.tick()

    assert desk.board.current("BTC", "USD").sources == ("three", "two")
    assert desk.calls == [1, 1, 1]


@pytest.mark.parametrize(("base", "quote"), [("BTC", "XXX"), ("DOGE", "USD"), ("USD", "BTC"), ("", ""), ("BTC", "usd")])
async def test_what_is_no_pair_is_not_kept(desk: Desk, base: str, quote: str) -> None:
    await desk.board.begin(base, quote)

    with pytest.raises(RateUnavailable) as refused:
        desk.board.current(base, quote)
    assert refused.value.reason is RateFlaw.UNKNOWN_PAIR
    assert desk.calls == [0, 0, 0]


async def test_a_full_board_takes_no_more_until_a_pair_rests(desk: Desk) -> None:
    kept, one_more, another = CURRENCIES[:PAIRS_MAX], *CURRENCIES[PAIRS_MAX : PAIRS_MAX + 2]
    for currency in kept:
        await desk.board.begin("BTC", currency)
    full = await desk.refused(one_more)
    desk.clock.advance(PAIR_REST_S)
    for currency in kept[1:]:
        await desk.refused(currency)  # too old by now, but needed
    await desk.board.begin("BTC", one_more)

    assert full is RateFlaw.TOO_MANY_PAIRS
    assert desk.board.current("BTC", one_more).value == 100
    assert await desk.refused(another) is RateFlaw.TOO_MANY_PAIRS


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is awaited has no event
            await asyncio.sleep(0)


async def test_those_who_watch_are_told_what_is_and_each_change(desk: Desk) -> None:
    told: dict[int, list[object]] = {0: [], 1: []}

    async def watch(number: int) -> None:
        async with aclosing(desk.board.watch("BTC", "USD")) as standings:
            async for standing in standings:
                told[number].append(standing.value if isinstance(standing, CombinedRate) else standing)

    watching = [asyncio.create_task(watch(number)) for number in told]
    await until(lambda: told[0] == told[1] == [100, 100])  # two sources, then all three
    desk.clock.advance(60)
    await desk.tick()
    unchanged_but_newer = [list(each) for each in told.values()]
    for source in desk.sources:
        source.says = Decimal(101)
    desk.clock.advance(60)
    await desk.tick()
    desk.shut()
    desk.clock.advance(301)
    await desk.tick()
    await until(lambda: len(told[0]) == len(told[1]) == 5)
    for task in watching:
        task.cancel()
    await asyncio.gather(*watching, return_exceptions=True)

    assert unchanged_but_newer == [[100, 100, 100]] * 2
    assert told[0] == told[1] == [100, 100, 100, 101, RateFlaw.STALE]
    assert desk.calls == [4, 4, 4]


async def test_a_pair_is_kept_fresh_while_it_is_watched(desk: Desk) -> None:
    watched = desk.board.watch("BTC", "USD")
    async with aclosing(watched):
        await anext(watched)
        await settled()
        desk.clock.advance(WARM_S + 1)
        await desk.tick()
    desk.clock.advance(WARM_S + 1)
    await desk.tick()

    assert desk.calls == [2, 2, 2]


async def test_what_cannot_be_watched_is_said_once(desk: Desk) -> None:
    assert [standing async for standing in desk.board.watch("BTC", "XXX")] == [RateFlaw.UNKNOWN_PAIR]


async def test_the_loop_ends_its_rounds_when_it_is_canceled(desk: Desk) -> None:
    await desk.begin()
    desk.shut()
    desk.clock.advance(60)
    running = asyncio.create_task(desk.board.run())
    await until(lambda: desk.calls == [2, 2, 2])
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert [task for task in asyncio.all_tasks() if "RateBoard._round" in repr(task)] == []


async def test_every_source_can_be_asked_past_what_is_remembered(desk: Desk) -> None:
    desk.sources[0].says, desk.sources[1].says = ProviderUnavailable("one"), None

    answers = await desk.board.answers("BTC", "USD")

    assert answers["one"] is RateFlaw.NO_ANSWER
    assert answers["two"] is RateFlaw.UNKNOWN_PAIR
    assert isinstance(answers["three"], Rate)
