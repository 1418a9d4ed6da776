"""Sandbox time moves forward, for everybody who shares it."""

import math
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from quittance.sandbox.clock import ADVANCE_S_MAX, SandboxClock


def test_time_is_real_until_it_is_moved() -> None:
    clock = SandboxClock(None)
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=1)

    clock.advance(3600)

    assert timedelta(seconds=3599) < clock.now() - datetime.now(UTC) < timedelta(seconds=3601)


def test_two_clocks_of_one_file_agree(tmp_path: Path) -> None:
    mine, other = SandboxClock(tmp_path / "clock.json"), SandboxClock(tmp_path / "clock.json")
    heard: list[float] = []
    other.on_advance(lambda: heard.append(other.offset_s))

    mine.advance(60)
    other.advance(30)
    mine.now()
    time.sleep(0.11)
    mine.now()

    assert mine.offset_s == other.offset_s == 90
    assert heard == [90]


@pytest.mark.parametrize("seconds", [0, -1, math.nan, math.inf, ADVANCE_S_MAX + 1])
def test_time_never_goes_back_nor_too_far(tmp_path: Path, seconds: float) -> None:
    clock = SandboxClock(tmp_path / "clock.json")

    with pytest.raises(ValueError, match="clock"):
        clock.advance(seconds)

    assert clock.offset_s == 0
    assert not (tmp_path / "clock.json").exists()


def test_a_listener_that_left_hears_nothing() -> None:
    clock, heard = SandboxClock(None), list[int]()
    leave = clock.on_advance(lambda: heard.append(1))
    clock.advance(1)

    leave()
    clock.advance(1)

    assert heard == [1]
