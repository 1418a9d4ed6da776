"""How often Strike may be asked: too often once, and it locks the account out for a minute, or for an hour (1.7)."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from time import monotonic
from typing import Final


class Bucket(StrEnum):
    """Calls that Strike counts together."""

    ISSUE_INVOICE = "ISSUE_INVOICE"
    ISSUE_QUOTE = "ISSUE_QUOTE"
    RATES = "RATES"
    PAYMENT_QUOTE = "PAYMENT_QUOTE"
    EXECUTE = "EXECUTE"
    OTHER = "OTHER"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """``calls`` within any ``within_s`` seconds; who asks more often is locked out for ``lockout_s``."""

    calls: int
    within_s: float
    lockout_s: float


def limits_of(url_host: str, *, share: int) -> Mapping[Bucket, Limit]:
    """Return the limits of the Strike at this host, for one of so many processes that share the account."""
    limits = SANDBOX if url_host.endswith(DEVELOPMENT_HOST) else PRODUCTION
    return {bucket: replace(limit, calls=max(1, limit.calls // share)) for bucket, limit in limits.items()}


def _limits(*, fast: int, other: int) -> Mapping[Bucket, Limit]:
    quick = Limit(calls=fast, within_s=60.0, lockout_s=60.0)
    slow = Limit(calls=other, within_s=600.0, lockout_s=3_600.0)
    return {bucket: slow if bucket is Bucket.OTHER else quick for bucket in Bucket}


PRODUCTION: Final = _limits(fast=250, other=1_000)
SANDBOX: Final = _limits(fast=90, other=350)
DEVELOPMENT_HOST: Final = "dev.strike.me"
RESERVED_PART: Final = 5  # one call in five is kept for those about money on its way


class Budget:
    """The calls of one account, over all its keys: what is left of each bucket, and until when it is locked.

    ``clock`` counts seconds and never goes back. Belongs to one event loop.
    """

    def __init__(self, limits: Mapping[Bucket, Limit] = PRODUCTION, *, clock: Callable[[], float] = monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._made: dict[Bucket, deque[float]] = {bucket: deque() for bucket in Bucket}
        self._locked_until: dict[Bucket, float] = {}

    def take(self, bucket: Bucket, *, urgent: bool) -> float:
        """Take one call: 0 when it may be made now, else in how many seconds one may be, and nothing is taken.

        ``urgent`` calls decide about money on its way: they may use the part that is kept for them.
        """
        limit, made, now = self._limits[bucket], self._made[bucket], self._clock()
        locked_s = self._locked_until.get(bucket, now) - now
        if locked_s > 0:
            return locked_s
        while made and made[0] <= now - limit.within_s:
            made.popleft()
        most = limit.calls if urgent else limit.calls - limit.calls // RESERVED_PART
        if len(made) >= most:
            return made[len(made) - most] + limit.within_s - now
        made.append(now)
        return 0.0

    def lock(self, bucket: Bucket) -> float:
        """Note that Strike has locked a bucket; return for how many seconds."""
        lockout_s = self._limits[bucket].lockout_s
        self._locked_until[bucket] = self._clock() + lockout_s
        return lockout_s
