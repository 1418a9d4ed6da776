"""What adapters note of outgoing payments, so that a crash does not make them forget."""

from datetime import datetime

from sqlalchemy import bindparam, select

from quittance.store.models import table_of
from quittance.store.models_operations import PayerNoteRow
from quittance.store.statement import Statement
from quittance.store.transaction import Transaction, to_us

_NOTE = table_of(PayerNoteRow)
_PUT = Statement(
    lambda d: (
        d.insert(_NOTE)
        .values(
            provider=bindparam("provider"),
            reference=bindparam("reference"),
            note=bindparam("note"),
            noted_at_us=bindparam("at_us"),
        )
        .on_conflict_do_update(
            index_elements=["provider", "reference"],
            set_={"note": bindparam("note"), "noted_at_us": bindparam("at_us")},
        )
    )
)
_FIND = Statement(
    lambda _: select(_NOTE.c.note).where(
        _NOTE.c.provider == bindparam("provider"), _NOTE.c.reference == bindparam("reference")
    )
)


def put_note(transaction: Transaction, *, provider: str, reference: str, note: str, at: datetime) -> None:
    """Note this instead of what was noted before."""
    transaction.execute(_PUT, {"provider": provider, "reference": reference, "note": note, "at_us": to_us(at)})


def note_of(transaction: Transaction, *, provider: str, reference: str) -> str | None:
    row = transaction.first(_FIND, {"provider": provider, "reference": reference})
    return None if row is None else str(row[0])
