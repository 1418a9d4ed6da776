"""Deliveries: what the hub hands to a transport, one bounded queue for each subscription."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from quittance.domain.cursor import encode_position
from quittance.gql.masking import Problem, problem

TOO_SLOW = "SUBSCRIBER_TOO_SLOW"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One encoded response, the same object for every subscriber of a group; ``text`` is ``payload`` decoded."""

    payload: bytes
    text: str
    position: int | None
    cursor: str | None


@dataclass(frozen=True, slots=True)
class End:
    """The last item of a queue: no problems mean that the stream is complete."""

    problems: list[Problem]


class Subscription:
    """One running subscription. ``position`` is that of the last event put into its queue.

    The transport is called back once for each item and then pops exactly one. A queue that is full ends with an
    error that carries the cursor of its last item; what was queued before is still delivered.
    """

    __slots__ = ("_ended", "_on_item", "_queue", "_queue_max", "_release", "_room", "position")

    def __init__(self, *, position: int, queue_max: int, on_item: Callable[["Subscription"], None]) -> None:
        self.position = position
        self._queue: deque[Delivery | End] = deque()
        self._queue_max = queue_max
        self._on_item = on_item
        self._release: Callable[[], None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._ended = False

    @property
    def ended(self) -> bool:
        return self._ended

    def on_release(self, release: Callable[[], None]) -> None:
        """Call ``release`` once, when the subscription ends from whichever side."""
        if self._ended:
            release()
        else:
            self._release = release

    def push(self, delivery: Delivery) -> None:
        if self._ended:
            return
        if len(self._queue) >= self._queue_max:
            message = "the subscriber reads too slowly; resume with `after` set to the cursor"
            self.end([problem(message, TOO_SLOW, retryable=True, cursor=encode_position(max(0, self.position)))])
            return
        if delivery.position is not None:
            self.position = delivery.position
        self._queue.append(delivery)
        self._on_item(self)

    def end(self, problems: list[Problem]) -> None:
        """Let nothing follow what is already queued."""
        if self._ended:
            return
        self._queue.append(End(problems))
        self._finish()
        self._on_item(self)

    def cancel(self) -> None:
        """Stop at once: the client is gone or wants no more."""
        self._queue.clear()
        self._finish()

    def pop(self) -> Delivery | End | None:
        """Return the next item; nothing after ``cancel``."""
        item = self._queue.popleft() if self._queue else None
        if self._room is not None and len(self._queue) <= self._queue_max // 2:
            self._wake()
        return item

    async def room(self) -> None:
        """Wait while the queue is more than half full: replays go at the reader's pace."""
        while len(self._queue) > self._queue_max // 2 and not self._ended:
            self._room = asyncio.get_running_loop().create_future()
            await self._room

    def _wake(self) -> None:
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    def _finish(self) -> None:
        self._ended = True
        self._wake()
        release, self._release = self._release, None
        if release is not None:
            release()
