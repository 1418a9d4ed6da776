"""Payments: rows in, payments out. A status moves by compare-and-set, never by assignment."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, bindparam, func, insert, select, update

from quittance.domain.ids import AccountId, ArticleId, MerchantId, PaymentId
from quittance.domain.money import Asset, Money
from quittance.domain.payment import (
    HoldOrder,
    NoticeFormat,
    Payment,
    PaymentFilter,
    PaymentOption,
    PaymentPurpose,
    PaymentStatus,
)
from quittance.domain.text import is_storable
from quittance.store.by_key import one_by_id
from quittance.store.fiat import fiat_columns, fiat_of
from quittance.store.listing import Listing, Narrowing
from quittance.store.models import PaymentRow, table_of
from quittance.store.statement import BatchStatement, Statement, every_column
from quittance.store.transaction import Transaction, from_us, from_us_or_none, to_us

_PAYMENT = table_of(PaymentRow)

_INSERT = Statement(lambda _: insert(_PAYMENT).values(every_column(_PAYMENT)))
_BY_IDS = BatchStatement(lambda _, keys: select(*_PAYMENT.c).where(_PAYMENT.c.id.in_(keys)))
_LOCK = Statement(lambda _: select(*_PAYMENT.c).where(_PAYMENT.c.id == bindparam("id")).with_for_update())
_CHANGED = ("status", "status_reason", "received_value", "modified_at_us", "expires_at_us", "settled_at_us",
            "hold_expires_at_us", "hold_order")  # fmt: skip
_COMPARE_AND_SET = Statement(
    lambda _: (
        update(_PAYMENT)
        .where(_PAYMENT.c.id == bindparam("payment_id"), _PAYMENT.c.status == bindparam("status_before"))
        .values({name: bindparam(name) for name in _CHANGED})
    )
)
_OPEN = Statement(
    lambda _: (
        update(_PAYMENT)
        .where(_PAYMENT.c.id == bindparam("payment_id"), _PAYMENT.c.status == PaymentStatus.PENDING_INVOICE.value)
        .values(
            status=PaymentStatus.PENDING_PAYMENT.value,
            status_reason=None,
            modified_at_us=bindparam("modified_at_us"),
            expires_at_us=bindparam("expires_at_us"),
        )
        .returning(*_PAYMENT.c)
    )
)
_ORDER_HOLD = Statement(
    lambda _: (
        update(_PAYMENT)
        .where(
            _PAYMENT.c.id == bindparam("payment_id"),
            _PAYMENT.c.status == PaymentStatus.HELD.value,
            _PAYMENT.c.hold_order.is_(None),
        )
        .values(hold_order=bindparam("order"), modified_at_us=bindparam("at_us"))
    )
)
_SET_VIEWER = Statement(
    lambda _: (
        update(_PAYMENT)
        .where(_PAYMENT.c.id == bindparam("payment_id"), _PAYMENT.c.viewer == bindparam("viewer_before"))
        .values(viewer=bindparam("viewer_after"), modified_at_us=bindparam("modified_at_us"))
    )
)


def _views(*fence: ColumnElement[bool]) -> BatchStatement:
    return BatchStatement(
        lambda _, keys: (
            select(_PAYMENT.c.article_id, func.max(_PAYMENT.c.id))
            .where(
                _PAYMENT.c.article_id.in_(keys),
                _PAYMENT.c.viewer == bindparam("viewer"),
                _PAYMENT.c.purpose == PaymentPurpose.VIEW.value,
                *fence,
            )
            .group_by(_PAYMENT.c.article_id)
        )
    )


_BOUGHT = _views(_PAYMENT.c.status == PaymentStatus.COMPLETE.value)
_LATEST = _views()
_LISTING = Listing(
    _PAYMENT,
    narrowed_by=[_PAYMENT.c.merchant_id, _PAYMENT.c.status, _PAYMENT.c.article_id, _PAYMENT.c.correlation_id],
)
_OF_READER = Listing(
    _PAYMENT, narrowed_by=[_PAYMENT.c.viewer], within=[_PAYMENT.c.viewer != _PAYMENT.c.merchant_id]
)  # what a partial index holds


def insert_payment(transaction: Transaction, payment: Payment) -> None:
    transaction.execute(
        _INSERT,
        {
            "id": payment.id,
            "merchant_id": payment.merchant_id,
            "viewer": payment.viewer,
            "article_id": payment.article_id,
            "status": payment.status.value,
            "status_reason": payment.status_reason,
            "purpose": payment.purpose.value,
            "provider": payment.provider,
            "amount_value": payment.amount.value,
            "asset_code": payment.amount.asset.code,
            "asset_scale": payment.amount.asset.scale,
            "received_value": None if payment.received is None else payment.received.value,
            "description": payment.description,
            "correlation_id": payment.correlation_id,
            "refund_address": payment.refund_address,
            "expires_in_s": payment.expires_in_s,
            "created_at_us": to_us(payment.created_at),
            "modified_at_us": to_us(payment.modified_at),
            "expires_at_us": None if payment.expires_at is None else to_us(payment.expires_at),
            "settled_at_us": None if payment.settled_at is None else to_us(payment.settled_at),
            "notify_url": payment.notify_url,
            "hold": int(payment.hold),
            "hold_expires_at_us": None if payment.hold_expires_at is None else to_us(payment.hold_expires_at),
            "described_by": payment.described_by,
            "hold_order": payment.hold_order and payment.hold_order.value,
            **fiat_columns(payment),
            "notify_format": payment.notify_format.value,
        },
    )


def payments_by_id(transaction: Transaction, ids: Sequence[PaymentId]) -> list[Payment | None]:
    """Return one entry per id, in order: the contract of a dataloader."""
    return one_by_id(transaction, _BY_IDS, ids, _to_domain)


def lock_payment(transaction: Transaction, payment_id: PaymentId) -> Payment | None:
    """Return the payment as it is now, locked against other units until this one commits."""
    row = transaction.first(_LOCK, {"id": payment_id}) if is_storable(payment_id) else None
    return None if row is None else _to_domain(row)


def lock_payment_of(transaction: Transaction, option: PaymentOption) -> Payment:
    """Return the payment that an option belongs to, locked likewise; every option has one."""
    payment = lock_payment(transaction, option.payment_id)
    if payment is None:
        raise RuntimeError(f"option {option.id} has no payment")
    return payment


def change_payment(transaction: Transaction, before: Payment, after: Payment) -> bool:
    """Store what may change of a payment, if its status is still the one of ``before``."""
    changed = transaction.execute(
        _COMPARE_AND_SET,
        {
            "payment_id": after.id,
            "status_before": before.status.value,
            "status": after.status.value,
            "status_reason": after.status_reason,
            "received_value": None if after.received is None else after.received.value,
            "modified_at_us": to_us(after.modified_at),
            "expires_at_us": None if after.expires_at is None else to_us(after.expires_at),
            "settled_at_us": None if after.settled_at is None else to_us(after.settled_at),
            "hold_expires_at_us": None if after.hold_expires_at is None else to_us(after.hold_expires_at),
            "hold_order": after.hold_order and after.hold_order.value,
        },
    )
    return changed == 1


def order_hold(transaction: Transaction, payment_id: PaymentId, order: HoldOrder, *, at: datetime) -> bool:
    """Remember what is to become of what a payment holds; False when it holds nothing, or an order stands."""
    parameters = {"payment_id": payment_id, "order": order.value, "at_us": to_us(at)}
    return transaction.execute(_ORDER_HOLD, parameters) == 1


def open_payment(
    transaction: Transaction, payment_id: PaymentId, *, expires_at: datetime, at: datetime
) -> Payment | None:
    """Move a payment from PENDING_INVOICE to PENDING_PAYMENT and return it, locked; None if its status is another."""
    row = transaction.first(
        _OPEN, {"payment_id": payment_id, "modified_at_us": to_us(at), "expires_at_us": to_us(expires_at)}
    )
    return None if row is None else _to_domain(row)


def change_viewer(transaction: Transaction, payment: Payment, *, to: str, at: datetime) -> Payment:
    """Have a locked payment buy for somebody else, and return it.

    Raises:
        RuntimeError: it did not buy for the viewer of ``payment`` any more, so it was not locked.
    """
    parameters = {"payment_id": payment.id, "viewer_before": payment.viewer, "viewer_after": to}
    if transaction.execute(_SET_VIEWER, parameters | {"modified_at_us": to_us(at)}) != 1:
        raise RuntimeError(f"payment {payment.id} changed hands while it was locked")
    return replace(payment, viewer=to, modified_at=at)


def view_payments(
    transaction: Transaction, article_ids: Sequence[ArticleId], *, viewer: str, complete: bool
) -> list[PaymentId | None]:
    """Return the viewer's newest (complete) view payment of each article, one entry per id, in order."""
    statement, parameters = (_BOUGHT if complete else _LATEST).sized(article_ids)
    found = dict(transaction.all(statement, parameters | {"viewer": viewer}))
    return [found.get(article_id) for article_id in article_ids]


