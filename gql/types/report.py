"""The books on the wire: accounts, entries, settlements, and where they differ."""

from datetime import datetime
from enum import StrEnum

import strawberry

from quittance.domain import money, reconciliation
from quittance.domain.cursor import encode_key
from quittance.domain.ids import PaymentId
from quittance.domain.ledger import AccountKind
from quittance.domain.policy import Disposition
from quittance.domain.reconciliation import FindingKind
from quittance.gql.context import QuittanceInfo
from quittance.gql.types.money import Money
from quittance.gql.types.node import PageInfo
from quittance.gql.types.payment import Payment
from quittance.resolvers import reports
from quittance.resolvers.comparison import RailComparison
from quittance.resolvers.verification import Book
from quittance.store.ledger import PostedEntry
from quittance.store.settlements import BookedSettlement

strawberry.enum(
    AccountKind,
    name="LedgerAccountKind",
    description="What an account counts. PROVIDER: held by a rail. MERCHANT: owed to it. REFUNDABLE: owed to payers. "
    "READER: owed to a reader. RESERVED: set aside for money on its way out. SPLIT: came for upvotes, and is about to "
    "be shared out among readers.",
)
strawberry.enum(Disposition, name="SettlementDisposition", description="What was done with money that arrived.")
strawberry.enum(
    FindingKind,
    name="ReconciliationFindingKind",
    description="How two books differ. FOREIGN_AT_PROVIDER (not our invoice) is normal, and counted only.",
)


@strawberry.enum(description="On which side of its account an entry stands. A credit raises what is owed.")
class LedgerDirection(StrEnum):
    DEBIT = "DEBIT"
    CREDIT = "CREDIT"


@strawberry.type(description="An account of the double-entry ledger: one for each purpose and asset.")
class LedgerAccount:
    id: strawberry.ID = strawberry.field(description="The account's id.")
    kind: AccountKind = strawberry.field(description="What it counts.")
    balance: Money = strawberry.field(description="What is owed on it now: its credits less its debits.")

    @staticmethod
    def from_domain(subject: reports.LedgerAccount) -> "LedgerAccount":
        return LedgerAccount(
            id=strawberry.ID(subject.account.id), kind=subject.account.kind, balance=Money.from_domain(subject.owed)
        )


@strawberry.type(description="One line of a ledger transaction; the lines of a transaction sum to zero per asset.")
class LedgerEntry:
    id: strawberry.ID = strawberry.field(description="The entry's id: its transaction and its line.")
    transaction_id: strawberry.ID = strawberry.field(description="The transaction it was posted in.")
    line: int = strawberry.field(description="Which line of the transaction it is.")
    account_id: strawberry.ID = strawberry.field(description="The account it stands on.")
    account_kind: AccountKind = strawberry.field(description="What that account counts.")
    direction: LedgerDirection = strawberry.field(description="On which side it stands.")
    amount: Money = strawberry.field(description="How much, never negative.")
    settlement_id: strawberry.ID | None = strawberry.field(description="The settlement that it books, if it does.")
    payment_id: strawberry.ID | None = strawberry.field(description="The payment of that settlement.")
    posted_at: datetime = strawberry.field(description="When it was posted.")

    @staticmethod
    def from_domain(subject: PostedEntry) -> "LedgerEntry":
        account = subject.account
        return LedgerEntry(
            id=strawberry.ID(f"{subject.transaction_id}/{subject.line}"),
            transaction_id=strawberry.ID(subject.transaction_id),
            line=subject.line,
            account_id=strawberry.ID(account.id),
            account_kind=account.kind,
            direction=LedgerDirection.DEBIT if subject.value > 0 else LedgerDirection.CREDIT,
            amount=Money.from_domain(money.Money(abs(subject.value), account.asset)),
            settlement_id=None if subject.settlement_id is None else strawberry.ID(subject.settlement_id),
            payment_id=None if subject.payment_id is None else strawberry.ID(subject.payment_id),
            posted_at=subject.posted_at,
        )


@strawberry.type(description="An entry in a page.")
class LedgerEntryEdge:
    cursor: str = strawberry.field(description="Where this entry stands in the list.")
    node: LedgerEntry = strawberry.field(description="The entry.")

    @staticmethod
    def from_domain(subject: PostedEntry) -> "LedgerEntryEdge":
        return LedgerEntryEdge(cursor=encode_key("entry", *subject.key), node=LedgerEntry.from_domain(subject))


@strawberry.type(description="A page of entries.")
class LedgerEntryConnection:
    of_account: strawberry.Private[str | None]
    edges: list[LedgerEntryEdge] = strawberry.field(description="The entries of this page, the newest first.")
    page_info: PageInfo = strawberry.field(description="Where this page begins and ends.")

    @strawberry.field(description="How many entries the whole list has.")
    async def total_count(self, info: QuittanceInfo) -> int:
        return await reports.count_ledger_entries(
            info.context.services, info.context.principal, account_id=self.of_account
        )


@strawberry.type(description="Money that arrived, booked once.")
class Settlement:
    subject: strawberry.Private[BookedSettlement]
    id: strawberry.ID = strawberry.field(description="The settlement's id.")
    provider: str = strawberry.field(description="The rail it came on.")
    reference: str = strawberry.field(description="How the rail names it; the payment hash in hex for Lightning.")
    amount: Money = strawberry.field(description="How much came.")
    disposition: Disposition = strawberry.field(description="What was done with it.")
    settled_at: datetime = strawberry.field(description="When it arrived, by the rail's own clock.")
    booked_at: datetime = strawberry.field(description="When it was booked.")

    @strawberry.field(description="The payment it was booked to.")
    def payment(self, info: QuittanceInfo) -> Payment | None:
        return info.context.loaders.payment.then(
            PaymentId(self.subject.payment_id), lambda found: None if found is None else Payment.from_domain(found)
        )

    @staticmethod
    def from_domain(subject: BookedSettlement) -> "Settlement":
        return Settlement(
            subject=subject,
            id=strawberry.ID(subject.id),
            provider=subject.provider,
            reference=subject.reference,
            amount=Money.from_domain(subject.received),
            disposition=subject.disposition,
            settled_at=subject.settled_at,
            booked_at=subject.booked_at,
        )


