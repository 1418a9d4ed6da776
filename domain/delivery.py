"""When a webhook counts as delivered, and when it is tried again."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

# Between the first attempt and the last lie 75 hours, 35 minutes and 5 seconds: the standard's own schedule.
RETRY_DELAYS_S: Final = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
ATTEMPTS_MAX: Final = len(RETRY_DELAYS_S) + 1
JITTER_SHARE: Final = 0.1
RETRY_AFTER_S_MAX: Final = 86_400

_GONE: Final = 410
_THROTTLING: Final = frozenset({429, 502, 503, 504})
_SECONDS: Final = re.compile(r"[0-9]{1,12}")
_DATE_LENGTH_MAX: Final = 64


def retry_delay_s(attempt: int, *, jitter: float) -> float | None:
    """Return how long to wait after ``attempt`` failed, counted from 1; None when it was the last.

    ``jitter``, from 0 to 1, makes the wait up to a tenth longer, never shorter.
    """
    if attempt < 1 or not 0 <= jitter <= 1:
        raise ValueError("attempts are counted from 1, and jitter goes from 0 to 1")
    if attempt >= ATTEMPTS_MAX:
        return None
    return RETRY_DELAYS_S[attempt - 1] * (1 + JITTER_SHARE * jitter)


def is_delivered(status_code: int) -> bool:
    """Tell whether the receiver took the message. A redirect is a failure: it is not followed."""
    return 200 <= status_code <= 299


def disables(status_code: int) -> bool:
    """Tell whether the receiver says that it wants no more messages."""
    return status_code == _GONE


def throttles(status_code: int) -> bool:
    """Tell whether the receiver, or what stands before it, asks for fewer messages."""
    return status_code in _THROTTLING


def retry_after_s(value: str | None, *, now: datetime) -> float | None:
    """Return how long a ``Retry-After`` asks to wait: seconds or an HTTP date; from 0 to a day.

    None without the header, or where it cannot be read: then our own schedule holds.
    """
    text = "" if value is None else value.strip()
    if _SECONDS.fullmatch(text):
        return _capped(int(text))
    if len(text) > _DATE_LENGTH_MAX:
        return None
    try:
        moment = parsedate_to_datetime(text)
    except (ArithmeticError, LookupError, TypeError, ValueError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)  # HTTP knows no other
    return _capped((moment - now).total_seconds())


def _capped(wait_s: float) -> float:
    return float(min(max(0, wait_s), RETRY_AFTER_S_MAX))
