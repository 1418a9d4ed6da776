"""What becomes of an attempt to have an invoice made: recorded once, whoever finds it out."""

from dataclasses import replace

from quittance.domain.event import EventKind
from quittance.domain.payment import (
    UNDECIDED,
    OptionState,
    Payment,
    PaymentOption,
    PaymentStatus,
)
from quittance.providers.base import Invoice, InvoiceStatus
from quittance.resolvers.pace import next_check
from quittance.resolvers.services import Services
from quittance.store import options, payments
from quittance.store.transaction import EventDraft, Transaction


async def mark_unknown(services: Services, option: PaymentOption) -> None:
    """The provider may have acted: what became of it is looked up soon, never guessed."""

    def unit(transaction: Transaction) -> None:
        options.decide_option(transaction, option, OptionState.UNKNOWN, check_at=services.now())

    await services.database.write(unit)


async def record_invoice(
    services: Services, option: PaymentOption, invoice: Invoice
) -> tuple[Payment, PaymentOption] | None:
    """Remember an invoice that the provider made, and that its payment can be paid now.

    Returns the payment and the attempt, or None when others decided either of them first.
    """

    def unit(transaction: Transaction) -> tuple[Payment, PaymentOption] | None:
        now = services.now()
        expires_at = invoice.expires_at or option.expires_at
        made = replace(
            option,
            state=OptionState.OPEN,
            payment_request=invoice.payment_request,
            expires_at=expires_at,
            payable_until=invoice.payable_until,
        )
        opened = payments.open_payment(transaction, option.payment_id, expires_at=expires_at, at=now)
        payment = opened or payments.lock_payment_of(transaction, option)
        payable = payment.status is PaymentStatus.PENDING_PAYMENT
        watched = payable and invoice.status is InvoiceStatus.OPEN
        check_at = None if watched else now
        if watched and made.payable_until is not None:
            check_at = next_check(services.rules, now=now, option=made, payment=payment)
        if not options.open_option(transaction, made, check_at=check_at):
            raise _Overtaken
        if opened is not None:
            transaction.emit(changed(opened))
        elif not payable:
            options.set_option_state(transaction, option, OptionState.CLOSED, check_at=now)
        return (payment, made) if payable else None

    try:
        return await services.database.write(unit)
    except _Overtaken:
        return None


class _Overtaken(Exception):
    """Somebody decided this attempt first; the unit is undone."""


async def fail_option(services: Services, option: PaymentOption, *, reason: str) -> None:
    """Give an attempt up for good; the payment is in ERROR when nobody works on another.

    An older invoice that is still open does not help: it is what the payment was retried for.
    """

    def unit(transaction: Transaction) -> None:
        payment = payments.lock_payment_of(transaction, option)
        if not options.decide_option(transaction, option, OptionState.FAILED, check_at=None):
            return
        others = options.options_of_payments(transaction, [payment.id])[0]
        if payment.status is not PaymentStatus.PENDING_INVOICE or any(other.state in UNDECIDED for other in others):
            return
        after = replace(payment.advance(PaymentStatus.ERROR, at=services.now()), status_reason=reason)
        payments.change_payment(transaction, payment, after)
        transaction.emit(changed(after))

    await services.database.write(unit)


def changed(payment: Payment) -> EventDraft:
    """Return the event that says in which status a payment is now."""
    return EventDraft(
        kind=EventKind.PAYMENT_UPDATED,
        merchant_id=payment.merchant_id,
        payment_id=payment.id,
        article_id=payment.article_id,
        account_id=payment.account_id,
        status=payment.status.value,
    )
