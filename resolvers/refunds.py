"""Refunds: money of one payment goes back, whole or in part, asked for by the merchant or the payer, or by policy."""

import hashlib
import json
from dataclasses import dataclass

from quittance.domain.access import Principal, Scope
from quittance.domain.audit import AuditAction
from quittance.domain.destination import read_destination
from quittance.domain.errors import InvalidAmount, PaymentNotFound
from quittance.domain.ids import REFUND, PaymentId, TransferId
from quittance.domain.money import Money
from quittance.domain.outgoing_errors import (
    CannotPayFrom,
    NothingToRefund,
    RefundTooLarge,
)
from quittance.domain.payment import Payment
from quittance.domain.transfer import (
    Destination,
    RefundReason,
    RefundTotal,
    Transfer,
    TransferPurpose,
    fee_max_of,
    most_payable,
)
from quittance.providers.base import SendingProvider
from quittance.resolvers.audit import record
from quittance.resolvers.payees import check_reachable, checked, named_amount, whole_units
from quittance.resolvers.services import Services
from quittance.resolvers.transfer_requests import begin_transfer
from quittance.resolvers.transfers import KeyUse, TransferOrder, check_texts, found_again, set_aside
from quittance.store import payments, refund_totals, transfers
from quittance.store.transaction import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundOrder:
    """What is to go back: ``amount`` or everything, to ``destination`` or the payment's refund address.

    ``fee_from_amount``: the payer bears the way, so less arrives.
    """

    payment_id: PaymentId
    idempotency_key: str
    amount: Money | None = None
    destination: str | None = None
    fee_from_amount: bool = False
    comment: str | None = None

    def fingerprint(self) -> bytes:
        """Return a digest of everything but the key: equal for equal input."""
        amount = None if self.amount is None else [self.amount.value, self.amount.asset.code, self.amount.asset.scale]
        said = [self.payment_id, amount, self.destination, self.fee_from_amount, self.comment]
        return hashlib.sha256(json.dumps(said).encode()).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Share:
    """How a refund is made up: what arrives, the most its way costs, and how much of it was owed to the payer."""

    amount: Money
    fee_max: Money
    from_refundable: Money


async def refund_payment(services: Services, principal: Principal, order: RefundOrder) -> Transfer:
    """Give money of a payment back; the same key with the same order is the same refund.

    Raises:
        PermissionDenied, PaymentNotFound, NothingToRefund, RefundTooLarge, InsufficientBalance, InvalidAmount,
        InvalidInput, InvalidDestination, IdempotencyConflict, CannotPayFrom, RateLimited: nothing moved.
        InvalidPayee, ForbiddenAddress, PayeeRefused, AmountOutOfBounds, PayeeInvoiceMismatch: likewise, and the
            transfer is there to see, FAILED.
    """
    merchant_id = principal.require(Scope.REFUNDS_WRITE)
    check_texts(
        idempotency_key=order.idempotency_key, comment=order.comment, reference_max=services.rules.reference_max
    )
    await services.admit_mutation(principal)

    def unit(transaction: Transaction) -> Transfer:
        payment = payments.lock_payment(transaction, order.payment_id)
        if payment is None or payment.merchant_id != merchant_id:
            raise PaymentNotFound(order.payment_id)
        refund, is_new = begin_refund(transaction, services, payment, order, reason=RefundReason.REQUESTED)
        if is_new:
            record(transaction, services, principal, action=AuditAction.PAYMENT_REFUNDED, subject_id=refund.id)
        return refund

    return await begin_transfer(
        services, principal, unit, subject_id=order.payment_id, merchant_of=lambda _: merchant_id
    )


def begin_refund(
    transaction: Transaction,
    services: Services,
    payment: Payment,
    order: RefundOrder,
    *,
    reason: RefundReason,
) -> tuple[Transfer, bool]:
    """Begin a refund of a payment that is locked, and tell whether it is new."""
    asked_by = reason if reason in {RefundReason.REQUESTED, RefundReason.CLAIMED} else "POLICY"
    key, fingerprint = f"{payment.id}/{asked_by}/{order.idempotency_key}", order.fingerprint()
    use = KeyUse(owner_id=payment.merchant_id, key=key, fingerprint=fingerprint, said=order.idempotency_key)
    first = found_again(transaction, use)
    if first is not None:
        return first, False
    payer = refunding_rail(services, payment)
    if payer is None:
        raise CannotPayFrom(payment.provider)
    destination = read_destination(order.destination or payment.refund_address or "")
    check_reachable(payer, destination)
    refund_totals.owe_back(transaction, payment.id, received=_received(payment).value, more=0)
    total = refund_totals.totals_of(transaction, [payment.id])[0]
    wanted = _wanted(payer, order, destination)
    share = (
        _share(services, payer, payment, total, wanted, fee_from_amount=order.fee_from_amount)
        if reason is RefundReason.REQUESTED
        else _owed_share(services, payer, payment, total, wanted)
    )
    asked = TransferOrder(
        id=TransferId(services.new_id(REFUND)),
        purpose=TransferPurpose.REFUND,
        owner_id=payment.merchant_id,
        merchant_id=payment.merchant_id,
        provider=payer.name,
        amount=share.amount,
        fee_max=share.fee_max,
        destination=checked(payer, destination, amount=share.amount, now=services.now()),
        idempotency_key=key,
        fingerprint=fingerprint,
        comment=order.comment,
        payment_id=payment.id,
        from_refundable=share.from_refundable,
        fee_from_amount=order.fee_from_amount or reason is not RefundReason.REQUESTED,
        reason=reason,
        is_awaited=reason in {RefundReason.REQUESTED, RefundReason.CLAIMED},
    )
    return set_aside(transaction, services, asked), True


