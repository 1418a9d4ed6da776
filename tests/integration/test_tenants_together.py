"""Two merchants at work together: neither sees nor changes a row of the other."""

import asyncio
import json
from typing import Any

from tests.integration.tenants import ROWS, TOGETHER, Tenant

EVERYTHING = """
query ($own: ID!, $foreign: ID!, $article: ID!, $payment: ID!, $key: String!, $subject: ID!) {
  viewer { merchant { id name } balances { value } }
  merchants(first: 100) { totalCount edges { node { id name } } }
  apiKeys(first: 100) { totalCount edges { node { id name prefix } } }
  auditLog(first: 100) { totalCount edges { node { id actorId actorName subjectId detail } } }
  ofForeign: auditLog(first: 100, filter: {subjectId: $subject}) { totalCount edges { node { id } } }
  payments(first: 100) { totalCount edges { node { id description correlationId checkoutUrl } } }
  paymentsOfForeign: payments(filter: {articleId: $article}) { totalCount edges { node { id } } }
  articles(first: 100) { totalCount edges { node { id title manuscript payment { id } } } }
  own: node(id: $own) { id ... on Merchant { name } }
  foreign: node(id: $foreign) { id }
  foreignArticle: node(id: $article) { id }
  foreignPayment: node(id: $payment) { id }
  article(id: $article) { id }
  payment(id: $payment) { id }
  paymentByIdempotencyKey(key: $key) { id }
}
"""
CHANGES = """
mutation ($foreign: ID!, $article: ID!, $payment: ID!, $subject: ID!) {
  updateMerchant(input: {id: $foreign, name: "stolen", policy: {over: REFUND}}) { __typename }
  revokeApiKey(id: $subject) { __typename }
  rotateApiKey(id: $subject) { __typename }
  cancelPayment(id: $payment) { __typename }
  hideArticle(id: $article) { __typename }
}
"""


async def test_two_merchants_with_200_requests_at_a_time_never_see_a_row_of_each_other(
    tenants: tuple[Tenant, Tenant],
) -> None:
    alpha, omega = tenants
    rows = {tenant.name: await tenant.rows() for tenant in tenants}
    assert not rows["alpha"] & rows["omega"]

    async def ask(tenant: Tenant, other: Tenant) -> tuple[str, dict[str, Any]]:
        return tenant.name, await tenant.till.shop.run(EVERYTHING, tenant.variables(other))

    answers = await asyncio.gather(*(ask(*((alpha, omega) if n % 2 else (omega, alpha))) for n in range(TOGETHER)))

    assert [name for name, _ in answers].count("alpha") == TOGETHER // 2
    for name, answer in answers:
        other = "omega" if name == "alpha" else "alpha"
        told = json.dumps(answer)
        assert other not in told
        assert [row for row in rows[other] if row in told] == []
        assert [row for row in rows[name] if row not in told] == []
        assert {field: answer[field]["totalCount"] for field in ("merchants", "apiKeys", "payments", "articles")} == {
            "merchants": 1,
            "apiKeys": ROWS + 1,
            "payments": ROWS,
            "articles": ROWS,
        }
        assert answer["auditLog"]["totalCount"] == len(answer["auditLog"]["edges"]) == 2 * ROWS + 2
        assert answer["viewer"] == {
            "merchant": {"id": answer["own"]["id"], "name": name},
            "balances": [{"value": "5000"}],
        }
        nothing = {"totalCount": 0, "edges": []}
        assert (answer["ofForeign"], answer["paymentsOfForeign"]) == (nothing, nothing)
        absent = ("foreign", "foreignArticle", "foreignPayment", "article", "payment", "paymentByIdempotencyKey")
        assert {answer[field] for field in absent} == {None}


async def test_two_merchants_with_200_requests_at_a_time_never_change_a_row_of_each_other(
    till: Any, tenants: tuple[Tenant, Tenant]
) -> None:
    alpha, omega = tenants
    tables = ("merchant", "api_key", "article", "payment", "payment_option", "audit_entry", "event")
    before = {table: await till.rows(table) for table in tables}

    async def meddle(tenant: Tenant, other: Tenant) -> dict[str, Any]:
        variables = tenant.variables(other)
        given = {name: variables[name] for name in ("foreign", "article", "payment", "subject")}
        data: dict[str, Any] = await tenant.till.shop.run(CHANGES, given)
        return data

    answers = await asyncio.gather(*(meddle(*((alpha, omega) if n % 2 else (omega, alpha))) for n in range(TOGETHER)))

    told = {field: {answer[field]["__typename"] for answer in answers} for field in answers[0]}
    assert told == {
        "updateMerchant": {"MerchantNotFoundError"},
        "revokeApiKey": {"ApiKeyNotFoundError"},
        "rotateApiKey": {"ApiKeyNotFoundError"},
        "cancelPayment": {"PaymentNotFoundError"},
        "hideArticle": {"ArticleNotFoundError"},
    }
    assert {table: await till.rows(table) for table in tables} == before
