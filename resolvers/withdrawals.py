"""Withdrawals: an owner shows a code, a wallet brings an invoice for it, and the balance pays it, once (LUD-03)."""

import hashlib
from dataclasses import dataclass
from datetime import timedelta

from quittance.domain import lnurl
from quittance.domain.access import ANONYMOUS, Principal, Scope
from quittance.domain.audit import AuditAction
from quittance.domain.destination import read_destination
from quittance.domain.errors import InvalidAmount, InvalidInput
from quittance.domain.ids import PAYOUT, WITHDRAWAL, TransferId, WithdrawalId
from quittance.domain.money import BTC_MSAT, Money, msat
from quittance.domain.outgoing_errors import CannotPayFrom, InsufficientBalance, InvalidDestination
from quittance.domain.transfer import Destination, DestinationKind, Transfer, TransferPurpose, fee_max_of, own_account
from quittance.domain.withdrawal import SECRET_BYTES, NewWithdrawal, Withdrawal, WithdrawalRefused, WithdrawalStatus
from quittance.providers.base import SendingProvider
from quittance.resolvers.audit import record
from quittance.resolvers.payees import checked, named_amount
from quittance.resolvers.payouts import PayoutOwner, owner_of_payouts
from quittance.resolvers.services import Services
from quittance.resolvers.transfer_requests import record_refusal
from quittance.resolvers.transfers import TransferOrder, set_aside
from quittance.store import ledger, transfers, withdrawals
from quittance.store.transaction import Transaction

_UNKNOWN = "this code is unknown or has expired; have a new one shown"
_USED = "this code was used already"


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawalStanding:
    """A withdrawal with its newest payout, and what a wallet can take now: nothing unless it is OPEN."""

    withdrawal: Withdrawal
    payout: Transfer | None
    status: WithdrawalStatus
    amount_msat_min: int
    amount_msat_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownWithdrawal:
    """What an owner gets: ``new`` and its code are for the wallet that is to have the money, and for nobody else."""

    new: NewWithdrawal
    standing: WithdrawalStanding
    lnurl: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """An invoice that a wallet brings, read."""

    destination: Destination
    amount: Money


async def create_withdrawal(
    services: Services, principal: Principal, *, amount_max: Money | None, expires_in_s: int | None
) -> ShownWithdrawal:
    """Let whoever holds the code take money of the caller's balance. Nothing is set aside before a wallet comes.

    Raises:
        LoginRequired, PermissionDenied, InvalidAmount, InvalidInput, InsufficientBalance, CannotPayFrom, RateLimited:
            there is no code.
    """
    owner = owner_of_payouts(principal, Scope.PAYOUTS_WRITE)
    await services.admit_mutation(principal)
    provider = _payer(services, services.default_provider).name
    new = _new(
        services, owner, provider=provider, amount_msat_max=_most_said(services, amount_max), expires_in_s=expires_in_s
    )

    def unit(transaction: Transaction) -> WithdrawalStanding:
        standing = _standing(transaction, services, new.withdrawal)
        if standing.amount_msat_max < standing.amount_msat_min:
            raise InsufficientBalance(msat(standing.amount_msat_max))
        withdrawals.insert_withdrawal(transaction, new)
        if owner.account_id is None:
            record(
                transaction,
                services,
                principal,
                action=AuditAction.WITHDRAWAL_CREATED,
                subject_id=new.withdrawal.id,
            )
        return standing

    standing = await services.database.write(unit)
    return ShownWithdrawal(new=new, standing=standing, lnurl=lnurl.encode(new.url(services.public_url)))


async def find_withdrawal(
    services: Services, principal: Principal, withdrawal_id: WithdrawalId
) -> WithdrawalStanding | None:
    """Return a withdrawal of the caller's own; its secret was shown once."""
    owner_id = principal.account_id or principal.merchant_with(Scope.PAYMENTS_READ)

    def query(transaction: Transaction) -> WithdrawalStanding | None:
        found = withdrawals.withdrawal_by_id(transaction, withdrawal_id)
        if found is None or found.owner_id != owner_id:
            return None
        return _standing(transaction, services, found)

    return await services.database.read(query)


