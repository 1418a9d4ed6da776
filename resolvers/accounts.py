"""The account of the reader who calls: seen, changed, and what was paid for it."""

from dataclasses import dataclass, replace

from quittance.domain.access import Principal
from quittance.domain.ids import AccountId
from quittance.domain.ledger import AccountKind
from quittance.domain.money import Money
from quittance.domain.payment import Payment
from quittance.domain.reader import Account, check_lightning_address, check_wallet_address
from quittance.resolvers.services import Services
from quittance.store import earnings, ledger, payments, readers
from quittance.store.earnings import Earning
from quittance.store.ledger import EntryKey
from quittance.store.transaction import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountChange:
    """What to change. An address is kept unless it is said; said as None, it is cleared."""

    lightning_address: str | None = None
    clear_lightning_address: bool = False
    wallet_address: str | None = None
    clear_wallet_address: bool = False


async def account_of_caller(services: Services, principal: Principal) -> Account | None:
    """Return the account of the reader who calls; None for other callers."""
    account_id = principal.account_id
    if account_id is None:
        return None
    return await services.database.read(lambda transaction: readers.account_by_id(transaction, account_id))


async def update_account(services: Services, principal: Principal, change: AccountChange) -> Account:
    """Change the addresses of the calling reader.

    Raises:
        LoginRequired, InvalidInput: nothing changed.
    """
    account_id = principal.require_account()
    await services.admit_mutation(principal)
    lightning = None if change.lightning_address is None else check_lightning_address(change.lightning_address)
    wallet = None if change.wallet_address is None else check_wallet_address(change.wallet_address)

    def unit(transaction: Transaction) -> Account:
        before = readers.lock_account(transaction, account_id)
        after = replace(
            before,
            lightning_address=None if change.clear_lightning_address else lightning or before.lightning_address,
            wallet_address=None if change.clear_wallet_address else wallet or before.wallet_address,
        )
        readers.set_addresses(transaction, after)
        return after

    return await services.database.write(unit)


async def balances(services: Services, account_id: AccountId) -> list[Money]:
    """Return what this reader can have paid out, one amount per asset; what is on its way out is not among it."""
    found = await services.database.read(lambda transaction: ledger.balances(transaction, account_id))
    return [Money(-balance.value, balance.asset) for account, balance in found if account.kind is AccountKind.READER]


async def list_payments(
    services: Services, account_id: AccountId, *, after_id: str | None, limit: int
) -> list[Payment]:
    """Return the payments that buy something for this reader, the newest first."""
    return await services.database.read(
        lambda transaction: payments.list_payments_of_reader(
            transaction, account_id=account_id, after_id=after_id, limit=limit
        )
    )


async def count_payments(services: Services, account_id: AccountId) -> int:
    return await services.database.scan(
        lambda transaction: payments.count_payments_of_reader(transaction, account_id=account_id)
    )


async def list_earnings(
    services: Services, account_id: AccountId, *, after: EntryKey | None, limit: int
) -> list[Earning]:
    """Return this reader's shares of upvotes, the newest first."""
    return await services.database.read(
        lambda transaction: earnings.earnings(transaction, account_id, after=after, limit=limit)
    )


async def count_earnings(services: Services, account_id: AccountId) -> int:
    return await services.database.scan(lambda transaction: earnings.count_earnings(transaction, account_id))
