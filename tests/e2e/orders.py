"""What tests of running servers ask for and wait for: invoices, their payments, and the settlements behind a cursor."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx
import pytest

NewServer = Callable[..., Any]

SETTLE_S_MAX = 40.0
AMOUNT_MSAT = 21_000

NEW_INVOICE = """
mutation ($input: GenerateInvoiceInput!) {
  generateInvoice(input: $input) {
    __typename
    ... on GenerateInvoiceSuccess {
      replayed clientSecret
      payment { id status paymentRequest correlationId events(first: 1) { edges { cursor } } }
    }
    ... on UserError { code message }
  }
}
"""
STATUS = "query ($id: ID!) { payment(id: $id) { status received { value } events { edges { node { status } } } } }"
PAYMENTS = """
query ($filter: PaymentFilter!) { payments(filter: $filter) { totalCount edges { node { id status } } } }
"""
SETTLED = """
subscription ($after: String) {
  paymentSettled(after: $after) { cursor eventId payment { id status correlationId } }
}
"""


def invoice_input(key: str) -> dict[str, object]:
    """Return the input of one key; the same key always asks for the same."""
    return {
        "input": {
            "purpose": "ORDER",
            "amount": {"msat": str(AMOUNT_MSAT)},
            "description": "an order",
            "correlationId": key,
            "idempotencyKey": key,
        }
    }


def new_invoice(server: Any, key: str) -> dict[str, Any]:
    made: dict[str, Any] = server.execute(NEW_INVOICE, invoice_input(key))["generateInvoice"]
    assert made["__typename"] == "GenerateInvoiceSuccess", made
    return made


def cursor_of(made: dict[str, Any]) -> str:
    return str(made["payment"]["events"]["edges"][0]["cursor"])


def status_of(server: Any, payment_id: str) -> str:
    return str(server.execute(STATUS, {"id": payment_id})["payment"]["status"])


def wait_for(what: Callable[[], bool], *, within_s: float, why: str) -> None:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            if what():
                return
        time.sleep(0.1)
    raise AssertionError(f"after {within_s} s: {why}")


def replayed(server: Any, *, after: str, count: int) -> list[dict[str, Any]]:
    """Return the settlements behind a cursor; ``count`` of them, and no more within a moment."""
    with server.socket() as socket:
        socket.subscribe(SETTLED, {"after": after})
        found = [socket.next()["paymentSettled"] for _ in range(count)]
        with pytest.raises(TimeoutError):
            socket.receive(timeout_s=0.5)
    return found