async def offer_withdrawal(services: Services, secret: bytes) -> WithdrawalStanding:
    """Return what a wallet may take with this secret, as the balance is now.

    Raises:
        WithdrawalRefused: nothing.
        CannotPayFrom: no rail can pay.
    """
    standing = await services.database.read(lambda t: _found(t, services, secret))
    _payer(services, standing.withdrawal.provider)
    _check_open(standing)
    if standing.amount_msat_max < standing.amount_msat_min:
        raise WithdrawalRefused("the balance is too small by now")
    return standing


async def withdraw(services: Services, secret: bytes, payment_request: str) -> Transfer:
    """Set aside what an invoice asks for and use the code up, in one unit; a job pays. The same invoice again is the
    same payout. A code whose payout failed for good can be used again until it expires.

    Raises:
        WithdrawalRefused, InvalidDestination, CannotPayFrom: nothing moved, and the code is as it was.
    """
    try:
        payout = await _withdraw(services, secret, payment_request)
    except InvalidDestination as error:
        await _record_refusal(services, secret, error)
        raise
    services.wake_jobs()
    return payout


async def _withdraw(services: Services, secret: bytes, payment_request: str) -> Transfer:
    destination = _invoice_of(payment_request)
    known = await services.database.read(lambda t: _found(t, services, secret))
    if _is_repeated(known, destination):
        return _payout_of(known)
    _check_open(known)
    payer = _payer(services, known.withdrawal.provider)
    asked = _read(services, payer, destination)

    def unit(transaction: Transaction) -> Transfer:
        locked = withdrawals.lock_withdrawal(transaction, secret)
        if locked is None:
            raise WithdrawalRefused(_UNKNOWN)
        ledger.lock_owed(transaction, own_account(locked.owner_id, payer.asset))  # what is read next stays so
        standing = _standing(transaction, services, locked)
        if _is_repeated(standing, asked.destination):
            return _payout_of(standing)
        _check_open(standing)
        _check_amount(standing, asked.amount.value)
        payout = set_aside(transaction, services, _order(services, locked, asked))
        if not withdrawals.use_withdrawal(transaction, locked, payout.id):
            raise RuntimeError(f"withdrawal {locked.id} changed under the unit that holds its lock")
        return payout

    return await services.database.write(unit)


async def _record_refusal(services: Services, secret: bytes, error: InvalidDestination) -> None:
    """Write down what a wallet brought for a code that there is; who guesses codes leaves nothing."""
    known = await services.database.read(lambda t: withdrawals.withdrawal_by_secret(t, secret))
    if known is not None:
        await record_refusal(services, ANONYMOUS, error, subject_id=known.id, merchant_of=lambda _: known.merchant_id)


def _payer(services: Services, name: str) -> SendingProvider:
    """Return the rail that pays; wallets count in millisatoshi.

    Raises:
        CannotPayFrom: it may not pay, or pays in another asset.
    """
    payer = services.payer(name)
    if payer.asset != BTC_MSAT:
        raise CannotPayFrom(name)
    return payer


def _most_said(services: Services, amount_max: Money | None) -> int | None:
    if amount_max is None:
        return None
    if amount_max.asset.code != BTC_MSAT.code:
        raise InvalidAmount("wallets are paid in bitcoin")
    value = amount_max.rescaled_exactly(BTC_MSAT).value
    if value < services.transfers.payout_msat_min:
        raise InvalidAmount(f"amountMax is at least {msat(services.transfers.payout_msat_min).formatted}")
    return value


def _new(
    services: Services, owner: PayoutOwner, *, provider: str, amount_msat_max: int | None, expires_in_s: int | None
) -> NewWithdrawal:
    rules, now = services.transfers, services.now()
    if expires_in_s is not None and not 1 <= expires_in_s <= rules.withdrawal_s_max:
        raise InvalidInput("expiresIn", f"expiresIn lies between 1 and {rules.withdrawal_s_max} seconds")
    seconds = min(rules.withdrawal_s_default, rules.withdrawal_s_max) if expires_in_s is None else expires_in_s
    withdrawal = Withdrawal(
        id=WithdrawalId(services.new_id(WITHDRAWAL)),
        owner_id=owner.id,
        merchant_id=owner.merchant_id,
        provider=provider,
        amount_msat_max=amount_msat_max,
        payout_id=None,
        created_at=now,
        expires_at=now + timedelta(seconds=seconds),
    )
    return NewWithdrawal(withdrawal=withdrawal, secret=services.entropy(SECRET_BYTES))


