"""Queries over the books."""

from typing import Annotated

import strawberry

from quittance.gql.arguments import After, First
from quittance.gql.context import QuittanceInfo
from quittance.gql.pages import PAGE_DEFAULT, asked_page, entry_key
from quittance.gql.types.report import (
    LedgerAccount,
    LedgerEntryConnection,
    LedgerEntryEdge,
    Reconciliation,
    SettlementConnection,
    SettlementEdge,
)
from quittance.resolvers import reports


@strawberry.type
class ReportQueries:
    @strawberry.field(description="The merchant's accounts and their balances, one for each purpose and asset.")
    async def ledger_accounts(self, info: QuittanceInfo) -> list[LedgerAccount]:
        found = await reports.ledger_accounts(info.context.services, info.context.principal)
        return [LedgerAccount.from_domain(account) for account in found]

    @strawberry.field(description="The entries of the merchant's accounts, the newest first.")
    async def ledger_entries(
        self,
        info: QuittanceInfo,
        first: First = PAGE_DEFAULT,
        after: After = None,
        account_id: Annotated[
            strawberry.ID | None, strawberry.argument(description="Only entries of this account.")
        ] = None,
    ) -> LedgerEntryConnection:
        asked = asked_page(first, after)
        found = await reports.ledger_entries(
            info.context.services,
            info.context.principal,
            account_id=account_id,
            after=None if after is None else entry_key(after, "entry"),
            limit=asked.limit,
        )
        page = asked.of(found, LedgerEntryEdge.from_domain)
        return LedgerEntryConnection(of_account=account_id, edges=page.edges, page_info=page.page_info)

    @strawberry.field(description="The money that arrived for the merchant, the newest first.")
    async def settlements(
        self, info: QuittanceInfo, first: First = PAGE_DEFAULT, after: After = None
    ) -> SettlementConnection:
        asked = asked_page(first, after)
        found = await reports.settlements(
            info.context.services, info.context.principal, after_id=asked.after_id("settlement"), limit=asked.limit
        )
        page = asked.of(found, SettlementEdge.from_domain)
        return SettlementConnection(edges=page.edges, page_info=page.page_info)

    @strawberry.field(
        description="Compare the rails' own lists of invoices, our payments and the ledger now, and name every "
        "difference; needs the scope admin. It reads all books, so it takes a while in a large shop. The first "
        "merchant's admin is told of everything, another merchant's of what is its own."
    )
    async def reconciliation(self, info: QuittanceInfo) -> Reconciliation | None:
        return Reconciliation.from_domain(await reports.reconciliation(info.context.services, info.context.principal))
