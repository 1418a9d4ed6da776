"""Upvotes of the tests: bought by readers or by the merchant's key, paid, and shared out."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, update
from tests.integration.readers import caller, log_in
from tests.integration.runners import runner_of

from quittance.domain.access import Principal
from quittance.domain.ids import AccountId, ArticleId, PaymentId
from quittance.domain.job import JobKind
from quittance.domain.money import msat
from quittance.domain.payment import PaymentPurpose
from quittance.domain.upvote import Upvoter
from quittance.store import upvotes
from quittance.store.models import PaymentRow, table_of
from quittance.store.statement import Statement

CREATE = """
mutation ($input: CreateArticleInput!) {
  createArticle(input: $input) { ... on CreateArticleSuccess { article { id } } }
}
"""
UPVOTE = """
query ($id: ID!) { payment(id: $id) { status article { upvotes }
  upvote { state sharedAmong share { value } remainder { value } } } }
"""
EARNINGS = """
query ($first: Int, $after: String) { viewer { account { balances { value }
  earnings(first: $first, after: $after) { totalCount pageInfo { hasNextPage endCursor }
    edges { node { amount { value } earnedAt article { id } } } } } } }
"""
_PAYMENT = table_of(PaymentRow)
_BUY_FOR = Statement(
    lambda _: update(_PAYMENT).where(_PAYMENT.c.id == bindparam("payment_id")).values(viewer=bindparam("for_whom"))
)


def reader(number: int) -> AccountId:
    """Return the account of a reader who never logs in."""
    return AccountId(f"acc_{number:032x}")


async def new_article(till: Any) -> ArticleId:
    draft = {"title": "T", "content": "the text", "price": {"msat": "5000"}}
    made = await till.shop.mutate("createArticle", CREATE, {"input": draft})
    return ArticleId(made["article"]["id"])


async def new_reader(till: Any, name: str, number: int) -> Principal:
    return await caller(till.shop, (await log_in(till.shop, name, number=number))["token"])


async def order_upvote(
    till: Any, article_id: ArticleId, account_id: AccountId | None, *, amount_msat: int = 1_000_000
) -> PaymentId:
    """Have an upvote made that can be paid: for a reader, or for the merchant's own key."""
    made = await till.order(article_id=article_id, purpose=PaymentPurpose.UPVOTE, amount=msat(amount_msat))
    payment_id = PaymentId(made.payment.id)
    if account_id is not None:
        await till.services.database.write(
            lambda t: t.execute(_BUY_FOR, {"payment_id": payment_id, "for_whom": account_id})
        )
    return payment_id


async def upvote(
    till: Any, article_id: ArticleId, account_id: AccountId | None, *, amount_msat: int = 1_000_000
) -> PaymentId:
    """Upvote an article and let the money come."""
    payment_id = await order_upvote(till, article_id, account_id, amount_msat=amount_msat)
    await till.report(await till.money(payment_id, amount_msat=amount_msat))
    return payment_id


async def share(till: Any) -> None:
    """Run the jobs that share out, until none is due."""
    runner = runner_of(till.services, JobKind.UPVOTE_SPLIT)
    while await runner.begin_due():
        await runner.idle()


async def seen(till: Any, payment_id: PaymentId, **more: Any) -> Any:
    return (await till.shop.run(UPVOTE, {"id": payment_id}, **more))["payment"]["upvote"]


async def owed(till: Any) -> dict[str, int]:
    """Return what the ledger owes to whom, after it was audited: readers by their id, the rest by kind; no zeros."""
    balances = await till.balances()
    return {key.split("/")[1] if "/" in key else key: -value for key, value in balances.items() if value}


async def with_upvoters(till: Any, article_id: ArticleId, count: int) -> Sequence[AccountId]:
    """Have so many readers upvote an article as a long history would leave them."""
    account_ids = [reader(number) for number in range(1, count + 1)]

    def unit(transaction: Any) -> None:
        for place, account_id in enumerate(account_ids, start=1):
            upvotes.insert_upvoter(transaction, article_id, Upvoter(place=place, account_id=account_id))

    await till.services.database.write(unit)
    return account_ids
