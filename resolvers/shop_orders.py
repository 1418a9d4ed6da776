"""Orders of LNPay shops: an amount in the shop's currency, the invoice for it, and the one notice once it is paid."""

from dataclasses import dataclass, field
from decimal import Decimal

from quittance.domain.access import Principal, Scope
from quittance.domain.currency import currency_asset
from quittance.domain.errors import ProviderUnavailable
from quittance.domain.ids import BOOTSTRAP_MERCHANT
from quittance.domain.money import COIN_SCALE, money_from_decimal
from quittance.domain.payment import NoticeFormat, Payment, PaymentOption
from quittance.resolvers.orders import InvoiceOrder
from quittance.resolvers.purchases import generate_invoice
from quittance.resolvers.services import ASKING_BUDGET, Services
from quittance.store import given_invoices


@dataclass(frozen=True, slots=True, kw_only=True)
class ShopTerms:
    """What holds for every order of the shop.

    ``expires_in_s`` is what the merchant grants from creation (L2); ``notice_url`` is told once, when it is paid.
    """

    currency: str
    notice_url: str = field(repr=False)
    expires_in_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShopOrder:
    """What a shop asks for; ``amount`` is in whole units of the currency of its terms."""

    amount: Decimal
    refund_address: str | None = None
    description: str | None = None
    correlation_id: str | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShopInvoice:
    """A payment that was made for a shop, and the attempt whose invoice the shop shows, and will be told of."""

    payment: Payment
    option: PaymentOption
    payment_request: str
    replayed: bool


async def admit_shop_without_key(services: Services, *, address: str) -> Principal:
    """Return who a shop without a key acts for: the first merchant, who may only be asked to be paid (W15).

    Raises:
        RateLimited: this address has asked for too much in this minute.
    """
    await services.limiter.hit(ASKING_BUDGET, address)
    scopes = frozenset({Scope.PAYMENTS_WRITE})
    return Principal(merchant_id=BOOTSTRAP_MERCHANT, scopes=scopes, address=address)


async def order_invoice(services: Services, principal: Principal, order: ShopOrder, terms: ShopTerms) -> ShopInvoice:
    """Make a payment and its invoice for a shop, in whole satoshi (L6), and have the shop told once it is paid.

    Which invoice it is given is stored before: it knows the payment by nothing else, and a rail may make another.

    Raises:
        as ``purchases.generate_invoice``; ProviderUnavailable also where an earlier order has no invoice yet.
    """
    asked = InvoiceOrder(
        amount=money_from_decimal(order.amount, currency_asset(terms.currency)),
        description=order.description,
        correlation_id=order.correlation_id,
        refund_address=order.refund_address,
        expires_in_s=terms.expires_in_s,
        idempotency_key=order.idempotency_key,
        notify_url=terms.notice_url,
        notify_format=NoticeFormat.LNPAY,
        converted_scale_max=COIN_SCALE,
    )
    made = await generate_invoice(services, principal, asked)
    option, payment_id = made.options[-1], made.payment.id
    payment_request = option.payment_request
    if payment_request is None:
        raise ProviderUnavailable(option.provider)
    await services.database.write(
        lambda transaction: given_invoices.remember_given(transaction, payment_id, payment_request)
    )
    return ShopInvoice(payment=made.payment, option=option, payment_request=payment_request, replayed=made.replayed)
