"""What readers and strangers of the tests ask for."""

from typing import Any

from tests.integration.readers import caller, log_in

from quittance.domain.access import ANONYMOUS, Principal
from quittance.providers.base import Invoice, InvoiceRequest
from quittance.providers.lnd.provider import LndProvider

PAYMENT = """
  id status statusReason purpose description refundAddress paymentRequest amount { value } received { value }
  article { id status locked content } options { id state ... on LightningOption { paymentRequest } }
"""
ERRORS = "... on UserError { code message retryable }"
FIELD = "... on InvalidInputError { field }"
NEEDED = "... on PermissionDeniedError { needed }"
BUY = f"""
mutation ($input: GenerateInvoiceInput!) {{ generateInvoice(input: $input) {{ __typename
  ... on GenerateInvoiceSuccess {{ clientSecret replayed payment {{ {PAYMENT} }} }} {ERRORS} {FIELD} {NEEDED} }} }}
"""
RETRY = f"""
mutation ($id: ID!, $secret: String) {{ retryPayment(id: $id, clientSecret: $secret) {{ __typename
  ... on RetryPaymentSuccess {{ payment {{ {PAYMENT} }} }} {ERRORS} {NEEDED} }} }}
"""
CHECK = f"""
mutation ($id: ID!, $secret: String) {{ checkPayment(id: $id, clientSecret: $secret) {{ __typename
  ... on CheckPaymentSuccess {{ payment {{ {PAYMENT} }} }} {ERRORS} }} }}
"""
CANCEL = f"mutation ($id: ID!) {{ cancelPayment(id: $id) {{ __typename {ERRORS} }} }}"
CLAIM = f"""
mutation ($secret: String!) {{ claimPayment(input: {{clientSecret: $secret}}) {{ __typename
  ... on ClaimPaymentSuccess {{ payment {{ {PAYMENT} }} }}
  ... on AlreadyOwnedError {{ paymentId articleId }} ... on PaymentNotClaimableError {{ paymentId }}
  {ERRORS} {FIELD} }} }}
"""
ARTICLE = "query ($id: ID!) { article(id: $id) { id status locked content views upvotes payment { id status } } }"
OPEN = "query ($id: ID!, $secret: String) { payment(id: $id, clientSecret: $secret) { status article { content } } }"
MODERATE = f"""
mutation ($input: ModerateArticleInput!) {{ moderateArticle(input: $input) {{ __typename
  ... on ModerateArticleSuccess {{ article {{ id status }} }} {ERRORS} {FIELD} }} }}
"""


class CountingRail:
    """A rail that counts how often it was asked for an invoice."""

    def __init__(self, inside: LndProvider) -> None:
        self._inside = inside
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inside, name)

    async def create_invoice(self, request: InvoiceRequest) -> Invoice:
        self.asked += 1
        return await self._inside.create_invoice(request)


async def reader(till: Any, username: str = "alice", *, number: int = 1) -> Principal:
    return await caller(till.shop, (await log_in(till.shop, username, number=number))["token"])


async def buy(till: Any, article_id: str | None, *, as_: Principal = ANONYMOUS, **more: Any) -> Any:
    return await till.shop.mutate("generateInvoice", BUY, {"input": {"articleId": article_id} | more}, as_=as_)


async def claim(till: Any, secret: str, *, as_: Principal) -> Any:
    return await till.shop.mutate("claimPayment", CLAIM, {"secret": secret}, as_=as_)


async def retry(till: Any, payment_id: str, *, as_: Principal = ANONYMOUS, secret: str | None = None) -> Any:
    return await till.shop.mutate("retryPayment", RETRY, {"id": payment_id, "secret": secret}, as_=as_)


async def article_of(till: Any, article_id: str, *, as_: Principal = ANONYMOUS) -> Any:
    return (await till.shop.run(ARTICLE, {"id": article_id}, as_=as_))["article"]


async def moderate(till: Any, article_id: str, status: str, *, as_: Principal | None = None) -> Any:
    given = {"articleId": article_id, "status": status, "reason": "It is not theirs."}
    return await till.shop.mutate("moderateArticle", MODERATE, {"input": given}, as_=as_)
