"""A page of which one part cannot be read: the rest of it arrives."""

from dataclasses import replace
from typing import Any

import pytest
from tests.integration.watched import WatchedDatabase

from quittance.gql.schema import schema

PAGE = """
{
  payments(first: 10) {
    totalCount
    edges { node { id paymentRequest article { title content } events { totalCount } } }
  }
}
"""
CREATE = """
mutation ($input: CreateArticleInput!) {
  createArticle(input: $input) { ... on CreateArticleSuccess { article { id } } }
}
"""


@pytest.mark.parametrize(("table", "field"), [("payment_option", "paymentRequest"), ("article", "article")])
async def test_a_read_that_fails_costs_its_own_field_of_each_row_and_nothing_else(
    till: Any, table: str, field: str
) -> None:
    draft = {"title": "T", "content": "the text", "price": {"msat": "5000"}}
    article_id = (await till.shop.mutate("createArticle", CREATE, {"input": draft}))["article"]["id"]
    for _ in range(3):
        await till.report(await till.money((await till.order(article_id=article_id)).payment.id))
    whole = (await till.shop.run(PAGE))["payments"]
    broken: Any = WatchedDatabase(till.services.database, failing=table)
    shop = till.on(replace(till.services, database=broken)).shop

    result = await schema.execute(PAGE, {}, shop.context())

    expected = [edge["node"] | {field: None} for edge in whole["edges"]]
    assert result.data is not None
    assert [edge["node"] for edge in result.data["payments"]["edges"]] == expected
    assert result.data["payments"]["totalCount"] == 3
    assert all(edge["node"][field] for edge in whole["edges"])
    assert sorted(error.path or [] for error in result.errors or []) == [
        ["payments", "edges", row, "node", field] for row in range(3)
    ]
