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


async def renewed(
    services: Services, rail: ReceivingProvider, option: PaymentOption, invoice: Invoice
) -> PaymentOption:
    """Have an invoice that is waited for quoted again where its quote lapses, and return the attempt as it is then.

    A provider that will not quote now leaves the payer without anything to pay by for a while; nothing is lost, and it
    is asked again.
    """
    if not isinstance(rail, Requotes) or not _lapses(services, option, invoice):
        return option
    try:
        quoted = await rail.requote(option.reference)
    except (ProviderUnavailable, ProviderMisconfigured) as error:
        log.warning("requote_failed", provider=option.provider, option=option.id, code=error.code)
        return option
    if quoted.status is not InvoiceStatus.OPEN or quoted.payment_request is None:
        return option
    after = replace(option, payment_request=quoted.payment_request, payable_until=quoted.payable_until)

    def unit(transaction: Transaction) -> PaymentOption:
        payment = payments.lock_payment_of(transaction, option)
        if payment.status is not PaymentStatus.PENDING_PAYMENT or not options.renew_option(transaction, after):
            return option
        transaction.emit(changed(payment))
        return after

    return await services.database.write(unit)


def _lapses(services: Services, option: PaymentOption, invoice: Invoice) -> bool:
    now = services.now()
    if option.state is not OptionState.OPEN or invoice.status is not InvoiceStatus.OPEN or now >= option.expires_at:
        return False
    return option.payable_until is not None and now >= option.payable_until - RENEW_BEFORE
