"""PostgreSQL: units run on a pool of asyncpg connections, and are retried when the server asks for it."""

import asyncio
import random
from collections.abc import Callable
from typing import Any, TypeVar

import asyncpg
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from quittance.store.statement import Parameters, Statement
from quittance.store.transaction import AppendEvents, Transaction, Unit

T = TypeVar("T")

POOL_CONNECTIONS = 16
UNIT_TRIES_MAX = 10
RETRY_DELAY_S = 0.01
NOTIFY_CHANNEL = "quittance_events"
_RETRYABLE = {"40001", "40P01"}  # serialization failure, deadlock detected
_NOTHING: Parameters = {}


class PostgresTransaction(Transaction):
    """Statements on one connection, inside SQLAlchemy's bridge from synchronous code to asyncpg."""

    def __init__(self, connection: Connection, *, counter: Callable[[str], None] | None = None) -> None:
        super().__init__()
        self._connection = connection
        self._counter = counter

    def all(self, statement: Statement, parameters: Parameters = _NOTHING) -> list[Any]:
        return [tuple(row) for row in self._run(statement, parameters).fetchall()]

    def execute(self, statement: Statement, parameters: Parameters = _NOTHING) -> int:
        return int(self._run(statement, parameters).rowcount)

    def execute_many(self, statement: Statement, parameters: list[Parameters]) -> None:
        for one in parameters:
            self._run(statement, one)

    def notify(self, position: int) -> None:
        """Tell every listening process the newest position, once this transaction commits."""
        self._connection.exec_driver_sql("SELECT pg_notify($1, $2)", (NOTIFY_CHANNEL, str(position)))

    def _run(self, statement: Statement, parameters: Parameters) -> Any:
        sql, values = statement.postgresql(parameters)
        if self._counter is not None:
            self._counter(sql)
        return self._connection.exec_driver_sql(sql, values)


def should_retry(error: DBAPIError) -> bool:
    """Tell whether PostgreSQL undid the transaction and asks to run it again."""
    state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
    return state in _RETRYABLE


class PostgresDatabase:
    """The same two doors as on SQLite: ``write(unit)`` and ``read(query)``."""

    dialect = "postgresql"

    def __init__(self, url: str, *, append_events: AppendEvents, pool_connections: int = POOL_CONNECTIONS) -> None:
        self._append_events = append_events
        self._dsn = url.replace("postgresql+asyncpg://", "postgresql://", 1)
        self._engine: AsyncEngine = create_async_engine(
            self._dsn.replace("postgresql://", "postgresql+asyncpg://", 1),
            pool_size=pool_connections,
            max_overflow=0,
            pool_pre_ping=True,
            hide_parameters=True,  # an error's text must not carry what was written
        )
        self._reads = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        self._listener: asyncio.Task[None] | None = None
        self.counter: Callable[[str], None] | None = None
        self.on_events: Callable[[int], None] | None = None

    async def write(self, unit: Unit[T]) -> T:
        """Run ``unit`` in a transaction of its own and return its result once committed.

        A unit may run several times (serialization failure, deadlock); it must have no effect but on the database.
        """
        for attempt in range(UNIT_TRIES_MAX):
            try:
                async with self._engine.begin() as connection:
                    result, position = await connection.run_sync(self._run, unit)
            except DBAPIError as error:
                if attempt + 1 == UNIT_TRIES_MAX or not should_retry(error):
                    raise
                await asyncio.sleep(random.uniform(0, RETRY_DELAY_S * 2**attempt))  # noqa: S311 - jitter
                continue
            if position is not None and self.on_events is not None:
                self.on_events(position)
            return result
        raise AssertionError("the loop above returns or raises")

    async def read(self, query: Unit[T]) -> T:
        """Run reads, each statement seeing the newest commit."""
        async with self._reads.connect() as connection:
            return await connection.run_sync(self._query, query)

    async def scan(self, query: Unit[T]) -> T:
        """Run a read of unbounded size."""
        return await self.read(query)

    async def listen(self) -> None:
        """Wake ``on_events`` for commits of other processes; ends with the connection."""
        connection = await asyncpg.connect(self._dsn)
        closed = asyncio.Event()
        connection.add_termination_listener(lambda _: closed.set())
        try:
            await connection.add_listener(NOTIFY_CHANNEL, self._notified)
            await closed.wait()
        finally:
            await connection.close(timeout=1)

    async def close(self) -> None:
        await self._engine.dispose()

    def _run(self, connection: Connection, unit: Unit[T]) -> tuple[T, int | None]:
        transaction = PostgresTransaction(connection, counter=self.counter)
        result = unit(transaction)
        position = self._append_events(transaction)
        if position is not None:
            transaction.notify(position)
        return result, position

    def _query(self, connection: Connection, query: Unit[T]) -> T:
        return query(PostgresTransaction(connection, counter=self.counter))

    def _notified(self, _connection: Any, _pid: int, _channel: str, payload: object) -> None:
        if self.on_events is not None:
            self.on_events(int(str(payload)))
