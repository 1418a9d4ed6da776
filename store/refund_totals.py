"""How much of each payment is owed back, and how much was given back. The database refuses more than came in."""

from sqlalchemy import bindparam, select, update

from quittance.domain.ids import PaymentId
from quittance.domain.transfer import RefundTotal
from quittance.store.models import table_of
from quittance.store.models_transfers import RefundTotalRow
from quittance.store.statement import BatchStatement, Statement, every_column
from quittance.store.transaction import Transaction

_TOTAL = table_of(RefundTotalRow)


NOTHING = RefundTotal(refundable=0, refunded=0)


def _owe(d: object) -> object:
    put = d.insert(_TOTAL).values(every_column(_TOTAL))  # type: ignore[attr-defined]
    return put.on_conflict_do_update(
        index_elements=["payment_id"],
        set_={
            "received_value": put.excluded.received_value,
            "refundable_value": _TOTAL.c.refundable_value + put.excluded.refundable_value,
        },
    )


_OWE = Statement(_owe)  # type: ignore[arg-type]
_MOVE = Statement(
    lambda _: (
        update(_TOTAL)
        .where(_TOTAL.c.payment_id == bindparam("of_payment"))
        .values(
            refundable_value=_TOTAL.c.refundable_value + bindparam("refundable"),
            refunded_value=_TOTAL.c.refunded_value + bindparam("refunded"),
        )
    )
)
_BY_IDS = BatchStatement(
    lambda _, keys: select(_TOTAL.c.payment_id, _TOTAL.c.refundable_value, _TOTAL.c.refunded_value).where(
        _TOTAL.c.payment_id.in_(keys)
    )
)


def owe_back(transaction: Transaction, payment_id: PaymentId, *, received: int, more: int) -> None:
    """Remember that so much more of what a payment received in all is owed back; ``more`` may be zero."""
    row = {"payment_id": payment_id, "received_value": received, "refundable_value": more, "refunded_value": 0}
    transaction.execute(_OWE, row)


def move(transaction: Transaction, payment_id: PaymentId, *, refundable: int, refunded: int) -> None:
    """Add to what is owed and to what was given back; either may be negative.

    Raises:
        IntegrityError of the driver: more would be given back than came in; a bug, and nothing is stored.
    """
    changed = {"of_payment": payment_id, "refundable": refundable, "refunded": refunded}
    if transaction.execute(_MOVE, changed) != 1:
        raise RuntimeError(f"payment {payment_id} has no refund total")


def totals_of(transaction: Transaction, payment_ids: list[PaymentId]) -> list[RefundTotal]:
    """Return one entry per payment, in order: the contract of a dataloader. Lock the payment to rely on it."""
    sized, parameters = _BY_IDS.sized(payment_ids)
    rows = transaction.all(sized, parameters)
    found = {row[0]: RefundTotal(refundable=row[1], refunded=row[2]) for row in rows}
    return [found.get(payment_id, NOTHING) for payment_id in payment_ids]
