"""What readers and strangers buy: the view of an article, once each, and upvotes; and another try at either."""

from collections.abc import Sequence
from dataclasses import replace

from quittance.domain.access import Principal, Scope
from quittance.domain.article import Article
from quittance.domain.errors import IdempotencyConflict, InvalidInput, PaymentNotFound, PermissionDenied
from quittance.domain.ids import PAYMENT, AccountId, ArticleId, MerchantId, PaymentId
from quittance.domain.money import msat
from quittance.domain.payment import Payment, PaymentPurpose, PaymentStatus
from quittance.domain.policy import Merchant
from quittance.domain.reader import Account
from quittance.providers.base import ReceivingProvider
from quittance.resolvers import invoices
from quittance.resolvers.invoices import GeneratedInvoice, Plan
from quittance.resolvers.orders import InvoiceOrder, article_of, check_order, payment_of, rails_of
from quittance.resolvers.payments import is_payers
from quittance.resolvers.rates import read_priced, write_priced
from quittance.resolvers.refund_addresses import check_refund_address
from quittance.resolvers.services import Services
from quittance.store import idempotency, merchants, payments, readers
from quittance.store.transaction import Transaction


async def generate_invoice(services: Services, principal: Principal, order: InvoiceOrder) -> GeneratedInvoice:
    """Ask for money, whoever calls: a merchant as it likes, a reader or nobody in particular for an article.

    A reader has one view payment of an article: asking again gives it again, whatever became of it.

    Raises:
        LoginRequired: an upvote, and it is no reader.
        PermissionDenied: there is neither an article nor a key.
        InvalidInput: also what is the merchant's to say.
        as for ``invoices.generate_invoice``.
    """
    if principal.merchant_id is not None or order.article_id is None:
        return await invoices.generate_invoice(services, principal, order)
    if order.purpose is PaymentPurpose.UPVOTE:
        principal.require_account()
    check_order(order, services.rules)
    _check_order_of_visitor(order, principal)
    await services.admit_asking(principal)
    payment_id = PaymentId(services.new_id(PAYMENT))
    article_id, account_id = order.article_id, principal.account_id
    if order.refund_address is not None:
        await _check_refund_address(services, order, account_id)

    def unit(transaction: Transaction) -> Plan:
        if account_id is None:
            return _begin(transaction, services, order, account=None, payment_id=payment_id)
        account = readers.lock_account(transaction, account_id)  # what one reader buys together is bought in turn
        own = None
        if order.purpose is not PaymentPurpose.UPVOTE:
            own = own_view(transaction, article_id, account_id)
        first = _first_use(transaction, services, order, account_id, own.id if own is not None else payment_id)
        if own is not None:
            if own.status is not PaymentStatus.COMPLETE:
                article_of(transaction, article_id, None)
            return Plan(payment_id=own.id)
        if first != payment_id:
            return Plan(payment_id=first)
        return _begin(transaction, services, order, account=account, payment_id=payment_id)

    plan = await write_priced(services, unit)
    standing = await invoices.finish(services, plan)
    return GeneratedInvoice(
        payment=standing.payment,
        options=standing.options,
        client_secret=services.derive.client_secret(plan.payment_id),
        replayed=plan.payment is None,
    )


async def retry_payment(
    services: Services, principal: Principal, payment_id: PaymentId, client_secret: str | None
) -> Payment:
    """Give a payment another invoice, whoever calls: the merchant, the reader it buys for, a holder of its secret.

    Those who pay may retry what buys an article, at the price it was asked for, also when the merchant canceled it;
    how long the price of another order holds is the merchant's to say.

    Raises:
        PermissionDenied: it is no payment for an article, and there is no key that may write.
        ArticleHidden, ArticleNotFound: the article is not sold any more.
        as for ``invoices.retry_payment``.
    """
    shows_something = client_secret is not None or principal.account_id is not None or principal.payment_id is not None
    if principal.allows(Scope.PAYMENTS_WRITE) or not shows_something:
        return await invoices.retry_payment(services, principal, payment_id)
    await services.admit_asking(principal)

    def unit(transaction: Transaction) -> Plan:
        payment = payments.lock_payment(transaction, payment_id)
        if payment is None or not is_payers(services, principal, payment, client_secret):
            raise PaymentNotFound(payment_id)
        if payment.article_id is None:
            raise PermissionDenied(Scope.PAYMENTS_WRITE)
        plan = invoices.begin_again(transaction, services, payment)
        article_of(transaction, payment.article_id, None)
        return plan

    return (await invoices.finish(services, await services.database.write(unit))).payment


