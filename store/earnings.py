"""What readers earned: the shares of upvotes, as lines of their accounts."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Text, bindparam, func, select, tuple_

from quittance.domain.ids import AccountId, ArticleId
from quittance.domain.ledger import Account, AccountKind
from quittance.domain.money import Asset, Money
from quittance.store.ledger import EntryKey, balances
from quittance.store.models import LedgerEntryRow, SettlementRow, table_of
from quittance.store.models_upvotes import UpvoteRow
from quittance.store.statement import Statement
from quittance.store.transaction import Transaction, from_us, to_us

_ENTRY = table_of(LedgerEntryRow)
_SETTLEMENT = table_of(SettlementRow)
_UPVOTE = table_of(UpvoteRow)
_KEY = (_ENTRY.c.posted_at_us, _ENTRY.c.transaction_id, _ENTRY.c.line)


@dataclass(frozen=True, slots=True, kw_only=True)
class Earning:
    """One share of an upvote. ``transaction_id`` and ``line`` say where it stands in the ledger."""

    transaction_id: str
    line: int
    amount: Money
    article_id: ArticleId
    earned_at: datetime

    @property
    def key(self) -> EntryKey:
        return to_us(self.earned_at), self.transaction_id, self.line


_of_account = _ENTRY.c.account_id == bindparam("account_id")
_SHARES = _ENTRY.join(_SETTLEMENT, _SETTLEMENT.c.id == _ENTRY.c.settlement_id).join(
    _UPVOTE, _UPVOTE.c.payment_id == _SETTLEMENT.c.payment_id
)


def _page(*, resumed: bool) -> Statement:
    fence = [_of_account]
    if resumed:
        after = (("after_us", BigInteger()), ("after_transaction", Text()), ("after_line", BigInteger()))
        fence.append(tuple_(*_KEY) < tuple_(*(bindparam(name, type_=type_) for name, type_ in after)))
    return Statement(
        lambda _: (
            select(*_KEY, _ENTRY.c.value, _UPVOTE.c.article_id)
            .select_from(_SHARES)
            .where(*fence)
            .order_by(*(column.desc() for column in _KEY))
            .limit(bindparam("limit"))
        )
    )


_PAGES = {resumed: _page(resumed=resumed) for resumed in (False, True)}
_COUNT = Statement(lambda _: select(func.count()).select_from(_SHARES).where(_of_account))


def earnings(transaction: Transaction, account_id: AccountId, *, after: EntryKey | None, limit: int) -> list[Earning]:
    """Return the newest shares that come after the last one seen; one statement for each asset."""
    parameters: dict[str, object] = {"limit": limit}
    if after is not None:
        parameters |= dict(zip(("after_us", "after_transaction", "after_line"), after, strict=True))
    found: list[Earning] = []
    for account in _accounts(transaction, account_id):
        rows = transaction.all(_PAGES[after is not None], parameters | {"account_id": account.id})
        found += [_to_earning(row, account.asset) for row in rows]
    return sorted(found, key=lambda earning: earning.key, reverse=True)[:limit]


def count_earnings(transaction: Transaction, account_id: AccountId) -> int:
    counted = [transaction.first(_COUNT, {"account_id": one.id}) for one in _accounts(transaction, account_id)]
    return sum(int(row[0]) for row in counted if row is not None)


def _accounts(transaction: Transaction, account_id: AccountId) -> list[Account]:
    return [account for account, _ in balances(transaction, account_id) if account.kind is AccountKind.READER]


def _to_earning(row: Any, asset: Asset) -> Earning:
    posted_at_us, transaction_id, line, value, article_id = row
    return Earning(
        transaction_id=transaction_id,
        line=line,
        amount=Money(-value, asset),
        article_id=ArticleId(article_id),
        earned_at=from_us(posted_at_us),
    )
