"""Our books as they are compared with themselves: two counts that should be equal, page by page."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Text, bindparam, case, func, literal_column, select, tuple_
from sqlalchemy.sql.elements import ColumnElement

from quittance.domain.ids import MERCHANT, MerchantId, PaymentId, prefix_of
from quittance.domain.ledger import AccountKind
from quittance.domain.money import Asset
from quittance.domain.upvote import UpvoteState
from quittance.store.ledger import balances
from quittance.store.models import LedgerAccountRow, LedgerEntryRow, PaymentRow, SettlementRow, table_of
from quittance.store.models_upvotes import UpvoteRow
from quittance.store.statement import Statement
from quittance.store.transaction import Transaction

_PAYMENT = table_of(PaymentRow)
_SETTLEMENT = table_of(SettlementRow)
_ACCOUNT = table_of(LedgerAccountRow)
_ENTRY = table_of(LedgerEntryRow)
_UPVOTE = table_of(UpvoteRow)
_LINES = _ENTRY.join(_ACCOUNT, _ENTRY.c.account_id == _ACCOUNT.c.id)
_BEFORE_ALL = (-1, "")

Key = tuple[Any, ...]
"""Where a walk goes on; the empty one is its beginning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """Two counts of smallest units that should be equal, read in one statement."""

    id: str
    expected: int
    found: int
    asset: Asset
    merchant_id: MerchantId | None
    provider: str | None = None
    reference: str | None = None
    payment_id: PaymentId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """Which part of a book is read: that of one merchant or everybody's, behind a key, so many at once."""

    merchant_id: MerchantId | None
    after: Key = ()
    limit: int

    @property
    def parameters(self) -> dict[str, object]:
        owner: dict[str, object] = {} if self.merchant_id is None else {"merchant_id": self.merchant_id}
        return owner | {"after": self.after[0] if self.after else "", "limit": self.limit}


Page = tuple[list[Sum], Key]
"""What was read, and the key of its last one; without any the book is at its end."""


def _either(build: Callable[[list[ColumnElement[bool]]], Any], owner: ColumnElement[Any]) -> dict[bool, Statement]:
    """Return the statement over everybody's rows, and the one over those of ``merchant_id``."""
    return {
        False: Statement(lambda _: build([])),
        True: Statement(lambda _: build([owner == bindparam("merchant_id")])),
    }


def _lines_of(page: Any, *more: ColumnElement[Any]) -> Any:
    """Sum up the lines of the transactions in ``page`` per asset."""
    owner = func.max(case((func.substr(_ACCOUNT.c.owner, 1, len(MERCHANT) + 1) == f"{MERCHANT}_", _ACCOUNT.c.owner)))
    key = (_ENTRY.c.transaction_id, _ACCOUNT.c.asset_code, _ACCOUNT.c.asset_scale)
    return (
        select(*key, owner, func.sum(_ENTRY.c.value), *more)
        .select_from(_LINES.join(page, page.c.transaction_id == _ENTRY.c.transaction_id))
        .group_by(*key, *more)
        .order_by(*more, _ENTRY.c.transaction_id)
    )


def _sums_of_transactions(_: object) -> Any:
    page = (
        select(_ENTRY.c.transaction_id)
        .where(_ENTRY.c.transaction_id > bindparam("after"))
        .distinct()
        .order_by(_ENTRY.c.transaction_id)
        .limit(bindparam("limit"))
        .subquery()
    )
    return _lines_of(page)


def _sums_of_transactions_on_account(_: object) -> Any:
    """Walk one account of a merchant; what stands on an account of that merchant before it was summed up there."""
    other, of_other = _ENTRY.alias("other"), _ACCOUNT.alias("of_other")
    seen_before = (
        select(other.c.line)
        .select_from(other.join(of_other, of_other.c.id == other.c.account_id))
        .where(
            other.c.transaction_id == _ENTRY.c.transaction_id,
            other.c.account_id < bindparam("account_id"),
            of_other.c.owner == bindparam("merchant_id"),
        )
        .correlate(_ENTRY)
        .exists()
    )
    place = (_ENTRY.c.posted_at_us, _ENTRY.c.transaction_id)
    after = tuple_(bindparam("after_us", type_=BigInteger()), bindparam("after_transaction", type_=Text()))
    page = (
        select(*place)
        .where(_ENTRY.c.account_id == bindparam("account_id"), tuple_(*place) > after, ~seen_before)
        .distinct()
        .order_by(*place)
        .limit(bindparam("limit"))
        .subquery()
    )
    return _lines_of(page, page.c.posted_at_us)


