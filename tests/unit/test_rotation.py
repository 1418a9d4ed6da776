"""Rotation: both versions sign during an overlap, no overlap is cut short, and one that leaked ends at once."""

from datetime import UTC, datetime, timedelta

import pytest

from quittance.domain.errors import InvalidInput
from quittance.domain.rotation import NEVER_SHOWN, SHOWN_ONCE, SecretVersions

AT = datetime(2026, 5, 1, tzinfo=UTC)
HOUR_S = 3_600


def later(seconds: int) -> datetime:
    return AT + timedelta(seconds=seconds)


def test_both_versions_sign_until_the_overlap_is_over() -> None:
    rotated = SHOWN_ONCE.rotated(overlap_s=HOUR_S, at=AT)

    assert SHOWN_ONCE.signing(at=AT) == [1]
    assert rotated.signing(at=AT) == rotated.signing(at=later(HOUR_S - 1)) == [2, 1]
    assert rotated.signing(at=later(HOUR_S)) == [2]


def test_an_overlap_is_not_cut_short_by_the_next_one() -> None:
    rotated = SHOWN_ONCE.rotated(overlap_s=HOUR_S, at=AT)

    with pytest.raises(InvalidInput, match="signs until 2026-05-01T01:00:00Z") as refused:
        rotated.rotated(overlap_s=1, at=later(HOUR_S - 1))

    assert refused.value.field == "overlapSeconds"
    assert rotated.rotated(overlap_s=1, at=later(HOUR_S)).signing(at=later(HOUR_S)) == [3, 2]


def test_what_leaked_ends_at_once_whatever_overlaps() -> None:
    rotated = SHOWN_ONCE.rotated(overlap_s=HOUR_S, at=AT)

    ended = rotated.rotated(overlap_s=0, at=AT)

    assert ended.signing(at=AT) == [3]
    assert ended.rotated(overlap_s=HOUR_S, at=AT).signing(at=AT) == [4, 3]


@pytest.mark.parametrize("overlap_s", [0, HOUR_S])
def test_a_secret_that_nobody_was_shown_overlaps_nothing(overlap_s: int) -> None:
    first = NEVER_SHOWN.rotated(overlap_s=overlap_s, at=AT)

    assert NEVER_SHOWN.signing(at=AT) == [0]
    assert first == SecretVersions(newest=1)
    assert first.rotated(overlap_s=HOUR_S, at=AT).signing(at=AT) == [2, 1]
