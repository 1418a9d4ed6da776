"""What a caller of ``generateInvoice`` may ask for, and the payment that it comes to."""

import hashlib
import json
from dataclasses import dataclass, field

from quittance.domain.article import Article, ArticleStatus
from quittance.domain.errors import ArticleHidden, ArticleNotFound, InvalidAmount, InvalidInput
from quittance.domain.ids import ArticleId, MerchantId, PaymentId
from quittance.domain.money import BTC_MSAT, Money, msat
from quittance.domain.payment import Payment, PaymentPurpose, PaymentStatus
from quittance.domain.policy import Merchant
from quittance.domain.text import is_storable
from quittance.providers.base import ReceivingProvider
from quittance.resolvers.services import PaymentRules, Services
from quittance.store import articles
from quittance.store.transaction import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceOrder:
    """What the caller of ``generateInvoice`` asks for; None means that our default applies."""

    article_id: ArticleId | None = None
    purpose: PaymentPurpose | None = None
    amount: Money | None = None
    provider: str | None = None
    also_accept: tuple[str, ...] = ()
    description: str | None = None
    correlation_id: str | None = None
    refund_address: str | None = None
    expires_in_s: int | None = None
    idempotency_key: str | None = None
    notify_url: str | None = field(default=None, repr=False)

    def fingerprint(self) -> bytes:
        """Return a digest of everything but the key: equal for equal input."""
        amount = None if self.amount is None else [self.amount.value, self.amount.asset.code, self.amount.asset.scale]
        said: list[object] = [
            self.article_id,
            self.purpose,
            amount,
            self.provider,
            sorted(self.also_accept),
            self.description,
            self.correlation_id,
            self.refund_address,
            self.expires_in_s,
        ]
        if self.notify_url is not None:  # only then: keys that were stored before there was one must match
            said.append({"notifyUrl": self.notify_url})
        return hashlib.sha256(json.dumps(said).encode()).digest()


def check_order(order: InvoiceOrder, rules: PaymentRules) -> None:
    """Refuse what cannot be meant, before anything is looked up.

    Raises:
        InvalidInput: names the field.
        InvalidAmount: none was given, and there is no article to take a price from.
    """
    for name, text, most in (
        ("description", order.description, rules.description_max),
        ("correlationId", order.correlation_id, rules.reference_max),
        ("refundAddress", order.refund_address, rules.description_max),
        ("idempotencyKey", order.idempotency_key, rules.reference_max),
    ):
        if text is not None and not (text.strip() and is_storable(text) and len(text.encode()) <= most):
            raise InvalidInput(name, f"{name} has 1 to {most} bytes of text; leave it out instead of sending it empty")
    if order.expires_in_s is not None and not 1 <= order.expires_in_s <= rules.expires_in_s_max:
        raise InvalidInput("expiresIn", f"expiresIn lies between 1 and {rules.expires_in_s_max} seconds")
    if order.article_id is None:
        if order.purpose not in {None, PaymentPurpose.ORDER}:
            raise InvalidInput("purpose", f"the purpose {order.purpose} needs an articleId")
        if order.amount is None:
            raise InvalidAmount("an amount is required when no article gives the price")
    elif order.purpose not in {None, PaymentPurpose.VIEW, PaymentPurpose.UPVOTE}:
        raise InvalidInput("purpose", "an article is paid for with the purpose VIEW or UPVOTE")
    elif order.amount is not None and order.purpose is not PaymentPurpose.UPVOTE:
        raise InvalidAmount("the article gives the price of a view; leave the amount out")


def article_of(transaction: Transaction, article_id: ArticleId, merchant_id: MerchantId | None) -> Article:
    """Return an article that can be bought, of this merchant; None for anybody's.

    Raises:
        ArticleNotFound, ArticleHidden: it cannot.
    """
    article = articles.articles_by_id(transaction, [article_id])[0]
    if article is None or merchant_id not in {None, article.merchant_id}:
        raise ArticleNotFound(article_id)
    if article.status is not ArticleStatus.VISIBLE:
        raise ArticleHidden(article_id)
    return article


def rails_of(services: Services, order: InvoiceOrder, merchant: Merchant) -> list[ReceivingProvider]:
    names = dict.fromkeys([order.provider or merchant.default_provider, *order.also_accept])
    return [services.rail(name) for name in names]


def payment_of(
    services: Services,
    order: InvoiceOrder,
    *,
    merchant: Merchant,
    article: Article | None,
    payment_id: PaymentId,
    rails: list[ReceivingProvider],
) -> Payment:
    now = services.now()
    purpose = order.purpose or (PaymentPurpose.ORDER if article is None else PaymentPurpose.VIEW)
    return Payment(
        id=payment_id,
        merchant_id=merchant.id,
        viewer=merchant.id,
        status=PaymentStatus.PENDING_INVOICE,
        status_reason=None,
        purpose=purpose,
        provider=rails[0].name,
        amount=_price(services.rules, order, article=article, purpose=purpose, rail=rails[0]),
        received=None,
        article_id=None if article is None else article.id,
        description=order.description or (None if article is None else _cut(article.title, services.rules)),
        correlation_id=order.correlation_id,
        refund_address=order.refund_address,
        expires_in_s=order.expires_in_s or services.rules.expires_in_s_default,
        created_at=now,
        modified_at=now,
        expires_at=None,
        settled_at=None,
        notify_url=order.notify_url,
    )


def _cut(title: str, rules: PaymentRules) -> str:
    """Return as much of a title as an invoice holds."""
    return title.encode()[: rules.description_max].decode(errors="ignore")


def _price(
    rules: PaymentRules,
    order: InvoiceOrder,
    *,
    article: Article | None,
    purpose: PaymentPurpose,
    rail: ReceivingProvider,
) -> Money:
    amount = order.amount
    if amount is None and article is not None:
        amount = msat(rules.upvote_msat_min) if purpose is PaymentPurpose.UPVOTE else article.price
    if amount is None:
        raise InvalidAmount("an amount is required when no article gives the price")
    amount = check_amount(amount, rules).rescaled_exactly(rail.asset)
    if purpose is PaymentPurpose.UPVOTE and amount.rescaled_exactly(BTC_MSAT).value < rules.upvote_msat_min:
        raise InvalidAmount(f"an upvote pays at least {msat(rules.upvote_msat_min).formatted}")
    return amount


def check_amount(amount: Money, rules: PaymentRules) -> Money:
    """Return the amount if it can be asked for on a Bitcoin rail.

    Raises:
        InvalidAmount: zero, negative, too large, finer than a millisatoshi, or of an asset that needs a rate.
    """
    if amount.asset.code != BTC_MSAT.code:
        raise InvalidAmount(
            f"{amount.asset.code} needs an exchange rate, which no connected rail gives; use sat or msat"
        )
    if amount.value <= 0:
        raise InvalidAmount("an amount is greater than zero")
    exact = amount.rescaled_exactly(BTC_MSAT)
    if exact.value > rules.amount_msat_max:
        raise InvalidAmount(f"an amount is at most {msat(rules.amount_msat_max).formatted}")
    return amount
