"""Mutations around the paywall: what was bought anonymously is claimed, what may not be read is taken off."""

from typing import Annotated

import strawberry

from quittance.domain.article import ArticleStatus
from quittance.domain.ids import ArticleId
from quittance.gql.context import QuittanceInfo
from quittance.gql.errors import (
    AlreadyOwnedError,
    ArticleNotFoundError,
    InvalidInputError,
    LoginRequiredError,
    PaymentNotClaimableError,
    PermissionDeniedError,
    RateLimitedError,
)
from quittance.gql.types.article import Article
from quittance.gql.types.payment import Payment
from quittance.resolvers import claims, moderation


@strawberry.input(description="What to claim.")
class ClaimPaymentInput:
    client_secret: str = strawberry.field(description="The client secret of the anonymous payment.")


@strawberry.input(description="What becomes of an article.")
class ModerateArticleInput:
    article_id: strawberry.ID = strawberry.field(description="The article, of any merchant.")
    status: ArticleStatus = strawberry.field(
        description="REMOVED, so that nobody reads it; VISIBLE or HIDDEN for one that was removed."
    )
    reason: str = strawberry.field(
        description=f"Why, for the audit logs of its merchant and of the operator; at most {moderation.REASON_MAX} "
        "characters."
    )


@strawberry.type(description="The payment, which buys for the reader now.")
class ClaimPaymentSuccess:
    payment: Payment = strawberry.field(description="The payment.")


@strawberry.type(description="The article as it is now.")
class ModerateArticleSuccess:
    article: Article = strawberry.field(description="The article.")


ClaimPaymentResult = Annotated[
    ClaimPaymentSuccess
    | LoginRequiredError
    | InvalidInputError
    | PaymentNotClaimableError
    | AlreadyOwnedError
    | RateLimitedError,
    strawberry.union("ClaimPaymentResult", description="What `claimPayment` gives."),
]
ModerateArticleResult = Annotated[
    ModerateArticleSuccess | PermissionDeniedError | ArticleNotFoundError | InvalidInputError | RateLimitedError,
    strawberry.union("ModerateArticleResult", description="What `moderateArticle` gives."),
]


@strawberry.type(description="What can be done around the paywall.")
class PurchaseMutations:
    @strawberry.mutation(
        description="Have an anonymous view payment buy for the reader's account, paid or not; the same again changes "
        "nothing. An own payment for the article that is not complete gives way and becomes anonymous."
    )
    async def claim_payment(
        self,
        info: QuittanceInfo,
        input: Annotated[ClaimPaymentInput, strawberry.argument(description="What to claim.")],  # noqa: A002
    ) -> ClaimPaymentResult | None:
        claimed = await claims.claim_payment(info.context.services, info.context.principal, input.client_secret)
        info.context.loaders.forget_payment(claimed.id)
        return ClaimPaymentSuccess(payment=Payment.from_domain(claimed))

    @strawberry.mutation(
        description="Remove an article, or put back one that was removed. For admin keys of the first merchant."
    )
    async def moderate_article(
        self,
        info: QuittanceInfo,
        input: Annotated[ModerateArticleInput, strawberry.argument(description="What to do.")],  # noqa: A002
    ) -> ModerateArticleResult | None:
        moderated = await moderation.moderate_article(
            info.context.services,
            info.context.principal,
            ArticleId(input.article_id),
            status=input.status,
            reason=input.reason,
        )
        return ModerateArticleSuccess(article=Article.from_domain(moderated))
