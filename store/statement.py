"""Hot statements: SQLAlchemy Core, compiled once per dialect to SQL text for the raw connection."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

from sqlalchemy import BindParameter, Dialect, Table, bindparam
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import Executable

Parameters = Mapping[str, object]
Values = tuple[object, ...]

_BATCH_MAX = 1_024


class Statement:
    """A statement built from a dialect module, because ``INSERT … ON CONFLICT`` is each dialect's own.

    Every value is a named bind parameter: integers, text and bytes only, so no type needs conversion.
    """

    __slots__ = ("_build", "_postgresql", "_sqlite")

    def __init__(self, build: Callable[[ModuleType], Executable]) -> None:
        self._build = build
        self._sqlite: _Compiled | None = None
        self._postgresql: _Compiled | None = None

    def sqlite(self, parameters: Parameters) -> tuple[str, Values]:
        """Return SQL with ``?`` parameters, and every parameter's value in that order."""
        if self._sqlite is None:
            self._sqlite = _Compiled(self._build(sqlite), sqlite.dialect())
        return self._sqlite.sql, self._sqlite.values(parameters)

    def postgresql(self, parameters: Parameters) -> tuple[str, Values]:
        """Return SQL with ``$1`` parameters, and every parameter's value in that order."""
        if self._postgresql is None:
            dialect = import_module("sqlalchemy.dialects.postgresql.asyncpg").dialect()  # megabytes, unused on SQLite
            self._postgresql = _Compiled(self._build(import_module("sqlalchemy.dialects.postgresql")), dialect)
        return self._postgresql.sql, self._postgresql.values(parameters)


class _Compiled:
    """A statement's text in one dialect, and the order of its parameters."""

    __slots__ = ("_constants", "_names", "sql")

    def __init__(self, statement: Executable, dialect: Dialect) -> None:
        compiled = _compile(statement, dialect)
        self.sql = str(compiled)
        self._names = tuple(compiled.positiontup or ())
        self._constants = _constants(compiled)

    def values(self, parameters: Parameters) -> tuple[object, ...]:
        if not self._constants:
            return tuple([parameters[name] for name in self._names])
        constants = self._constants
        return tuple([parameters[name] if name in parameters else constants[name] for name in self._names])


def _compile(statement: Executable, dialect: Dialect) -> SQLCompiler:
    compiled = statement.compile(dialect=dialect)  # type: ignore[attr-defined]
    if not isinstance(compiled, SQLCompiler):
        raise TypeError("only statements that read or change rows can be compiled")
    if compiled.post_compile_params:
        raise TypeError("a list of plain values is expanded at each execution; use a BatchStatement")
    return compiled


def _constants(compiled: SQLCompiler) -> dict[str, object]:
    """Return the values that the statement itself brings, such as a status it compares with."""
    return {name: bind.value for bind, name in compiled.bind_names.items() if not bind.required}


def every_column(table: Table) -> dict[str, BindParameter[Any]]:
    """Return the values of an ``INSERT`` that names every column: a parameter of the same name for each."""
    return {column.name: bindparam(column.name) for column in table.c}


class BatchStatement:
    """A statement over a list of keys, compiled for sizes that are powers of two.

    ``build`` gets the dialect and the list of bind parameters to put into an ``IN``. A batch is filled up by
    repeating its last key, which changes nothing in a set.
    """

    __slots__ = ("_build", "_by_size")

    def __init__(self, build: Callable[[ModuleType, list[BindParameter[Any]]], Executable]) -> None:
        self._build = build
        self._by_size: dict[int, tuple[Statement, list[str]]] = {}

    def sized(self, keys: Sequence[object]) -> tuple[Statement, dict[str, object]]:
        """Return the statement for this many keys, and the parameters that hold them."""
        if not 1 <= len(keys) <= _BATCH_MAX:
            raise ValueError(f"a batch has 1 to {_BATCH_MAX} keys")
        size = 1 << (len(keys) - 1).bit_length()
        if size not in self._by_size:
            self._by_size[size] = self._of_size(size)
        statement, names = self._by_size[size]
        return statement, dict(zip(names, [*keys, *[keys[-1]] * (size - len(keys))], strict=True))

    def _of_size(self, size: int) -> tuple[Statement, list[str]]:
        names = [f"key_{index}" for index in range(size)]
        return Statement(lambda dialect: self._build(dialect, [bindparam(name) for name in names])), names
