"""Balances that are paid out by themselves, once they are large enough for it."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog

from quittance.domain.destination import read_destination
from quittance.domain.errors import InvalidAmount
from quittance.domain.ids import BOOTSTRAP_MERCHANT, PAYOUT, AccountId, TransferId
from quittance.domain.job import Job, JobEnd, JobKind, JobState
from quittance.domain.money import BTC_MSAT, Money, msat
from quittance.domain.outgoing_errors import TooManyTransfers
from quittance.domain.transfer import TransferPurpose, fee_max_of, most_payable, own_account
from quittance.resolvers.jobs import JobRun, new_job
from quittance.resolvers.payees import whole_units
from quittance.resolvers.services import Services
from quittance.resolvers.transfers import TransferOrder, set_aside
from quittance.store import jobs, ledger, readers
from quittance.store.transaction import Transaction

WAIT_S = 60.0

log = structlog.get_logger("quittance.payouts")


def check_payout_from(services: Services, balance: Money) -> int:
    """Return from which balance on, in millisatoshi, a reader can have it paid out by itself.

    Raises:
        InvalidAmount: not in bitcoin, or too little to be sent with its fee cap.
    """
    if balance.asset.code != BTC_MSAT.code:
        raise InvalidAmount("balances are in bitcoin")
    least = services.transfers.payout_msat_min + fee_max_of(services.transfers.payout_msat_min, services.transfers.fee)
    exact = balance.rescaled_exactly(BTC_MSAT)
    if exact.value < least:
        raise InvalidAmount(f"a balance is paid out by itself from {msat(least).formatted} on")
    return exact.value


def plan_automatic_payouts(transaction: Transaction, services: Services, account_ids: Sequence[AccountId]) -> None:
    """Have those of these accounts looked at that want to be paid by themselves; their balances have changed."""
    for account_id in readers.paid_by_themselves(transaction, account_ids):
        _plan(transaction, services, account_id, due_at=services.now())


def _plan(transaction: Transaction, services: Services, account_id: AccountId, *, due_at: datetime) -> None:
    lane = f"{account_id}/payouts"
    job = new_job(services, JobKind.AUTOMATIC_PAYOUT, subject=account_id, lane=lane, order=None, due_at=due_at)
    jobs.plan_job(transaction, job)


async def pay_automatically(services: Services, job: Job) -> JobRun:
    """Send a reader all that their balance covers, if it is as much as they wanted to wait for.

    A payout that fails gives its money back, and is tried again when the balance changes next. While too many are
    under way it waits.
    """
    account_id = AccountId(job.subject)

    def also(transaction: Transaction) -> None:
        order = _order(transaction, services, account_id, key=f"automatic/{job.id}/{job.fence}")
        if order is None:
            return
        try:
            set_aside(transaction, services, order)
        except TooManyTransfers as error:
            log.warning("automatic_payout_waits", account=account_id, most=error.most)
            _plan(transaction, services, account_id, due_at=services.now() + timedelta(seconds=WAIT_S))

    return JobRun(end=JobEnd(state=JobState.DONE), also=also)


def _order(transaction: Transaction, services: Services, account_id: AccountId, *, key: str) -> TransferOrder | None:
    account = readers.account_by_id(transaction, account_id)
    payer = services.payers.get(services.default_provider)
    if account is None or account.payout_from_msat is None or account.lightning_address is None or payer is None:
        return None
    held = ledger.lock_owed(transaction, own_account(account_id, payer.asset))
    amount = whole_units(payer, most_payable(held, services.transfers.fee))
    if held < account.payout_from_msat or amount < services.transfers.payout_msat_min:
        return None
    return TransferOrder(
        id=TransferId(services.new_id(PAYOUT)),
        purpose=TransferPurpose.PAYOUT,
        owner_id=account_id,
        merchant_id=BOOTSTRAP_MERCHANT,
        provider=payer.name,
        amount=Money(amount, payer.asset),
        fee_max=Money(fee_max_of(amount, services.transfers.fee), payer.asset),
        destination=read_destination(account.lightning_address),
        idempotency_key=key,
        fingerprint=b"",
        is_awaited=False,
    )
