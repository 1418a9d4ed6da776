"""SQLite: one thread owns the only writing connection and commits waiting units together.

Exactly one connection ever writes and checkpoints (SQLite up to 3.51.2 can corrupt a WAL otherwise), so a file
lock is held around each batch: a command that writes from another process takes turns with the server.
"""

import asyncio
import fcntl
import os
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from quittance.store.statement import Parameters, Statement
from quittance.store.transaction import AppendEvents, Transaction, Unit

T = TypeVar("T")

BATCH_UNITS_MAX = 128
READER_THREADS = 4
BUSY_TIMEOUT_MS = 5_000
_NOTHING: Parameters = {}


class DatabaseClosed(Exception):
    """The writer has ended: the process is stopping, or the disk failed. Nothing was written."""


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

    __slots__ = ("error", "future", "loop", "position", "result", "unit")

    def __init__(self, unit: Unit[Any], loop: asyncio.AbstractEventLoop, future: "asyncio.Future[Any]") -> None:
        self.unit = unit
        self.loop = loop
        self.future = future
        self.result: Any = None
        self.error: BaseException | None = None
        self.position: int | None = None

    def answer(self) -> None:
        if self.future.cancelled():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


def connect(path: Path, *, writable: bool) -> sqlite3.Connection:
    """Open the file with our pragmas; readers can neither write nor checkpoint."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=512)
    connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    if writable:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
    else:
        connection.execute("PRAGMA wal_autocheckpoint=0")
        connection.execute("PRAGMA query_only=ON")
    connection.execute("PRAGMA cache_size=-32768")
    return connection


class SqliteDatabase:
    """``write`` queues a unit and answers after its commit; ``read`` runs at once on a read-only connection."""

    dialect = "sqlite"

    def __init__(self, path: Path, *, append_events: AppendEvents, group_commit: bool = True) -> None:
        self.path = path
        self._append_events = append_events
        self._batch_max = BATCH_UNITS_MAX if group_commit else 1
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._writer = connect(path, writable=True)
        self._lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._reader = connect(path, writable=False)
        self._pool = ThreadPoolExecutor(READER_THREADS, thread_name_prefix="sqlite-reader")
        self._local = threading.local()
        self._pool_connections: list[sqlite3.Connection] = []
        self._thread = threading.Thread(target=self._work, name="sqlite-writer", daemon=True)
        self._thread.start()
        self.counter: Callable[[str], None] | None = None
        self.on_events: Callable[[int], None] | None = None

    async def write(self, unit: Unit[T]) -> T:
        """Run ``unit`` in a savepoint of the next commit and return its result once that commit is durable.

        Raises:
            DatabaseClosed: the writer has ended; nothing was written.
        """
        if not self._thread.is_alive():
            raise DatabaseClosed
        loop = asyncio.get_running_loop()
        waiting = _Waiting(unit, loop, loop.create_future())
        self._queue.put(waiting)
        return await waiting.future  # type: ignore[no-any-return]

    async def read(self, query: Unit[T]) -> T:
        """Run a point read on the loop's own thread: microseconds, no hop."""
        return query(SqliteTransaction(self._reader, counter=self.counter))

    async def scan(self, query: Unit[T]) -> T:
        """Run a read of unbounded size on a reader thread."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._scan, query)

    async def close(self) -> None:
        """Finish what waits, then close every connection."""
        self._queue.put(None)
        await asyncio.get_running_loop().run_in_executor(None, self._thread.join)
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

    def _work(self) -> None:
        try:
            self._serve()
        finally:  # whatever ended the writer, nobody may wait for it
            while True:
                try:
                    left = self._queue.get_nowait()
                except queue.Empty:
                    return
                if left is not None:
                    left.error = DatabaseClosed()
                    self._answer([left])

    def _serve(self) -> None:
        while (first := self._queue.get()) is not None:
            batch = [first]
            stop = False
            while len(batch) < self._batch_max and not stop:
                try:
                    following = self._queue.get_nowait()
                except queue.Empty:
                    break
                stop = following is None
                if following is not None:
                    batch.append(following)
            self._commit(batch)
            if stop:
                return

    def _commit(self, batch: list[_Waiting]) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            self._writer.execute("BEGIN IMMEDIATE")
            for waiting in batch:
                self._run(waiting)
            self._writer.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            for waiting in batch:
                waiting.error = waiting.error or error
            with suppress(sqlite3.Error):  # SQLite may have rolled back by itself
                self._writer.execute("ROLLBACK")
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)
        self._answer(batch)

    def _run(self, waiting: _Waiting) -> None:
        self._writer.execute("SAVEPOINT unit")
        transaction = SqliteTransaction(self._writer, counter=self.counter)
        try:
            waiting.result = waiting.unit(transaction)
            waiting.position = self._append_events(transaction)
        except Exception as error:  # noqa: BLE001 - handed to the caller who waits for this unit
            waiting.error = error
            self._writer.execute("ROLLBACK TO unit")
        self._writer.execute("RELEASE unit")

    def _answer(self, batch: list[_Waiting]) -> None:
        newest = max((w.position for w in batch if w.position is not None and w.error is None), default=None)
        by_loop: dict[asyncio.AbstractEventLoop, list[_Waiting]] = {}
        for waiting in batch:
            by_loop.setdefault(waiting.loop, []).append(waiting)
        for loop, waiters in by_loop.items():
            with suppress(RuntimeError):  # the loop was closed: nobody waits there any more
                loop.call_soon_threadsafe(self._resolve, waiters, newest)

    def _resolve(self, waiters: list[_Waiting], newest: int | None) -> None:
        for waiting in waiters:
            waiting.answer()
        if newest is not None and self.on_events is not None:
            self.on_events(newest)
