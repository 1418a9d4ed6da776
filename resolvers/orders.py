"""What a caller of ``generateInvoice`` may ask for, and the payment that it comes to."""

import hashlib
import json
from dataclasses import dataclass, field

from quittance.domain.article import Article, ArticleStatus
from quittance.domain.currency import is_currency
from quittance.domain.errors import ArticleHidden, ArticleNotFound, HoldNotSupported, InvalidAmount, InvalidInput
from quittance.domain.ids import ArticleId, MerchantId, PaymentId
from quittance.domain.money import BTC_MSAT, COIN_SCALE, Asset, Money, msat
from quittance.domain.payment import NoticeFormat, Payment, PaymentPurpose, PaymentStatus
from quittance.domain.policy import Merchant
from quittance.domain.rate import CombinedRate, convert
from quittance.domain.text import is_storable
from quittance.providers.base import CountsCoarser, HoldsInvoices, ReceivingProvider
from quittance.resolvers.rates import checked_fiat
from quittance.resolvers.services import PaymentRules, Services
from quittance.store import articles
from quittance.store.transaction import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceOrder:
    """What the caller of ``generateInvoice`` asks for; None means that our default applies.

    ``described_by`` is ours: the text that the invoice is bound to by its hash. So are ``notify_format``, what is
    written to ``notify_url``, and ``converted_scale_max``: how many places a price may have that is converted. No
    caller says them.
    """

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
    hold: bool = False
    described_by: str | None = None
    notify_format: NoticeFormat = NoticeFormat.EVENTS
    converted_scale_max: int | None = None

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
        # what came later is said only where it is given: keys that were stored before must match
        if self.notify_url is not None:
            said.append({"notifyUrl": self.notify_url})
        if self.hold:
            said.append({"hold": True})
        if self.notify_format is not NoticeFormat.EVENTS:
            said.append({"notifyFormat": self.notify_format})
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
    """Return the rails that the payment is offered on, the asked one first.

    Raises:
        UnknownProvider: none has this name.
        InvalidInput: they take different assets, but a payment has one price.
    """
    names = dict.fromkeys([order.provider or merchant.default_provider, *order.also_accept])
    rails = [services.rail(name) for name in names]
    first = rails[0]
    for other in rails[1:]:
        if other.asset.code != first.asset.code:
            raise InvalidInput(
                "alsoAccept",
                f"a payment has one price in one asset: {first.name} takes {first.asset.code}, "
                f"{other.name} takes {other.asset.code}",
            )
    for rail in rails:
        if order.hold and not isinstance(rail, HoldsInvoices):
            raise HoldNotSupported(rail.name)
    return rails


def payment_of(
    services: Services,
    order: InvoiceOrder,
    *,
    merchant: Merchant,
    article: Article | None,
    payment_id: PaymentId,
    rails: list[ReceivingProvider],
) -> Payment:
    """Return the payment that an order comes to; a price in a national currency is converted here, once.

    Raises:
        InvalidAmount: the price cannot be asked for on these rails.
        RateUnavailable: it needs a rate, and none is known.
    """
    now = services.now()
    purpose = order.purpose or (PaymentPurpose.ORDER if article is None else PaymentPurpose.VIEW)
    price = _price(services, order, article=article, purpose=purpose, rails=rails)
    by_stranger = article is not None and order.described_by is not None  # at the article's address: they may claim it
    return Payment(
        id=payment_id,
        merchant_id=merchant.id,
        viewer=payment_id if by_stranger else merchant.id,
        status=PaymentStatus.PENDING_INVOICE,
        status_reason=None,
        purpose=purpose,
        provider=rails[0].name,
        amount=price.amount,
        fiat_amount=price.fiat_amount,
        rate=price.rate,
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
        hold=order.hold,
        described_by=order.described_by,
        notify_format=order.notify_format,
    )


def _cut(title: str, rules: PaymentRules) -> str:
    """Return as much of a title as an invoice holds."""
    return title.encode()[: rules.description_max].decode(errors="ignore")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Price:
    """What a rail asks for; and what was meant by it, when that was said in a national currency."""

    amount: Money
    fiat_amount: Money | None = None
    rate: CombinedRate | None = None


