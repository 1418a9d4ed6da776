"""Rotation of derived secrets: which versions sign now, and when the next one may come."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from quittance.domain.errors import InvalidInput

FIRST_SHOWN = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretVersions:
    """The newest version of a secret, and until when the one before it signs too. Version 0 was shown to nobody."""

    newest: int
    previous_until: datetime | None = None

    def signing(self, *, at: datetime) -> list[int]:
        """Return the versions to sign with: the newest first, and the one before it during the overlap."""
        overlaps = self.previous_until is not None and at < self.previous_until
        return [self.newest, self.newest - 1] if overlaps else [self.newest]

    def rotated(self, *, overlap_s: int, at: datetime) -> "SecretVersions":
        """Return what follows: a new version, beside which the one before signs for ``overlap_s`` seconds.

        Without an overlap every older secret ends at once. One that nobody was shown has no overlap to keep.

        Raises:
            InvalidInput: an overlap was asked for, and that of the rotation before is not over: it would be cut short.
        """
        if self.newest < FIRST_SHOWN:
            return SecretVersions(newest=FIRST_SHOWN)
        if overlap_s and self.previous_until is not None and at < self.previous_until:
            raise InvalidInput(
                "overlapSeconds",
                f"the secret before this one signs until {self.previous_until:%Y-%m-%dT%H:%M:%SZ}; rotate after it, or "
                "end every older secret now with overlapSeconds: 0",
            )
        return replace(self, newest=self.newest + 1, previous_until=at + timedelta(seconds=overlap_s))


SHOWN_ONCE = SecretVersions(newest=FIRST_SHOWN)
NEVER_SHOWN = SecretVersions(newest=0)
