"""Payouts: a reader, or a merchant, has money of its balance sent somewhere."""

import hashlib
import json
from dataclasses import dataclass

from quittance.domain.access import Principal, Scope
from quittance.domain.audit import AuditAction
from quittance.domain.destination import read_destination
from quittance.domain.errors import InvalidAmount, LoginRequired
from quittance.domain.ids import BOOTSTRAP_MERCHANT, PAYOUT, AccountId, MerchantId, TransferId
from quittance.domain.money import Asset, Money
from quittance.domain.outgoing_errors import CannotPayFrom, InvalidDestination
from quittance.domain.transfer import (
    Transfer,
    TransferPurpose,
    fee_max_of,
    most_payable,
    own_account,
)
from quittance.providers.base import SendingProvider
from quittance.resolvers.audit import record
from quittance.resolvers.payees import check_reachable, checked, named_amount, whole_units
from quittance.resolvers.services import Services
from quittance.resolvers.transfer_requests import begin_transfer
from quittance.resolvers.transfers import KeyUse, TransferOrder, check_texts, found_again, set_aside
from quittance.store import ledger, readers, transfers
from quittance.store.transaction import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class PayoutOrder:
    """What is to be paid out: ``amount`` or everything, to ``destination`` or the reader's Lightning Address.

    ``fee_max`` is the most that the way may cost, on top; a share of the amount unless it is said.
    """

    idempotency_key: str
    amount: Money | None = None
    destination: str | None = None
    fee_max: Money | None = None
    provider: str | None = None
    comment: str | None = None

    def fingerprint(self) -> bytes:
        """Return a digest of everything but the key: equal for equal input."""
        amounts = [
            None if money is None else [money.value, money.asset.code, money.asset.scale]
            for money in (self.amount, self.fee_max)
        ]
        said = [*amounts, self.destination, self.provider, self.comment]
        return hashlib.sha256(json.dumps(said).encode()).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class PayoutOwner:
    """Whose money leaves, and which merchant is told: the server's own for a reader, who belongs to none."""

    id: str
    merchant_id: MerchantId
    account_id: AccountId | None


def owner_of_payouts(principal: Principal, scope: Scope) -> PayoutOwner:
    """Return whose payouts the caller's are.

    Raises:
        LoginRequired: neither a reader nor a key.
        PermissionDenied: a key without ``scope``.
    """
    if principal.account_id is not None:
        return PayoutOwner(id=principal.account_id, merchant_id=BOOTSTRAP_MERCHANT, account_id=principal.account_id)
    if principal.merchant_id is None:
        raise LoginRequired
    merchant_id = principal.require(scope)
    return PayoutOwner(id=merchant_id, merchant_id=merchant_id, account_id=None)


async def request_payout(services: Services, principal: Principal, order: PayoutOrder) -> Transfer:
    """Have money of the caller's balance sent; the same key with the same order is the same payout.

    Raises:
        LoginRequired, PermissionDenied, InsufficientBalance, InvalidAmount, InvalidInput, InvalidDestination,
        IdempotencyConflict, CannotPayFrom, RateLimited: nothing moved.
        InvalidPayee, ForbiddenAddress, PayeeRefused, AmountOutOfBounds, PayeeInvoiceMismatch: likewise, and the
            transfer is there to see, FAILED.
    """
    owner = owner_of_payouts(principal, Scope.PAYOUTS_WRITE)
    check_texts(
        idempotency_key=order.idempotency_key, comment=order.comment, reference_max=services.rules.reference_max
    )
    await services.admit_asking(principal)
    name = order.provider or services.default_provider
    use = KeyUse(
        owner_id=owner.id, key=order.idempotency_key, fingerprint=order.fingerprint(), said=order.idempotency_key
    )

    def unit(transaction: Transaction) -> Transfer:
        payer = services.payers.get(name)
        held = 0
        if payer is not None:  # of equal orders, one comes first
            held = ledger.lock_owed(transaction, own_account(owner.id, payer.asset))
        first = found_again(transaction, use)
        if first is not None:
            return first
        if payer is None:
            raise CannotPayFrom(name)
        payout = set_aside(transaction, services, _asked(transaction, services, owner, order, payer, held=held))
        if owner.account_id is None:
            record(transaction, services, principal, action=AuditAction.PAYOUT_REQUESTED, subject_id=payout.id)
        return payout

    return await begin_transfer(services, principal, unit, subject_id=owner.id, merchant_of=lambda _: owner.merchant_id)


