"""When a delivery is tried again: the standard's schedule, and what receivers ask for."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quittance.domain.delivery import (
    ATTEMPTS_MAX,
    RETRY_AFTER_S_MAX,
    disables,
    is_delivered,
    retry_after_s,
    retry_delay_s,
    throttles,
)

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def test_the_schedule_of_the_standard_ends_after_three_days() -> None:
    delays = [retry_delay_s(attempt, jitter=0) for attempt in range(1, ATTEMPTS_MAX + 1)]

    assert delays == [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400, None]
    assert sum(delay or 0 for delay in delays) == timedelta(hours=75, minutes=35, seconds=5).total_seconds()


def test_jitter_makes_a_wait_longer_by_a_tenth_at_most() -> None:
    assert retry_delay_s(2, jitter=1) == pytest.approx(330)


@pytest.mark.parametrize(("attempt", "jitter"), [(0, 0.0), (1, -0.1), (1, 1.1)])
def test_what_is_no_attempt_or_no_jitter_is_a_bug(attempt: int, jitter: float) -> None:
    with pytest.raises(ValueError, match="attempts are counted from 1"):
        retry_delay_s(attempt, jitter=jitter)


def test_every_status_means_what_the_standard_says() -> None:
    codes = range(100, 600)

    assert [code for code in codes if is_delivered(code)] == list(range(200, 300))
    assert [code for code in codes if disables(code)] == [410]
    assert [code for code in codes if throttles(code)] == [429, 502, 503, 504]


@pytest.mark.parametrize(
    ("value", "wait_s"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("0", 0),
        ("120", 120),
        (" 120 ", 120),
        ("86401", RETRY_AFTER_S_MAX),
        ("1.5", None),
        ("9" * 12, RETRY_AFTER_S_MAX),
        ("9" * 40, None),
        (format_datetime(NOW + timedelta(minutes=5), usegmt=True), 300),
        ("Friday, 01-May-26 00:05:00 GMT", 300),
        ("Fri May  1 00:05:00 2026", 300),
        ("Fri, 01 May 2026 99:99:99 GMT", None),
        (format_datetime(NOW - timedelta(minutes=5), usegmt=True), 0),
        (format_datetime(NOW + timedelta(days=9), usegmt=True), RETRY_AFTER_S_MAX),
    ],
)
def test_what_a_receiver_asks_is_read_and_capped_at_a_day(value: str | None, wait_s: float | None) -> None:
    assert retry_after_s(value, now=NOW) == wait_s


@given(st.one_of(st.text(max_size=80), st.from_regex(r"\w{3}, \d{1,3} \w{3} \d{1,6} [\d:]{1,9} [+\w-]{1,9}")))
def test_whatever_a_receiver_writes_is_a_wait_of_a_day_at_most_or_nothing(value: str) -> None:
    wait_s = retry_after_s(value, now=NOW)

    assert wait_s is None or 0 <= wait_s <= RETRY_AFTER_S_MAX
