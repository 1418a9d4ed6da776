"""Where an export goes: to a file that is whole or not there, or to standard output; and how it comes on."""

import os
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO

_REFRESH_S = 0.2


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes the place of ``path`` once it was written to its end; otherwise nothing stays.

    Only its owner may read it: it tells of payments.

    Raises:
        OSError: it cannot be written there.
    """
    if path.exists() and not path.is_file():
        raise FileExistsError(None, "it is there and is no file", str(path))
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")  # known before it is there: interrupts may come
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


class Progress:
    """Tells on a terminal how far an export is; elsewhere, or when not ``live``, only its end, in one line."""

    def __init__(self, what: str, *, live: bool = True, to: TextIO | None = None) -> None:
        self.rows = 0
        self._what = what
        self._to = sys.stderr if to is None else to
        self._live = live and self._to.isatty()
        self._begun = self._told = time.monotonic()
        self._shown = False

    def add(self, rows: int) -> None:
        self.rows += rows
        now = time.monotonic()
        if self._live and now - self._told >= _REFRESH_S:
            self._told, self._shown = now, True
            self._to.write(f"\r{self._line(now)} …\x1b[K")
            self._to.flush()

    def end(self) -> None:
        self._to.write(f"{self._over()}exported {self._line(time.monotonic())}\n")
        self._to.flush()

    def wipe(self) -> None:
        """Take away what is shown, for something else is to be said."""
        self._to.write(self._over())
        self._to.flush()

    def _over(self) -> str:
        return "\r\x1b[K" if self._shown else ""

    def _line(self, now: float) -> str:
        elapsed_s = max(now - self._begun, 1e-3)
        return f"{self.rows:,} {self._what} in {elapsed_s:.1f} s, {self.rows / elapsed_s:,.0f} a second"
