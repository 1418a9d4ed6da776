"""SQLite: one writing connection; units that wait run together on the event loop, and a thread makes them durable.

Exactly one connection ever writes and checkpoints (SQLite up to 3.51.2 can corrupt a WAL otherwise), so a file
lock is held around each batch: a command that writes from another process takes turns with the server.

Statements are microseconds of processor time that Python's lock would not let two threads spend at once anyway, so
they run where their answers are awaited; only what waits, for a flush or for another's lock, is given to the thread.
"""

import asyncio
import fcntl
import os
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from quittance.store.statement import Parameters, Statement
from quittance.store.transaction import AppendEvents, Transaction, Unit

T = TypeVar("T")

BATCH_UNITS_MAX = 128
READER_THREADS = 4
BUSY_TIMEOUT_MS = 5_000
CACHE_KIB = 2_048  # of each connection; the system caches the file too
CHECKPOINT_PAGES = 8_192  # 32 MiB: hot pages are copied back once, not after every fifty commits
_NOTHING: Parameters = {}


class DatabaseClosed(Exception):
    """The process is stopping. Nothing was written."""


class SqliteTransaction(Transaction):
    """Statements straight on one ``sqlite3`` connection."""

    def __init__(self, connection: sqlite3.Connection, *, counter: Callable[[str], None] | None = None) -> None:
        super().__init__()
        self._connection = connection
        self._counter = counter

    def all(self, statement: Statement, parameters: Parameters = _NOTHING) -> list[Any]:
        return self._run(statement, parameters).fetchall()

    def execute(self, statement: Statement, parameters: Parameters = _NOTHING) -> int:
        return self._run(statement, parameters).rowcount

    def execute_many(self, statement: Statement, parameters: list[Parameters]) -> None:
        for one in parameters:
            self._run(statement, one)

    def _run(self, statement: Statement, parameters: Parameters) -> sqlite3.Cursor:
        sql, values = statement.sqlite(parameters)
        if self._counter is not None:
            self._counter(sql)
        return self._connection.execute(sql, values)


class _Waiting:
    """One unit in the queue, and who waits for its answer."""

    __slots__ = ("error", "future", "position", "result", "unit")

    def __init__(self, unit: Unit[Any], future: "asyncio.Future[Any]") -> None:
        self.unit = unit
        self.future = future
        self.result: Any = None
        self.error: BaseException | None = None
        self.position: int | None = None

    def answer(self) -> None:
        if self.future.done():
            return
        if isinstance(self.error, StopIteration):  # which no future takes
            self.future.set_exception(RuntimeError("a unit ended an iteration"))
        elif self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


