"""What is asked of the server: the documents of the benchmark, and the requests made of them."""

import secrets
from typing import Any

from benchmarks.http_load import Work, ask, graphql, numbered
from benchmarks.processes import BenchmarkFailed

_MARK = "#" * 12

CREATE = """
mutation ($input: GenerateInvoiceInput!) {
  generateInvoice(input: $input) {
    ... on GenerateInvoiceSuccess { payment { id paymentRequest status } }
    ... on UserError { code message }
  }
}
"""
READ = """
query ($id: ID!) {
  payment(id: $id) { id status purpose provider description createdAt expiresAt }
}
"""
PAGE = """
query ($first: Int!) {
  payments(first: $first) {
    edges {
      node {
        id status paymentRequest paymentHash
        article { id title locked content }
        options { id state }
        events { totalCount edges { node { type status } } }
      }
    }
  }
}
"""
CREATE_ARTICLE = """
mutation ($input: CreateArticleInput!) {
  createArticle(input: $input) { ... on CreateArticleSuccess { article { id } } ... on UserError { code message } }
}
"""
SETTLED = "subscription { paymentSettled { eventId cursor occurredAt payment { id status } } }"


def create_work() -> Work:
    """Return invoice creation, each with an idempotency key that no run has used before."""
    key = f"{secrets.token_hex(6)}-{_MARK}"
    request = graphql(CREATE, {"input": {"amount": {"sat": "100"}, "description": "test", "idempotencyKey": key}})
    return Work(request=numbered(request, _MARK.encode()), expected=b'"paymentRequest":"lnbcrt')


def read_work(payment_id: str) -> Work:
    """Return the look-up of one payment."""
    request = graphql(READ, {"id": payment_id})
    return Work(request=lambda: request, expected=b'"status":"')


def page_work() -> Work:
    request = graphql(PAGE, {"first": 100})
    return Work(request=lambda: request, expected=b'"edges":[')


async def new_payment(port: int, **order: Any) -> dict[str, str]:
    """Make an invoice and return its payment."""
    answer, _ = await ask(port, graphql(CREATE, {"input": order or {"amount": {"sat": "100"}}}))
    result = answer["data"]["generateInvoice"]
    if "payment" not in result:
        raise BenchmarkFailed(f"no invoice: {result}")
    payment: dict[str, str] = result["payment"]
    return payment


async def new_article(port: int, number: int) -> str:
    """Write an article and return its id."""
    draft = {"title": f"Article {number}", "content": "the text", "price": {"sat": "5"}}
    answer, _ = await ask(port, graphql(CREATE_ARTICLE, {"input": draft}))
    return str(answer["data"]["createArticle"]["article"]["id"])
