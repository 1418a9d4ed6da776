"""Mutations: a success, or an error as data. Null only after a bug, so that a neighbour's result survives."""

from typing import Annotated

import strawberry

from quittance.domain.article import ArticleStatus
from quittance.domain.errors import InvalidArticle
from quittance.domain.ids import ArticleId, PaymentId
from quittance.gql.arguments import ClientSecret, Id
from quittance.gql.context import QuittanceInfo
from quittance.gql.holds import HoldMutations
from quittance.gql.lnurl_logins import LnurlLoginMutations
from quittance.gql.merchants import MerchantMutations
from quittance.gql.payees import PayeeMutations
from quittance.gql.provider_webhooks import ProviderWebhookMutations
from quittance.gql.purchases import PurchaseMutations
from quittance.gql.readers import ReaderMutations
from quittance.gql.results import (
    CancelPaymentResult,
    CancelPaymentSuccess,
    CheckPaymentResult,
    CheckPaymentSuccess,
    CreateArticleResult,
    CreateArticleSuccess,
    GenerateInvoiceResult,
    GenerateInvoiceSuccess,
    HideArticleResult,
    HideArticleSuccess,
    RetryPaymentResult,
    RetryPaymentSuccess,
    UpdateArticleResult,
    UpdateArticleSuccess,
)
from quittance.gql.transfers import TransferMutations
from quittance.gql.types.article import Article, CreateArticleInput, UpdateArticleInput
from quittance.gql.types.payment import GenerateInvoiceInput, Payment
from quittance.gql.webhooks import WebhookMutations
from quittance.gql.withdrawals import WithdrawalMutations
from quittance.resolvers import articles, payments, purchases
from quittance.resolvers.articles import ArticleChange, ArticleDraft
from quittance.resolvers.orders import InvoiceOrder


@strawberry.type(description="Everything that can be done.")
class Mutation(
    MerchantMutations,
    WebhookMutations,
    ReaderMutations,
    LnurlLoginMutations,
    PurchaseMutations,
    TransferMutations,
    HoldMutations,
    PayeeMutations,
    WithdrawalMutations,
    ProviderWebhookMutations,
):
    @strawberry.mutation(description="Write an article; a visible one is published at once.")
    async def create_article(
        self,
        info: QuittanceInfo,
        input: Annotated[CreateArticleInput, strawberry.argument(description="The article.")],  # noqa: A002
    ) -> CreateArticleResult | None:
        draft = ArticleDraft(
            title=input.title,
            content=input.content,
            summary=input.summary,
            price=input.price.to_domain(),
            status=input.status or ArticleStatus.VISIBLE,
        )
        made = await articles.create_article(info.context.services, info.context.principal, draft)
        return CreateArticleSuccess(article=Article.from_domain(made))

    @strawberry.mutation(description="Change an article; what is left out stays as it is.")
    async def update_article(
        self,
        info: QuittanceInfo,
        input: Annotated[UpdateArticleInput, strawberry.argument(description="What to change.")],  # noqa: A002
    ) -> UpdateArticleResult | None:
        changed = await articles.update_article(
            info.context.services, info.context.principal, ArticleId(input.id), _change(input)
        )
        return UpdateArticleSuccess(article=Article.from_domain(changed))

    @strawberry.mutation(description="Take an article off the list; those who bought it keep reading it.")
    async def hide_article(self, info: QuittanceInfo, id: Id) -> HideArticleResult | None:  # noqa: A002
        changed = await articles.update_article(
            info.context.services, info.context.principal, ArticleId(id), ArticleChange(status=ArticleStatus.HIDDEN)
        )
        return HideArticleSuccess(article=Article.from_domain(changed))

    @strawberry.mutation(
        description="Ask for money: for an article, or for an amount. A merchant's key asks as it likes; a reader for "
        "the view of an article, once, and for upvotes; anybody for a view that the client secret opens."
    )
    async def generate_invoice(
        self,
        info: QuittanceInfo,
        input: Annotated[GenerateInvoiceInput, strawberry.argument(description="What for.")],  # noqa: A002
    ) -> GenerateInvoiceResult | None:
        made = await purchases.generate_invoice(info.context.services, info.context.principal, _order(input))
        info.context.loaders.payment.prime(made.payment.id, made.payment)
        info.context.loaders.options.prime(made.payment.id, list(made.options))
        return GenerateInvoiceSuccess(
            payment=Payment.from_domain(made.payment), client_secret=made.client_secret, replayed=made.replayed
        )

    @strawberry.mutation(description="Ask the provider now how a payment stands.")
    async def check_payment(
        self,
        info: QuittanceInfo,
        id: Id,  # noqa: A002
        client_secret: ClientSecret = None,
    ) -> CheckPaymentResult | None:
        checked = await payments.check_payment(
            info.context.services, info.context.principal, PaymentId(id), client_secret
        )
        info.context.loaders.forget_payment(checked.id)
        return CheckPaymentSuccess(payment=Payment.from_domain(checked))

    @strawberry.mutation(
        description="Give a payment that failed or expired a new invoice; the old one stays as history, and money on "
        "it still counts. The reader whom it buys for, and whoever has its client secret, may retry an article's."
    )
    async def retry_payment(
        self,
        info: QuittanceInfo,
        id: Id,  # noqa: A002
        client_secret: ClientSecret = None,
    ) -> RetryPaymentResult | None:
        retried = await purchases.retry_payment(
            info.context.services, info.context.principal, PaymentId(id), client_secret
        )
        info.context.loaders.forget_payment(retried.id)
        return RetryPaymentSuccess(payment=Payment.from_domain(retried))

    @strawberry.mutation(
        description="Take a payment back that nobody has paid, as its merchant; one that is HELD is released instead."
    )
    async def cancel_payment(self, info: QuittanceInfo, id: Id) -> CancelPaymentResult | None:  # noqa: A002
        canceled = await payments.cancel_payment(info.context.services, info.context.principal, PaymentId(id))
        info.context.loaders.forget_payment(canceled.id)
        return CancelPaymentSuccess(payment=Payment.from_domain(canceled))


def _order(said: GenerateInvoiceInput) -> InvoiceOrder:
    return InvoiceOrder(
        article_id=None if said.article_id is None else ArticleId(said.article_id),
        purpose=said.purpose,
        amount=None if said.amount is None else said.amount.to_domain(),
        provider=said.provider,
        also_accept=tuple(said.also_accept or ()),
        description=said.description,
        correlation_id=said.correlation_id,
        refund_address=said.refund_address,
        expires_in_s=said.expires_in,
        idempotency_key=said.idempotency_key,
        notify_url=said.notify_url,
        hold=bool(said.hold),
    )


def _change(said: UpdateArticleInput) -> ArticleChange:
    for name in ("title", "content", "price", "status"):
        if getattr(said, name) is None:
            raise InvalidArticle(name, f"{name} cannot be null; leave it out to keep it")
    return ArticleChange(
        title=None if said.title is strawberry.UNSET else said.title,
        content=None if said.content is strawberry.UNSET else said.content,
        summary=None if said.summary is strawberry.UNSET else said.summary,
        clear_summary=said.summary is None,
        price=said.price.to_domain() if said.price else None,
        status=None if said.status is strawberry.UNSET else said.status,
    )
