"""Documents of refunds and payouts, and what the tests ask of them."""

from typing import Any

from quittance.domain.access import Principal

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
