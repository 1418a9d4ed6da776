"""What is to become of held money: written down before the provider is asked for it, and repeated until it is done.

The first order stands. So a capture that never reached the provider is not forgotten, and a hold does not run out under
it; nor is money taken that was ordered to go back.
"""

from datetime import datetime

from quittance.domain.errors import ProviderMisconfigured
from quittance.domain.payment import HoldOrder, Payment, PaymentOption, PaymentStatus
from quittance.providers.base import HoldsInvoices, Invoice
from quittance.resolvers.services import Services
from quittance.store import payments
from quittance.store.transaction import Transaction


def ran_out(payment: Payment, *, at: datetime) -> bool:
    return payment.hold_expires_at is not None and at >= payment.hold_expires_at


async def standing_order(services: Services, option: PaymentOption) -> HoldOrder | None:
    """Return what is to become of what an attempt holds; when its time ran out without an order, it is to go back."""

    def unit(transaction: Transaction) -> HoldOrder | None:
        now = services.now()
        payment = payments.lock_payment_of(transaction, option)
        if payment.status is not PaymentStatus.HELD:
            return None
        if payment.hold_order is None and ran_out(payment, at=now):
            payments.order_hold(transaction, payment.id, HoldOrder.EXPIRE, at=now)
            return HoldOrder.EXPIRE
        return payment.hold_order

    return await services.database.write(unit)


async def carry_out(services: Services, option: PaymentOption, order: HoldOrder) -> Invoice:
    """Have the provider do what was ordered, and return how the invoice stands then; doing it again changes nothing.

    Raises:
        UnknownProvider: no rail has this name; nothing was asked for.
        ProviderUnavailable: the outcome is unknown; look it up, or repeat.
        ProviderMisconfigured: the operator must act; likewise.
    """
    rail = services.rail(option.provider)
    if order is not HoldOrder.CAPTURE:
        return await rail.cancel_invoice(option.reference)
    if not isinstance(rail, HoldsInvoices):
        raise ProviderMisconfigured(option.provider, "the rail cannot take what it holds")
    return await rail.settle_invoice(services.derive.preimage(option.id))
