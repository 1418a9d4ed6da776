"""Rows as they are exported: page by page in the order of a key that never changes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, FromClause, Text, bindparam, select, tuple_

from quittance.domain.export import ExportFilter, ExportKind
from quittance.store.models import (
    EventRow,
    LedgerAccountRow,
    LedgerEntryRow,
    PaymentRow,
    SettlementRow,
    table_of,
)
from quittance.store.statement import Statement
from quittance.store.transaction import Transaction, from_us, to_us

_PAYMENT = table_of(PaymentRow)
_SETTLEMENT = table_of(SettlementRow)
_ACCOUNT = table_of(LedgerAccountRow)
_ENTRY = table_of(LedgerEntryRow)
_EVENT = table_of(EventRow)
_IN_MICROSECONDS = "_us"

Cell = str | int | datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """Where the rows come from. ``key`` names the columns that order them; each is one of ``columns``."""

    columns: Mapping[str, ColumnElement[Any]]
    rows: FromClause
    key: tuple[str, ...]
    owner: ColumnElement[Any]
    at: ColumnElement[Any]


def _named(*columns: ColumnElement[Any], **renamed: ColumnElement[Any]) -> dict[str, ColumnElement[Any]]:
    return {str(column.key): column for column in columns} | renamed


_P, _S, _A, _E, _V = _PAYMENT.c, _SETTLEMENT.c, _ACCOUNT.c, _ENTRY.c, _EVENT.c
_SOURCES: Mapping[ExportKind, _Source] = {
    ExportKind.PAYMENTS: _Source(
        columns=_named(
            _P.id, _P.merchant_id, _P.status, _P.status_reason, _P.purpose, _P.provider, _P.amount_value,
            _P.received_value, _P.asset_code, _P.asset_scale, _P.article_id, _P.description, _P.correlation_id,
            _P.refund_address, _P.created_at_us, _P.modified_at_us, _P.expires_at_us, _P.settled_at_us,
            _P.fiat_value, _P.fiat_code, _P.fiat_scale, _P.rate_value, _P.rate_spread_ppm, _P.rate_sources,
            _P.rate_observed_at_us,
        ),
        rows=_PAYMENT,
        key=("id",),
        owner=_P.merchant_id,
        at=_P.created_at_us,
    ),
    ExportKind.SETTLEMENTS: _Source(
        columns=_named(
            _S.id, _S.merchant_id, _S.payment_id, _S.option_id, _S.provider, _S.reference, _S.amount_value,
            _S.asset_code, _S.asset_scale, _S.disposition, _S.settled_at_us, _S.booked_at_us,
        ),
        rows=_SETTLEMENT,
        key=("id",),
        owner=_S.merchant_id,
        at=_S.booked_at_us,
    ),
    ExportKind.ENTRIES: _Source(
        columns=_named(
            _E.transaction_id, _E.line, _E.account_id, _A.kind, _A.owner, _E.value, _A.asset_code, _A.asset_scale,
            _E.settlement_id, _E.posted_at_us,
        ),
        rows=_ENTRY.join(_ACCOUNT, _A.id == _E.account_id),
        key=("transaction_id", "line"),
        owner=_A.owner,
        at=_E.posted_at_us,
    ),
    ExportKind.EVENTS: _Source(
        columns=_named(
            _V.position, _V.id, _V.kind, _V.merchant_id, _V.payment_id, _V.article_id, _V.subject_id, _V.status,
            _V.occurred_at_us,
        ),
        rows=_EVENT,
        key=("position",),
        owner=_V.merchant_id,
        at=_V.occurred_at_us,
    ),
}  # fmt: skip
assert _SOURCES.keys() == set(ExportKind)

Shape = tuple[ExportKind, bool, bool, bool, bool]
_PAGES: dict[Shape, Statement] = {}


def _page(shape: Shape) -> Statement:
    kind, resumed, fenced, since, until = shape
    source = _SOURCES[kind]
    key = [source.columns[name] for name in source.key]
    fence: list[ColumnElement[bool]] = []
    if resumed:
        types = [BigInteger() if isinstance(column.type, BigInteger) else Text() for column in key]
        after = [bindparam(f"after_{place}", type_=type_) for place, type_ in enumerate(types)]
        fence.append(tuple_(*key) > tuple_(*after))
    if fenced:
        fence.append(source.owner == bindparam("merchant_id"))
    if since:
        fence.append(source.at >= bindparam("since_us"))
    if until:
        fence.append(source.at < bindparam("until_us"))
    return Statement(
        lambda _: (
            select(*source.columns.values())
            .select_from(source.rows)
            .where(*fence)
            .order_by(*key)
            .limit(bindparam("limit"))
        )
    )


def export_columns(kind: ExportKind) -> list[str]:
    """Return the names of an export's columns, in order; times lose the unit that they are stored in."""
    return [name.removesuffix(_IN_MICROSECONDS) for name in _SOURCES[kind].columns]


def export_page(
    transaction: Transaction, kind: ExportKind, narrowed: ExportFilter, *, after: Sequence[object] | None, limit: int
) -> tuple[list[list[Cell]], Sequence[object] | None]:
    """Return the rows that follow ``after``, the oldest first, and the key of the last one; no key ends the list."""
    shape = (
        kind,
        after is not None,
        narrowed.merchant_id is not None,
        narrowed.since is not None,
        narrowed.until is not None,
    )
    if shape not in _PAGES:
        _PAGES[shape] = _page(shape)
    parameters: dict[str, object] = {"limit": limit}
    parameters |= {f"after_{place}": part for place, part in enumerate(after or ())}
    if narrowed.merchant_id is not None:
        parameters["merchant_id"] = narrowed.merchant_id
    if narrowed.since is not None:
        parameters["since_us"] = to_us(narrowed.since)
    if narrowed.until is not None:
        parameters["until_us"] = to_us(narrowed.until)
    rows = transaction.all(_PAGES[shape], parameters)
    names = list(_SOURCES[kind].columns)
    times = {place for place, name in enumerate(names) if name.endswith(_IN_MICROSECONDS)}
    last = [rows[-1][names.index(name)] for name in _SOURCES[kind].key] if len(rows) == limit else None
    return [_cells(row, times) for row in rows], last


def _cells(row: Sequence[Any], times: set[int]) -> list[Cell]:
    return [from_us(cell) if place in times and cell is not None else cell for place, cell in enumerate(row)]
