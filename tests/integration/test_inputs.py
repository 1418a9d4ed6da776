"""G4 and G6: an explicit null never passes a guard, and a crash takes no neighbour along."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
from graphql import GraphQLInputObjectType, GraphQLNonNull

from quittance.domain.money import BTC_MSAT, Asset
from quittance.gql.schema import core_schema, schema
from quittance.providers.base import Invoice, InvoiceRequest
from quittance.providers.lnd.provider import LndProvider

CREATE = """
mutation ($input: CreateArticleInput!) {
  createArticle(input: $input) {
    __typename ... on CreateArticleSuccess { article { id title status summary } } ... on UserError { code }
  }
}
"""
UPDATE = """
mutation ($input: UpdateArticleInput!) {
  updateArticle(input: $input) {
    __typename
    ... on UpdateArticleSuccess { article { title status summary price { value } manuscript } }
    ... on UserError { code }
    ... on InvalidArticleError { field }
  }
}
"""
GENERATE = """
mutation ($input: GenerateInvoiceInput!) {
  generateInvoice(input: $input) {
    __typename ... on GenerateInvoiceSuccess { payment { id status } } ... on UserError { code message }
  }
}
"""
NEIGHBOURS = """
mutation {
  crashed: generateInvoice(input: {amount: {sat: 13}}) { __typename }
  paid: generateInvoice(input: {amount: {sat: 7}}) { ... on GenerateInvoiceSuccess { payment { status } } }
}
"""
ARTICLE = {"title": "T", "content": "the text", "price": {"sat": 1000}}


def optional_fields(name: str) -> list[str]:
    kind = core_schema().type_map[name]
    assert isinstance(kind, GraphQLInputObjectType)
    return [field for field, found in kind.fields.items() if not isinstance(found.type, GraphQLNonNull)]


def invoice(**said: Any) -> dict[str, Any]:
    return {"input": {"amount": {"sat": 5}} | said}


@pytest.mark.parametrize("field", optional_fields("GenerateInvoiceInput"))
async def test_a_null_in_generate_invoice_means_the_same_as_nothing(shop: Any, field: str) -> None:
    if field == "amount":
        answer = await shop.mutate("generateInvoice", GENERATE, {"input": {"amount": None}})
        assert answer["code"] == "INVALID_AMOUNT"
        return

    answer = await shop.mutate("generateInvoice", GENERATE, invoice(**{field: None}))

    assert answer["payment"]["status"] == "PENDING_PAYMENT"


@pytest.mark.parametrize("field", optional_fields("CreateArticleInput"))
async def test_a_null_in_create_article_means_the_same_as_nothing(shop: Any, field: str) -> None:
    answer = await shop.mutate("createArticle", CREATE, {"input": ARTICLE | {field: None}})

    assert answer["article"]["status"] == "VISIBLE"
    assert answer["article"]["summary"] is None


@pytest.mark.parametrize("field", optional_fields("UpdateArticleInput"))
async def test_a_null_in_update_article_clears_the_summary_and_nothing_else(shop: Any, field: str) -> None:
    made = await shop.mutate("createArticle", CREATE, {"input": ARTICLE | {"summary": "S"}})
    article_id = made["article"]["id"]

    answer = await shop.mutate("updateArticle", UPDATE, {"input": {"id": article_id, field: None}})

    if field == "summary":
        assert answer["article"]["summary"] is None
        assert answer["article"]["title"] == "T"
    else:
        assert answer == {"__typename": "InvalidArticleError", "code": "INVALID_ARTICLE", "field": field}
        after = await shop.mutate("updateArticle", UPDATE, {"input": {"id": article_id, "title": "T"}})
        assert after["article"] == {
            "title": "T",
            "status": "VISIBLE",
            "summary": "S",
            "price": {"value": "1000"},
            "manuscript": "the text",
        }


@pytest.mark.parametrize(
    ("amount", "code"),
    [
        ({"sat": 0}, "INVALID_AMOUNT"),
        ({"sat": -1}, "INVALID_AMOUNT"),
        ({"sat": str(2**62)}, "INVALID_AMOUNT"),
        ({"msat": str(2**63 - 1)}, "INVALID_AMOUNT"),
        ({"asset": {"assetCode": "BTC", "assetScale": 12, "value": 1}}, "INVALID_AMOUNT"),
        ({"asset": {"assetCode": "XBT", "assetScale": 8, "value": 1}}, "INVALID_AMOUNT"),
        ({"asset": {"assetCode": "btc", "assetScale": 8, "value": 1}}, "INVALID_AMOUNT"),
        ({"asset": {"assetCode": "BTC", "assetScale": 99, "value": 1}}, "INVALID_AMOUNT"),
        ({"fiat": {"currency": "USD", "value": "1.00"}}, "INVALID_AMOUNT"),
    ],
)
async def test_an_amount_that_cannot_be_meant_makes_nothing(shop: Any, rails: Any, amount: Any, code: str) -> None:
    answer = await shop.mutate("generateInvoice", GENERATE, {"input": {"amount": amount}})

    assert answer["code"] == code
    assert not rails.nodes["merchant"].invoices


@pytest.mark.parametrize(
    "said",
    [
        {"expiresIn": 0},
        {"expiresIn": -5},
        {"expiresIn": 2**31 - 1},
        {"description": ""},
        {"description": "x" * 640},
        {"description": "a\x00b"},
        {"idempotencyKey": " "},
        {"correlationId": "x" * 256},
        {"purpose": "VIEW"},
        {"purpose": "OFFER"},
    ],
)
async def test_an_argument_that_breaks_a_rule_makes_nothing(shop: Any, rails: Any, said: Any) -> None:
    answer = await shop.mutate("generateInvoice", GENERATE, invoice(**said))

    assert answer["code"] == "INVALID_INPUT"
    assert not rails.nodes["merchant"].invoices


@dataclass
class CrashingRail:
    """Crashes, as a bug would, for one amount."""

    real: LndProvider
    name: str = "lnd"
    asset: Asset = BTC_MSAT

    def __getattr__(self, member: str) -> Any:
        return getattr(self.real, member)

    async def create_invoice(self, request: InvoiceRequest) -> Invoice:
        if request.amount.value == 13_000:
            raise ZeroDivisionError
        return await self.real.create_invoice(request)


async def test_g6_a_crash_in_one_mutation_leaves_its_neighbour(shop: Any, lnd: LndProvider) -> None:
    broken = shop.with_services(replace(shop.services, rails={"lnd": CrashingRail(lnd)}, making={}))

    result = await schema.execute(NEIGHBOURS, None, broken.context())

    assert result.errors is not None
    assert [error.path for error in result.errors] == [["crashed"]]
    assert result.data == {"crashed": None, "paid": {"payment": {"status": "PENDING_PAYMENT"}}}


CANCEL = "mutation ($id: ID!) { cancelPayment(id: $id) { __typename ... on UserError { code retryable } } }"
CHECK = "mutation ($id: ID!) { checkPayment(id: $id) { __typename ... on UserError { code retryable } } }"
RETRY = "mutation ($id: ID!) { retryPayment(id: $id) { __typename ... on UserError { code retryable } } }"
HIDE = "mutation ($id: ID!) { hideArticle(id: $id) { __typename ... on UserError { code retryable } } }"


@pytest.mark.parametrize(
    ("field", "document", "variables"),
    [
        ("generateInvoice", GENERATE, {"input": {"amount": {"sat": 5}}}),
        ("createArticle", CREATE, {"input": ARTICLE}),
        ("updateArticle", UPDATE, {"input": {"id": "art_0", "title": "T"}}),
        ("hideArticle", HIDE, {"id": "art_0"}),
        ("checkPayment", CHECK, {"id": "pay_0"}),
        ("cancelPayment", CANCEL, {"id": "pay_0"}),
        ("retryPayment", RETRY, {"id": "pay_0"}),
    ],
)
async def test_every_mutation_counts_against_the_budget(
    shop: Any, rails: Any, field: str, document: str, variables: Any
) -> None:
    shop.services.limiter.left = 0

    answer = await shop.mutate(field, document, variables)

    assert answer["__typename"] == "RateLimitedError"
    assert answer["code"] == "RATE_LIMITED"
    assert not rails.nodes["merchant"].invoices
