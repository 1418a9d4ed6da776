"""Asking the provider how an attempt stands, and booking the answer. Finds what a feed never sent."""

from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from quittance.domain.errors import ProviderMisconfigured, ProviderUnavailable
from quittance.domain.ids import OptionId
from quittance.domain.job import Job, JobEnd, JobState
from quittance.domain.payment import UNDECIDED, HoldOrder, OptionState, Payment, PaymentOption, PaymentStatus
from quittance.providers.base import Invoice, InvoiceStatus, ReceivingProvider, Settlement
from quittance.resolvers.hold_orders import carry_out, ran_out, standing_order
from quittance.resolvers.invoice_outcomes import changed, fail_option, record_invoice
from quittance.resolvers.invoices import claim
from quittance.resolvers.jobs import JobRun
from quittance.resolvers.pace import next_check
from quittance.resolvers.quotes import is_half_made, looked_up, make_again, renewed
from quittance.resolvers.services import Services
from quittance.resolvers.settlements import book_settlement
from quittance.store import options, payments
from quittance.store.transaction import Transaction

log = structlog.get_logger("quittance.reconciliation")

CANCELED_AT_PROVIDER = "CANCELED_AT_PROVIDER"
HOLD_EXPIRED = "HOLD_EXPIRED"
RELEASED_BY_MERCHANT = "RELEASED_BY_MERCHANT"
FORGOTTEN_AFTER = timedelta(days=1)  # past the end of a hold: longer than the time locks of payments
TAKEN_S = 1.0  # how soon an attempt is looked at again that somebody else works on


async def check_option(services: Services, job: Job) -> JobRun | None:
    """Look one attempt up in its time. The unit that stores what was found also says when the next time is."""
    option = await services.database.read(lambda t: options.option_by_id(t, OptionId(job.subject)))
    if option is None or option.state is OptionState.FAILED:
        return JobRun(end=JobEnd(state=JobState.DONE))
    try:
        if await reconcile_option(services, option):
            return None
    except (ProviderUnavailable, ProviderMisconfigured) as error:
        log.warning("reconcile_failed", provider=option.provider, option=option.id, code=error.code)
        return None
    again_at = services.now() + timedelta(seconds=TAKEN_S)
    return JobRun(end=JobEnd(state=JobState.WAITING, again_at=again_at))


async def reconcile_option(services: Services, option: PaymentOption) -> bool:
    """Look one attempt up at its provider, bring our books to what it says, and plan when it is asked next.

    Returns False, and nothing is done, while somebody else works on the attempt.

    Raises:
        ProviderUnavailable: no answer; the attempt is asked about later, and an overdue payment is shown as expired.
        ProviderMisconfigured: the operator must act; otherwise the same.
    """
    if option.state is OptionState.SETTLED:
        await services.database.write(lambda transaction: _wind_up(transaction, services, option))
        return True
    rail = services.rails.get(option.provider)
    if rail is None:
        await _postpone(services, option)
        return True
    if option.state in UNDECIDED and not await claim(services, option):
        return False
    try:
        invoice = await looked_up(services, rail, option)
        if is_half_made(option, invoice):
            await make_again(services, option)
            return True
        invoice = await _acted_on(services, rail, option, invoice)
    except (ProviderUnavailable, ProviderMisconfigured):
        await _postpone(services, option)
        raise
    await apply_lookup(services, await renewed(services, option, invoice), invoice)
    return True


async def _acted_on(services: Services, rail: ReceivingProvider, option: PaymentOption, invoice: Invoice) -> Invoice:
    """Do at the provider what is left to be done there, if anything is, and return how the invoice stands then."""
    if await _takes_back(services, option, invoice):
        return await rail.cancel_invoice(option.reference)
    if option.state is not OptionState.HELD or invoice.status is not InvoiceStatus.HELD:
        return invoice
    order = await standing_order(services, option)
    return invoice if order is None else await carry_out(services, option, order)


