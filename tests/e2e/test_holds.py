"""Held money through a running server: its own worker notices it, and a capture makes it ours."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

HOLD = """
mutation {
  generateInvoice(input: {amount: {sat: 21}, hold: true}) {
    ... on GenerateInvoiceSuccess { payment { id paymentRequest } } ... on UserError { code message }
  }
}
"""
UPDATED = "subscription ($id: ID!) { paymentUpdated(paymentId: $id) { payment { status holdExpiresAt } } }"
CAPTURE = "mutation ($id: ID!) { capturePayment(id: $id) { ... on CapturePaymentSuccess { payment { status } } } }"


def test_money_is_held_until_the_merchant_takes_it(server: Any) -> None:
    made = server.execute(HOLD)["generateInvoice"]["payment"]
    with server.socket() as socket, ThreadPoolExecutor(1) as payers:
        socket.subscribe(UPDATED, {"id": made["id"]})
        socket.send("ping")  # its answer says that the subscription was read
        assert socket.receive() == {"type": "pong"}
        paying = payers.submit(server.pay, made["paymentRequest"])
        held = socket.next()["paymentUpdated"]["payment"]
        was_paying = not paying.done()
        captured = server.execute(CAPTURE, {"id": made["id"]})["capturePayment"]
        paid = paying.result(timeout=20)

    assert held["status"] == "HELD"
    assert held["holdExpiresAt"] is not None
    assert was_paying
    assert captured == {"payment": {"status": "COMPLETE"}}
    assert paid.status_code == 200, paid.text
