"""Our books, as they are compared with a provider's and with themselves: page by page, in the order of a key."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, case, func, select

from quittance.domain.ids import MerchantId, PaymentId
from quittance.domain.ledger import AccountKind
from quittance.domain.money import Asset, Money
from quittance.domain.payment import OptionState
from quittance.store.models import (
    LedgerAccountRow,
    LedgerEntryRow,
    PaymentOptionRow,
    PaymentRow,
    SettlementRow,
    table_of,
)
from quittance.store.statement import BatchStatement, Statement
from quittance.store.transaction import Transaction

_OPTION = table_of(PaymentOptionRow)
_PAYMENT = table_of(PaymentRow)
_SETTLEMENT = table_of(SettlementRow)
_ACCOUNT = table_of(LedgerAccountRow)
_ENTRY = table_of(LedgerEntryRow)
_OPTION_OWNED = _OPTION.join(_PAYMENT, _PAYMENT.c.id == _OPTION.c.payment_id)
_SETTLEMENT_OWNED = _SETTLEMENT.join(_PAYMENT, _PAYMENT.c.id == _SETTLEMENT.c.payment_id)
_LINES = _ENTRY.join(_ACCOUNT, _ENTRY.c.account_id == _ACCOUNT.c.id)

_OPTIONS = BatchStatement(
    lambda _, keys: (
        select(_OPTION.c.reference, _OPTION.c.payment_id, _PAYMENT.c.merchant_id, _OPTION.c.state)
        .select_from(_OPTION_OWNED)
        .where(_OPTION.c.provider == bindparam("provider"), _OPTION.c.reference.in_(keys))
    )
)
_SETTLEMENTS = BatchStatement(
    lambda _, keys: (
        select(
            _SETTLEMENT.c.reference,
            _SETTLEMENT.c.payment_id,
            _PAYMENT.c.merchant_id,
            _SETTLEMENT.c.amount_value,
            _SETTLEMENT.c.asset_code,
            _SETTLEMENT.c.asset_scale,
        )
        .select_from(_SETTLEMENT_OWNED)
        .where(_SETTLEMENT.c.provider == bindparam("provider"), _SETTLEMENT.c.reference.in_(keys))
    )
)
_BOOKED_AFTER = Statement(
    lambda _: (
        select(_SETTLEMENT.c.reference, _PAYMENT.c.merchant_id)
        .select_from(_SETTLEMENT_OWNED)
        .where(_SETTLEMENT.c.provider == bindparam("provider"), _SETTLEMENT.c.reference > bindparam("after"))
        .order_by(_SETTLEMENT.c.reference)
        .limit(bindparam("limit"))
    )
)
_OPEN_AFTER = Statement(
    lambda _: (
        select(_OPTION.c.reference, _PAYMENT.c.merchant_id)
        .select_from(_OPTION_OWNED)
        .where(
            _OPTION.c.provider == bindparam("provider"),
            _OPTION.c.reference > bindparam("after"),
            _OPTION.c.state == OptionState.OPEN.value,
        )
        .order_by(_OPTION.c.reference)
        .limit(bindparam("limit"))
    )
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
    owner = func.max(case((_ACCOUNT.c.kind != AccountKind.PROVIDER.value, _ACCOUNT.c.owner)))
    key = (_ENTRY.c.transaction_id, _ACCOUNT.c.asset_code, _ACCOUNT.c.asset_scale)
    return (
        select(*key, owner, func.sum(_ENTRY.c.value))
        .select_from(_LINES.join(page, page.c.transaction_id == _ENTRY.c.transaction_id))
        .group_by(*key)
        .order_by(_ENTRY.c.transaction_id)
    )


def _sums_of_accounts(_: object) -> Any:
    lines = select(func.coalesce(func.sum(_ENTRY.c.value), 0)).where(_ENTRY.c.account_id == _ACCOUNT.c.id)
    return (
        select(*_ACCOUNT.c, lines.scalar_subquery())
        .where(_ACCOUNT.c.id > bindparam("after"))
        .order_by(_ACCOUNT.c.id)
        .limit(bindparam("limit"))
    )


def _sums_of_settlements(_: object) -> Any:
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
            _PAYMENT.c.merchant_id,
            _SETTLEMENT.c.asset_code,
            _SETTLEMENT.c.asset_scale,
            _SETTLEMENT.c.amount_value,
            posted.correlate(_SETTLEMENT).scalar_subquery(),
        )
        .select_from(_SETTLEMENT_OWNED)
        .where(_SETTLEMENT.c.id > bindparam("after"))
        .order_by(_SETTLEMENT.c.id)
        .limit(bindparam("limit"))
    )


def _sums_of_payments(_: object) -> Any:
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
        .where(_PAYMENT.c.id > bindparam("after"))
        .order_by(_PAYMENT.c.id)
        .limit(bindparam("limit"))
    )


_TRANSACTION_SUMS = Statement(_sums_of_transactions)
_ACCOUNT_SUMS = Statement(_sums_of_accounts)
_SETTLEMENT_SUMS = Statement(_sums_of_settlements)
_PAYMENT_SUMS = Statement(_sums_of_payments)


@dataclass(frozen=True, slots=True, kw_only=True)
class OurSide:
    """What we hold under one reference: whether it is offered now, and what was booked on it."""

    payment_id: PaymentId
    merchant_id: MerchantId
    is_open: bool
    booked: Money | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """Two counts of smallest units that should be equal, read in one statement; ``id`` is the key of the walk."""

    id: str
    expected: int
    found: int
    asset: Asset
    merchant_id: MerchantId | None
    provider: str | None = None
    reference: str | None = None
    payment_id: PaymentId | None = None


def our_side(transaction: Transaction, *, provider: str, references: Sequence[str]) -> dict[str, OurSide]:
    """Return what we hold under each reference; those that are not ours are left out."""
    options, parameters = _OPTIONS.sized(references)
    found = {
        reference: OurSide(
            payment_id=PaymentId(payment_id),
            merchant_id=MerchantId(merchant_id),
            is_open=state == OptionState.OPEN,
            booked=None,
        )
        for reference, payment_id, merchant_id, state in transaction.all(options, parameters | {"provider": provider})
    }
    settlements, parameters = _SETTLEMENTS.sized(references)
    for reference, payment_id, merchant_id, value, code, scale in transaction.all(
        settlements, parameters | {"provider": provider}
    ):
        found[reference] = OurSide(
            payment_id=PaymentId(payment_id),
            merchant_id=MerchantId(merchant_id),
            is_open=reference in found and found[reference].is_open,
            booked=Money(value, Asset(code, scale)),
        )
    return found


def references_of_settlements(
    transaction: Transaction, *, provider: str, after: str, limit: int
) -> list[tuple[str, MerchantId]]:
    """Return what is booked on a rail, and whose it is, in the order of the references."""
    return _references(transaction, _BOOKED_AFTER, provider=provider, after=after, limit=limit)


def references_of_open_options(
    transaction: Transaction, *, provider: str, after: str, limit: int
) -> list[tuple[str, MerchantId]]:
    """Return what is offered on a rail now, likewise."""
    return _references(transaction, _OPEN_AFTER, provider=provider, after=after, limit=limit)


def _references(
    transaction: Transaction, statement: Statement, *, provider: str, after: str, limit: int
) -> list[tuple[str, MerchantId]]:
    parameters = {"provider": provider, "after": after, "limit": limit}
    return [(reference, MerchantId(owner)) for reference, owner in transaction.all(statement, parameters)]


def sums_of_transactions(transaction: Transaction, *, after: str, limit: int) -> list[Sum]:
    """Return what the lines of each ledger transaction sum to per asset, which should be zero."""
    return [
        Sum(
            id=id_,
            expected=0,
            found=int(total),
            asset=Asset(code, scale),
            merchant_id=None if owner is None else MerchantId(owner),
            reference=id_,
        )
        for id_, code, scale, owner, total in transaction.all(_TRANSACTION_SUMS, {"after": after, "limit": limit})
    ]


def sums_of_accounts(transaction: Transaction, *, after: str, limit: int) -> list[Sum]:
    """Return each account's running balance beside the sum of its lines."""
    return [
        Sum(
            id=id_,
            expected=int(total),
            found=balance,
            asset=Asset(code, scale),
            merchant_id=None if kind == AccountKind.PROVIDER else MerchantId(owner),
            provider=owner if kind == AccountKind.PROVIDER else None,
            reference=id_,
        )
        for id_, kind, owner, code, scale, balance, total in transaction.all(
            _ACCOUNT_SUMS, {"after": after, "limit": limit}
        )
    ]


def sums_of_settlements(transaction: Transaction, *, after: str, limit: int) -> list[Sum]:
    """Return each settlement's amount beside what it debited to the account of its rail."""
    return [
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
        for id_, provider, reference, payment_id, merchant_id, code, scale, value, posted in transaction.all(
            _SETTLEMENT_SUMS, {"after": after, "limit": limit}
        )
    ]


def sums_of_payments(transaction: Transaction, *, after: str, limit: int) -> list[Sum]:
    """Return what each payment received beside the sum of its settlements."""
    return [
        Sum(
            id=id_,
            expected=int(settled),
            found=received,
            asset=Asset(code, scale),
            merchant_id=MerchantId(merchant_id),
            provider=provider,
            payment_id=PaymentId(id_),
        )
        for id_, merchant_id, provider, code, scale, received, settled in transaction.all(
            _PAYMENT_SUMS, {"after": after, "limit": limit}
        )
    ]