def _sums_of_accounts(fence: list[ColumnElement[bool]]) -> Any:
    lines = select(func.coalesce(func.sum(_ENTRY.c.value), 0)).where(_ENTRY.c.account_id == _ACCOUNT.c.id)
    return (
        select(*_ACCOUNT.c, lines.scalar_subquery())
        .where(*fence, _ACCOUNT.c.id > bindparam("after"))
        .order_by(_ACCOUNT.c.id)
        .limit(bindparam("limit"))
    )


def _sums_of_shares(fence: list[ColumnElement[bool]]) -> Any:
    left = select(func.coalesce(func.sum((_UPVOTE.c.sharers - _UPVOTE.c.posted_count) * _UPVOTE.c.share_value), 0))
    waiting = left.where(
        _UPVOTE.c.merchant_id == _ACCOUNT.c.owner,
        _UPVOTE.c.state == literal_column(f"'{UpvoteState.SPLITTING.value}'"),  # as its index says it
        _UPVOTE.c.asset_code == _ACCOUNT.c.asset_code,
        _UPVOTE.c.asset_scale == _ACCOUNT.c.asset_scale,
    )
    return (
        select(*_ACCOUNT.c, waiting.correlate(_ACCOUNT).scalar_subquery())
        .where(*fence, _ACCOUNT.c.kind == AccountKind.SPLIT.value, _ACCOUNT.c.id > bindparam("after"))
        .order_by(_ACCOUNT.c.id)
        .limit(bindparam("limit"))
    )


def _sums_of_settlements(fence: list[ColumnElement[bool]]) -> Any:
    posted = (
        select(func.coalesce(func.sum(_ENTRY.c.value), 0))
        .select_from(_LINES)
        .where(
            _ENTRY.c.settlement_id == _SETTLEMENT.c.id,
            _ACCOUNT.c.kind == AccountKind.PROVIDER.value,
            _ACCOUNT.c.owner == _SETTLEMENT.c.provider,
            _ACCOUNT.c.asset_code == _SETTLEMENT.c.asset_code,
            _ACCOUNT.c.asset_scale == _SETTLEMENT.c.asset_scale,
        )
    )
    return (
        select(
            _SETTLEMENT.c.id,
            _SETTLEMENT.c.provider,
            _SETTLEMENT.c.reference,
            _SETTLEMENT.c.payment_id,
            _SETTLEMENT.c.merchant_id,
            _SETTLEMENT.c.asset_code,
            _SETTLEMENT.c.asset_scale,
            _SETTLEMENT.c.amount_value,
            posted.correlate(_SETTLEMENT).scalar_subquery(),
        )
        .where(*fence, _SETTLEMENT.c.id > bindparam("after"))
        .order_by(_SETTLEMENT.c.id)
        .limit(bindparam("limit"))
    )


def _sums_of_payments(fence: list[ColumnElement[bool]]) -> Any:
    settled = select(func.coalesce(func.sum(_SETTLEMENT.c.amount_value), 0)).where(
        _SETTLEMENT.c.payment_id == _PAYMENT.c.id
    )
    return (
        select(
            _PAYMENT.c.id,
            _PAYMENT.c.merchant_id,
            _PAYMENT.c.provider,
            _PAYMENT.c.asset_code,
            _PAYMENT.c.asset_scale,
            func.coalesce(_PAYMENT.c.received_value, 0),
            settled.scalar_subquery(),
        )
        .where(*fence, _PAYMENT.c.id > bindparam("after"))
        .order_by(_PAYMENT.c.id)
        .limit(bindparam("limit"))
    )