async def _check_refund_address(services: Services, order: InvoiceOrder, account_id: AccountId | None) -> None:
    """Try the refund address of what would be a new payment; its owner is not asked again for one that stands."""

    def query(transaction: Transaction) -> Payment | None:
        article_id, key = order.article_id or ArticleId(""), order.idempotency_key
        if account_id is not None:
            if order.purpose is not PaymentPurpose.UPVOTE and own_view_id(transaction, article_id, account_id):
                return None
            if key is not None and idempotency.OF_READERS.find(transaction, owner=account_id, key=key) is not None:
                return None
        return _draft(transaction, services, order, PaymentId(services.new_id(PAYMENT)))[0]

    draft = await read_priced(services, query)
    if draft is not None:
        await check_refund_address(services, draft)


def own_view(transaction: Transaction, article_id: ArticleId, account_id: AccountId) -> Payment | None:
    """Return the payment that an account has for the view of an article; the database lets it have one."""
    found = own_view_id(transaction, article_id, account_id)
    return None if found is None else payments.payments_by_id(transaction, [found])[0]


def own_view_id(transaction: Transaction, article_id: ArticleId, account_id: AccountId) -> PaymentId | None:
    return payments.view_payments(transaction, [article_id], viewer=account_id, complete=False)[0]


def _check_order_of_visitor(order: InvoiceOrder, principal: Principal) -> None:
    """Refuse what is the merchant's to say, because it is the merchant's books, money, name or server.

    Raises:
        InvalidInput: names the field.
    """
    said = {
        "description": order.description,
        "correlationId": order.correlation_id,
        "notifyUrl": order.notify_url,
        "expiresIn": order.expires_in_s,
        "alsoAccept": order.also_accept or None,
        "hold": order.hold or None,
    }
    for name, value in said.items():
        if value is not None:
            raise InvalidInput(name, f"{name} is the merchant's to say; leave it out")
    if order.idempotency_key is not None and principal.account_id is None:
        raise InvalidInput("idempotencyKey", "an idempotency key belongs to somebody; log in, or leave it out")


def _first_use(
    transaction: Transaction, services: Services, order: InvoiceOrder, account_id: AccountId, payment_id: PaymentId
) -> PaymentId:
    """Return the payment that the order's key was first used for, which is ``payment_id`` for a new key or none.

    Raises:
        IdempotencyConflict: it was first used for another order.
    """
    if order.idempotency_key is None:
        return payment_id
    asked = idempotency.FirstUse(fingerprint=order.fingerprint(), payment_id=payment_id)
    first = idempotency.OF_READERS.remember(
        transaction, owner=account_id, key=order.idempotency_key, first_use=asked, at=services.now()
    )
    if first.fingerprint != asked.fingerprint:
        raise IdempotencyConflict(order.idempotency_key)
    return first.payment_id


def _begin(
    transaction: Transaction,
    services: Services,
    order: InvoiceOrder,
    *,
    account: Account | None,
    payment_id: PaymentId,
) -> Plan:
    payment, rails = _draft(transaction, services, order, payment_id)
    if account is None:
        payment = replace(payment, viewer=payment_id)
    else:
        memo = f"User '{account.username}' | ArticleId {payment.article_id}"
        payment = replace(payment, viewer=account.id, description=memo)
    return invoices.begin(transaction, services, payment, rails=rails)


def _draft(
    transaction: Transaction, services: Services, order: InvoiceOrder, payment_id: PaymentId
) -> tuple[Payment, Sequence[ReceivingProvider]]:
    """Return the payment that an order comes to, not stored yet and for nobody in particular, and its rails."""
    article = article_of(transaction, order.article_id or ArticleId(""), None)
    merchant = _merchant(transaction, article.merchant_id)
    chosen = _rail(services, order, merchant=merchant, article=article)
    if order.provider not in {None, chosen}:
        raise InvalidInput("provider", f"this article is sold on {chosen!r}; leave the provider out")
    rails = rails_of(services, replace(order, provider=chosen), merchant)
    payment = payment_of(services, order, merchant=merchant, article=article, payment_id=payment_id, rails=rails)
    return payment, rails


def _rail(services: Services, order: InvoiceOrder, *, merchant: Merchant, article: Article) -> str:
    """Return the rail that an article is sold on: its merchant's, unless another takes the asset of the price."""
    upvote = order.amount or msat(services.rules.upvote_msat_min)
    code = (upvote if order.purpose is PaymentPurpose.UPVOTE else article.price).asset.code
    takes = [name for name, rail in services.rails.items() if rail.asset.code == code]
    return takes[0] if takes and merchant.default_provider not in takes else merchant.default_provider


def _merchant(transaction: Transaction, merchant_id: MerchantId) -> Merchant:
    merchant = merchants.merchant_by_id(transaction, merchant_id)
    if merchant is None:
        raise RuntimeError(f"article of an unknown merchant {merchant_id}")
    return merchant
