"""Idempotency records: what a merchant's key was first used for."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, select

from quittance.domain.ids import MerchantId, PaymentId
from quittance.domain.text import is_storable
from quittance.store.models import IdempotencyRow, table_of
from quittance.store.statement import Statement, every_column
from quittance.store.transaction import Transaction, to_us

_ROW = table_of(IdempotencyRow)

_INSERT = Statement(
    lambda d: d.insert(_ROW).values(every_column(_ROW)).on_conflict_do_nothing(index_elements=["merchant_id", "key"])
)
_FIND = Statement(
    lambda _: select(_ROW.c.fingerprint, _ROW.c.payment_id).where(
        _ROW.c.merchant_id == bindparam("merchant_id"), _ROW.c.key == bindparam("key")
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstUse:
    fingerprint: bytes
    payment_id: PaymentId


def remember_key(
    transaction: Transaction, *, merchant_id: MerchantId, key: str, first_use: FirstUse, at: datetime
) -> FirstUse:
    """Bind the key to ``first_use``, or return what it was bound to before.

    On PostgreSQL a concurrent unit with the same key waits here for the other's commit, and then sees it.
    """
    added = transaction.execute(
        _INSERT,
        {
            "merchant_id": merchant_id,
            "key": key,
            "fingerprint": first_use.fingerprint,
            "payment_id": first_use.payment_id,
            "created_at_us": to_us(at),
        },
    )
    if added == 1:
        return first_use
    found = find_key(transaction, merchant_id=merchant_id, key=key)
    if found is None:
        raise RuntimeError("an idempotency record vanished between two statements")
    return found


def find_key(transaction: Transaction, *, merchant_id: MerchantId, key: str) -> FirstUse | None:
    if not is_storable(key):
        return None
    row = transaction.first(_FIND, {"merchant_id": merchant_id, "key": key})
    return None if row is None else FirstUse(fingerprint=bytes(row[0]), payment_id=PaymentId(row[1]))
