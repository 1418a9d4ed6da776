"""Rows of an export as text. Both formats give back exactly what was stored."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import orjson

from quittance.domain.export import ExportFormat
from quittance.store.exports import Cell

# A spreadsheet takes a text that begins so for a formula. The apostrophe itself is among them, so that readers who
# take one away from the front of every text have what was stored.
_BEGINS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "'")


Line = Callable[[Sequence[Cell]], bytes]


def writer_of(format_: ExportFormat, names: Sequence[str]) -> tuple[bytes, Line]:
    """Return what stands before the rows, and what turns a row into its line."""
    if format_ is ExportFormat.CSV:
        return _csv_line(names), _csv_line
    return b"", lambda row: orjson.dumps(dict(zip(names, map(_plain, row), strict=True))) + b"\n"


def _csv_line(row: Sequence[Cell]) -> bytes:
    """RFC 4180 in UTF-8: texts are quoted, numbers are not, and null is nothing at all."""
    return ",".join([_csv_cell(_plain(cell)) for cell in row]).encode() + b"\r\n"


def _csv_cell(cell: str | int | None) -> str:
    if cell is None:
        return ""
    if isinstance(cell, int):
        return str(cell)
    harmless = f"'{cell}" if cell.startswith(_BEGINS_A_FORMULA) else cell
    return '"' + harmless.replace('"', '""') + '"'


def _plain(cell: Cell) -> str | int | None:
    return rfc3339(cell) if isinstance(cell, datetime) else cell


def rfc3339(moment: datetime) -> str:
    """Return the moment in UTC, to the microsecond."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
