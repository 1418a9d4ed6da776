"""Articles on the wire."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, TypeVar

import strawberry

from quittance.domain import article, payment
from quittance.domain.access import Scope
from quittance.domain.article import ArticleOrder, ArticleStatus
from quittance.domain.ids import ArticleId, PaymentId
from quittance.domain.money import BTC_MSAT
from quittance.domain.payment import PaymentPurpose, PaymentStatus
from quittance.gql.context import Context, QuittanceInfo
from quittance.gql.types.money import AmountInput, Money
from quittance.gql.types.node import Node, PageInfo
from quittance.gql.types.qr import QrFormat, qr_data_uri
from quittance.resolvers import articles, lightning_names
from quittance.resolvers.payments import may_see

if TYPE_CHECKING:
    from quittance.gql.types.payment import Payment

R = TypeVar("R")

strawberry.enum(
    ArticleStatus,
    description="Whether an article is listed and can be bought. Who bought one that its merchant made HIDDEN reads "
    "on; one that the operator made REMOVED is read by nobody.",
)
strawberry.enum(ArticleOrder, description="In which order articles are listed.")


@strawberry.type(description="Something to read for money.")
class Article(Node):
    subject: strawberry.Private[article.Article]
    opened: strawberry.Private[bool]
    title: str = strawberry.field(description="The headline.")
    summary: str | None = strawberry.field(description="What everybody may read.")
    status: ArticleStatus = strawberry.field(description="Whether it is listed and can be bought.")
    price: Money = strawberry.field(description="What a view costs.")
    views: int = strawberry.field(description="How many complete view payments it has.")
    upvotes: int = strawberry.field(description="How many complete upvote payments it has.")
    created_at: datetime = strawberry.field(description="When it was written.")

    @strawberry.field(
        description="The text; null until this viewer, or the client secret that led here, has paid, and once REMOVED."
    )
    def content(self, info: QuittanceInfo) -> str | None:
        return self._unlocked(info.context, lambda unlocked: self.subject.content if unlocked else None)

    @strawberry.field(description="Whether `content` is kept from this viewer.")
    def locked(self, info: QuittanceInfo) -> bool:
        return self._unlocked(info.context, lambda unlocked: not unlocked)

    @strawberry.field(description="The text as its merchant wrote it; null without the scope articles:write.")
    async def manuscript(self, info: QuittanceInfo) -> str | None:
        principal = info.context.principal
        own = principal.merchant_id == self.subject.merchant_id and principal.allows(Scope.ARTICLES_WRITE)
        return self.subject.content if own else None

    @strawberry.field(description="A Lightning Address that sells it; null while it cannot be bought for bitcoin.")
    def lightning_address(self, info: QuittanceInfo) -> str | None:
        return lightning_names.address_of(info.context.services, self.subject.id) if self._for_sale else None

    @strawberry.field(description="The same as an LNURL, in capitals; null while it cannot be bought for bitcoin.")
    def lnurl(self, info: QuittanceInfo) -> str | None:
        return lightning_names.lnurl_of(info.context.services, self.subject.id) if self._for_sale else None

    @strawberry.field(
        description="The LNURL as a QR code: a data: URI; null while it cannot be bought, and without a key of its "
        "merchant, as drawing a page of them is work that strangers must not ask for: they can draw `lnurl`."
    )
    async def lnurl_qr_code(
        self,
        info: QuittanceInfo,
        format: Annotated[QrFormat | None, strawberry.argument(description="How to draw it.")] = QrFormat.SVG,  # noqa: A002
    ) -> str | None:
        if not self._for_sale or info.context.principal.merchant_id != self.subject.merchant_id:
            return None
        lnurl = lightning_names.lnurl_of(info.context.services, self.subject.id)
        return await asyncio.to_thread(qr_data_uri, lnurl.lower(), format or QrFormat.SVG)

    @property
    def _for_sale(self) -> bool:
        return self.subject.status is ArticleStatus.VISIBLE and self.subject.price.asset.code == BTC_MSAT.code

    @strawberry.field(description="This viewer's own newest view payment.")
    async def payment(
        self, info: QuittanceInfo
    ) -> Annotated["Payment", strawberry.lazy("quittance.gql.types.payment")] | None:
        from quittance.gql.types.payment import Payment  # noqa: PLC0415 - the two types name each other

        payment_id = await _own_payment(info.context, self.subject.id)
        found = None if payment_id is None else await info.context.loaders.payment.load(payment_id)
        if found is None or not may_see(info.context.services, info.context.principal, found, None):
            return None
        return Payment.from_domain(found)

    def _unlocked(self, context: Context, use: Callable[[bool], R]) -> R:
        """Tell ``use`` whether this caller may read the text."""
        if self.subject.status is ArticleStatus.REMOVED:
            return use(False)
        if self.opened:
            return use(True)
        if context.principal.payment_id is not None:
            return context.loaders.payment.then(
                context.principal.payment_id,
                lambda held: use(held is not None and held.article_id == self.subject.id and opens_article(held)),
            )
        if not context.principal.viewer:
            return use(False)
        return context.loaders.bought.then(self.subject.id, lambda bought: use(bought is not None))

    @staticmethod
    def from_domain(subject: article.Article, *, opened: bool = False) -> "Article":
        """``opened``: the caller reached it through a payment that bought it."""
        return Article(
            id=strawberry.ID(subject.id),
            subject=subject,
            opened=opened,
            title=subject.title,
            summary=subject.summary,
            status=subject.status,
            price=Money.from_domain(subject.price),
            views=subject.views,
            upvotes=subject.upvotes,
            created_at=subject.created_at,
        )


def opens_article(held: payment.Payment) -> bool:
    """Tell whether a payment gives its holder the text of its article."""
    return held.purpose is PaymentPurpose.VIEW and held.status is PaymentStatus.COMPLETE


async def _own_payment(context: Context, article_id: ArticleId) -> PaymentId | None:
    if context.principal.payment_id is not None:
        held = await context.loaders.payment.load(context.principal.payment_id)
        return held.id if held is not None and held.article_id == article_id else None
    return await context.loaders.view_payment.load(article_id)


@strawberry.type(description="An article in a page.")
class ArticleEdge:
    cursor: str = strawberry.field(description="Where this article stands in the list.")
    node: Article = strawberry.field(description="The article.")


@strawberry.type(description="A page of articles.")
class ArticleConnection:
    edges: list[ArticleEdge] = strawberry.field(description="The articles of this page.")
    page_info: PageInfo = strawberry.field(description="Where this page begins and ends.")

    @strawberry.field(description="How many articles the whole list has.")
    async def total_count(self, info: QuittanceInfo) -> int:
        return await articles.count_articles(info.context.services, info.context.principal)


@strawberry.input(description="A new article.")
class CreateArticleInput:
    title: str = strawberry.field(description="The headline, at most 191 characters.")
    content: str = strawberry.field(description="The text that is paid for.")
    price: AmountInput = strawberry.field(description="What a view costs.")
    summary: str | None = strawberry.field(default=None, description="What everybody may read.")
    status: ArticleStatus | None = strawberry.field(default=None, description="VISIBLE unless said otherwise.")


@strawberry.input(description="What to change of an article; what is left out stays as it is.")
class UpdateArticleInput:
    id: strawberry.ID = strawberry.field(description="The article.")
    title: str | None = strawberry.field(default=strawberry.UNSET, description="The headline; cannot be null.")
    content: str | None = strawberry.field(default=strawberry.UNSET, description="The text; cannot be null.")
    price: AmountInput | None = strawberry.field(default=strawberry.UNSET, description="The price; cannot be null.")
    summary: str | None = strawberry.field(default=strawberry.UNSET, description="The summary; null takes it away.")
    status: ArticleStatus | None = strawberry.field(
        default=strawberry.UNSET, description="VISIBLE or HIDDEN; cannot be null, nor changed once it is REMOVED."
    )