async def _takes_back(services: Services, option: PaymentOption, invoice: Invoice) -> bool:
    """Tell whether an invoice may not be paid any more, or holds what was never to be held."""
    if option.state is OptionState.CLOSED:
        return invoice.status in {InvoiceStatus.OPEN, InvoiceStatus.HELD}
    if option.state is OptionState.HELD:  # what was held is gone; it is not held a second time
        return invoice.status is InvoiceStatus.OPEN
    if option.state is OptionState.OPEN and invoice.status is InvoiceStatus.OPEN:  # not every provider lets it lapse
        return services.now() >= option.over_at + timedelta(seconds=services.rules.expiry_grace_s)
    if option.state is not OptionState.OPEN or invoice.status is not InvoiceStatus.HELD:
        return False
    payment = (await services.database.read(lambda t: payments.payments_by_id(t, [option.payment_id])))[0]
    # a version that knew no holds has had these books: nobody can order a capture any more
    return payment is not None and not payment.hold


async def apply_lookup(services: Services, option: PaymentOption, invoice: Invoice) -> None:
    """Book what the provider says of one attempt."""
    if option.state in UNDECIDED:
        if invoice.status is InvoiceStatus.MISSING:
            await _give_up(services, option)
            return
        await record_invoice(services, option, invoice)
    if invoice.status is InvoiceStatus.SETTLED and invoice.received is not None:
        settlement = Settlement(
            reference=option.reference,
            received=invoice.received,
            settled_at=invoice.settled_at or services.now(),
            position=None,
        )
        await services.database.write(
            lambda transaction: book_settlement(transaction, services, provider=option.provider, settlement=settlement)
        )
    elif invoice.status in {InvoiceStatus.CANCELED, InvoiceStatus.MISSING}:
        await services.database.write(lambda transaction: _close(transaction, services, option, invoice))
    elif invoice.status is InvoiceStatus.HELD:
        await services.database.write(lambda transaction: _hold(transaction, services, option))
    else:
        await services.database.write(lambda transaction: _keep_watching(transaction, services, option))


async def _give_up(services: Services, option: PaymentOption) -> None:
    """The provider knows no such invoice: the attempt failed, unless the provider may still be at work on it."""
    answered_by = option.created_at + timedelta(seconds=services.rules.claim_s)
    if services.now() >= answered_by:
        await fail_option(services, option, reason=ProviderUnavailable.code)
        return
    await services.database.write(lambda transaction: options.check_option_at(transaction, option, answered_by))


async def _postpone(services: Services, option: PaymentOption) -> None:
    """Ask again later; a payment whose time is long over is shown as expired meanwhile."""
    await services.database.write(lambda transaction: _keep_watching(transaction, services, option))


def _keep_watching(transaction: Transaction, services: Services, option: PaymentOption) -> None:
    now = services.now()
    payment = payments.lock_payment_of(transaction, option)
    overdue = option.expires_at + timedelta(seconds=services.rules.expiry_grace_s)
    if now >= overdue and option.state is OptionState.OPEN:
        _expire(transaction, payment, option, now=now)
    check_at = next_check(services.rules, now=now, option=option, payment=payment)
    options.check_option_at(transaction, option, check_at)


def _hold(transaction: Transaction, services: Services, option: PaymentOption) -> None:
    """Money is locked for us. It is not received, and delivers nothing, before it is captured.

    What cannot be held, because the payment has ended or holds other money, is left to be given back.
    """
    now = services.now()
    payment = payments.lock_payment_of(transaction, option)
    current = options.option_by_id(transaction, option.id)
    if current is None or current.state in {OptionState.SETTLED, OptionState.FAILED}:
        return
    if not payment.hold or current.state is OptionState.HELD:
        _keep_watching(transaction, services, current)
        return
    if current.state is not OptionState.OPEN or payment.status is not PaymentStatus.PENDING_PAYMENT:
        options.set_option_state(transaction, current, OptionState.CLOSED, check_at=now)
        return
    until = now + timedelta(seconds=services.rules.hold_s_max)
    after = replace(payment.advance(PaymentStatus.HELD, at=now), hold_expires_at=until, hold_order=None)
    held = replace(current, state=OptionState.HELD)
    check_at = next_check(services.rules, now=now, option=held, payment=after)
    options.set_option_state(transaction, current, OptionState.HELD, check_at=check_at)
    options.close_other_options(transaction, payment.id, but=option.id, check_at=now)
    payments.change_payment(transaction, payment, after)
    transaction.emit(changed(after))