_TRANSACTION_SUMS = Statement(_sums_of_transactions)
_TRANSACTION_SUMS_ON_ACCOUNT = Statement(_sums_of_transactions_on_account)
_ACCOUNT_SUMS = _either(_sums_of_accounts, _ACCOUNT.c.owner)
_SHARE_SUMS = _either(_sums_of_shares, _ACCOUNT.c.owner)
_SETTLEMENT_SUMS = _either(_sums_of_settlements, _SETTLEMENT.c.merchant_id)
_PAYMENT_SUMS = _either(_sums_of_payments, _PAYMENT.c.merchant_id)


def sums_of_transactions(transaction: Transaction, walk: Walk) -> Page:
    """Return what the lines of each ledger transaction sum to per asset, which should be zero."""
    if walk.merchant_id is None:
        return _page([_transaction_sum(row) for row in transaction.all(_TRANSACTION_SUMS, walk.parameters)])
    accounts = [account.id for account, _ in balances(transaction, walk.merchant_id)]
    begun, *rest = walk.after or (None, *_BEFORE_ALL)
    for account_id in accounts[accounts.index(begun) if begun else 0 :]:
        place = rest if account_id == begun else _BEFORE_ALL
        parameters = {"account_id": account_id, "merchant_id": walk.merchant_id, "limit": walk.limit}
        rows = transaction.all(
            _TRANSACTION_SUMS_ON_ACCOUNT, parameters | dict(zip(("after_us", "after_transaction"), place, strict=True))
        )
        if rows:
            transaction_id, *_, posted_at_us = rows[-1]
            return [_transaction_sum(row[:-1]) for row in rows], (account_id, posted_at_us, transaction_id)
    return [], ()


def sums_of_accounts(transaction: Transaction, walk: Walk) -> Page:
    """Return each account's running balance beside the sum of its lines."""
    return _page(
        [
            Sum(
                id=id_,
                expected=int(total),
                found=balance,
                asset=Asset(code, scale),
                merchant_id=MerchantId(owner) if prefix_of(owner) == MERCHANT else None,
                provider=owner if kind == AccountKind.PROVIDER else None,
                reference=id_,
            )
            for id_, kind, owner, code, scale, balance, total in _rows(transaction, _ACCOUNT_SUMS, walk)
        ]
    )


def sums_of_shares(transaction: Transaction, walk: Walk) -> Page:
    """Return what is set aside for readers beside the shares that are not posted yet."""
    return _page(
        [
            Sum(
                id=id_,
                expected=int(left),
                found=-balance,
                asset=Asset(code, scale),
                merchant_id=MerchantId(owner),
                reference=id_,
            )
            for id_, _, owner, code, scale, balance, left in _rows(transaction, _SHARE_SUMS, walk)
        ]
    )


def sums_of_settlements(transaction: Transaction, walk: Walk) -> Page:
    """Return each settlement's amount beside what it debited to the account of its rail."""
    return _page(
        [
            Sum(
                id=id_,
                expected=value,
                found=int(posted),
                asset=Asset(code, scale),
                merchant_id=MerchantId(merchant_id),
                provider=provider,
                reference=reference,
                payment_id=PaymentId(payment_id),
            )
            for id_, provider, reference, payment_id, merchant_id, code, scale, value, posted in _rows(
                transaction, _SETTLEMENT_SUMS, walk
            )
        ]
    )


def sums_of_payments(transaction: Transaction, walk: Walk) -> Page:
    """Return what each payment received beside the sum of its settlements."""
    return _page(
        [
            Sum(
                id=id_,
                expected=int(settled),
                found=received,
                asset=Asset(code, scale),
                merchant_id=MerchantId(merchant_id),
                provider=provider,
                payment_id=PaymentId(id_),
            )
            for id_, merchant_id, provider, code, scale, received, settled in _rows(transaction, _PAYMENT_SUMS, walk)
        ]
    )


def _rows(transaction: Transaction, statements: dict[bool, Statement], walk: Walk) -> list[Any]:
    return transaction.all(statements[walk.merchant_id is not None], walk.parameters)


def _page(sums: list[Sum]) -> Page:
    return sums, (sums[-1].id,) if sums else ()


def _transaction_sum(row: Any) -> Sum:
    id_, code, scale, owner, total = row
    return Sum(
        id=id_,
        expected=0,
        found=int(total),
        asset=Asset(code, scale),
        merchant_id=None if owner is None else MerchantId(owner),
        reference=id_,
    )
