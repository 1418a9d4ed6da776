"""Payments: found for ever by those who may see them, asked about, canceled."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from quittance.domain.access import Principal, Scope
from quittance.domain.audit import AuditAction
from quittance.domain.errors import PaymentNotFound, PaymentNotPayable
from quittance.domain.ids import PaymentId
from quittance.domain.payment import OptionState, Payment, PaymentFilter, PaymentOption, PaymentStatus
from quittance.providers.base import Invoice, InvoiceStatus
from quittance.resolvers.audit import record
from quittance.resolvers.invoice_outcomes import changed
from quittance.resolvers.reconciliation import apply_lookup, reconcile_option
from quittance.resolvers.services import Services
from quittance.store import idempotency, options, payments
from quittance.store.transaction import Transaction

_WATCHED = frozenset(OptionState) - {OptionState.SETTLED, OptionState.FAILED}


def may_see(services: Services, principal: Principal, payment: Payment, client_secret: str | None) -> bool:
    """Tell whether this caller may read the payment: its merchant, its reader, or a holder of its client secret."""
    if principal.allows(Scope.PAYMENTS_READ) and payment.merchant_id == principal.merchant_id:
        return True
    return is_payers(services, principal, payment, client_secret)


def is_payers(services: Services, principal: Principal, payment: Payment, client_secret: str | None) -> bool:
    """Tell whether this caller is the reader whom the payment buys for, or holds its client secret."""
    if principal.account_id is not None and payment.viewer == principal.account_id:
        return True
    opened = {principal.payment_id}
    if client_secret is not None:
        opened.add(services.derive.payment_opened_by(client_secret))
    return payment.id in opened


def may_act(principal: Principal) -> bool:
    """Tell whether a caller who sees a payment may be given its client secret: any but a key that only reads."""
    return principal.merchant_id is None or principal.allows(Scope.PAYMENTS_WRITE)


async def find_payment(
    services: Services, principal: Principal, payment_id: PaymentId, client_secret: str | None = None
) -> Payment | None:
    """Return the payment, or None when there is none that this caller may see."""
    payment = (await services.database.read(lambda transaction: payments.payments_by_id(transaction, [payment_id])))[0]
    if payment is None or not may_see(services, principal, payment, client_secret):
        return None
    return payment


async def find_by_idempotency_key(services: Services, principal: Principal, key: str) -> Payment | None:
    """Return the payment that the merchant's key was first used for."""
    merchant_id = principal.require(Scope.PAYMENTS_READ)
    first = await services.database.read(
        lambda transaction: idempotency.OF_MERCHANTS.find(transaction, owner=merchant_id, key=key)
    )
    return None if first is None else await find_payment(services, principal, first.payment_id)


async def list_payments(
    services: Services, principal: Principal, *, narrowed: PaymentFilter, after_id: str | None, limit: int
) -> list[Payment]:
    """Return the merchant's payments, the newest first."""
    merchant_id = principal.require(Scope.PAYMENTS_READ)
    return await services.database.read(
        lambda transaction: payments.list_payments(
            transaction, merchant_id=merchant_id, narrowed=narrowed, after_id=after_id, limit=limit
        )
    )


async def count_payments(services: Services, principal: Principal, *, narrowed: PaymentFilter) -> int:
    merchant_id = principal.require(Scope.PAYMENTS_READ)
    return await services.database.scan(
        lambda transaction: payments.count_payments(transaction, merchant_id=merchant_id, narrowed=narrowed)
    )


async def check_payment(
    services: Services, principal: Principal, payment_id: PaymentId, client_secret: str | None
) -> Payment:
    """Ask the providers now, book what they say, and return the payment.

    Raises:
        PaymentNotFound: none that this caller may see.
        ProviderUnavailable, ProviderMisconfigured: no answer; what is known stays.
    """
    await services.admit_asking(principal)
    payment = await find_payment(services, principal, payment_id, client_secret)
    if payment is None:
        raise PaymentNotFound(payment_id)
    for option in await _options(services, payment_id):
        if option.state in _WATCHED and option.provider in services.rails:
            await reconcile_option(services, option)
    return await _again(services, principal, payment_id, client_secret)


async def cancel_payment(services: Services, principal: Principal, payment_id: PaymentId) -> Payment:
    """Take back what may be taken back: every open invoice is canceled at its provider first.

    Raises:
        PermissionDenied, PaymentNotFound: nothing changed.
        PaymentNotPayable: it is complete, or ended otherwise; if money just came, it was booked.
        ProviderUnavailable: a provider did not answer; ask again.
    """
    merchant_id = principal.require(Scope.PAYMENTS_WRITE)
    await services.admit_mutation(principal)
    payment = (await services.database.read(lambda transaction: payments.payments_by_id(transaction, [payment_id])))[0]
    if payment is None or payment.merchant_id != merchant_id:
        raise PaymentNotFound(payment_id)
    if payment.status is PaymentStatus.CANCELED:
        return payment
    if payment.status not in {PaymentStatus.PENDING_INVOICE, PaymentStatus.PENDING_PAYMENT}:
        raise PaymentNotPayable(payment_id, payment.status)
    every = await _options(services, payment_id)
    answers = await asyncio.gather(*(_cancel_option(services, option) for option in every))
    for option, invoice in zip(every, answers, strict=True):
        if invoice is not None and invoice.status is InvoiceStatus.SETTLED:
            await apply_lookup(services, option, invoice)

    def unit(transaction: Transaction) -> Payment:
        return _cancel(transaction, services, principal, payment_id)

    return await services.database.write(unit)


async def _cancel_option(services: Services, option: PaymentOption) -> Invoice | None:
    if option.state is not OptionState.OPEN:
        return None
    return await services.rail(option.provider).cancel_invoice(option.reference)


def _cancel(transaction: Transaction, services: Services, principal: Principal, payment_id: PaymentId) -> Payment:
    now = services.now()
    payment = payments.lock_payment(transaction, payment_id)
    if payment is None:
        raise PaymentNotFound(payment_id)
    if payment.status is PaymentStatus.CANCELED:
        return payment
    if payment.status not in {PaymentStatus.PENDING_INVOICE, PaymentStatus.PENDING_PAYMENT}:
        raise PaymentNotPayable(payment_id, payment.status)
    after = replace(payment.advance(PaymentStatus.CANCELED, at=now), status_reason="CANCELED_BY_MERCHANT")
    payments.change_payment(transaction, payment, after)
    for option in options.options_of_payments(transaction, [payment_id])[0]:
        if option.state is OptionState.OPEN:
            options.set_option_state(transaction, option, OptionState.CLOSED, check_at=now)
    record(transaction, services, principal, action=AuditAction.PAYMENT_CANCELED, subject_id=payment_id)
    transaction.emit(changed(after))
    return after


async def _options(services: Services, payment_id: PaymentId) -> Sequence[PaymentOption]:
    return (await services.database.read(lambda transaction: options.options_of_payments(transaction, [payment_id])))[0]


async def _again(services: Services, principal: Principal, payment_id: PaymentId, client_secret: str | None) -> Payment:
    payment = await find_payment(services, principal, payment_id, client_secret)
    if payment is None:
        raise PaymentNotFound(payment_id)
    return payment