def _price(
    services: Services,
    order: InvoiceOrder,
    *,
    article: Article | None,
    purpose: PaymentPurpose,
    rails: list[ReceivingProvider],
) -> _Price:
    amount, upvote_min = order.amount, msat(services.rules.upvote_msat_min)
    if amount is None and article is not None:
        amount = upvote_min if purpose is PaymentPurpose.UPVOTE else article.price
    if amount is None:
        raise InvalidAmount("an amount is required when no article gives the price")
    price = _on_rails(services, order, amount, rails)
    if purpose is PaymentPurpose.UPVOTE:
        if price.amount.asset.code != upvote_min.asset.code:
            raise InvalidAmount(f"an upvote is paid in {upvote_min.asset.code}")
        if price.amount.rescaled_exactly(upvote_min.asset).value < upvote_min.value:
            raise InvalidAmount(f"an upvote pays at least {upvote_min.formatted}")
    return price


def _on_rails(services: Services, order: InvoiceOrder, amount: Money, rails: list[ReceivingProvider]) -> _Price:
    """Return what the rails ask for: a currency that they take as it is, another one converted to what they take."""
    rail, fiat, rate = rails[0], None, None
    if is_currency(amount.asset.code):
        fiat = amount = checked_fiat(amount)
        if amount.asset.code != rail.asset.code and services.rates is not None:
            rate = services.rates.current(rail.asset.code, amount.asset.code)
            amount = convert(amount, rate, _finest(rails, order.converted_scale_max))
    if amount.asset.code != rail.asset.code:
        raise InvalidAmount(_needs_a_rate(amount, rail, said=order.amount is not None))
    asked = check_amount(services, amount).rescaled_exactly(rail.asset)
    for each in rails:
        asked.rescaled_exactly(_unit_of(each))
    return _Price(amount=asked, fiat_amount=fiat, rate=rate)


def _finest(rails: list[ReceivingProvider], scale_max: int | None) -> Asset:
    """Return the smallest unit that every rail can ask for, or a larger one where fewer places are wanted."""
    coarsest = min((_unit_of(rail) for rail in rails), key=lambda unit: unit.scale)
    return coarsest if scale_max is None else Asset(coarsest.code, min(coarsest.scale, scale_max))


def _unit_of(rail: ReceivingProvider) -> Asset:
    return rail.unit if isinstance(rail, CountsCoarser) else rail.asset


def _needs_a_rate(amount: Money, rail: ReceivingProvider, *, said: bool) -> str:
    """Say why a rail cannot ask for an amount, and what to write where the caller said it."""
    takes = f"{rail.name} takes {rail.asset.code}, and no exchange rate from {amount.asset.code} is connected"
    if not said:
        return f"{takes}; the price is {amount.formatted}, so name a rail that takes {amount.asset.code}"
    if rail.asset.code == BTC_MSAT.code:
        return f"{takes}; say the amount in sat or msat"
    return f'{takes}; say the amount as asset: {{assetCode: "{rail.asset.code}", assetScale: {COIN_SCALE}, value: …}}'


def check_amount(services: Services, amount: Money) -> Money:
    """Return the amount if a connected rail can ask for it.

    Raises:
        InvalidAmount: zero, negative, too large, finer than the rail's unit, or of an asset that no rail takes.
    """
    code = amount.asset.code
    rail = next((rail for rail in services.rails.values() if rail.asset.code == code), None)
    if rail is None and services.rates is not None and is_currency(code):
        return checked_fiat(amount)  # its limit is that of the rail that it is converted for
    most = None if rail is None else services.rules.amount_max(rail.asset)
    if rail is None or most is None:
        taken = " and ".join(sorted({rail.asset.code for rail in services.rails.values()}))
        raise InvalidAmount(
            f"{code} needs an exchange rate, and none is connected; the rails take {taken or 'nothing'}"
        )
    if amount.value <= 0:
        raise InvalidAmount("an amount is greater than zero")
    exact = amount.rescaled_exactly(rail.asset)
    if exact.value > most.rescaled_exactly(rail.asset).value:
        raise InvalidAmount(f"an amount is at most {most.formatted}")
    return amount
