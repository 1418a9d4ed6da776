"""The one door to the database, the same for SQLite and PostgreSQL."""

import sqlite3
from collections.abc import Callable
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

from sqlalchemy.exc import SQLAlchemyError

from quittance.store.events import event_appender
from quittance.store.sqlite import SqliteDatabase
from quittance.store.transaction import Unit

T = TypeVar("T")


class Database(Protocol):
    """Writes go through ``write(unit)``; nobody else commits.

    A unit is one business change with its ledger entries, events and idempotency record. It runs synchronously,
    may run more than once, and touches nothing but its transaction.
    """

    dialect: str
    counter: Callable[[str], None] | None
    on_events: Callable[[int], None] | None

    async def write(self, unit: Unit[T]) -> T: ...

    async def read(self, query: Unit[T]) -> T: ...

    async def scan(self, query: Unit[T]) -> T: ...

    async def close(self) -> None: ...


@runtime_checkable
class Listening(Protocol):
    """A database that tells of the commits of other processes."""

    async def listen(self) -> None:
        """Wake ``on_events`` until the connection ends."""
        ...


def is_said_by_database(error: Exception) -> bool:
    """Tell whether a driver, or the way to the database, failed."""
    said = isinstance(error, OSError | SQLAlchemyError | sqlite3.Error)
    return said or type(error).__module__.partition(".")[0] == "asyncpg"


def sqlite_path(url: str) -> Path | None:
    """Return the file of a ``sqlite:///PATH`` address (four slashes: absolute), or None for another database."""
    prefix = "sqlite:///"
    return Path(url.removeprefix(prefix)) if url.startswith(prefix) else None


def open_database(
    url: str, *, now: Callable[[], datetime], new_event_id: Callable[[], str], group_commit: bool = True
) -> Database:
    """Open ``sqlite:///PATH`` or ``postgresql://…``; the schema must stand already.

    What only PostgreSQL needs is loaded only for it.

    Raises:
        ValueError: the address is of another kind.
    """
    append_events = event_appender(now=now, new_event_id=new_event_id)
    path = sqlite_path(url)
    if path is not None:
        return SqliteDatabase(path, append_events=append_events, group_commit=group_commit)
    if url.startswith(("postgresql://", "postgresql+asyncpg://")):
        opened: Database = import_module("quittance.store.postgres").PostgresDatabase(url, append_events=append_events)
        return opened
    raise ValueError("QUITTANCE_DATABASE_URL must be sqlite:///PATH or postgresql://USER@HOST/NAME")