def _asked(
    transaction: Transaction,
    services: Services,
    owner: PayoutOwner,
    order: PayoutOrder,
    payer: SendingProvider,
    *,
    held: int,
) -> TransferOrder:
    destination = read_destination(_said(transaction, owner, order))
    check_reachable(payer, destination)
    amount, fee_max = _amounts(services, payer, order, named=named_amount(payer, destination), held=held)
    return TransferOrder(
        id=TransferId(services.new_id(PAYOUT)),
        purpose=TransferPurpose.PAYOUT,
        owner_id=owner.id,
        merchant_id=owner.merchant_id,
        provider=payer.name,
        amount=amount,
        fee_max=fee_max,
        destination=checked(payer, destination, amount=amount, now=services.now()),
        idempotency_key=order.idempotency_key,
        fingerprint=order.fingerprint(),
        comment=order.comment,
    )


def _said(transaction: Transaction, owner: PayoutOwner, order: PayoutOrder) -> str:
    """Return where the money is to go, in the words of who asks, or of the reader's account."""
    if order.destination is not None:
        return order.destination
    account = None if owner.account_id is None else readers.account_by_id(transaction, owner.account_id)
    if account is None or account.lightning_address is None:
        raise InvalidDestination("MALFORMED", "say a destination; the account has no Lightning Address")
    return account.lightning_address


def _amounts(
    services: Services, payer: SendingProvider, order: PayoutOrder, *, named: Money | None, held: int
) -> tuple[Money, Money]:
    """Return what is sent and the most its way may cost: of the order, else as an invoice names it, else everything.

    Raises:
        InvalidAmount: less than a payout may be.
    """
    rule, wanted, fee_max = services.transfers, named, None
    if order.amount is not None:
        wanted = _positive(order.amount, payer.asset, "an amount is greater than zero; leave it out to pay out all")
    if order.fee_max is not None:
        fee_max = _positive(order.fee_max, payer.asset, "feeMax is greater than zero")
    if wanted is None:
        most = most_payable(held, rule.fee) if fee_max is None else held - fee_max.value
        wanted = Money(whole_units(payer, most), payer.asset)
    if wanted.value < rule.payout_msat_min:
        least = Money(rule.payout_msat_min, payer.asset)
        raise InvalidAmount(f"a payout is at least {least.formatted}, and its fee cap")
    if fee_max is None:
        fee_max = Money(fee_max_of(wanted.value, rule.fee), payer.asset)
    return wanted, fee_max


def _positive(money: Money, asset: Asset, message: str) -> Money:
    if money.asset.code != asset.code:
        raise InvalidAmount(f"this rail pays in {asset.code}")
    exact = money.rescaled_exactly(asset)
    if exact.value <= 0:
        raise InvalidAmount(message)
    return exact


async def list_payouts(services: Services, owner_id: str, *, after_id: str | None, limit: int) -> list[Transfer]:
    """Return the payouts of an owner, the newest first."""
    return await services.database.read(
        lambda t: transfers.list_transfers(t, TransferPurpose.PAYOUT, owner_id=owner_id, after_id=after_id, limit=limit)
    )


async def count_payouts(services: Services, owner_id: str) -> int:
    return await services.database.scan(
        lambda t: transfers.count_transfers(t, TransferPurpose.PAYOUT, owner_id=owner_id)
    )
