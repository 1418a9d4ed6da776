"""What adapters note of outgoing payments, so that a crash does not make them forget."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, select, update

from quittance.store.models import table_of
from quittance.store.models_operations import PayerNoteRow
from quittance.store.statement import Statement, every_column
from quittance.store.transaction import Transaction, to_us

_NOTE = table_of(PayerNoteRow)
_ADD = Statement(
    lambda d: (
        d.insert(_NOTE).values(every_column(_NOTE)).on_conflict_do_nothing(index_elements=["provider", "reference"])
    )
)
_REPLACE = Statement(
    lambda _: (
        update(_NOTE)
        .where(
            _NOTE.c.provider == bindparam("key_provider"),
            _NOTE.c.reference == bindparam("key_reference"),
            _NOTE.c.note == bindparam("before"),
        )
        .values(note=bindparam("note"), noted_at_us=bindparam("noted_at_us"))
    )
)
_FIND = Statement(
    lambda _: select(_NOTE.c.note).where(
        _NOTE.c.provider == bindparam("provider"), _NOTE.c.reference == bindparam("reference")
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PayerNote:
    """What one provider's adapter notes under one key."""

    provider: str
    reference: str
    note: str
    noted_at: datetime


def put_note(transaction: Transaction, note: PayerNote, *, instead_of: str | None) -> bool:
    """Note this if what is noted still is ``instead_of``, or nothing if that is None; tell whether it was."""
    values = {"note": note.note, "noted_at_us": to_us(note.noted_at)}
    if instead_of is None:
        return transaction.execute(_ADD, {"provider": note.provider, "reference": note.reference, **values}) == 1
    key = {"key_provider": note.provider, "key_reference": note.reference, "before": instead_of}
    return transaction.execute(_REPLACE, {**key, **values}) == 1


def note_of(transaction: Transaction, *, provider: str, reference: str) -> str | None:
    row = transaction.first(_FIND, {"provider": provider, "reference": reference})
    return None if row is None else str(row[0])
