"""Queries over the books."""

from typing import Annotated

import strawberry

from quittance.domain.cursor import decode_key
from quittance.domain.errors import InvalidCursor
from quittance.gql.arguments import PAGE_DEFAULT, After, First, page_size, resumed_after
from quittance.gql.context import QuittanceInfo
from quittance.gql.types.node import page_info
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
        size = page_size(first)
        found = await reports.ledger_entries(
            info.context.services,
            info.context.principal,
            account_id=account_id,
            after=None if after is None else _entry_key(after),
            limit=size + 1,
        )
        edges = [LedgerEntryEdge.from_domain(one) for one in found[:size]]
        return LedgerEntryConnection(
            of_account=account_id,
            edges=edges,
            page_info=page_info([edge.cursor for edge in edges], more=len(found) > size, resumed=after is not None),
        )

    @strawberry.field(description="The money that arrived for the merchant, the newest first.")
    async def settlements(
        self, info: QuittanceInfo, first: First = PAGE_DEFAULT, after: After = None
    ) -> SettlementConnection:
        size = page_size(first)
        found = await reports.settlements(
            info.context.services,
            info.context.principal,
            after_id=resumed_after("settlement", after),
            limit=size + 1,
        )
        edges = [SettlementEdge.from_domain(one) for one in found[:size]]
        return SettlementConnection(
            edges=edges,
            page_info=page_info([edge.cursor for edge in edges], more=len(found) > size, resumed=after is not None),
        )

    @strawberry.field(
        description="Compare the rails' own lists of invoices, our payments and the ledger now, and name every "
        "difference; needs the scope admin. It reads all books, so it takes a while in a large shop. The first "
        "merchant's admin is told of everything, another merchant's of what is its own."
    )
    async def reconciliation(self, info: QuittanceInfo) -> Reconciliation | None:
        return Reconciliation.from_domain(await reports.reconciliation(info.context.services, info.context.principal))


def _entry_key(after: str) -> tuple[int, str, int]:
    match decode_key(after):
        case ("entry", int(posted_at_us), str(transaction_id), int(line)):
            return posted_at_us, transaction_id, line
        case _:
            raise InvalidCursor
