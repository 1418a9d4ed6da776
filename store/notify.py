"""Payments that brought an address of their own: whether the log has news of one, and which address it is."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import bindparam, exists, select

from quittance.domain.ids import PaymentId
from quittance.domain.payment import NoticeFormat
from quittance.store.events import HEAD_ID
from quittance.store.models import EventHeadRow, EventRow, PaymentRow, table_of
from quittance.store.statement import BatchStatement, Statement
from quittance.store.transaction import Transaction

_HEAD = table_of(EventHeadRow)
_EVENT = table_of(EventRow)
_PAYMENT = table_of(PaymentRow)

# A scalar subquery, not a join: no planner may begin with the payments, of which there are many more than new events.
_ADDRESS_OF_EVENT = select(_PAYMENT.c.notify_url).where(_PAYMENT.c.id == _EVENT.c.payment_id).scalar_subquery()
_AHEAD = Statement(
    lambda _: select(
        _HEAD.c.position,
        exists().where(
            _EVENT.c.position > bindparam("after"),
            _EVENT.c.position <= bindparam("up_to"),
            _ADDRESS_OF_EVENT.is_not(None),
        ),
    ).where(_HEAD.c.id == HEAD_ID)
)
_ADDRESSES = BatchStatement(
    lambda _, keys: select(_PAYMENT.c.id, _PAYMENT.c.notify_url, _PAYMENT.c.notify_format).where(
        _PAYMENT.c.id.in_(keys), _PAYMENT.c.notify_url.is_not(None)
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogAhead:
    """What lies behind a position: events up to ``up_to``, and whether one is of a payment with its own address."""

    up_to: int
    notifies: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnAddress:
    """Where a payment's events go besides the merchant's endpoints, and what is written there."""

    url: str = field(repr=False)
    written_as: NoticeFormat


def look_ahead(transaction: Transaction, *, after: int, events_max: int) -> LogAhead:
    """Look at most at so many events behind ``after``."""
    row = transaction.first(_AHEAD, {"after": after, "up_to": after + events_max})
    if row is None:
        return LogAhead(up_to=after, notifies=False)
    newest, notifies = row
    return LogAhead(up_to=max(after, min(newest, after + events_max)), notifies=bool(notifies))


def own_addresses(transaction: Transaction, payment_ids: Sequence[PaymentId]) -> dict[PaymentId, OwnAddress]:
    """Return the addresses of those payments that brought one."""
    if not payment_ids:
        return {}
    statement, parameters = _ADDRESSES.sized(payment_ids)
    return {
        PaymentId(id_): OwnAddress(url=url, written_as=NoticeFormat(written_as))
        for id_, url, written_as in transaction.all(statement, parameters)
    }
