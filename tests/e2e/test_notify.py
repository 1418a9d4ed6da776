"""A payment's own address and a server that is killed in the middle of telling it."""

import asyncio
import base64
from collections.abc import Callable
from typing import Any

from standardwebhooks import Webhook
from tests.integration.webhook_receiver import receiving

TOKEN = "t0k3n-of-the-shop"
ROTATE = "mutation { rotateNotifySecret { ... on RotateNotifySecretSuccess { secret } } }"
NEW_INVOICE = """
mutation ($url: String!) {
  generateInvoice(input: {amount: {sat: 21}, notifyUrl: $url}) {
    ... on GenerateInvoiceSuccess { payment { id paymentRequest } } ... on UserError { code message }
  }
}
"""


async def test_h5_what_was_being_told_when_the_server_was_killed_is_told_again_and_no_secret_is_logged(
    new_server: Callable[..., Any],
) -> None:
    server = new_server(environment={"QUITTANCE_LOG_LEVEL": "debug"})
    await asyncio.to_thread(server.start)
    secret = server.execute(ROTATE)["rotateNotifySecret"]["secret"]
    async with receiving() as receiver:
        receiver.gate = asyncio.Event()
        made = server.execute(NEW_INVOICE, {"url": f"{receiver.url}?token={TOKEN}"})["generateInvoice"]["payment"]
        await receiver.until(1)
        server.kill()
        receiver.gate.set()
        await asyncio.to_thread(server.start)
        assert (await asyncio.to_thread(server.pay, made["paymentRequest"])).status_code == 200
        await receiver.until(4)

    messages = [Webhook(secret).verify(received.body, received.headers) for received in receiver.received]
    ids = [received.headers["webhook-id"] for received in receiver.received]
    raw = base64.b64decode(secret.removeprefix("whsec_"))
    log = server.log.read_text()
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3
    assert [message["type"] for message in messages[1:]] == ["payment.updated", "payment.updated", "payment.settled"]
    assert {received.path for received in receiver.received} == {f"/hook?token={TOKEN}"}
    assert {message["data"]["payment"]["id"] for message in messages} == {made["id"]}
    assert "send_request_headers" in log  # the level at which libraries tell of each call
    assert [text for text in (TOKEN, secret.removeprefix("whsec_"), raw.hex()) if text in log] == []
