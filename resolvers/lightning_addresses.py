"""Being paid by address: what merchants and articles offer to payers who bring no key (LUD-06, LUD-16, LUD-21)."""

from dataclasses import dataclass, field

from quittance.domain.article import Article, ArticleStatus
from quittance.domain.errors import InvalidAmount, InvalidInput, PayeeNotFound, ProviderUnavailable
from quittance.domain.ids import ARTICLE, ArticleId, Preimage, prefix_of
from quittance.domain.lnurl_pay import (
    ACTION_CHARACTERS_MAX,
    MessageAction,
    SuccessAction,
    UrlAction,
    metadata_text,
    printable,
)
from quittance.domain.money import BTC_MSAT, msat
from quittance.domain.outgoing_errors import AmountOutOfBounds
from quittance.domain.payment import OptionState, Payment
from quittance.domain.policy import Merchant
from quittance.domain.text import is_storable
from quittance.resolvers.invoices import make_payment
from quittance.resolvers.lightning_names import address_of
from quittance.resolvers.orders import InvoiceOrder, check_amount, check_order
from quittance.resolvers.services import PAYEE_BUDGET, PAYER_BUDGET, Services
from quittance.store import articles, lightning_names, merchants, options
from quittance.store.transaction import Transaction

COMMENT_CHARACTERS_MAX = 140
_DESCRIPTION_CHARACTERS_MAX = 159  # a character has up to four bytes, and a description of a payment 639


@dataclass(frozen=True, slots=True, kw_only=True)
class PayOffer:
    """What can be paid under a name. ``metadata`` is the exact text that invoices will be bound to."""

    name: str
    amount_msat_min: int
    amount_msat_max: int
    metadata: str
    comment_characters_max: int = COMMENT_CHARACTERS_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class PayRequest:
    """What a payer asks for. ``address`` is where the payer calls from, for the count alone."""

    name: str
    amount_msat: int
    comment: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PayReply:
    """An invoice for a payer, and what follows its payment. ``verify_token`` shows whether it was paid."""

    payment_request: str
    success_action: SuccessAction = field(repr=False)  # it may hold the payment's client secret
    verify_token: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """Whether an invoice was paid; the preimage only if it was."""

    payment_request: str
    preimage: Preimage | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Payee:
    """Who is paid: a merchant, for an article of its or for nothing in particular."""

    name: str
    merchant: Merchant
    article: Article | None

    @property
    def description(self) -> str:
        said = f"Pay {self.merchant.name}" if self.article is None else self.article.title
        return printable(said, characters_max=_DESCRIPTION_CHARACTERS_MAX)


async def pay_offer(services: Services, name: str) -> PayOffer:
    """Return what can be paid under a merchant's name or an article's id.

    Raises:
        PayeeNotFound: nothing.
        InvalidAmount: the merchant's rail, or the article's price, is no bitcoin.
        UnknownProvider: the merchant's rail is not connected.
    """
    return _offer_of(services, await _find(services, name))


async def request_payment(services: Services, request: PayRequest) -> PayReply:
    """Make an ordinary payment and its invoice, bound to the offer by its hash. Each call makes another one.

    Raises:
        PayeeNotFound, AmountOutOfBounds, InvalidInput, InvalidAmount, RateLimited: nothing was made.
        ProviderUnavailable, InvoiceRejected, ProviderMisconfigured, UnknownProvider: there is no invoice to pay.
    """
    payee = await _find(services, request.name)
    offer = _offer_of(services, payee)
    if not offer.amount_msat_min <= request.amount_msat <= offer.amount_msat_max:
        raise AmountOutOfBounds(amount_msat_min=offer.amount_msat_min, amount_msat_max=offer.amount_msat_max)
    order = InvoiceOrder(
        article_id=None if payee.article is None else payee.article.id,
        amount=msat(request.amount_msat) if payee.article is None else None,
        description=_checked_comment(request.comment) or payee.description,
        expires_in_s=min(services.rules.payee_expires_in_s, services.rules.expires_in_s_max),
        described_by=offer.metadata,
    )
    check_order(order, services.rules)
    await services.limiter.hit(PAYER_BUDGET, request.address)
    await services.limiter.hit(PAYEE_BUDGET, payee.name)
    made = await make_payment(services, payee.merchant.id, order)
    option = made.options[0]
    if option.payment_request is None:
        raise ProviderUnavailable(option.provider)
    return PayReply(
        payment_request=option.payment_request,
        success_action=_success_action(services, payee, made.payment, client_secret=made.client_secret),
        verify_token=services.derive.verify_token(option.id),
    )