def _found(transaction: Transaction, services: Services, secret: bytes) -> WithdrawalStanding:
    found = withdrawals.withdrawal_by_secret(transaction, secret)
    if found is None:
        raise WithdrawalRefused(_UNKNOWN)
    return _standing(transaction, services, found)


def _standing(transaction: Transaction, services: Services, withdrawal: Withdrawal) -> WithdrawalStanding:
    payout_id = withdrawal.payout_id
    payout = None if payout_id is None else transfers.transfers_by_id(transaction, [payout_id])[0]
    status = withdrawal.status(payout, at=services.now())
    most = 0
    if status is WithdrawalStatus.OPEN:
        account = own_account(withdrawal.owner_id, BTC_MSAT)
        owed = (-money.value for one, money in ledger.balances(transaction, withdrawal.owner_id) if one == account)
        most = withdrawal.most(sum(owed), services.transfers.fee)
    return WithdrawalStanding(
        withdrawal=withdrawal,
        payout=payout,
        status=status,
        amount_msat_min=services.transfers.payout_msat_min,
        amount_msat_max=most,
    )


def _check_open(standing: WithdrawalStanding) -> None:
    if standing.status is WithdrawalStatus.EXPIRED:
        raise WithdrawalRefused(_UNKNOWN)
    if standing.status is not WithdrawalStatus.OPEN:
        raise WithdrawalRefused(_USED)


def _check_amount(standing: WithdrawalStanding, amount_msat: int) -> None:
    if not standing.amount_msat_min <= amount_msat <= standing.amount_msat_max:
        bounds = f"{standing.amount_msat_min} to {standing.amount_msat_max}"
        raise WithdrawalRefused(f"the invoice asks for {amount_msat} millisatoshi; this code gives {bounds}")


def _invoice_of(payment_request: str) -> Destination:
    destination = read_destination(payment_request)
    if destination.kind is not DestinationKind.INVOICE:
        raise InvalidDestination("MALFORMED", "give a BOLT11 invoice")
    return destination


def _read(services: Services, payer: SendingProvider, destination: Destination) -> _Asked:
    """Read an invoice before anything is locked: a stranger may send what takes long to read."""
    amount = named_amount(payer, destination)
    if amount is None:
        raise InvalidDestination("AMOUNT", "the invoice names no amount")
    return _Asked(destination=checked(payer, destination, amount=amount, now=services.now()), amount=amount)


def _is_repeated(standing: WithdrawalStanding, destination: Destination) -> bool:
    """Tell whether a wallet brings the invoice that is being paid, or was: its first answer may have been lost."""
    if standing.status not in {WithdrawalStatus.PAYING, WithdrawalStatus.PAID}:
        return False
    return _payout_of(standing).destination.text == destination.text


def _payout_of(standing: WithdrawalStanding) -> Transfer:
    assert standing.payout is not None
    return standing.payout


def _order(services: Services, withdrawal: Withdrawal, asked: _Asked) -> TransferOrder:
    payout_id = TransferId(services.new_id(PAYOUT))
    return TransferOrder(
        id=payout_id,
        purpose=TransferPurpose.PAYOUT,
        owner_id=withdrawal.owner_id,
        merchant_id=withdrawal.merchant_id,
        provider=withdrawal.provider,
        amount=asked.amount,
        fee_max=msat(fee_max_of(asked.amount.value, services.transfers.fee)),
        destination=asked.destination,
        idempotency_key=payout_id,  # the code's lock, and no key, keeps this from being done twice
        fingerprint=hashlib.sha256(f"{withdrawal.id} {asked.destination.text}".encode()).digest(),
    )
