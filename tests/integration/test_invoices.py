"""generateInvoice through the schema: what is made, what is refused, what is the same again."""

import asyncio
from typing import Any

from quittance.sandbox.rails import SandboxRails

GENERATE = """
mutation ($input: GenerateInvoiceInput!) {
  generateInvoice(input: $input) {
    __typename
    ... on GenerateInvoiceSuccess {
      clientSecret
      replayed
      payment { id status purpose amount { value assetCode assetScale } paymentRequest paymentHash expiresAt
                description correlationId article { id } }
    }
    ... on UserError { code message retryable }
  }
}
"""
CREATE = """
mutation ($input: CreateArticleInput!) {
  createArticle(input: $input) {
    ... on CreateArticleSuccess { article { id locked content } }
    ... on UserError { code }
  }
}
"""


async def new_article(shop: Any, **more: Any) -> str:
    made = await shop.mutate(
        "createArticle", CREATE, {"input": {"title": "T", "content": "the text", "price": {"sat": 1000}} | more}
    )
    return str(made["article"]["id"])


async def test_an_invoice_for_an_article(shop: Any, rails: SandboxRails) -> None:
    article_id = await new_article(shop)

    made = await shop.mutate("generateInvoice", GENERATE, {"input": {"articleId": article_id}})

    payment = made["payment"]
    assert payment["status"] == "PENDING_PAYMENT"
    assert payment["purpose"] == "VIEW"
    assert payment["amount"] == {"value": "1000000", "assetCode": "BTC", "assetScale": 11}
    assert payment["paymentRequest"].startswith("lnbcrt10u1")
    assert payment["article"] == {"id": article_id}
    assert made["replayed"] is False
    assert [invoice.payment_request for invoice in rails.nodes["merchant"].invoices.values()] == [
        payment["paymentRequest"]
    ]


async def test_r1_twenty_equal_calls_together_make_one_invoice(shop: Any, rails: SandboxRails) -> None:
    call = {"input": {"amount": {"sat": 5}, "idempotencyKey": "k1"}}

    answers = await asyncio.gather(*(shop.mutate("generateInvoice", GENERATE, call) for _ in range(20)))

    assert len({answer["payment"]["id"] for answer in answers}) == 1
    assert len({answer["payment"]["paymentRequest"] for answer in answers}) == 1
    assert len({answer["clientSecret"] for answer in answers}) == 1
    assert sorted(answer["replayed"] for answer in answers) == [False] + [True] * 19
    assert len(rails.nodes["merchant"].invoices) == 1
