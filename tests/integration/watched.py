"""A database that remembers what it was asked and what it handed over, and tells how SQLite finds it."""

import sqlite3
from collections.abc import Callable
from typing import Any

from quittance.store.sqlite import SqliteDatabase
from quittance.store.statement import Parameters, Statement
from quittance.store.transaction import Transaction

_NOTHING: Parameters = {}


class _Watching(Transaction):
    def __init__(self, inner: Transaction, watched: "WatchedDatabase") -> None:
        super().__init__()
        self.drafts = inner.drafts
        self._inner = inner
        self._watched = watched

    def all(self, statement: Statement, parameters: Parameters = _NOTHING) -> list[Any]:
        self._watched.check(statement, parameters)
        rows = self._inner.all(statement, parameters)
        self._watched.asked.append((statement, parameters))
        self._watched.rows += rows
        return rows

    def execute(self, statement: Statement, parameters: Parameters = _NOTHING) -> int:
        return self._inner.execute(statement, parameters)

    def execute_many(self, statement: Statement, parameters: list[Parameters]) -> None:
        self._inner.execute_many(statement, parameters)


class WatchedDatabase:
    """Hands every call on; what is read through it is remembered. A read from the table ``failing`` fails."""

    def __init__(self, inner: Any, *, failing: str | None = None, error: Exception | None = None) -> None:
        self._inner = inner
        self._error = error or OSError("the disk is gone")
        self.failing = failing
        self.asked: list[tuple[Statement, Parameters]] = []
        self.rows: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def read(self, query: Callable[[Transaction], Any]) -> Any:
        return await self._inner.read(lambda transaction: query(_Watching(transaction, self)))

    async def scan(self, query: Callable[[Transaction], Any]) -> Any:
        return await self._inner.scan(lambda transaction: query(_Watching(transaction, self)))

    def check(self, statement: Statement, parameters: Parameters) -> None:
        if self.failing is not None and f"FROM {self.failing}" in statement.sqlite(parameters)[0]:
            raise self._error

    def plans(self) -> dict[str, list[str]]:
        """Return how SQLite finds the rows of each statement that was asked, by its text."""
        assert isinstance(self._inner, SqliteDatabase)
        connection = sqlite3.connect(self._inner.path)
        found: dict[str, list[str]] = {}
        for statement, parameters in self.asked:
            sql, values = statement.sqlite(parameters)
            steps = connection.execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall()
            found[sql] = [step[-1] for step in steps]
        connection.close()
        return found
