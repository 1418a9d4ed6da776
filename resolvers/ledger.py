"""Balances and the ledger's own audit."""

from quittance.domain.access import Principal, Scope
from quittance.domain.ledger import AccountKind
from quittance.domain.money import Money
from quittance.resolvers.reports import ledger_accounts
from quittance.resolvers.services import Services
from quittance.resolvers.verification import Verification


async def balances_of_caller(services: Services, principal: Principal) -> list[tuple[AccountKind, Money]]:
    """Return what is owed to the calling merchant and its payers; nothing without payments:read."""
    if principal.merchant_with(Scope.PAYMENTS_READ) is None:
        return []
    return [(found.account.kind, found.owed) for found in await ledger_accounts(services, principal)]


async def discrepancies(services: Services) -> list[str]:
    """Return one sentence for everything in our books that does not add up."""
    return [finding.message async for finding in Verification(services=services).findings()]
