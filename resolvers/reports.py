"""What a merchant may read of the books, and whether all books agree."""

from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime

from quittance.domain.access import Principal, Scope
from quittance.domain.errors import RateLimited
from quittance.domain.ids import MerchantId
from quittance.domain.ledger import Account
from quittance.domain.money import Money
from quittance.domain.reconciliation import Finding, FindingKind
from quittance.resolvers.comparison import RailComparison
from quittance.resolvers.services import Services
from quittance.resolvers.verification import Book, Verification
from quittance.store import ledger, reports
from quittance.store.ledger import EntryKey, PostedEntry
from quittance.store.settlements import BookedSettlement
from quittance.store.transaction import Transaction

FINDINGS_MAX = 1_000
AGAIN_AFTER_S = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerAccount:
    """An account of a merchant; ``owed`` is what is owed on it, its credits less its debits."""

    account: Account
    owed: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """What was compared, and what differs. ``truncated``: it was ended after so many findings that more do not help."""

    checked_at: datetime
    rails: Sequence[RailComparison]
    checked: Mapping[Book, int]
    findings: Sequence[Finding]
    counts: Mapping[FindingKind, int]
    truncated: bool


async def ledger_accounts(services: Services, principal: Principal) -> list[LedgerAccount]:
    """Return the merchant's accounts; needs payments:read."""
    merchant_id = principal.require(Scope.PAYMENTS_READ)
    found = await services.database.read(lambda transaction: ledger.balances(transaction, merchant_id))
    return [LedgerAccount(account=account, owed=Money(-balance.value, balance.asset)) for account, balance in found]


async def ledger_entries(
    services: Services, principal: Principal, *, account_id: str | None, after: EntryKey | None, limit: int
) -> list[PostedEntry]:
    """Return the lines of the merchant's accounts, or of one of them, the newest first; needs payments:read."""
    merchant_id = principal.require(Scope.PAYMENTS_READ)

    def query(transaction: Transaction) -> list[PostedEntry]:
        accounts = _accounts(transaction, merchant_id, account_id)
        return ledger.entries(transaction, accounts, after=after, limit=limit)

    return await services.database.scan(query)


async def count_ledger_entries(services: Services, principal: Principal, *, account_id: str | None) -> int:
    merchant_id = principal.require(Scope.PAYMENTS_READ)
    return await services.database.scan(
        lambda transaction: ledger.count_entries(transaction, _accounts(transaction, merchant_id, account_id))
    )


async def settlements(
    services: Services, principal: Principal, *, after_id: str | None, limit: int
) -> list[BookedSettlement]:
    """Return what arrived for the merchant, the newest first; needs payments:read."""
    merchant_id = principal.require(Scope.PAYMENTS_READ)
    return await services.database.scan(
        lambda transaction: reports.list_settlements(
            transaction, merchant_id=merchant_id, after_id=after_id, limit=limit
        )
    )


async def count_settlements(services: Services, principal: Principal) -> int:
    merchant_id = principal.require(Scope.PAYMENTS_READ)
    return await services.database.scan(lambda transaction: reports.count_settlements(transaction, merchant_id))


async def reconciliation(
    services: Services, principal: Principal, *, findings_max: int = FINDINGS_MAX
) -> Reconciliation:
    """Compare every connected rail, our payments and the ledger, and name what differs.

    The operator is told of everything, the admin of another merchant of what is that merchant's. Counts as a mutation,
    for it reads every book to its end.

    Raises:
        PermissionDenied: no admin key.
        RateLimited: too many mutations, or another is being made in this process; later.
    """
    merchant_id = principal.require(Scope.ADMIN)
    await services.admit_mutation(principal)
    if services.reconciling.locked():
        raise RateLimited(AGAIN_AFTER_S)
    async with services.reconciling:
        return await _compare(services, None if principal.is_operator else merchant_id, findings_max=findings_max)


async def _compare(services: Services, seen_by: MerchantId | None, *, findings_max: int) -> Reconciliation:
    checked_at = services.now()
    found = _Findings(room=findings_max)
    rails = [RailComparison(services=services, rail=rail, merchant_id=seen_by) for rail in services.rails.values()]
    for rail in rails:
        await found.collect(rail.findings())
    books = Verification(services=services, merchant_id=seen_by)
    await found.collect(books.findings())
    found.counts[FindingKind.FOREIGN_AT_PROVIDER] = sum(rail.foreign or 0 for rail in rails)
    return Reconciliation(
        checked_at=checked_at,
        rails=rails,
        checked=books.checked,
        findings=found.named,
        counts=found.counts,
        truncated=found.full,
    )


@dataclass(slots=True, kw_only=True)
class _Findings:
    """Findings, up to their limit."""

    room: int
    named: list[Finding] = field(default_factory=list)
    counts: Counter[FindingKind] = field(default_factory=Counter)
    full: bool = False

    async def collect(self, found: AsyncGenerator[Finding]) -> None:
        """Take what is found; what finds more than there is room for is ended."""
        async with aclosing(found):
            async for finding in found:
                if len(self.named) == self.room:
                    self.full = True
                    return
                self.named.append(finding)
                self.counts[finding.kind] += 1


def _accounts(transaction: Transaction, merchant_id: MerchantId, account_id: str | None) -> list[Account]:
    own = [account for account, _ in ledger.balances(transaction, merchant_id)]
    return [account for account in own if account_id in {None, account.id}]
