"""The event log's voice in this process: tells listeners of every new event, in order, whoever committed it."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence

import structlog

from quittance.domain.event import EVERYTHING, Event, EventSelector
from quittance.store.database import Database, Listening
from quittance.store.events import events_after, newest_position
from quittance.workers.loop import for_ever

log = structlog.get_logger("quittance.broker")

PAGE = 500
SAFETY_POLL_S = 1.0
GATHER_S = 0.001
_NO_END = 2**63 - 1

Listener = Callable[[Sequence[Event]], None]


class EventBroker:
    """Reads the log behind its head whenever somebody says that it grew; a timer covers a lost wake-up."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._head = 0
        self._wake = asyncio.Event()
        self._waking = False
        self._listeners: list[Listener] = []
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def head(self) -> int:
        return self._head

    async def start(self) -> None:
        """Begin at the present end of the log."""
        self._head = await self._database.read(newest_position)
        self._database.on_events = self._wake_soon
        self._tasks.append(asyncio.create_task(for_ever("broker", self._tell)))
        if isinstance(self._database, Listening):
            self._tasks.append(asyncio.create_task(for_ever("listen", self._database.listen)))

    async def stop(self) -> None:
        self._database.on_events = None
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks.clear()

    async def read(self, selector: EventSelector, *, after: int, up_to: int, limit: int) -> list[Event]:
        return await self._database.scan(
            lambda transaction: events_after(transaction, selector, after=after, up_to=up_to, limit=limit)
        )

    def listen(self, listener: Listener) -> Callable[[], None]:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _wake_soon(self, _position: int) -> None:
        """Let a commit's own callers go first, and read what several commits bring at once."""
        if not self._waking:
            self._waking = True
            asyncio.get_running_loop().call_later(GATHER_S, self._wake_now)

    def _wake_now(self) -> None:
        self._waking = False
        self._wake.set()

    async def _tell(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SAFETY_POLL_S):  # wait_for may swallow a cancel that comes with the wake-up
                await self._wake.wait()
        self._wake.clear()
        while True:
            events = await self._database.read(
                lambda transaction: events_after(transaction, EVERYTHING, after=self._head, up_to=_NO_END, limit=PAGE)
            )
            if events:
                self._head = events[-1].position
                self._dispatch(events)
            if len(events) < PAGE:
                return

    def _dispatch(self, events: Sequence[Event]) -> None:
        for listener in list(self._listeners):
            try:
                listener(events)
            except Exception:
                log.exception("listener_failed")