def list_payments(
    transaction: Transaction,
    *,
    merchant_id: MerchantId,
    narrowed: PaymentFilter,
    after_id: str | None,
    limit: int,
) -> list[Payment]:
    """Return the merchant's payments, the newest first, after the last one seen."""
    rows = _LISTING.page(transaction, _narrowing(narrowed, merchant_id), after_id=after_id, limit=limit)
    return [_to_domain(row) for row in rows]


def count_payments(transaction: Transaction, *, merchant_id: MerchantId, narrowed: PaymentFilter) -> int:
    return _LISTING.count(transaction, _narrowing(narrowed, merchant_id))


def list_payments_of_reader(
    transaction: Transaction, *, account_id: AccountId, after_id: str | None, limit: int
) -> list[Payment]:
    """Return the payments that buy something for this reader, the newest first, after the last one seen."""
    rows = _OF_READER.page(transaction, {"viewer": account_id}, after_id=after_id, limit=limit)
    return [_to_domain(row) for row in rows]


def count_payments_of_reader(transaction: Transaction, *, account_id: AccountId) -> int:
    return _OF_READER.count(transaction, {"viewer": account_id})


def _narrowing(narrowed: PaymentFilter, merchant_id: MerchantId) -> Narrowing:
    return {
        "merchant_id": merchant_id,
        "status": narrowed.status and narrowed.status.value,
        "article_id": narrowed.article_id,
        "correlation_id": narrowed.correlation_id,
    }


