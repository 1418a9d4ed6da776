"""Correlation ids: which payment of a merchant had one first, whether or not its merchant wants each used once."""

from sqlalchemy import bindparam, select

from quittance.domain.ids import MerchantId, PaymentId
from quittance.store.models import CorrelationIdRow, table_of
from quittance.store.statement import Statement, every_column
from quittance.store.transaction import Transaction

_ID = table_of(CorrelationIdRow)

_INSERT = Statement(lambda d: d.insert(_ID).values(every_column(_ID)).on_conflict_do_nothing())
_FIND = Statement(
    lambda _: select(_ID.c.payment_id).where(
        _ID.c.merchant_id == bindparam("merchant_id"), _ID.c.correlation_id == bindparam("correlation_id")
    )
)


def claim_correlation_id(
    transaction: Transaction, *, merchant_id: MerchantId, correlation_id: str, payment_id: PaymentId
) -> PaymentId:
    """Return which payment has a correlation id: this one, unless another had it first.

    On PostgreSQL a concurrent unit with the same id waits here for the other's commit, and then sees it.
    """
    asked = {"merchant_id": merchant_id, "correlation_id": correlation_id}
    if transaction.execute(_INSERT, asked | {"payment_id": payment_id}) == 1:
        return payment_id
    found = transaction.first(_FIND, asked)
    if found is None:
        raise RuntimeError("a correlation id vanished between two statements")
    return PaymentId(found[0])
