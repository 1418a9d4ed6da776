"""How often each kind of call may be made, and how long a caller is locked out who makes it more often (sheet 1.7)."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from quittance.sandbox.strike.refusals import Refused


@dataclass(frozen=True, slots=True)
class Limit:
    calls: int
    window: timedelta
    lockout: timedelta


_FAST: Final = Limit(250, timedelta(minutes=1), timedelta(minutes=1))
LIMITS: Final[Mapping[str, Limit]] = {
    **dict.fromkeys(("issue_invoice", "issue_quote", "rates", "payment_quote", "execute"), _FAST),
    "": Limit(1_000, timedelta(minutes=10), timedelta(hours=1)),
}


@dataclass(slots=True)
class _Count:
    calls: deque[datetime] = field(default_factory=deque)
    locked_until: datetime | None = None


class Limits:
    """Counts calls in sandbox time. A restart forgets the counts."""

    def __init__(self, now: Callable[[], datetime], *, limits: Mapping[str, Limit] = LIMITS) -> None:
        self._now = now
        self._limits = limits
        self._counts = {name: _Count() for name in limits}

    def count(self, group: str) -> None:
        """Count one call.

        Raises:
            Refused: it is one too many, or the lock-out that followed one has not ended.
        """
        now, limit, count = self._now(), self._limits[group], self._counts[group]
        if count.locked_until is not None and now < count.locked_until:
            raise _too_many()
        count.locked_until = None
        while count.calls and count.calls[0] <= now - limit.window:
            count.calls.popleft()
        if len(count.calls) >= limit.calls:
            self.trip(group, lockout_s=0)
        count.calls.append(now)

    def trip(self, group: str, *, lockout_s: float) -> None:
        """Lock callers out for so long, or for as long as Strike does.

        Raises:
            Refused: always.
        """
        lockout = timedelta(seconds=lockout_s) if lockout_s else self._limits[group].lockout
        self._counts[group] = _Count(locked_until=self._now() + lockout)
        raise _too_many()


def _too_many() -> Refused:
    return Refused(429, "RATE_LIMIT_EXCEEDED", "Rate limit exceeded.")
