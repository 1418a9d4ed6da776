"""Who waits for which login: one listener to the log for all of them, and a look-up for each event."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from quittance.domain.event import Event, EventKind
from quittance.gql.streams import EventSource


class SignedLogins:
    """Wakes those who wait for the login that was signed. Belongs to one source of events."""

    def __init__(self) -> None:
        self._waiting: dict[str, dict[asyncio.Event, None]] = {}
        self._stop: Callable[[], None] | None = None

    @contextmanager
    def awaited(self, source: EventSource, login_id: str) -> Iterator[asyncio.Event]:
        """Return what is set once this login is signed from now on; in whichever process, and however often."""
        news = asyncio.Event()
        if self._stop is None:
            self._stop = source.listen(self._tell)
        self._waiting.setdefault(login_id, {})[news] = None
        try:
            yield news
        finally:
            del self._waiting[login_id][news]
            if not self._waiting[login_id]:
                del self._waiting[login_id]
            if not self._waiting:
                self._stop()
                self._stop = None

    def _tell(self, events: Sequence[Event]) -> None:
        for event in events:
            if event.kind is EventKind.LOGIN_SIGNED:
                for news in self._waiting.get(event.subject_id or "", ()):
                    news.set()