@strawberry.type(description="A settlement in a page.")
class SettlementEdge:
    cursor: str = strawberry.field(description="Where this settlement stands in the list.")
    node: Settlement = strawberry.field(description="The settlement.")

    @staticmethod
    def from_domain(subject: BookedSettlement) -> "SettlementEdge":
        return SettlementEdge(cursor=encode_key("settlement", subject.id), node=Settlement.from_domain(subject))


@strawberry.type(description="A page of settlements.")
class SettlementConnection:
    edges: list[SettlementEdge] = strawberry.field(description="The settlements of this page, the newest first.")
    page_info: PageInfo = strawberry.field(description="Where this page begins and ends.")

    @strawberry.field(description="How many settlements the whole list has.")
    async def total_count(self, info: QuittanceInfo) -> int:
        return await reports.count_settlements(info.context.services, info.context.principal)


@strawberry.type(description="One difference between two books.")
class ReconciliationFinding:
    kind: FindingKind = strawberry.field(description="How they differ.")
    message: str = strawberry.field(description="A sentence for people.")
    expected: str = strawberry.field(
        description="What follows from the other book: a status, or an amount as an integer of the smallest unit."
    )
    found: str = strawberry.field(description="What the book in doubt says, likewise.")
    provider: str | None = strawberry.field(description="The rail in question, if one is.")
    reference: str | None = strawberry.field(
        description="The invoice on that rail, or the ledger transaction or account."
    )
    payment_id: strawberry.ID | None = strawberry.field(description="The payment in question, if one is.")

    @staticmethod
    def from_domain(subject: reconciliation.Finding) -> "ReconciliationFinding":
        return ReconciliationFinding(
            kind=subject.kind,
            message=subject.message,
            expected=subject.expected,
            found=subject.found,
            provider=subject.provider,
            reference=subject.reference,
            payment_id=None if subject.payment_id is None else strawberry.ID(subject.payment_id),
        )


@strawberry.type(description="How often one kind of difference was found.")
class ReconciliationCount:
    kind: FindingKind = strawberry.field(description="The kind.")
    count: int = strawberry.field(description="How often.")


@strawberry.type(description="How far one rail was compared with our books.")
class ReconciledRail:
    provider: str = strawberry.field(description="The rail.")
    reachable: bool = strawberry.field(description="Whether it answered.")
    comparable: bool = strawberry.field(
        description="Whether it can list its invoices. If not, it may differ from our books all the same."
    )
    complete: bool = strawberry.field(description="Whether both sides were read to their ends.")
    detail: str | None = strawberry.field(description="Why not, where it was not.")
    invoices: int = strawberry.field(description="How many invoices of ours the rail named.")
    foreign_invoices: int | None = strawberry.field(
        description="How many others it named, which is normal; null for all but the operator."
    )
    settlements: int = strawberry.field(description="How many settlements of ours were looked for in its list.")
    open_options: int = strawberry.field(description="How many open options of ours were looked for in its list.")

    @staticmethod
    def from_domain(subject: RailComparison) -> "ReconciledRail":
        return ReconciledRail(
            provider=subject.rail.name,
            reachable=subject.reachable,
            comparable=subject.comparable,
            complete=subject.complete,
            detail=subject.detail,
            invoices=subject.invoices,
            foreign_invoices=subject.foreign,
            settlements=subject.settlements,
            open_options=subject.open_options,
        )


@strawberry.type(description="The rails' lists, our payments and the ledger, compared.")
class Reconciliation:
    checked_at: datetime = strawberry.field(description="When the comparison began.")
    rails: list[ReconciledRail] = strawberry.field(description="Every connected rail.")
    findings: list[ReconciliationFinding] = strawberry.field(description="Every difference, named once.")
    counts: list[ReconciliationCount] = strawberry.field(description="How many findings there are of each kind.")
    truncated: bool = strawberry.field(
        description="Whether it was ended at 1,000 findings; then there are more, and the counts are not the whole."
    )
    transactions_compared: int = strawberry.field(description="How many ledger transactions were summed up.")
    accounts_compared: int = strawberry.field(description="How many balances were compared with their entries.")
    settlements_compared: int = strawberry.field(description="How many settlements were looked for in the ledger.")
    payments_compared: int = strawberry.field(description="How many payments were compared with their settlements.")
    transfers_compared: int = strawberry.field(description="How many refunds and payouts were found in the ledger.")

    @staticmethod
    def from_domain(subject: reports.Reconciliation) -> "Reconciliation":
        return Reconciliation(
            checked_at=subject.checked_at,
            rails=[ReconciledRail.from_domain(rail) for rail in subject.rails],
            findings=[ReconciliationFinding.from_domain(finding) for finding in subject.findings],
            counts=[ReconciliationCount(kind=kind, count=subject.counts.get(kind, 0)) for kind in FindingKind],
            truncated=subject.truncated,
            transactions_compared=subject.checked.get(Book.TRANSACTIONS, 0),
            accounts_compared=subject.checked.get(Book.ACCOUNTS, 0),
            settlements_compared=subject.checked.get(Book.SETTLEMENTS, 0),
            payments_compared=subject.checked.get(Book.PAYMENTS, 0),
            transfers_compared=subject.checked.get(Book.TRANSFERS, 0),
        )
