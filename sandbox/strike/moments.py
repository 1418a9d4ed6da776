"""Times as Strike writes them: ISO 8601 with 0 to 7 places (sheet 1.1)."""

from datetime import datetime


def created(at: datetime) -> str:
    """Return a time as the answer to a creation shows it: in ticks, of which there are ten in a microsecond."""
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond:06d}{at.microsecond % 9 + 1}+00:00"


def listed(at: datetime) -> str:
    """Return a time as every later answer shows it: in microseconds, without the zeros at their end."""
    return _trimmed(at, f"{at.microsecond:06d}")


def expiring(at: datetime) -> str:
    """Return the end of a quote: in milliseconds."""
    return _trimmed(at, f"{at.microsecond // 1_000:03d}")


def _trimmed(at: datetime, fraction: str) -> str:
    digits = fraction.rstrip("0")
    return f"{at:%Y-%m-%dT%H:%M:%S}{'.' if digits else ''}{digits}+00:00"
