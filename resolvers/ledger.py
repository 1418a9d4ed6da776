"""Balances and the ledger's own audit."""

from quittance.domain.access import Principal, Scope
from quittance.domain.ledger import AccountKind
from quittance.domain.money import Money
from quittance.resolvers.services import Services
from quittance.store import ledger


async def balances_of_caller(services: Services, principal: Principal) -> list[tuple[AccountKind, Money]]:
    """Return what is owed to the calling merchant and its payers, as positive amounts; needs payments:read."""
    merchant_id = principal.merchant_id
    if merchant_id is None or not principal.allows(Scope.PAYMENTS_READ):
        return []
    found = await services.database.read(lambda transaction: ledger.balances(transaction, merchant_id))
    return [(account.kind, Money(-amount.value, amount.asset)) for account, amount in found]


async def discrepancies(services: Services) -> list[str]:
    """Return one sentence for everything in the ledger that does not add up."""
    return await services.database.scan(ledger.discrepancies)
