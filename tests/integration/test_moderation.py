"""What the operator removes, its merchant cannot put back, and nobody reads."""

from typing import Any

import pytest
from tests.integration.buying import MODERATE, OPEN, article_of, buy, moderate, reader
from tests.integration.test_isolation import new_article

from quittance.domain.access import ANONYMOUS, Principal, Scope
from quittance.domain.ids import BOOTSTRAP_MERCHANT

CHANGE = """
mutation ($id: ID!, $status: ArticleStatus, $title: String) {
  updateArticle(input: {id: $id, status: $status, title: $title}) { __typename
    ... on UpdateArticleSuccess { article { status title } } ... on UserError { code } }
}
"""
RENAME = """
mutation ($id: ID!) { updateArticle(input: {id: $id, title: "Mended"}) { __typename
  ... on UpdateArticleSuccess { article { status title } } } }
"""
SHOW = """
mutation ($id: ID!) { updateArticle(input: {id: $id, status: VISIBLE}) { __typename ... on UserError { code } } }
"""
HIDE = "mutation ($id: ID!) { hideArticle(id: $id) { __typename ... on UserError { code } } }"
CREATE = """
mutation ($input: CreateArticleInput!) { createArticle(input: $input) { __typename
  ... on InvalidArticleError { code field } } }
"""
LISTED = "{ articles { totalCount edges { node { id } } } }"
LOG = """
query ($id: ID!) { auditLog(filter: {subjectId: $id, action: ARTICLE_MODERATED}) { edges { node { detail } } } }
"""


async def test_a_removed_article_is_read_by_nobody_and_its_buyers_see_that_it_was(till: Any, other_shop: Any) -> None:
    theirs = till.of(other_shop)
    article_id, alice = await new_article(theirs), await reader(till)
    own, anonymous = await buy(till, article_id, as_=alice), await buy(till, article_id)
    for made in (own, anonymous):
        await till.report(await till.pay(made["payment"]["id"]))

    removed = await moderate(till, article_id, "REMOVED")
    seen = await article_of(till, article_id, as_=alice)
    held = await till.shop.run(
        OPEN, {"id": anonymous["payment"]["id"], "secret": anonymous["clientSecret"]}, as_=ANONYMOUS
    )
    again = await buy(till, article_id, as_=alice)
    stranger = await buy(till, article_id)
    listed = [(await till.shop.run(LISTED, as_=who))["articles"]["totalCount"] for who in (alice, ANONYMOUS)]

    assert removed["article"] == {"id": article_id, "status": "REMOVED"}
    assert (seen["status"], seen["locked"], seen["content"]) == ("REMOVED", True, None)
    assert seen["payment"] == {"id": own["payment"]["id"], "status": "COMPLETE"}
    assert held["payment"] == {"status": "COMPLETE", "article": {"content": None}}
    assert (again["replayed"], again["payment"]["status"]) == (True, "COMPLETE")
    assert again["payment"]["article"] == {"id": article_id, "status": "REMOVED", "locked": True, "content": None}
    assert stranger["code"] == "ARTICLE_HIDDEN"
    assert listed == [0, 0]
    assert await article_of(till, article_id) is None


async def test_its_merchant_changes_its_texts_but_cannot_put_it_back(till: Any, other_shop: Any) -> None:
    theirs = till.of(other_shop)
    article_id = await new_article(theirs)
    await moderate(till, article_id, "REMOVED")

    refused = [await theirs.shop.mutate("updateArticle", SHOW, {"id": article_id})]
    refused.append(await theirs.shop.mutate("hideArticle", HIDE, {"id": article_id}))
    changed = await theirs.shop.mutate("updateArticle", RENAME, {"id": article_id})
    own = await article_of(theirs, article_id, as_=other_shop.principal)
    log = (await theirs.shop.run(LOG, {"id": article_id}))["auditLog"]["edges"]

    assert refused == [{"__typename": "ArticleRemovedError", "code": "ARTICLE_REMOVED"}] * 2
    assert changed["article"] == {"status": "REMOVED", "title": "Mended"}
    assert (own["status"], own["content"]) == ("REMOVED", None)
    assert [edge["node"]["detail"] for edge in log] == ["status: REMOVED: It is not theirs."]


async def test_the_operator_puts_it_back_and_what_was_bought_is_read_again(till: Any) -> None:
    article_id, alice = await new_article(till), await reader(till)
    await till.report(await till.pay((await buy(till, article_id, as_=alice))["payment"]["id"]))
    await moderate(till, article_id, "REMOVED")
    same = await moderate(till, article_id, "REMOVED")

    back = await moderate(till, article_id, "VISIBLE")

    assert same["article"]["status"] == "REMOVED"
    assert back["article"]["status"] == "VISIBLE"
    assert (await article_of(till, article_id, as_=alice))["content"] == "the text"
    kinds = [row["kind"] for row in await till.rows("event") if row["article_id"] == article_id]
    assert [kind for kind in kinds if kind.startswith("article")] == [
        "article.published",
        "article.updated",
        "article.published",
    ]
    assert len((await till.shop.run(LOG, {"id": article_id}))["auditLog"]["edges"]) == 2


async def test_only_the_operator_moderates(till: Any, other_shop: Any) -> None:
    article_id, alice = await new_article(till.of(other_shop)), await reader(till)
    writer = Principal(merchant_id=BOOTSTRAP_MERCHANT, scopes=frozenset({Scope.ARTICLES_WRITE, Scope.PAYMENTS_WRITE}))

    refused = [
        await moderate(till, article_id, "REMOVED", as_=who) for who in (other_shop.principal, writer, alice, ANONYMOUS)
    ]

    assert [one["code"] for one in refused] == ["PERMISSION_DENIED"] * 4
    assert [row["status"] for row in await till.rows("article")] == ["VISIBLE"]


@pytest.mark.parametrize(
    ("said", "field"),
    [({"status": "HIDDEN"}, "status"), ({"reason": " "}, "reason"), ({"reason": "x" * 501}, "reason"),
     ({"reason": "\x00"}, "reason")],
)  # fmt: skip
async def test_what_the_operator_must_say(till: Any, said: dict[str, str], field: str) -> None:
    article_id = await new_article(till)
    given = {"articleId": article_id, "status": "REMOVED", "reason": "Why."} | said

    refused = await till.shop.mutate("moderateArticle", MODERATE, {"input": given})

    assert (refused["code"], refused["field"]) == ("INVALID_INPUT", field)
    assert [row["status"] for row in await till.rows("article")] == ["VISIBLE"]


async def test_a_merchant_removes_nothing_itself(till: Any) -> None:
    article_id = await new_article(till)
    draft = {"title": "T", "content": "C", "price": {"sat": "1"}, "status": "REMOVED"}

    made = await till.shop.mutate("createArticle", CREATE, {"input": draft})
    changed = await till.shop.mutate("updateArticle", CHANGE, {"id": article_id, "status": "REMOVED", "title": "T"})

    assert made == {"__typename": "InvalidArticleError", "code": "INVALID_ARTICLE", "field": "status"}
    assert changed["code"] == "INVALID_ARTICLE"
    assert [row["status"] for row in await till.rows("article")] == ["VISIBLE"]
