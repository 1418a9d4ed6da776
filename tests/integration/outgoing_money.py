"""Refunds and payouts of the tests: their documents, what is asked of them, and a rail that sends."""

from typing import Any

import pytest

from quittance.domain.access import Principal
from quittance.domain.errors import ProviderUnavailable
from quittance.providers.base import SendRequest, SentPayment
from quittance.providers.lnd.payer import LndPayer

TRANSFER = """
  id status statusReason provider destinationKind destination comment message endedAt
  amount { value } feeMax { value } fee { value }
  attempts { number state failure paymentHash paymentRequest }
"""
TOO_LARGE = "... on RefundTooLargeError { left { value } }"
ERRORS = """
  ... on InvalidDestinationError { flaw }
  ... on InsufficientBalanceError { available { value } } ... on UserError { code message retryable }
"""
REFUND = f"""
mutation ($input: RefundPaymentInput!) {{ refundPayment(input: $input) {{ __typename
  ... on RefundPaymentSuccess {{ refund {{ {TRANSFER} reason payment {{ id }} }} }}
  {ERRORS} {TOO_LARGE} }} }}
"""
CLAIM = f"""
mutation ($input: ClaimRefundInput!) {{ claimRefund(input: $input) {{ __typename
  ... on ClaimRefundSuccess {{ refund {{ {TRANSFER} reason }} }} {ERRORS} {TOO_LARGE} }} }}
"""
PAYOUT = f"""
mutation ($input: RequestPayoutInput!) {{ requestPayout(input: $input) {{ __typename
  ... on RequestPayoutSuccess {{ payout {{ {TRANSFER} }} }} {ERRORS} }} }}
"""
FIND = f"""
query ($id: ID!) {{ node(id: $id) {{ __typename
  ... on Refund {{ {TRANSFER} reason }} ... on Payout {{ {TRANSFER} }} }} }}
"""
PAYMENT = f"""
query ($id: ID!, $secret: String) {{ payment(id: $id, clientSecret: $secret) {{ status received {{ value }}
  refunded {{ value }} refundable {{ value }} refunds {{ totalCount edges {{ node {{ {TRANSFER} reason }} }} }} }} }}
"""


class Rail:
    """A rail that does what the one inside does, until it is told otherwise."""

    def __init__(self, inside: LndPayer) -> None:
        self.inside = inside
        self.sent: list[SendRequest] = []
        self.before: Any = None
        self.loses = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inside, name)

    @property
    def invoices(self) -> list[str]:
        return [request.payment_request for request in self.sent]

    async def send(self, request: SendRequest) -> SentPayment:
        self.sent.append(request)
        if self.before is not None:
            await self.before()
        answer = await self.inside.send(request)
        if self.loses:
            self.loses -= 1
            raise ProviderUnavailable(self.inside.name)
        return answer


@pytest.fixture
def rail(till: Any, payer: LndPayer) -> Rail:
    wrapped = Rail(payer)
    till.services.payers = {"lnd": wrapped}
    return wrapped


async def refund(till: Any, payment_id: str, *, key: str = "r1", **more: Any) -> dict[str, Any]:
    """Ask for a refund as the merchant, and return the refund or the error."""
    said = {"paymentId": payment_id, "idempotencyKey": key} | more
    answer: dict[str, Any] = await till.shop.mutate("refundPayment", REFUND, {"input": said})
    return answer.get("refund") or answer


async def claim(till: Any, payment_id: str, *, as_: Principal, key: str = "c1", **more: Any) -> dict[str, Any]:
    said = {"paymentId": payment_id, "idempotencyKey": key} | more
    answer: dict[str, Any] = await till.shop.mutate("claimRefund", CLAIM, {"input": said}, as_=as_)
    return answer.get("refund") or answer


async def payout(till: Any, *, as_: Principal | None = None, key: str = "p1", **more: Any) -> dict[str, Any]:
    said = {"idempotencyKey": key} | more
    answer: dict[str, Any] = await till.shop.mutate("requestPayout", PAYOUT, {"input": said}, as_=as_)
    return answer.get("payout") or answer


async def found(till: Any, transfer_id: str, *, as_: Principal | None = None) -> dict[str, Any]:
    node: dict[str, Any] = (await till.shop.run(FIND, {"id": transfer_id}, as_=as_))["node"]
    return node


def value(money: dict[str, str] | None) -> int | None:
    return None if money is None else int(money["value"])
