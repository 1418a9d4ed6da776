"""Invoices of providers that quote: the invoice stands, and what its payer pays by is made again when it lapses."""

from dataclasses import replace

import structlog

from quittance.domain.errors import ProviderMisconfigured, ProviderUnavailable
from quittance.domain.payment import UNDECIDED, OptionState, PaymentOption, PaymentStatus
from quittance.providers.base import Invoice, InvoiceStatus, ReceivingProvider, Requotes
from quittance.resolvers.invoice_outcomes import changed
from quittance.resolvers.invoices import attempt
from quittance.resolvers.pace import RENEW_BEFORE
from quittance.resolvers.services import Services
from quittance.store import options, payments
from quittance.store.transaction import Transaction

log = structlog.get_logger("quittance.quotes")


def is_half_made(option: PaymentOption, invoice: Invoice) -> bool:
    """Tell whether a provider has the invoice that we asked for, and we have nothing to give a payer."""
    return option.state in UNDECIDED and invoice.status is InvoiceStatus.OPEN and invoice.payment_request is None


async def make_again(services: Services, option: PaymentOption) -> None:
    """Ask for the same invoice once more: the provider gives back the first one, with something to pay by.

    Raises:
        ProviderUnavailable, ProviderMisconfigured: no answer; the attempt is asked about later.
    """
    payment = (await services.database.read(lambda t: payments.payments_by_id(t, [option.payment_id])))[0]
    if payment is None:
        raise RuntimeError(f"attempt {option.id} has no payment")
    failures: list[Exception] = []
    await attempt(services, payment, option, failures)
    for failure in failures:
        if isinstance(failure, ProviderUnavailable | ProviderMisconfigured):
            raise failure


async def looked_up(services: Services, rail: ReceivingProvider, option: PaymentOption) -> Invoice:
    """Return how an attempt stands at its provider; one whose quote lapses while it may be paid, with a fresh quote.

    Asking for a quote tells as much as looking. A provider that will not quote now is looked at instead, and leaves the
    payer without anything to pay by for a while.

    Raises:
        ProviderUnavailable, ProviderMisconfigured: no answer.
    """
    if isinstance(rail, Requotes) and _lapses(services, option):
        try:
            return await rail.requote(option.reference)
        except (ProviderUnavailable, ProviderMisconfigured) as error:
            log.warning("requote_failed", provider=option.provider, option=option.id, code=error.code)
    return await rail.lookup_invoice(option.reference)


async def renewed(services: Services, option: PaymentOption, invoice: Invoice) -> PaymentOption:
    """Hand out the fresh quote of an open invoice, if there is one, and return the attempt as it is then."""
    if option.state is not OptionState.OPEN or invoice.status is not InvoiceStatus.OPEN:
        return option
    if invoice.payment_request is None or invoice.payable_until is None:
        return option
    after = replace(option, payment_request=invoice.payment_request, payable_until=invoice.payable_until)

    def unit(transaction: Transaction) -> PaymentOption:
        payment = payments.lock_payment_of(transaction, option)
        if payment.status is not PaymentStatus.PENDING_PAYMENT or not options.renew_option(transaction, after):
            return option
        transaction.emit(changed(payment))
        return after

    return await services.database.write(unit)


def _lapses(services: Services, option: PaymentOption) -> bool:
    now = services.now()
    if option.state is not OptionState.OPEN or now >= option.expires_at:
        return False
    return option.payable_until is not None and now >= option.payable_until - RENEW_BEFORE
