"""Held money: taken or given back, each at most once, and never believed before the provider says so.

Capture and release of one payment may meet, from two callers or from one that asks again. The provider decides which
of them came first; both then book what it says.
"""

from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import datetime

from quittance.domain.access import Principal, Scope
from quittance.domain.audit import AuditAction
from quittance.domain.errors import (
    HoldNotSupported,
    OutcomeUnknown,
    PaymentNotFound,
    PaymentNotPayable,
    ProviderMisconfigured,
    ProviderUnavailable,
)
from quittance.domain.ids import MerchantId, PaymentId
from quittance.domain.payment import OptionState, Payment, PaymentOption, PaymentStatus, Standing
from quittance.providers.base import HoldsInvoices, Invoice
from quittance.resolvers.audit import record
from quittance.resolvers.reconciliation import apply_lookup, reconcile_option
from quittance.resolvers.services import Services
from quittance.store import options, payments
from quittance.store.transaction import Transaction

RELEASED_BY_MERCHANT = "RELEASED_BY_MERCHANT"


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """How a hold is to end, and what an audit log calls it."""

    status: PaymentStatus
    action: AuditAction


_CAPTURED = _End(status=PaymentStatus.COMPLETE, action=AuditAction.PAYMENT_CAPTURED)
_RELEASED = _End(status=PaymentStatus.CANCELED, action=AuditAction.PAYMENT_RELEASED)


async def capture_payment(services: Services, principal: Principal, payment_id: PaymentId) -> Payment:
    """Take the money that a payment holds; again for one that was captured does nothing.

    Raises:
        PermissionDenied, PaymentNotFound, UnknownProvider, HoldNotSupported, RateLimited: nothing changed.
        PaymentNotPayable: it holds nothing, or no longer; ``status`` says how it ended.
        OutcomeUnknown: the provider did not answer; what it did is looked up.
        ProviderUnavailable: nobody could say whether there is money; nothing was asked for.
        ProviderMisconfigured: the operator must act; what is held stays held as far as we know.
    """
    option = await _held(services, principal, payment_id, end=_CAPTURED)
    if option is not None:
        rail = services.rail(option.provider)
        if not isinstance(rail, HoldsInvoices):
            raise HoldNotSupported(option.provider)
        preimage = services.derive.preimage(option.id)
        await _end(services, option, rail.settle_invoice(preimage))
    return await _ended(services, principal, payment_id, end=_CAPTURED, acted=option is not None)


async def release_payment(services: Services, principal: Principal, payment_id: PaymentId) -> Payment:
    """Give back the money that a payment holds; again for one that was released does nothing.

    Raises:
        as :func:`capture_payment`.
    """
    option = await _held(services, principal, payment_id, end=_RELEASED)
    if option is not None:
        canceling = services.rail(option.provider).cancel_invoice(option.reference)
        await _end(services, option, canceling, released=RELEASED_BY_MERCHANT)
    return await _ended(services, principal, payment_id, end=_RELEASED, acted=option is not None)


async def _held(services: Services, principal: Principal, payment_id: PaymentId, *, end: _End) -> PaymentOption | None:
    """Return the attempt that holds money; None if it ended as it is to end."""
    merchant_id = principal.require(Scope.PAYMENTS_WRITE)
    await services.admit_mutation(principal)
    standing = await _standing(services, payment_id, merchant_id=merchant_id)
    if standing.payment.hold and standing.payment.status is PaymentStatus.PENDING_PAYMENT:
        for option in standing.options:  # it may have been paid since we last asked
            if option.state is OptionState.OPEN:
                await reconcile_option(services, option)
        standing = await _standing(services, payment_id, merchant_id=merchant_id)
    payment = standing.payment
    if payment.hold and payment.status is end.status:
        return None
    holding = [option for option in standing.options if option.state is OptionState.HELD]
    if payment.status is not PaymentStatus.HELD or not holding:
        raise PaymentNotPayable(payment_id, payment.status)
    return holding[0]


async def _standing(services: Services, payment_id: PaymentId, *, merchant_id: MerchantId) -> Standing:
    def query(transaction: Transaction) -> Standing:
        every = options.options_of_payments(transaction, [payment_id])[0]
        payment = payments.payments_by_id(transaction, [payment_id])[0]
        if payment is None or payment.merchant_id != merchant_id:
            raise PaymentNotFound(payment_id)
        return Standing(payment=payment, options=every)

    return await services.database.read(query)


async def _end(
    services: Services, option: PaymentOption, asked: Awaitable[Invoice], *, released: str | None = None
) -> None:
    """Book what the provider answers; without an answer, look up soon what it did."""
    try:
        invoice = await asked
    except (ProviderUnavailable, ProviderMisconfigured) as error:
        await _look_soon(services, option, at=services.now())
        if isinstance(error, ProviderUnavailable):
            raise OutcomeUnknown(option.provider) from error
        raise
    await apply_lookup(services, option, invoice, released=released)


async def _look_soon(services: Services, option: PaymentOption, *, at: datetime) -> None:
    def unit(transaction: Transaction) -> None:
        payments.lock_payment_of(transaction, option)
        current = options.option_by_id(transaction, option.id)
        if current is not None and current.state is OptionState.HELD:
            options.check_option_at(transaction, current, at)

    await services.database.write(unit)
    services.wake_jobs()


async def _ended(services: Services, principal: Principal, payment_id: PaymentId, *, end: _End, acted: bool) -> Payment:
    """Return the payment if it ended as it was to end, and write down who ended it."""

    def unit(transaction: Transaction) -> Payment:
        payment = payments.lock_payment(transaction, payment_id)
        if payment is None:
            raise PaymentNotFound(payment_id)
        if payment.status is PaymentStatus.HELD:
            raise OutcomeUnknown(payment.provider)
        if payment.status is not end.status:
            raise PaymentNotPayable(payment_id, payment.status)
        if acted:
            record(transaction, services, principal, action=end.action, subject_id=payment_id)
        return payment

    return await services.database.write(unit)
