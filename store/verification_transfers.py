"""Transfers beside the ledger: what is set aside for those under way, and what left for those that succeeded."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import bindparam, func, select

from quittance.domain.ids import MerchantId, PaymentId
from quittance.domain.ledger import AccountKind
from quittance.domain.money import Asset
from quittance.domain.transfer import FINAL, TransferState
from quittance.store.models import LedgerAccountRow, LedgerEntryRow, table_of
from quittance.store.models_transfers import TransferRow
from quittance.store.statement import Statement
from quittance.store.transaction import Transaction
from quittance.store.verification import Page, Sum, Walk

_TRANSFER = table_of(TransferRow)
_ACCOUNT = table_of(LedgerAccountRow)
_ENTRY = table_of(LedgerEntryRow)
_FACTS = ("id", "merchant_id", "provider", "payment_id", "state", "asset_code", "asset_scale")
_Expected = Callable[[dict[str, Any]], int]
_AMOUNTS = ("amount_value", "fee_max_value", "fee_value")


def _sums(kind: AccountKind, *, of_merchant: bool) -> Statement:
    posted = (
        select(func.coalesce(func.sum(_ENTRY.c.value), 0))
        .select_from(_ENTRY.join(_ACCOUNT, _ENTRY.c.account_id == _ACCOUNT.c.id))
        .where(_ENTRY.c.transfer_id == _TRANSFER.c.id, _ACCOUNT.c.kind == kind.value)
        .correlate(_TRANSFER)
        .scalar_subquery()
    )
    fence = [_TRANSFER.c.merchant_id == bindparam("merchant_id")] if of_merchant else []
    columns = [_TRANSFER.c[name] for name in (*_FACTS, *_AMOUNTS)]
    page = (
        select(*columns, posted)
        .where(*fence, _TRANSFER.c.id > bindparam("after"))
        .order_by(_TRANSFER.c.id)
        .limit(bindparam("limit"))
    )
    return Statement(lambda _: page)


_RESERVED = {own: _sums(AccountKind.RESERVED, of_merchant=own) for own in (False, True)}
_SENT = {own: _sums(AccountKind.PROVIDER, of_merchant=own) for own in (False, True)}


def sums_of_reservations(transaction: Transaction, walk: Walk) -> Page:
    """Return what is set aside for each transfer beside what should be: nothing once it has ended."""
    return _page(transaction, _RESERVED, walk, _set_aside)


def sums_of_transfers(transaction: Transaction, walk: Walk) -> Page:
    """Return what each transfer credited to the account of its rail beside what it cost."""
    return _page(transaction, _SENT, walk, _left)


def _set_aside(row: dict[str, Any]) -> int:
    return 0 if TransferState(row["state"]) in FINAL else -int(row["amount_value"] + row["fee_max_value"])


def _left(row: dict[str, Any]) -> int:
    if row["state"] != TransferState.SUCCEEDED:
        return 0
    return -int(row["amount_value"] + (row["fee_value"] or 0))


def _page(transaction: Transaction, statements: dict[bool, Statement], walk: Walk, expected: _Expected) -> Page:
    found = transaction.all(statements[walk.merchant_id is not None], walk.parameters)
    sums = [_sum(dict(zip((*_FACTS, *_AMOUNTS), row[:-1], strict=True)), int(row[-1]), expected) for row in found]
    return sums, (sums[-1].id,) if sums else ()


def _sum(row: dict[str, Any], posted: int, expected: _Expected) -> Sum:
    return Sum(
        id=row["id"],
        expected=expected(row),
        found=posted,
        asset=Asset(row["asset_code"], row["asset_scale"]),
        merchant_id=MerchantId(row["merchant_id"]),
        provider=row["provider"],
        reference=row["id"],
        payment_id=None if row["payment_id"] is None else PaymentId(row["payment_id"]),
    )
