"""The audit log: rows are added, listed and counted, never changed."""

from collections.abc import Iterable
from itertools import product
from typing import Any

from sqlalchemy import bindparam, func, insert, select

from quittance.domain.audit import AuditAction, AuditEntry, AuditFilter
from quittance.domain.ids import AuditEntryId, MerchantId
from quittance.domain.text import is_storable
from quittance.store.models import AuditEntryRow, table_of
from quittance.store.statement import Statement
from quittance.store.transaction import Transaction, from_us, to_us

_ENTRY = table_of(AuditEntryRow)
_NARROWING = ("action", "actor_id", "subject_id")
_Shape = tuple[str, ...]

_INSERT = Statement(lambda _: insert(_ENTRY).values({column.name: bindparam(column.name) for column in _ENTRY.c}))


def _fence(narrowed_by: Iterable[str]) -> list[Any]:
    return [_ENTRY.c[name] == bindparam(name) for name in ("merchant_id", *narrowed_by)]


def _page(narrowed_by: _Shape, *, resumed: bool) -> Statement:
    fence = _fence(narrowed_by)
    if resumed:
        fence.append(_ENTRY.c.id < bindparam("after_id"))
    return Statement(lambda _: select(*_ENTRY.c).where(*fence).order_by(_ENTRY.c.id.desc()).limit(bindparam("limit")))


def _count(narrowed_by: _Shape) -> Statement:
    return Statement(lambda _: select(func.count()).select_from(_ENTRY).where(*_fence(narrowed_by)))


_SHAPES = [
    tuple(name for name, said in zip(_NARROWING, chosen, strict=True) if said)
    for chosen in product((False, True), repeat=len(_NARROWING))
]
_PAGES = {(shape, resumed): _page(shape, resumed=resumed) for shape in _SHAPES for resumed in (False, True)}
_COUNTS = {shape: _count(shape) for shape in _SHAPES}


def insert_entry(transaction: Transaction, entry: AuditEntry) -> None:
    transaction.execute(
        _INSERT,
        {
            "id": entry.id,
            "merchant_id": entry.merchant_id,
            "actor_id": entry.actor_id,
            "actor_name": entry.actor_name,
            "action": entry.action.value,
            "subject_id": entry.subject_id,
            "detail": entry.detail,
            "at_us": to_us(entry.at),
        },
    )


def list_entries(
    transaction: Transaction, *, merchant_id: MerchantId, narrowed: AuditFilter, after_id: str | None, limit: int
) -> list[AuditEntry]:
    """Return the merchant's entries, the newest first, after the last one seen."""
    said = _said(narrowed)
    if not all(is_storable(value) for value in said.values()):
        return []
    parameters: dict[str, object] = {**said, "merchant_id": merchant_id, "limit": limit}
    if after_id is not None:
        parameters["after_id"] = after_id
    return [_to_domain(row) for row in transaction.all(_PAGES[tuple(said), after_id is not None], parameters)]


def count_entries(transaction: Transaction, *, merchant_id: MerchantId, narrowed: AuditFilter) -> int:
    said = _said(narrowed)
    if not all(is_storable(value) for value in said.values()):
        return 0
    row = transaction.first(_COUNTS[tuple(said)], {**said, "merchant_id": merchant_id})
    return int(row[0]) if row else 0


def _said(narrowed: AuditFilter) -> dict[str, str]:
    """Return the columns that the filter names, in the order of the statements' shapes."""
    values = (narrowed.action and narrowed.action.value, narrowed.actor_id, narrowed.subject_id)
    return {name: value for name, value in zip(_NARROWING, values, strict=True) if value is not None}


def _to_domain(row: Any) -> AuditEntry:
    id_, merchant_id, actor_id, actor_name, action, subject_id, detail, at_us = row
    return AuditEntry(
        id=AuditEntryId(id_),
        merchant_id=MerchantId(merchant_id),
        actor_id=actor_id,
        actor_name=actor_name,
        action=AuditAction(action),
        subject_id=subject_id,
        detail=detail,
        at=from_us(at_us),
    )
