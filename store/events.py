"""The event log: appended by units, read in one order by everybody.

A database sequence is handed out before commit, so a later number can become visible first. Here the position
comes from one row that stays locked until the appender commits: whoever sees position n sees every one below it.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, insert, select, update

from quittance.domain.event import Event, EventKind, EventSelector
from quittance.domain.ids import AccountId, ArticleId, EventId, MerchantId, PaymentId
from quittance.domain.text import is_storable
from quittance.store.by_key import many_by_key
from quittance.store.models import EventHeadRow, EventRow, table_of
from quittance.store.statement import BatchStatement, Statement, every_column
from quittance.store.transaction import AppendEvents, Transaction, from_us, to_us

_EVENT = table_of(EventRow)
_HEAD = table_of(EventHeadRow)
HEAD_ID = 1

_TAKE = Statement(
    lambda _: (
        update(_HEAD)
        .where(_HEAD.c.id == HEAD_ID)
        .values(position=_HEAD.c.position + bindparam("count"))
        .returning(_HEAD.c.position)
    )
)
_INSERT = Statement(lambda _: insert(_EVENT).values(every_column(_EVENT)))
_NEWEST = Statement(lambda _: select(_HEAD.c.position).where(_HEAD.c.id == HEAD_ID))


def _after(*fence: Any) -> Statement:
    return Statement(
        lambda _: (
            select(*_EVENT.c)
            .where(_EVENT.c.position > bindparam("after"), _EVENT.c.position <= bindparam("up_to"), *fence)
            .order_by(_EVENT.c.position)
            .limit(bindparam("limit"))
        )
    )


_BY_PAYMENT = _after(_EVENT.c.payment_id == bindparam("payment_id"))
_BY_ARTICLE = _after(_EVENT.c.article_id == bindparam("article_id"))
_BY_READER = _after(_EVENT.c.account_id == bindparam("account_id"))
_BY_MERCHANT = _after(_EVENT.c.merchant_id == bindparam("merchant_id"))
_BY_ANYBODY = _after()
_OF_PAYMENTS = BatchStatement(
    lambda _, keys: select(*_EVENT.c).where(_EVENT.c.payment_id.in_(keys)).order_by(_EVENT.c.position)
)

SCAN_ROWS_MAX = 1_000


def event_appender(*, now: Callable[[], datetime], new_event_id: Callable[[], str]) -> AppendEvents:
    """Return what the database calls last in every unit: it appends the unit's drafts and returns the new head."""

    def append(transaction: Transaction) -> int | None:
        drafts = transaction.drafts
        if not drafts:
            return None
        row = transaction.first(_TAKE, {"count": len(drafts)})
        if row is None:
            raise RuntimeError("the event log has no head: run `quittance migrate`")
        head: int = row[0]
        occurred_at_us = to_us(now())
        transaction.execute_many(
            _INSERT,
            [
                {
                    "position": head - len(drafts) + 1 + index,
                    "id": new_event_id(),
                    "kind": draft.kind.value,
                    "merchant_id": draft.merchant_id,
                    "payment_id": draft.payment_id,
                    "article_id": draft.article_id,
                    "status": draft.status,
                    "occurred_at_us": occurred_at_us,
                    "subject_id": draft.subject_id,
                    "account_id": draft.account_id,
                }
                for index, draft in enumerate(drafts)
            ],
        )
        return head

    return append


def newest_position(transaction: Transaction) -> int:
    """Return the position of the last committed event; 0 for an empty log."""
    row = transaction.first(_NEWEST)
    return row[0] if row else 0


def events_after(
    transaction: Transaction, selector: EventSelector, *, after: int, up_to: int, limit: int
) -> list[Event]:
    """Return at most ``limit`` matching events with ``after < position <= up_to``, in order.

    Reads the log in pages until enough match, so that a page without a match is not taken for the end.
    """
    found: list[Event] = []
    while len(found) < limit:
        page = _page(transaction, selector, after=after, up_to=up_to)
        found.extend(event for event in page if selector.matches(event))
        if len(page) < SCAN_ROWS_MAX:
            break
        after = page[-1].position
    return found[:limit]


def _page(transaction: Transaction, selector: EventSelector, *, after: int, up_to: int) -> list[Event]:
    parameters: dict[str, object] = {"after": after, "up_to": up_to, "limit": SCAN_ROWS_MAX}
    if selector.payment_id is not None:
        rows = transaction.all(_BY_PAYMENT, parameters | {"payment_id": selector.payment_id})
    elif selector.account_id is not None:
        rows = transaction.all(_BY_READER, parameters | {"account_id": selector.account_id})
    elif selector.article_id is not None:
        if not is_storable(selector.article_id):
            return []
        rows = transaction.all(_BY_ARTICLE, parameters | {"article_id": selector.article_id})
    elif selector.merchant_id is not None:
        rows = transaction.all(_BY_MERCHANT, parameters | {"merchant_id": selector.merchant_id})
    else:
        rows = transaction.all(_BY_ANYBODY, parameters)
    return [_to_domain(row) for row in rows]


def events_of_payments(transaction: Transaction, payment_ids: list[PaymentId]) -> list[list[Event]]:
    """Return every payment's events in order, one list per id."""

    def entry(row: Any) -> tuple[PaymentId | None, Event]:
        event = _to_domain(row)
        return event.payment_id, event

    return many_by_key(transaction, _OF_PAYMENTS, payment_ids, entry)


def _to_domain(row: Any) -> Event:
    position, id_, kind, merchant_id, payment_id, article_id, status, occurred_at_us, subject_id, account_id = row
    return Event(
        position=position,
        id=EventId(id_),
        kind=EventKind(kind),
        merchant_id=MerchantId(merchant_id),
        payment_id=None if payment_id is None else PaymentId(payment_id),
        article_id=None if article_id is None else ArticleId(article_id),
        status=status,
        occurred_at=from_us(occurred_at_us),
        subject_id=subject_id,
        account_id=None if account_id is None else AccountId(account_id),
    )
