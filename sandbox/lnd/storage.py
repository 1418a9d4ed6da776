"""The nodes' memory on disk: one SQLite file for all of them, so that a payment is written whole or not at all."""

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import fields
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeVar

from quittance.sandbox.cln.records import LabelRecord
from quittance.sandbox.lnd.records import InvoiceRecord, NodeRecord, PaymentRecord
from quittance.sandbox.strike.records import StrikeRecord

Record = NodeRecord | InvoiceRecord | PaymentRecord | LabelRecord | StrikeRecord
Kept = TypeVar("Kept", NodeRecord, InvoiceRecord, PaymentRecord, LabelRecord, StrikeRecord)

_TABLES: dict[type[Record], tuple[str, str]] = {
    NodeRecord: ("node", "name"),
    InvoiceRecord: ("invoice", "node, add_index"),
    PaymentRecord: ("payment", "node, payment_hash"),
    LabelRecord: ("label", "node, created_index"),
    StrikeRecord: ("strike", "kind, id"),
}
_FLAGS = frozenset({"private", "hold", "unheard", "stuck", "deleted"})


class Storage:
    """Keeps records. What :meth:`save` returned from survives the death of the process, not of the machine."""

    def __init__(self, path: Path | None) -> None:
        self._connection = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = OFF")
        self._statements: dict[type[Record], tuple[str, Callable[[Record], tuple[object, ...]]]] = {}
        for kind, (table, key) in _TABLES.items():
            names = [field.name for field in fields(kind)]
            self._connection.execute(
                f"CREATE TABLE IF NOT EXISTS {table} ({', '.join(names)}, PRIMARY KEY ({key})) WITHOUT ROWID"
            )
            self._add_missing(kind, table)
            places = ", ".join("?" * len(names))
            statement = f"INSERT OR REPLACE INTO {table} ({', '.join(names)}) VALUES ({places})"  # noqa: S608
            self._statements[kind] = (statement, attrgetter(*names))

    def _add_missing(self, kind: type[Record], table: str) -> None:
        """Give a file of an earlier version the columns that it lacks, with what a new record holds there."""
        present = {row[1] for row in self._connection.execute(f"PRAGMA table_info({table})")}
        for field in fields(kind):
            if field.name not in present:
                self._connection.execute(f"ALTER TABLE {table} ADD COLUMN {field.name}")
                self._connection.execute(f"UPDATE {table} SET {field.name} = ?", (field.default,))  # noqa: S608

    def save(self, *records: Record) -> None:
        """Write all of ``records``, or none of them."""
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        try:
            for record in records:
                statement, values = self._statements[type(record)]
                execute(statement, values(record))
        except BaseException:
            execute("ROLLBACK")
            raise
        execute("COMMIT")

    def load(self, kind: type[Kept]) -> Iterator[Kept]:
        """Yield every record of one kind, in no particular order."""
        names = [field.name for field in fields(kind)]
        make: Callable[..., Kept] = kind
        for row in self._connection.execute(f"SELECT {', '.join(names)} FROM {_TABLES[kind][0]}"):  # noqa: S608
            values: dict[str, Any] = dict(zip(names, row, strict=True))
            values |= {name: bool(values[name]) for name in _FLAGS if name in values}
            yield make(**values)

    def close(self) -> None:
        self._connection.close()