async def verify_payment(services: Services, token: str) -> Verification:
    """Tell whether the invoice that came with this token was paid.

    Raises:
        PayeeNotFound: the token is not one of ours.
    """
    option_id = services.derive.option_verified_by(token)
    if option_id is None:
        raise PayeeNotFound
    option = await services.database.read(lambda transaction: options.option_by_id(transaction, option_id))
    if option is None or option.payment_request is None:
        raise PayeeNotFound
    settled = option.state is OptionState.SETTLED
    return Verification(
        payment_request=option.payment_request, preimage=services.derive.preimage(option_id) if settled else None
    )


async def _find(services: Services, name: str) -> _Payee:
    payee = await services.database.read(lambda transaction: _payee_named(transaction, name.lower()))
    if payee is None:
        raise PayeeNotFound
    return payee


def _payee_named(transaction: Transaction, name: str) -> _Payee | None:
    article: Article | None = None
    if prefix_of(name) == ARTICLE:
        article = articles.articles_by_id(transaction, [ArticleId(name)])[0]
        visible = article is not None and article.status is ArticleStatus.VISIBLE
        merchant_id = article.merchant_id if article is not None and visible else None
    else:
        merchant_id = lightning_names.merchant_named(transaction, name)
    merchant = None if merchant_id is None else merchants.merchant_by_id(transaction, merchant_id)
    return None if merchant is None else _Payee(name=name, merchant=merchant, article=article)


def _offer_of(services: Services, payee: _Payee) -> PayOffer:
    price = None if payee.article is None else payee.article.price
    rail = services.rail(payee.merchant.default_provider)
    if rail.asset != BTC_MSAT or (price is not None and price.asset.code != BTC_MSAT.code):
        raise InvalidAmount("this is not paid in bitcoin over Lightning")
    metadata = metadata_text(payee.description, identifier=address_of(services, payee.name))
    most = services.rules.amount_msat_max
    least = min(services.rules.payee_msat_min, most)
    if price is not None:
        least = most = check_amount(services, price).rescaled_exactly(BTC_MSAT).value
    return PayOffer(name=payee.name, amount_msat_min=least, amount_msat_max=most, metadata=metadata)


def _checked_comment(comment: str) -> str | None:
    """Return what a payer says to the payee, on one line; None for nothing.

    Raises:
        InvalidInput: it is too long, or cannot be stored.
    """
    if len(comment) > COMMENT_CHARACTERS_MAX or not is_storable(comment):
        raise InvalidInput("comment", f"a comment has at most {COMMENT_CHARACTERS_MAX} characters of text")
    return printable(comment, characters_max=COMMENT_CHARACTERS_MAX) or None


def _success_action(services: Services, payee: _Payee, payment: Payment, *, client_secret: str) -> SuccessAction:
    """Return what follows the payment: who buys an article is led to it, everybody else is thanked.

    The link carries the payment's client secret, as the answer to ``generateInvoice`` does: to whoever asked for the
    invoice, and to nobody else. Without it the article would be bought by nobody, as the payer has no account here.
    """
    if payee.article is None:
        thanks = printable(f"Thank you! {payee.merchant.name} has your payment.", characters_max=ACTION_CHARACTERS_MAX)
        return MessageAction(message=thanks)
    said = printable(f"Read {payee.article.title}", characters_max=ACTION_CHARACTERS_MAX)
    return UrlAction(description=said, url=services.checkout_url(payment.id, client_secret=client_secret))
