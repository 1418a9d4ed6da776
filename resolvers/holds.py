"""Held money: taken or given back, each at most once, and never believed before the provider says so.

Capture and release of one payment may meet, from two callers or from one that asks again. The first of them is written
down as the order that stands, with who gave it; then the provider is asked, and what it says is booked.
"""

from dataclasses import dataclass, replace
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
from quittance.domain.payment import HoldOrder, OptionState, Payment, PaymentOption, PaymentStatus, Standing
from quittance.providers.base import HoldsInvoices
from quittance.resolvers.audit import record
from quittance.resolvers.hold_orders import carry_out
from quittance.resolvers.pace import next_check
from quittance.resolvers.reconciliation import apply_lookup, reconcile_option
from quittance.resolvers.services import Services
from quittance.store import options, payments
from quittance.store.transaction import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """How a hold is to end, and what an audit log calls it."""

    order: HoldOrder
    status: PaymentStatus
    action: AuditAction


_CAPTURED = _End(order=HoldOrder.CAPTURE, status=PaymentStatus.COMPLETE, action=AuditAction.PAYMENT_CAPTURED)
_RELEASED = _End(order=HoldOrder.RELEASE, status=PaymentStatus.CANCELED, action=AuditAction.PAYMENT_RELEASED)


async def capture_payment(services: Services, principal: Principal, payment_id: PaymentId) -> Payment:
    """Take the money that a payment holds; again for one that was captured does nothing.

    Raises:
        PermissionDenied, PaymentNotFound, UnknownProvider, HoldNotSupported, RateLimited: nothing changed.
        PaymentNotPayable: it holds nothing, or no longer; ``status`` says how it ended. HELD: it is to go back.
        OutcomeUnknown: the provider did not answer; the order stands and is repeated until it does.
        ProviderUnavailable: nobody could say whether there is money; nothing was asked for.
        ProviderMisconfigured: the operator must act; the order stands, if there was money.
    """
    return await _end(services, principal, payment_id, _CAPTURED)


async def release_payment(services: Services, principal: Principal, payment_id: PaymentId) -> Payment:
    """Give back the money that a payment holds; again for one that was released does nothing.

    Raises:
        as :func:`capture_payment`, but HoldNotSupported. PaymentNotPayable with HELD: it is to be taken.
    """
    return await _end(services, principal, payment_id, _RELEASED)


async def _end(services: Services, principal: Principal, payment_id: PaymentId, end: _End) -> Payment:
    option = await _held(services, principal, payment_id, end=end)
    if option is not None:
        rail = services.rail(option.provider)
        if end.order is HoldOrder.CAPTURE and not isinstance(rail, HoldsInvoices):
            raise HoldNotSupported(option.provider)
        if await _order(services, principal, option, end=end):
            await _carry_out(services, option, end.order)
    return await _ended(services, payment_id, end=end)


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


async def _order(services: Services, principal: Principal, option: PaymentOption, *, end: _End) -> bool:
    """Write down what is to become of what is held, and who says so; False when it has ended meanwhile.

    Raises:
        PaymentNotPayable: another order stands.
    """

    def unit(transaction: Transaction) -> bool:
        now = services.now()
        payment = payments.lock_payment_of(transaction, option)
        current = options.option_by_id(transaction, option.id)
        if payment.status is not PaymentStatus.HELD or current is None or current.state is not OptionState.HELD:
            return False
        if payment.hold_order is end.order:
            return True
        if not payments.order_hold(transaction, payment.id, end.order, at=now):
            raise PaymentNotPayable(payment.id, payment.status)
        record(transaction, services, principal, action=end.action, subject_id=payment.id)
        ordered = replace(payment, hold_order=end.order)
        check_at = next_check(services.rules, now=now, option=current, payment=ordered)
        options.check_option_at(transaction, current, check_at)
        return True

    return await services.database.write(unit)


async def _carry_out(services: Services, option: PaymentOption, order: HoldOrder) -> None:
    """Book what the provider answers; without an answer, look up soon what it did."""
    try:
        invoice = await carry_out(services, option, order)
    except (ProviderUnavailable, ProviderMisconfigured) as error:
        await _look_soon(services, option, at=services.now())
        if isinstance(error, ProviderUnavailable):
            raise OutcomeUnknown(option.provider) from error
        raise
    await apply_lookup(services, option, invoice)


async def _look_soon(services: Services, option: PaymentOption, *, at: datetime) -> None:
    def unit(transaction: Transaction) -> None:
        payments.lock_payment_of(transaction, option)
        current = options.option_by_id(transaction, option.id)
        if current is not None and current.state is OptionState.HELD:
            options.check_option_at(transaction, current, at)

    await services.database.write(unit)
    services.wake_jobs()


async def _ended(services: Services, payment_id: PaymentId, *, end: _End) -> Payment:
    """Return the payment if it ended as it was to end."""
    payment = (await services.database.read(lambda transaction: payments.payments_by_id(transaction, [payment_id])))[0]
    if payment is None:
        raise PaymentNotFound(payment_id)
    if payment.status is PaymentStatus.HELD:
        raise OutcomeUnknown(payment.provider)
    if payment.status is not end.status:
        raise PaymentNotPayable(payment_id, payment.status)
    return payment
