"""The account of the reader who calls: seen, changed, and what was paid for it."""

from dataclasses import dataclass, replace

from quittance.domain.access import Principal
from quittance.domain.errors import InvalidInput
from quittance.domain.ids import AccountId
from quittance.domain.ledger import AccountKind
from quittance.domain.money import Money
from quittance.domain.payment import Payment
from quittance.domain.reader import Account, check_lightning_address, check_wallet_address
from quittance.resolvers.automatic_payouts import check_payout_from, plan_automatic_payouts
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
    payout_from: Money | None = None
    clear_payout_from: bool = False


async def account_of_caller(services: Services, principal: Principal) -> Account | None:
    """Return the account of the reader who calls; None for other callers."""
    account_id = principal.account_id
    if account_id is None:
        return None
    return await services.database.read(lambda transaction: readers.account_by_id(transaction, account_id))


async def update_account(services: Services, principal: Principal, change: AccountChange) -> Account:
    """Change where, and from which balance on, the calling reader is paid.

    Raises:
        LoginRequired, InvalidInput, InvalidAmount: nothing changed.
    """
    account_id = principal.require_account()
    await services.admit_mutation(principal)
    lightning = None if change.lightning_address is None else check_lightning_address(change.lightning_address)
    wallet = None if change.wallet_address is None else check_wallet_address(change.wallet_address)
    payout_from = None if change.payout_from is None else check_payout_from(services, change.payout_from)

    def unit(transaction: Transaction) -> Account:
        before = readers.lock_account(transaction, account_id)
        after = replace(
            before,
            lightning_address=None if change.clear_lightning_address else lightning or before.lightning_address,
            wallet_address=None if change.clear_wallet_address else wallet or before.wallet_address,
            payout_from_msat=None if change.clear_payout_from else payout_from or before.payout_from_msat,
        )
        if after.payout_from_msat is not None and after.lightning_address is None:
            raise InvalidInput("payoutFrom", "a balance is paid out by itself to a Lightning Address; say one")
        readers.set_paying(transaction, after)
        plan_automatic_payouts(transaction, services, [account_id])
        return after

    changed = await services.database.write(unit)
    services.wake_jobs()
    return changed


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
