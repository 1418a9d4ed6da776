"""Upvotes on the wire: how they are shared out, and what readers earn by them."""

from collections.abc import Awaitable, Callable
from datetime import datetime

import strawberry

from quittance.domain import upvote
from quittance.domain.cursor import encode_key
from quittance.domain.upvote import UpvoteState
from quittance.gql.context import QuittanceInfo
from quittance.gql.types.article import Article
from quittance.gql.types.money import Money
from quittance.gql.types.node import PageInfo
from quittance.resolvers.articles import may_list
from quittance.store.earnings import Earning as EarningRow

EARNING = "earning"

strawberry.enum(
    UpvoteState,
    description="SPLITTING: the shares are fixed and the money is set aside, some are not posted yet. SPLIT: all are.",
)


@strawberry.type(
    description="How a complete upvote is shared out: equally among all readers who upvoted the article before, but "
    "not its payer. `sharedAmong` times `share`, and `remainder`, are exactly what came."
)
class Upvote:
    state: UpvoteState = strawberry.field(description="Whether the shares have reached the readers' balances.")
    shared_among: int = strawberry.field(description="How many share in it; none in an article's first upvote.")
    share: Money = strawberry.field(description="What each of them gets.")
    remainder: Money = strawberry.field(
        description="What the author, the article's merchant, gets: all where nobody shares, else what does not divide."
    )

    @staticmethod
    def from_domain(subject: upvote.Upvote) -> "Upvote":
        return Upvote(
            state=subject.state,
            shared_among=subject.split.sharers,
            share=Money.from_domain(subject.split.share),
            remainder=Money.from_domain(subject.split.remainder),
        )


@strawberry.type(description="A share of an upvote that somebody else paid.")
class Earning:
    subject: strawberry.Private[EarningRow]
    amount: Money = strawberry.field(description="The share.")
    earned_at: datetime = strawberry.field(description="When it was added to the reader's balance.")

    @strawberry.field(description="The article that both upvoted; null while it is hidden.")
    async def article(self, info: QuittanceInfo) -> Article | None:
        found = await info.context.loaders.article.load(self.subject.article_id)
        if found is None or not may_list(info.context.principal, found):
            return None
        return Article.from_domain(found)

    @staticmethod
    def from_domain(subject: EarningRow) -> "Earning":
        return Earning(subject=subject, amount=Money.from_domain(subject.amount), earned_at=subject.earned_at)


@strawberry.type(description="An earning in a page.")
class EarningEdge:
    cursor: str = strawberry.field(description="Where this one stands in the list.")
    node: Earning = strawberry.field(description="The earning.")

    @staticmethod
    def from_domain(subject: EarningRow) -> "EarningEdge":
        return EarningEdge(cursor=encode_key(EARNING, *subject.key), node=Earning.from_domain(subject))


@strawberry.type(description="A page of what a reader earned.")
class EarningConnection:
    count: strawberry.Private[Callable[[], Awaitable[int]]]
    edges: list[EarningEdge] = strawberry.field(description="The earnings of this page, the newest first.")
    page_info: PageInfo = strawberry.field(description="Where this page begins and ends.")

    @strawberry.field(description="How many there are.")
    async def total_count(self) -> int:
        return await self.count()
