"""Whether our books agree with themselves: ledger, balances, settlements, payments and transfers."""

from collections import Counter
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from enum import StrEnum

from quittance.domain.ids import MerchantId
from quittance.domain.money import Money
from quittance.domain.reconciliation import Finding, FindingKind
from quittance.resolvers.services import Services
from quittance.store import verification, verification_transfers
from quittance.store.transaction import Transaction
from quittance.store.verification import Key, Page, Sum, Walk

PAGE = 1_000
_ACCOUNTS = 20  # the sum of one account reads all its lines


class Book(StrEnum):
    TRANSACTIONS = "transactions"
    ACCOUNTS = "accounts"
    SETTLEMENTS = "settlements"
    PAYMENTS = "payments"
    RESERVATIONS = "reservations"
    TRANSFERS = "transfers"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Check:
    """One walk through one book, or through a part of it again.

    ``sentence`` has the members of a :class:`Sum`, and both amounts for people.
    """

    book: Book
    kind: FindingKind
    sums: Callable[[Transaction, Walk], Page]
    sentence: str
    limit: int = PAGE
    counted: bool = True


_CHECKS = (
    _Check(
        book=Book.TRANSACTIONS,
        kind=FindingKind.LEDGER_UNBALANCED,
        sums=verification.sums_of_transactions,
        sentence="ledger transaction {id} sums to {found} instead of zero",
    ),
    _Check(
        book=Book.ACCOUNTS,
        kind=FindingKind.BALANCE_DRIFT,
        sums=verification.sums_of_accounts,
        sentence="account {id} says {found}, its entries sum to {expected}",
        limit=_ACCOUNTS,
    ),
    _Check(
        book=Book.ACCOUNTS,
        kind=FindingKind.BALANCE_DRIFT,
        sums=verification.sums_of_shares,
        sentence="account {id} holds {found} for readers, the shares of upvotes not yet posted sum to {expected}",
        counted=False,  # each was, above
    ),
    _Check(
        book=Book.SETTLEMENTS,
        kind=FindingKind.SETTLEMENT_NOT_IN_LEDGER,
        sums=verification.sums_of_settlements,
        sentence="settlement {id} is of {expected}, the ledger debits {found} to {provider} for it",
    ),
    _Check(
        book=Book.PAYMENTS,
        kind=FindingKind.PAYMENT_AND_SETTLEMENTS_DIFFER,
        sums=verification.sums_of_payments,
        sentence="payment {id} says that it received {found}, its settlements sum to {expected}",
    ),
    _Check(
        book=Book.RESERVATIONS,
        kind=FindingKind.RESERVATION_DRIFT,
        sums=verification_transfers.sums_of_reservations,
        sentence="for transfer {id} {expected} should be set aside, the ledger says {found}",
    ),
    _Check(
        book=Book.TRANSFERS,
        kind=FindingKind.TRANSFER_NOT_IN_LEDGER,
        sums=verification_transfers.sums_of_transfers,
        sentence="transfer {id} cost {expected}, the ledger books {found} to {provider} for it",
    ),
)


@dataclass(slots=True, kw_only=True)
class Verification:
    """Reads every book once, a page at a time. ``checked`` counts what was read of each so far.

    With ``merchant_id`` only that merchant's part is read, and the accounts of the rails, which are nobody's, are
    left out. ``page`` bounds how many are read at once.
    """

    services: Services
    merchant_id: MerchantId | None = None
    page: int = PAGE
    checked: Counter[Book] = field(default_factory=Counter)

    async def findings(self) -> AsyncGenerator[Finding]:
        """Yield every difference, in the order of the books."""
        for check in _CHECKS:
            sums, after = await self._page(check, ())
            while sums:
                if check.counted:
                    self.checked[check.book] += len({one.id for one in sums})
                for one in sums:
                    if one.expected != one.found:
                        yield _finding(check, one)
                sums, after = await self._page(check, after)

    async def _page(self, check: _Check, after: Key) -> Page:
        walk = Walk(merchant_id=self.merchant_id, after=after, limit=min(check.limit, self.page))
        return await self.services.database.scan(lambda transaction: check.sums(transaction, walk))


def _finding(check: _Check, differing: Sum) -> Finding:
    expected, found = (Money(value, differing.asset).formatted for value in (differing.expected, differing.found))
    return Finding(
        kind=check.kind,
        message=check.sentence.format(id=differing.id, provider=differing.provider, expected=expected, found=found),
        expected=str(differing.expected),
        found=str(differing.found),
        merchant_id=differing.merchant_id,
        provider=differing.provider,
        reference=differing.reference,
        payment_id=differing.payment_id,
    )