def connect(path: Path, *, writable: bool) -> sqlite3.Connection:
    """Open the file with our pragmas; readers can neither write nor checkpoint."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=512)
    if writable:
        connection.execute("PRAGMA busy_timeout=0")  # statements run on the loop: only the disk thread may wait
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
    else:
        connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA wal_autocheckpoint=0")
        connection.execute("PRAGMA query_only=ON")
    connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
    return connection


class SqliteDatabase:
    """``write`` queues a unit and answers after its commit; ``read`` runs at once on a read-only connection.

    Belongs to the event loop that opens it.
    """

    dialect = "sqlite"

    def __init__(
        self,
        path: Path,
        *,
        append_events: AppendEvents,
        group_commit: bool = True,
        busy_timeout_ms: int = BUSY_TIMEOUT_MS,
    ) -> None:
        self.path = path
        self._busy_timeout_ms = busy_timeout_ms
        self._append_events = append_events
        self._batch_max = BATCH_UNITS_MAX if group_commit else 1
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Waiting] = deque()
        self._idle = asyncio.Event()
        self._idle.set()
        self._closing: asyncio.Task[None] | None = None
        self._writer = connect(path, writable=True)
        self._lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._disk = _DiskThread(self._loop)
        self._reader = connect(path, writable=False)
        self._pool = ThreadPoolExecutor(READER_THREADS, thread_name_prefix="sqlite-reader")
        self._local = threading.local()
        self._pool_connections: list[sqlite3.Connection] = []
        self.counter: Callable[[str], None] | None = None
        self.on_events: Callable[[int], None] | None = None

    async def write(self, unit: Unit[T]) -> T:
        """Run ``unit`` with those that wait beside it and return its result once their commit is durable.

        Raises:
            DatabaseClosed: the process is stopping; nothing was written.
        """
        if self._closing is not None:
            raise DatabaseClosed
        waiting = _Waiting(unit, self._loop.create_future())
        self._waiting.append(waiting)
        if self._idle.is_set():
            self._idle.clear()
            self._loop.call_soon(self._take_turn)
        return await waiting.future  # type: ignore[no-any-return]

    async def read(self, query: Unit[T]) -> T:
        """Run a point read on the loop's own thread: microseconds, no hop."""
        return query(SqliteTransaction(self._reader, counter=self.counter))

    async def scan(self, query: Unit[T]) -> T:
        """Run a read of unbounded size on a reader thread."""
        return await self._loop.run_in_executor(self._pool, self._scan, query)

    async def close(self) -> None:
        """Finish what waits, then close every connection, also where the caller is canceled meanwhile.

        Closing again waits for the same end.
        """
        if self._closing is None:
            self._closing = self._loop.create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        await self._idle.wait()
        await self._loop.run_in_executor(None, self._disk.end)
        self._pool.shutdown(wait=True)
        for connection in [self._writer, self._reader, *self._pool_connections]:
            connection.close()
        os.close(self._lock)

    def _scan(self, query: Unit[T]) -> T:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = connect(self.path, writable=False)
            self._pool_connections.append(connection)
        return query(SqliteTransaction(connection, counter=self.counter))

    def _take_turn(self) -> None:
        """Begin the next batch; where another process writes just now, the thread waits for it, not the loop."""
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._writer.execute("BEGIN IMMEDIATE")
        except (BlockingIOError, sqlite3.OperationalError):
            self._disk.do(self._begin_patiently, then=self._run_batch)
        except (sqlite3.Error, OSError) as error:
            self._run_batch(error)
        else:
            self._run_batch(None)

    def _begin_patiently(self) -> None:
        """Wait for our own processes without limit, and for others that hold SQLite's lock as long as is usual."""
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._writer.execute(f"PRAGMA busy_timeout={self._busy_timeout_ms}")
        try:
            self._writer.execute("BEGIN IMMEDIATE")
        finally:
            self._writer.execute("PRAGMA busy_timeout=0")

    def _run_batch(self, failure: Exception | None) -> None:
        batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._batch_max))]
        end = partial(self._end_batch, batch)
        if failure is not None:
            end(failure)
            return
        try:
            if len(batch) > 1:
                for waiting in batch:
                    self._run_beside_others(waiting)
            elif not self._run(batch[0]):
                self._writer.execute("ROLLBACK")
                end(None)
                return
        except Exception as error:  # noqa: BLE001 - handed to every caller of the batch
            end(error)
        else:
            self._disk.do(lambda: self._writer.execute("COMMIT"), then=end)

    def _run_beside_others(self, waiting: _Waiting) -> None:
        """Run a unit in a savepoint of its own: what it fails with sinks nobody else."""
        self._writer.execute("SAVEPOINT unit")
        if not self._run(waiting):
            self._writer.execute("ROLLBACK TO unit")
        self._writer.execute("RELEASE unit")

    def _run(self, waiting: _Waiting) -> bool:
        transaction = SqliteTransaction(self._writer, counter=self.counter)
        try:
            waiting.result = waiting.unit(transaction)
            waiting.position = self._append_events(transaction)
        except BaseException as error:  # noqa: BLE001 - handed to the caller who waits for this unit
            waiting.error = error
            return False
        return True

    def _end_batch(self, batch: list[_Waiting], failure: Exception | None) -> None:
        """Answer everybody, and go on with those who came meanwhile."""
        if failure is not None:
            for waiting in batch:
                waiting.error = waiting.error or failure
            with suppress(sqlite3.Error):  # SQLite may have rolled back by itself
                self._writer.execute("ROLLBACK")
        with suppress(OSError):
            fcntl.flock(self._lock, fcntl.LOCK_UN)
        for waiting in batch:
            waiting.answer()
        if self._waiting:
            self._loop.call_soon(self._take_turn)
        else:
            self._idle.set()
        newest = max((w.position for w in batch if w.position is not None and w.error is None), default=None)
        if newest is not None and self.on_events is not None:
            self.on_events(newest)


class _DiskThread:
    """Waits for the disk, one thing at a time, and comes back to the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._jobs: queue.SimpleQueue[tuple[Callable[[], object], Callable[[Exception | None], None]] | None] = (
            queue.SimpleQueue()
        )
        self._thread = threading.Thread(target=self._work, name="sqlite-disk", daemon=True)
        self._thread.start()

    def do(self, job: Callable[[], object], *, then: Callable[[Exception | None], None]) -> None:
        """Run ``job`` on the thread, then ``then`` on the loop, with what the job failed with."""
        self._jobs.put((job, then))

    def end(self) -> None:
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (asked := self._jobs.get()) is not None:
            job, then = asked
            failure: Exception | None = None
            try:
                job()
            except Exception as error:  # noqa: BLE001 - handed to who waits for the job
                failure = error
            with suppress(RuntimeError):  # the loop was closed: nobody waits there any more
                self._loop.call_soon_threadsafe(then, failure)
