"""Which invoice a shop was given of a payment: it knows the payment by that text alone."""

from sqlalchemy import bindparam, select

from quittance.domain.ids import PaymentId
from quittance.store.models import GivenInvoiceRow, table_of
from quittance.store.statement import Statement, every_column
from quittance.store.transaction import Transaction

_GIVEN = table_of(GivenInvoiceRow)

_REMEMBER = Statement(
    lambda d: (said := d.insert(_GIVEN).values(every_column(_GIVEN))).on_conflict_do_update(
        index_elements=[_GIVEN.c.payment_id], set_={"payment_request": said.excluded.payment_request}
    )
)
_FIND = Statement(lambda _: select(_GIVEN.c.payment_request).where(_GIVEN.c.payment_id == bindparam("payment_id")))


def remember_given(transaction: Transaction, payment_id: PaymentId, payment_request: str) -> None:
    """Remember an invoice that a shop is about to be given, instead of any earlier one."""
    transaction.execute(_REMEMBER, {"payment_id": payment_id, "payment_request": payment_request})


def given_invoice(transaction: Transaction, payment_id: PaymentId) -> str | None:
    """Return the invoice that a shop was given last; None where it was given none."""
    row = transaction.first(_FIND, {"payment_id": payment_id})
    return None if row is None else str(row[0])