def _to_domain(row: Any) -> Payment:
    (
        id_, merchant_id, viewer, article_id, status, status_reason, purpose, provider, amount, code, scale,
        received, description, correlation_id, refund_address, expires_in_s, created, modified, expires, settled,
        notify_url, hold, hold_expires, described_by, hold_order, *fiat, notify_format,
    ) = row  # fmt: skip
    asset = Asset(code, scale)
    fiat_amount, rate = fiat_of(fiat, base=code)
    return Payment(
        id=PaymentId(id_),
        merchant_id=MerchantId(merchant_id),
        viewer=viewer,
        article_id=None if article_id is None else ArticleId(article_id),
        status=PaymentStatus(status),
        status_reason=status_reason,
        purpose=PaymentPurpose(purpose),
        provider=provider,
        amount=Money(amount, asset),
        received=None if received is None else Money(received, asset),
        description=description,
        correlation_id=correlation_id,
        refund_address=refund_address,
        expires_in_s=expires_in_s,
        created_at=from_us(created),
        modified_at=from_us(modified),
        expires_at=from_us_or_none(expires),
        settled_at=from_us_or_none(settled),
        notify_url=notify_url,
        hold=bool(hold),
        hold_expires_at=from_us_or_none(hold_expires),
        described_by=described_by,
        hold_order=None if hold_order is None else HoldOrder(hold_order),
        fiat_amount=fiat_amount,
        rate=rate,
        notify_format=NoticeFormat(notify_format),
    )
