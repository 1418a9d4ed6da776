"""Queries: null for what is absent, or not this caller's to see."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Annotated

import strawberry

from quittance.domain import ids, payment
from quittance.domain.access import Principal
from quittance.domain.article import ArticleOrder
from quittance.domain.cursor import decode_key, encode_key
from quittance.domain.errors import InvalidCursor
from quittance.domain.ids import ArticleId, DeliveryId, EndpointId, MerchantId, PaymentId, TransferId
from quittance.domain.payment import PaymentFilter as Narrowed
from quittance.gql.arguments import After, ClientSecret, First, Id
from quittance.gql.callbacks import CallbackQueries
from quittance.gql.context import QuittanceInfo
from quittance.gql.lookahead import load_for_payments
from quittance.gql.merchants import MerchantQueries, merchant_node
from quittance.gql.pages import PAGE_DEFAULT, asked_page
from quittance.gql.provider_webhooks import ProviderWebhookQueries
from quittance.gql.rates import RateQueries
from quittance.gql.reports import ReportQueries
from quittance.gql.transfers import TransferQueries, transfer_node
from quittance.gql.types.article import Article, ArticleConnection, ArticleEdge, opens_article
from quittance.gql.types.node import Node
from quittance.gql.types.payment import Payment, PaymentConnection, PaymentEdge, PaymentFilter
from quittance.gql.types.reader import Account
from quittance.gql.types.server import Provider, ProviderCapability, Viewer, ViewerKind
from quittance.gql.webhooks import WebhookQueries, webhook_delivery, webhook_endpoint
from quittance.gql.withdrawals import WithdrawalQueries
from quittance.resolvers import accounts, articles, payments, provider_webhooks, rails
from quittance.resolvers.services import Services


@strawberry.type(description="Everything that can be asked.")
class Query(
    MerchantQueries,
    ReportQueries,
    WebhookQueries,
    CallbackQueries,
    ProviderWebhookQueries,
    TransferQueries,
    WithdrawalQueries,
    RateQueries,
):
    @strawberry.field(description="Find an article, a payment, a refund or whatever else has an id again.")
    async def node(self, info: QuittanceInfo, id: Id) -> Node | None:  # noqa: A002
        find = _FINDERS.get(ids.prefix_of(id))
        return None if find is None else await find(info, id)

    @strawberry.field(description="Who calls, as the server understands it.")
    async def viewer(self, info: QuittanceInfo) -> Viewer:
        principal = info.context.principal
        if principal.merchant_id is None:
            account = await accounts.account_of_caller(info.context.services, principal)
            return Viewer(
                kind=_kind(principal),
                merchant=None,
                key_name=None,
                scopes=[],
                account=None if account is None else Account.from_domain(account),
            )
        return Viewer(
            kind=ViewerKind.MERCHANT,
            merchant=await merchant_node(info, principal.merchant_id),
            key_name=principal.key_name,
            scopes=sorted(principal.scopes),
            account=None,
        )

    @strawberry.field(
        description="An article; null when there is none, or it is neither visible nor the caller's own nor bought."
    )
    async def article(self, info: QuittanceInfo, id: Id) -> Article | None:  # noqa: A002
        return await _article(info, ArticleId(id))

    @strawberry.field(description="Articles that can be bought, and the caller's own hidden ones.")
    async def articles(
        self,
        info: QuittanceInfo,
        first: First = PAGE_DEFAULT,
        after: After = None,
        order_by: Annotated[
            ArticleOrder | None, strawberry.argument(description="The order; MOST_VIEWED unless said otherwise.")
        ] = None,
    ) -> ArticleConnection:
        asked = asked_page(first, after)
        order = order_by or ArticleOrder.MOST_VIEWED
        found = await articles.list_articles(
            info.context.services,
            info.context.principal,
            order=order,
            after=None if after is None else _article_key(after, order),
            limit=asked.limit,
        )
        page = asked.of(
            found,
            lambda one: ArticleEdge(cursor=encode_key(order.value, one.views, one.id), node=Article.from_domain(one)),
        )
        return ArticleConnection(edges=page.edges, page_info=page.page_info)

    @strawberry.field(description="A payment; null when there is none that this key or client secret may see.")
    async def payment(
        self,
        info: QuittanceInfo,
        id: Id,  # noqa: A002
        client_secret: ClientSecret = None,
    ) -> Payment | None:
        return await _payment(info, PaymentId(id), client_secret)

    @strawberry.field(description="The merchant's payments, the newest first.")
    async def payments(
        self,
        info: QuittanceInfo,
        first: First = PAGE_DEFAULT,
        after: After = None,
        filter: Annotated[  # noqa: A002
            PaymentFilter | None, strawberry.argument(description="What to narrow the list to.")
        ] = None,
    ) -> PaymentConnection:
        asked = asked_page(first, after)
        narrowed = Narrowed() if filter is None else _narrowed(filter)
        found = await payments.list_payments(
            info.context.services,
            info.context.principal,
            narrowed=narrowed,
            after_id=asked.after_id("payment"),
            limit=asked.limit,
        )
        await load_for_payments(info, found[: asked.size])
        page = asked.of(found, lambda one: PaymentEdge(cursor=encode_key("payment", one.id), node=_primed(info, one)))
        count = partial(payments.count_payments, info.context.services, info.context.principal, narrowed=narrowed)
        return PaymentConnection(count=count, edges=page.edges, page_info=page.page_info)

    @strawberry.field(description="The payment that this idempotency key was first used for.")
    async def payment_by_idempotency_key(
        self, info: QuittanceInfo, key: Annotated[str, strawberry.argument(description="The key.")]
    ) -> Payment | None:
        found = await payments.find_by_idempotency_key(info.context.services, info.context.principal, key)
        return None if found is None else Payment.from_domain(found)

    @strawberry.field(description="The connected rails.")
    def providers(self, info: QuittanceInfo) -> list[Provider]:
        return [
            Provider(
                name=rail.name,
                asset_code=rail.asset.code,
                asset_scale=rail.asset.scale,
                capabilities=_capabilities(info.context.services, name),
            )
            for name, rail in info.context.services.rails.items()
        ]


def _capabilities(services: Services, name: str) -> list[ProviderCapability]:
    found = [ProviderCapability.RECEIVE, ProviderCapability.CANCEL, ProviderCapability.SETTLEMENT_FEED]
    if rails.may_hold(services, name):
        found.append(ProviderCapability.HOLD)
    if rails.may_pay(services, name):
        found.append(ProviderCapability.SEND)
    if provider_webhooks.can_manage(services, name):
        found.append(ProviderCapability.WEBHOOKS)
    return found


async def _article(info: QuittanceInfo, article_id: ArticleId) -> Article | None:
    found = await info.context.loaders.article.load(article_id)
    if found is None or not (articles.may_list(info.context.principal, found) or await _bought(info, article_id)):
        return None
    return Article.from_domain(found)


async def _bought(info: QuittanceInfo, article_id: ArticleId) -> bool:
    """Tell whether this caller paid for the article, or holds the client secret of a payment that did."""
    principal, loaders = info.context.principal, info.context.loaders
    if principal.payment_id is None:
        return bool(principal.viewer) and await loaders.bought.load(article_id) is not None
    held = await loaders.payment.load(principal.payment_id)
    return held is not None and held.article_id == article_id and opens_article(held)


async def _payment(info: QuittanceInfo, payment_id: PaymentId, client_secret: str | None) -> Payment | None:
    found = await info.context.loaders.payment.load(payment_id)
    if found is None or not payments.may_see(info.context.services, info.context.principal, found, client_secret):
        return None
    return Payment.from_domain(found)


def _kind(principal: Principal) -> ViewerKind:
    if principal.account_id is not None:
        return ViewerKind.READER
    return ViewerKind.ANONYMOUS if principal.payment_id is None else ViewerKind.CLIENT_SECRET


def _primed(info: QuittanceInfo, found: payment.Payment) -> Payment:
    info.context.loaders.payment.prime(found.id, found)
    return Payment.from_domain(found)


def _narrowed(chosen: PaymentFilter) -> Narrowed:
    return Narrowed(
        status=chosen.status,
        article_id=None if chosen.article_id is None else ArticleId(chosen.article_id),
        correlation_id=chosen.correlation_id,
    )


def _article_key(after: str, order: ArticleOrder) -> tuple[int, str]:
    match decode_key(after):
        case (order.value, int(views), str(article_id)):
            return views, article_id
        case _:
            raise InvalidCursor


_FINDERS: Mapping[str, Callable[[QuittanceInfo, str], Awaitable[Node | None]]] = {
    ids.ARTICLE: lambda info, id_: _article(info, ArticleId(id_)),
    ids.PAYMENT: lambda info, id_: _payment(info, PaymentId(id_), None),
    ids.REFUND: lambda info, id_: transfer_node(info, TransferId(id_)),
    ids.PAYOUT: lambda info, id_: transfer_node(info, TransferId(id_)),
    ids.ENDPOINT: lambda info, id_: webhook_endpoint(info, EndpointId(id_)),
    ids.DELIVERY: lambda info, id_: webhook_delivery(info, DeliveryId(id_)),
    ids.MERCHANT: lambda info, id_: merchant_node(info, MerchantId(id_)),
}
