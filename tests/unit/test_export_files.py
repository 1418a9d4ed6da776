"""An export's file is whole or not there, and its progress is told where it can be seen."""

import io
import re
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from quittance.server.export_files import Progress, whole_file


def test_file_is_its_owners_alone(tmp_path: Path) -> None:
    with whole_file(tmp_path / "out.csv") as file:
        file.write(b"rows")
        assert not (tmp_path / "out.csv").exists()

    assert (tmp_path / "out.csv").read_bytes() == b"rows"
    assert (tmp_path / "out.csv").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


def test_file_that_was_not_ended_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_bytes(b"of yesterday")

    def interrupted() -> None:
        with whole_file(tmp_path / "out.csv") as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("out.csv", b"of yesterday")]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_moves_on_a_terminal_and_is_one_line_elsewhere() -> None:
    terminal, not_live, pipe = Terminal(), Terminal(), io.StringIO()
    shown = [Progress("payments", to=terminal), Progress("payments", live=False, to=not_live)]
    shown.append(Progress("payments", to=pipe))

    for progress in shown:
        progress.add(1_000)
    time.sleep(0.25)
    for progress in shown:
        progress.add(1_500)
        progress.end()

    ended = r"exported 2,500 payments in 0\.\d s, [\d,]+ a second\n"
    assert re.fullmatch(r"\r2,500 payments in 0\.\d s, [\d,]+ a second …\x1b\[K\r\x1b\[K" + ended, terminal.getvalue())
    assert re.fullmatch(ended, not_live.getvalue())
    assert re.fullmatch(ended, pipe.getvalue())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the process ends, so nobody closes it
def test_an_interrupt_at_any_moment_leaves_no_half_file(tmp_path: Path) -> None:
    code = whole_file.__wrapped__.__code__  # type: ignore[attr-defined]
    left: list[list[str]] = []
    for moment in range(100):
        lines = 0

        def interrupt(frame: FrameType, event: str, _: Any, moment: int = moment) -> Any:
            nonlocal lines
            if frame.f_code is not code:
                return None
            if event == "line":
                lines += 1
                if lines == moment + 1:
                    raise KeyboardInterrupt
            return interrupt

        before = sys.gettrace()
        sys.settrace(interrupt)
        try:
            with whole_file(tmp_path / "out.csv") as file:
                file.write(b"rows")
        except KeyboardInterrupt:
            left.append([one.name for one in tmp_path.iterdir()])
        else:
            break
        finally:
            sys.settrace(before)

    assert len(left) > 5
    assert left == [[]] * len(left)
    assert (tmp_path / "out.csv").read_bytes() == b"rows"
