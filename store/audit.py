"""The audit log: rows are added, listed and counted, never changed."""

from typing import Any

from sqlalchemy import insert

from quittance.domain.audit import AuditAction, AuditEntry, AuditFilter
from quittance.domain.ids import AuditEntryId, MerchantId
from quittance.store.listing import Listing, Narrowing
from quittance.store.models import table_of
from quittance.store.models_operations import AuditEntryRow
from quittance.store.statement import Statement, every_column
from quittance.store.transaction import Transaction, from_us, to_us

_ENTRY = table_of(AuditEntryRow)
_INSERT = Statement(lambda _: insert(_ENTRY).values(every_column(_ENTRY)))


_LISTING = Listing(_ENTRY, narrowed_by=[_ENTRY.c.merchant_id, _ENTRY.c.action, _ENTRY.c.actor_id, _ENTRY.c.subject_id])


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
    rows = _LISTING.page(transaction, _narrowing(narrowed, merchant_id), after_id=after_id, limit=limit)
    return [_to_domain(row) for row in rows]


def count_entries(transaction: Transaction, *, merchant_id: MerchantId, narrowed: AuditFilter) -> int:
    return _LISTING.count(transaction, _narrowing(narrowed, merchant_id))


def _narrowing(narrowed: AuditFilter, merchant_id: MerchantId) -> Narrowing:
    return {
        "merchant_id": merchant_id,
        "action": narrowed.action and narrowed.action.value,
        "actor_id": narrowed.actor_id,
        "subject_id": narrowed.subject_id,
    }


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
