"""Sandbox time: the real time and an offset that may grow, shared by every process that knows the file."""

import fcntl
import json
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from quittance.sandbox.files import write_private

_REREAD_S = 0.1
ADVANCE_S_MAX = 10 * 366 * 86_400


class SandboxClock:
    """Time that moves forward by itself and by :meth:`advance`; it never goes back.

    With a path, processes that name the same file agree within a tenth of a second.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._offset_s = 0.0
        self._stamp: tuple[int, int] | None = None
        self._looked_at = -math.inf
        self._listeners: list[Callable[[], None]] = []
        self._look()

    @property
    def offset_s(self) -> float:
        return self._offset_s

    def now(self) -> datetime:
        """Return the sandbox's time, aware, in UTC."""
        if self._path is not None and time.monotonic() - self._looked_at >= _REREAD_S:
            self._look()
        return datetime.now(UTC) + timedelta(seconds=self._offset_s)

    def advance(self, seconds: float) -> datetime:
        """Move the time forward, here and in every process that shares the file; return the new time.

        Raises:
            ValueError: ``seconds`` is not a positive finite number, or the sum passes ten years.
        """
        if not (math.isfinite(seconds) and 0 < seconds <= ADVANCE_S_MAX):
            raise ValueError(f"the clock advances by more than 0 and at most {ADVANCE_S_MAX} seconds")
        if self._path is None:
            self._moved_to(self._checked(self._offset_s + seconds))
            return self.now()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.with_suffix(".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            offset_s = self._checked(self._read() + seconds)
            write_private(self._path, json.dumps({"offset_s": offset_s}).encode())
        self._look()
        return self.now()

    def on_advance(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call ``callback`` after every jump that this process makes or notices; return what ends that."""
        self._listeners.append(callback)
        return lambda: self._listeners.remove(callback)

    @staticmethod
    def _checked(offset_s: float) -> float:
        if offset_s > ADVANCE_S_MAX:
            raise ValueError(f"the clock may run at most {ADVANCE_S_MAX} seconds ahead")
        return offset_s

    def _look(self) -> None:
        self._looked_at = time.monotonic()
        if self._path is None:
            return
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return
        stamp = (status.st_mtime_ns, status.st_ino)
        if stamp != self._stamp:
            self._stamp = stamp
            self._moved_to(self._read())

    def _read(self) -> float:
        assert self._path is not None
        try:
            return float(json.loads(self._path.read_bytes())["offset_s"])
        except FileNotFoundError:
            return 0.0

    def _moved_to(self, offset_s: float) -> None:
        if offset_s == self._offset_s:
            return
        self._offset_s = offset_s
        for listener in tuple(self._listeners):
            listener()
