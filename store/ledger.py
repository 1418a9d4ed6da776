"""The double-entry ledger: lines, and running balances kept by the same unit."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import bindparam, func, insert, select

from quittance.domain.ids import SettlementId
from quittance.domain.ledger import Account, AccountKind, Entry, check_balanced
from quittance.domain.money import Asset, Money
from quittance.store.models import LedgerAccountRow, LedgerEntryRow, table_of
from quittance.store.statement import Statement
from quittance.store.transaction import Transaction, to_us

_ACCOUNT = table_of(LedgerAccountRow)
_ENTRY = table_of(LedgerEntryRow)


def _post_account(d: object) -> object:
    statement = d.insert(_ACCOUNT).values({column.name: bindparam(column.name) for column in _ACCOUNT.c})  # type: ignore[attr-defined]
    return statement.on_conflict_do_update(
        index_elements=["id"], set_={"balance_value": _ACCOUNT.c.balance_value + statement.excluded.balance_value}
    )


_POST_ACCOUNT = Statement(_post_account)  # type: ignore[arg-type]
_POST_ENTRY = Statement(lambda _: insert(_ENTRY).values({column.name: bindparam(column.name) for column in _ENTRY.c}))
_BALANCES = Statement(
    lambda _: select(*_ACCOUNT.c).where(_ACCOUNT.c.owner == bindparam("owner")).order_by(_ACCOUNT.c.id)
)
_DRIFT = Statement(
    lambda _: (
        select(_ACCOUNT.c.id, _ACCOUNT.c.balance_value, func.coalesce(func.sum(_ENTRY.c.value), 0))
        .select_from(_ACCOUNT.outerjoin(_ENTRY, _ENTRY.c.account_id == _ACCOUNT.c.id))
        .group_by(_ACCOUNT.c.id, _ACCOUNT.c.balance_value)
        .having(_ACCOUNT.c.balance_value != func.coalesce(func.sum(_ENTRY.c.value), 0))
    )
)
_UNBALANCED = Statement(
    lambda _: (
        select(_ENTRY.c.transaction_id, _ACCOUNT.c.asset_code, _ACCOUNT.c.asset_scale)
        .select_from(_ENTRY.join(_ACCOUNT, _ENTRY.c.account_id == _ACCOUNT.c.id))
        .group_by(_ENTRY.c.transaction_id, _ACCOUNT.c.asset_code, _ACCOUNT.c.asset_scale)
        .having(func.sum(_ENTRY.c.value) != 0)
    )
)


def post(
    transaction: Transaction,
    entries: Sequence[Entry],
    *,
    transaction_id: str,
    settlement_id: SettlementId | None,
    at: datetime,
) -> None:
    """Add the lines of one balanced transaction, and add them to the running balances.

    Accounts are touched in the order of their ids, so that two postings cannot wait for each other.

    Raises:
        ValueError: the lines do not sum to zero per asset; nothing is posted.
    """
    check_balanced(entries)
    ordered = sorted(entries, key=lambda entry: entry.account.id)
    transaction.execute_many(
        _POST_ACCOUNT,
        [
            {
                "id": entry.account.id,
                "kind": entry.account.kind.value,
                "owner": entry.account.owner,
                "asset_code": entry.account.asset.code,
                "asset_scale": entry.account.asset.scale,
                "balance_value": entry.value,
            }
            for entry in ordered
        ],
    )
    transaction.execute_many(
        _POST_ENTRY,
        [
            {
                "transaction_id": transaction_id,
                "line": line,
                "account_id": entry.account.id,
                "settlement_id": settlement_id,
                "value": entry.value,
                "posted_at_us": to_us(at),
            }
            for line, entry in enumerate(ordered)
        ],
    )


def balances(transaction: Transaction, owner: str) -> list[tuple[Account, Money]]:
    """Return every account of ``owner`` with its running balance, debits positive."""
    found: list[tuple[Account, Money]] = []
    for _, kind, owner_, code, scale, value in transaction.all(_BALANCES, {"owner": owner}):
        asset = Asset(code, scale)
        found.append((Account(kind=AccountKind(kind), owner=owner_, asset=asset), Money(value, asset)))
    return found


def discrepancies(transaction: Transaction) -> list[str]:
    """Return one sentence for each balance that is not the sum of its lines, and each unbalanced transaction."""
    drift = [
        f"account {id_} says {balance}, its entries sum to {total}" for id_, balance, total in transaction.all(_DRIFT)
    ]
    unbalanced = [f"transaction {id_} does not sum to zero in {code}" for id_, code, _ in transaction.all(_UNBALANCED)]
    return drift + unbalanced
