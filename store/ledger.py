"""The double-entry ledger: lines, and running balances kept by the same unit."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Text, bindparam, func, insert, select, tuple_

from quittance.domain.ids import PaymentId, SettlementId, TransferId
from quittance.domain.ledger import Account, AccountKind, Entry, check_balanced
from quittance.domain.money import Asset, Money
from quittance.store.models import LedgerAccountRow, LedgerEntryRow, SettlementRow, table_of
from quittance.store.statement import BatchStatement, Statement, every_column
from quittance.store.transaction import Transaction, from_us, to_us

_ACCOUNT = table_of(LedgerAccountRow)
_ENTRY = table_of(LedgerEntryRow)
_SETTLEMENT = table_of(SettlementRow)
_NEWEST_FIRST = (_ENTRY.c.posted_at_us, _ENTRY.c.transaction_id, _ENTRY.c.line)

EntryKey = tuple[int, str, int]
"""Where a line stands among those of its owner: microseconds since 1970, transaction and line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostedEntry:
    """A line as it was posted; ``value`` counts smallest units, debits positive."""

    transaction_id: str
    line: int
    account: Account
    value: int
    settlement_id: SettlementId | None
    payment_id: PaymentId | None
    posted_at: datetime

    @property
    def key(self) -> EntryKey:
        return to_us(self.posted_at), self.transaction_id, self.line


def _post_account(d: object) -> object:
    statement = d.insert(_ACCOUNT).values(every_column(_ACCOUNT))  # type: ignore[attr-defined]
    return statement.on_conflict_do_update(
        index_elements=["id"], set_={"balance_value": _ACCOUNT.c.balance_value + statement.excluded.balance_value}
    )


_POST_ACCOUNT = Statement(_post_account)  # type: ignore[arg-type]
_POST_ENTRY = Statement(lambda _: insert(_ENTRY).values(every_column(_ENTRY)))
_LOCK = Statement(lambda _: select(_ACCOUNT.c.balance_value).where(_ACCOUNT.c.id == bindparam("id")).with_for_update())
_BALANCES = Statement(
    lambda _: select(*_ACCOUNT.c).where(_ACCOUNT.c.owner == bindparam("owner")).order_by(_ACCOUNT.c.id)
)


def _entries(*, resumed: bool) -> Statement:
    fence = [_ENTRY.c.account_id == bindparam("account_id")]
    if resumed:
        after = (("after_us", BigInteger()), ("after_transaction", Text()), ("after_line", BigInteger()))
        fence.append(tuple_(*_NEWEST_FIRST) < tuple_(*(bindparam(name, type_=type_) for name, type_ in after)))
    columns = (_ENTRY.c.transaction_id, _ENTRY.c.line, _ENTRY.c.value, _ENTRY.c.settlement_id, _ENTRY.c.posted_at_us)
    return Statement(
        lambda _: (
            select(*columns, _SETTLEMENT.c.payment_id)
            .select_from(_ENTRY.outerjoin(_SETTLEMENT, _SETTLEMENT.c.id == _ENTRY.c.settlement_id))
            .where(*fence)
            .order_by(*(column.desc() for column in _NEWEST_FIRST))
            .limit(bindparam("limit"))
        )
    )


_ENTRIES = {resumed: _entries(resumed=resumed) for resumed in (False, True)}
_COUNT = BatchStatement(lambda _, keys: select(func.count()).select_from(_ENTRY).where(_ENTRY.c.account_id.in_(keys)))


def post(
    transaction: Transaction,
    entries: Sequence[Entry],
    *,
    transaction_id: str,
    settlement_id: SettlementId | None = None,
    transfer_id: TransferId | None = None,
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
                "transfer_id": transfer_id,
                "value": entry.value,
                "posted_at_us": to_us(at),
            }
            for line, entry in enumerate(ordered)
        ],
    )


def lock_owed(transaction: Transaction, account: Account) -> int:
    """Return what is owed on an account, locked against other units until this one commits; zero for none."""
    row = transaction.first(_LOCK, {"id": account.id})
    return 0 if row is None else -int(row[0])


def balances(transaction: Transaction, owner: str) -> list[tuple[Account, Money]]:
    """Return every account of ``owner`` with its running balance, debits positive."""
    found: list[tuple[Account, Money]] = []
    for _, kind, owner_, code, scale, value in transaction.all(_BALANCES, {"owner": owner}):
        asset = Asset(code, scale)
        found.append((Account(kind=AccountKind(kind), owner=owner_, asset=asset), Money(value, asset)))
    return found


def entries(
    transaction: Transaction, accounts: Sequence[Account], *, after: EntryKey | None, limit: int
) -> list[PostedEntry]:
    """Return the newest lines of ``accounts`` that come after the last one seen; one statement an account."""
    found: list[PostedEntry] = []
    for account in accounts:
        parameters: dict[str, object] = {"account_id": account.id, "limit": limit}
        if after is not None:
            parameters |= dict(zip(("after_us", "after_transaction", "after_line"), after, strict=True))
        found += [_to_entry(row, account) for row in transaction.all(_ENTRIES[after is not None], parameters)]
    return sorted(found, key=lambda entry: entry.key, reverse=True)[:limit]


def count_entries(transaction: Transaction, accounts: Sequence[Account]) -> int:
    if not accounts:
        return 0
    row = transaction.first(*_COUNT.sized([account.id for account in accounts]))
    return int(row[0]) if row else 0


def _to_entry(row: Any, account: Account) -> PostedEntry:
    transaction_id, line, value, settlement_id, posted_at_us, payment_id = row
    return PostedEntry(
        transaction_id=transaction_id,
        line=line,
        account=account,
        value=value,
        settlement_id=None if settlement_id is None else SettlementId(settlement_id),
        payment_id=None if payment_id is None else PaymentId(payment_id),
        posted_at=from_us(posted_at_us),
    )
