"""Live streams: what a subscription resolver returns. The log is the truth, memory only a shortcut."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Hashable, Sequence
from typing import Generic, Protocol, TypeVar

from quittance.domain.event import Event, EventSelector

T = TypeVar("T")

TAIL_BUFFER_MAX = 256
PAGE_SIZE = 100


class EventSource(Protocol):
    """The log of events, and a voice that says when it grew."""

    @property
    def head(self) -> int:
        """The position of the last event handed to listeners."""
        ...

    async def read(self, selector: EventSelector, *, after: int, up_to: int, limit: int) -> list[Event]:
        """Return the events with ``after < position <= up_to``, oldest first; fewer than ``limit`` means all."""
        ...

    def listen(self, listener: Callable[[Sequence[Event]], None]) -> Callable[[], None]:
        """Call ``listener`` on the loop with every later event, in order; return what stops it."""
        ...


class EventTail:
    """The selected events after one position: from memory while the reader keeps up, from the log when it does not.

    Positions decide what was seen, so the seam between both has no gap and no duplicate. Memory is bounded: a
    full buffer is dropped, because the log still has what was in it.
    """

    __slots__ = ("_buffer", "_buffer_max", "_complete_after", "_source", "position", "selector")

    def __init__(
        self, *, source: EventSource, selector: EventSelector, after: int, buffer_max: int = TAIL_BUFFER_MAX
    ) -> None:
        self._source = source
        self.selector = selector
        self.position = after
        self._buffer: deque[Event] = deque()
        self._buffer_max = buffer_max
        self._complete_after = max(after, source.head)

    @property
    def pending(self) -> bool:
        """Whether ``take`` may find something without waiting for a new event."""
        return bool(self._buffer) or self.position < self._complete_after

    def offer(self, event: Event) -> None:
        """Remember an event that the source just announced and that the selector matches."""
        if event.position <= self._complete_after:
            return
        if len(self._buffer) >= self._buffer_max:
            self._buffer.clear()
            self._complete_after = event.position
        else:
            self._buffer.append(event)

    async def take(self) -> list[Event]:
        """Return the next events, oldest first, and move past them; an empty list says nothing was found."""
        if self.position < self._complete_after:
            up_to = self._complete_after
            page = await self._source.read(self.selector, after=self.position, up_to=up_to, limit=PAGE_SIZE)
            self.position = page[-1].position if len(page) >= PAGE_SIZE else up_to
            return page
        events = list(self._buffer)
        self._buffer.clear()
        if events:
            self.position = self._complete_after = events[-1].position
        return events


class StateStream(AsyncIterable[T], Generic[T]):
    """A state, and each change of it: the same for all who ask for ``key``, and without a history to resume.

    Iterated plainly it follows by itself. The hub follows once for all of them.
    """

    def __init__(self, *, key: Hashable, states: Callable[[], AsyncGenerator[T]]) -> None:
        self.key = key
        self.states = states

    def __aiter__(self) -> AsyncGenerator[T]:
        return self.states()


class EventStream(AsyncIterable[T], Generic[T]):
    """The events of one subscription: first those after ``after``, then those that happen.

    Iterated plainly it replays and follows by itself. The hub takes the parts instead and shares the work among
    subscribers. Without ``after`` it starts at the moment it is made.
    """

    def __init__(
        self, *, source: EventSource, selector: EventSelector, after: int | None, to_type: Callable[[Event], T]
    ) -> None:
        self.source = source
        self.selector = selector
        self.start = source.head if after is None else after
        self.to_type = to_type

    async def __aiter__(self) -> AsyncIterator[T]:
        tail = EventTail(source=self.source, selector=self.selector, after=self.start)
        news = asyncio.Event()

        def remember(events: Sequence[Event]) -> None:
            for event in events:
                if self.selector.matches(event):
                    tail.offer(event)
                    news.set()

        stop = self.source.listen(remember)
        try:
            while True:
                news.clear()
                for event in await tail.take():
                    yield self.to_type(event)
                if not tail.pending:
                    await news.wait()
        finally:
            stop()