def _received(payment: Payment) -> Money:
    return payment.received or Money(0, payment.amount.asset)


def refunding_rail(services: Services, payment: Payment) -> SendingProvider | None:
    """Return what pays a refund: the rail of the payment, else another that pays the same asset; None without any."""
    able = [payer for payer in services.payers.values() if payer.asset == payment.amount.asset]
    return next((payer for payer in able if payer.name == payment.provider), able[0] if able else None)


def _wanted(payer: SendingProvider, order: RefundOrder, destination: Destination) -> Money | None:
    """Return the amount that is asked for: the order's, else the one that an invoice names; None for everything."""
    if order.amount is not None:
        if order.amount.asset.code != payer.asset.code:
            raise InvalidAmount(f"this payment is refunded in {payer.asset.code}")
        amount = order.amount.rescaled_exactly(payer.asset)
        if amount.value <= 0:
            raise InvalidAmount("an amount is greater than zero; leave it out to refund everything")
        return amount
    return named_amount(payer, destination)


def _share(
    services: Services,
    payer: SendingProvider,
    payment: Payment,
    total: RefundTotal,
    wanted: Money | None,
    *,
    fee_from_amount: bool,
) -> _Share:
    """Make up a refund that the merchant asks for.

    Raises:
        NothingToRefund, RefundTooLarge: nothing, or less than that, is left of what came in.
    """
    asset, rule = payment.amount.asset, services.transfers.fee
    left = _received(payment).value - total.refunded
    gross = whole_units(payer, left) if wanted is None else wanted.value
    if left <= 0:
        raise NothingToRefund
    if gross > left:
        raise RefundTooLarge(Money(left, asset))
    amount = whole_units(payer, most_payable(gross, rule)) if fee_from_amount else gross
    if amount <= 0:
        raise InvalidAmount("the way would cost more than the refund is worth")
    fee_max = fee_max_of(amount, rule)
    owed = min(total.refundable, amount + fee_max if fee_from_amount else amount)
    return _Share(amount=Money(amount, asset), fee_max=Money(fee_max, asset), from_refundable=Money(owed, asset))


def _owed_share(
    services: Services, payer: SendingProvider, payment: Payment, total: RefundTotal, wanted: Money | None
) -> _Share:
    """Make up a refund of what is owed to the payer. The way is paid out of it: who pays too much on purpose, or
    claims it in crumbs, does so at their own cost.

    Raises:
        NothingToRefund, RefundTooLarge, InvalidAmount: nothing is owed, less than that, or no more than the way costs.
    """
    asset, rule = payment.amount.asset, services.transfers.fee
    if total.refundable <= 0:
        raise NothingToRefund
    amount = whole_units(payer, most_payable(total.refundable, rule)) if wanted is None else wanted.value
    if amount < services.transfers.payout_msat_min:
        raise InvalidAmount("what is owed is no more than the way may cost; it stays owed")
    fee_max = fee_max_of(amount, rule)
    if amount + fee_max > total.refundable:
        raise RefundTooLarge(Money(max(0, most_payable(total.refundable, rule)), asset))
    owed = Money(amount + fee_max, asset)
    return _Share(amount=Money(amount, asset), fee_max=Money(fee_max, asset), from_refundable=owed)


async def list_refunds(services: Services, principal: Principal, *, after_id: str | None, limit: int) -> list[Transfer]:
    """Return the merchant's refunds, the newest first."""
    merchant_id = principal.require(Scope.PAYMENTS_READ)
    return await services.database.read(
        lambda t: transfers.list_transfers(
            t, TransferPurpose.REFUND, owner_id=merchant_id, after_id=after_id, limit=limit
        )
    )


async def count_refunds(services: Services, principal: Principal) -> int:
    merchant_id = principal.require(Scope.PAYMENTS_READ)
    return await services.database.scan(
        lambda t: transfers.count_transfers(t, TransferPurpose.REFUND, owner_id=merchant_id)
    )