def _end_hold(
    transaction: Transaction, services: Services, payment: Payment, option: PaymentOption, *, missing: bool
) -> None:
    """What was held went back to its payer: we let it go, or its time ran out, or the provider did it by itself."""
    now = services.now()
    if missing and not _is_gone(payment, at=now):  # a provider that forgot it, or another one: look again
        _keep_watching(transaction, services, option)
        return
    options.set_option_state(transaction, option, OptionState.CLOSED, check_at=None)
    if payment.status is PaymentStatus.HELD:
        to, reason = _end_of(payment, at=now)
        _move(transaction, payment, to, reason=reason, now=now)


def _is_gone(payment: Payment, *, at: datetime) -> bool:
    """Tell whether money that the provider knows nothing of needs no more looking for."""
    if payment.hold_order is HoldOrder.CAPTURE:
        return ran_out(payment, at=at - FORGOTTEN_AFTER)
    return payment.hold_order is not None or ran_out(payment, at=at)


def _end_of(payment: Payment, *, at: datetime) -> tuple[PaymentStatus, str]:
    if payment.hold_order is HoldOrder.RELEASE:
        return PaymentStatus.CANCELED, RELEASED_BY_MERCHANT
    if payment.hold_order is HoldOrder.EXPIRE or (payment.hold_order is None and ran_out(payment, at=at)):
        return PaymentStatus.EXPIRED, HOLD_EXPIRED
    return PaymentStatus.CANCELED, CANCELED_AT_PROVIDER


def _wind_up(transaction: Transaction, services: Services, option: PaymentOption) -> None:
    """Money came on this attempt, but not enough or too late: when its time is over, so is the payment's."""
    now = services.now()
    payment = payments.lock_payment_of(transaction, option)
    _expire(transaction, payment, option, now=now)
    if payment.status is PaymentStatus.HELD and not _others_open(transaction, option):  # captured, and not enough
        _move(transaction, payment, PaymentStatus.EXPIRED, reason=None, now=now)
    options.set_option_state(transaction, option, OptionState.SETTLED, check_at=None)


def _close(transaction: Transaction, services: Services, option: PaymentOption, invoice: Invoice) -> None:
    """The provider takes no more money on this attempt: let the payment follow, and stop asking."""
    now = services.now()
    payment = payments.lock_payment_of(transaction, option)
    current = options.option_by_reference(transaction, provider=option.provider, reference=option.reference)
    if current is None or current.state is OptionState.SETTLED:
        return
    missing = invoice.status is InvoiceStatus.MISSING
    if current.state is OptionState.HELD:
        _end_hold(transaction, services, payment, current, missing=missing)
        return
    expired = now >= option.expires_at
    if missing and not expired:
        check_at = next_check(services.rules, now=now, option=option, payment=payment)
        options.check_option_at(transaction, option, check_at)
        return
    options.set_option_state(transaction, option, OptionState.CLOSED, check_at=None)
    if _others_open(transaction, option):
        return
    if expired:
        _expire(transaction, payment, option, now=now)
    elif payment.status is PaymentStatus.PENDING_PAYMENT:
        _move(transaction, payment, PaymentStatus.CANCELED, reason=CANCELED_AT_PROVIDER, now=now)


def _expire(transaction: Transaction, payment: Payment, option: PaymentOption, *, now: datetime) -> None:
    if payment.status is PaymentStatus.PENDING_PAYMENT and not _others_open(transaction, option):
        _move(transaction, payment, PaymentStatus.EXPIRED, reason=None, now=now)


def _others_open(transaction: Transaction, option: PaymentOption) -> bool:
    alive = {OptionState.OPEN, OptionState.HELD, OptionState.PENDING, OptionState.UNKNOWN}
    every = options.options_of_payments(transaction, [option.payment_id])[0]
    return any(other.state in alive for other in every if other.id != option.id)


def _move(transaction: Transaction, payment: Payment, to: PaymentStatus, *, reason: str | None, now: datetime) -> None:
    after = replace(payment.advance(to, at=now), status_reason=reason)
    if payments.change_payment(transaction, payment, after):
        transaction.emit(changed(after))
