"""The Node example: the published npm library, unmodified, verifies what this server sends, and refuses the rest."""

import asyncio
import base64
import contextlib
import json
import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook
from tests.e2e.node import ROOT, environment, named_registries, packages_of, run, said
from tests.integration.webhook_receiver import Received, receiving

EXAMPLE = ROOT / "examples" / "webhook-receiver"
SENTENCE = "receiver: WEBHOOK_SECRET must be the whsec_… that the endpoint was made with\n"
WAIT_S = 30.0

CREATE = """
mutation ($url: String!) {
  createWebhookEndpoint(input: {url: $url, eventTypes: [PAYMENT_SETTLED], ed25519: true}) {
    ... on CreateWebhookEndpointSuccess { secret endpoint { id } } ... on UserError { code message }
  }
}
"""
MOVE = """
mutation ($id: ID!, $url: String!) { updateWebhookEndpoint(input: {id: $id, url: $url}) { __typename } }
"""
ROTATE = """
mutation ($id: ID!, $overlap: Int!) {
  rotateWebhookSecret(id: $id, overlapSeconds: $overlap) { ... on RotateWebhookSecretSuccess { secret } }
}
"""
DELETE = "mutation ($id: ID!) { deleteWebhookEndpoint(id: $id) { __typename } }"
ROTATE_NOTIFY = "mutation { rotateNotifySecret { ... on RotateNotifySecretSuccess { secret } } }"
NEW_INVOICE = """
mutation ($url: String) {
  generateInvoice(input: {amount: {sat: 21}, notifyUrl: $url}) {
    ... on GenerateInvoiceSuccess { payment { id paymentRequest } } ... on UserError { code message }
  }
}
"""
DELIVERED = """
subscription ($id: ID!) {
  webhookDelivered(endpointId: $id) { delivery { eventId state attempts { statusCode } payment { id } } }
}
"""


@dataclass
class Node:
    """One ``receiver.js`` that listens; what it prints is a line for each message that it handled."""

    process: asyncio.subprocess.Process
    url: str

    async def printed(self) -> dict[str, Any]:
        """Return the next message that was handled."""
        assert self.process.stdout is not None
        async with asyncio.timeout(WAIT_S):
            found: dict[str, Any] = json.loads(await self.process.stdout.readline())
        return found

    async def status_of(self, headers: Mapping[str, str], body: bytes, *, method: str = "POST") -> int:
        """Send a body with those of the headers that are the standard's."""
        headers = {name: value for name, value in headers.items() if name.startswith("webhook-")}
        async with httpx.AsyncClient(timeout=WAIT_S, trust_env=False) as client:
            return (await client.request(method, self.url, headers=headers, content=body)).status_code


class Receivers:
    """Starts the example as a reader of its README would."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @asynccontextmanager
    async def listening(self, *, secret: str) -> AsyncIterator[Node]:
        process = await asyncio.create_subprocess_exec(
            "node", "receiver.js",
            cwd=self._folder, env=environment() | {"WEBHOOK_SECRET": secret, "PORT": "0"},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stderr is not None
        try:
            async with asyncio.timeout(WAIT_S):
                line = (await process.stderr.readline()).decode()
            assert line.startswith("receiver: http://127.0.0.1:"), line
            yield Node(process=process, url=line.removeprefix("receiver: ").strip())
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.communicate()


@pytest.fixture(scope="module")
def receivers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Receivers:
    folder = tmp_path_factory.mktemp("receiver")
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("node_modules"), dirs_exist_ok=True)
    (folder / "node_modules").symlink_to(packages_of(EXAMPLE, request.config.cache), target_is_directory=True)
    return Receivers(folder)


class Shop:
    """A merchant of the running server, with one endpoint."""

    def __init__(self, server: Any, made: Any) -> None:
        self._server = server
        self.endpoint_id: str = made["endpoint"]["id"]
        self.secret: str = made["secret"]

    def move(self, url: str) -> None:
        moved = self._server.execute(MOVE, {"id": self.endpoint_id, "url": url})["updateWebhookEndpoint"]
        assert moved == {"__typename": "UpdateWebhookEndpointSuccess"}

    def rotate(self, *, overlap: int) -> str:
        made = self._server.execute(ROTATE, {"id": self.endpoint_id, "overlap": overlap})["rotateWebhookSecret"]
        return str(made["secret"])

    async def sale(self, notify_url: str | None = None) -> str:
        """Take money, and return the payment's id."""
        made = self._server.execute(NEW_INVOICE, {"url": notify_url})["generateInvoice"]["payment"]
        paid = await asyncio.to_thread(self._server.pay, made["paymentRequest"])
        assert paid.status_code == httpx.codes.OK, paid.text
        return str(made["id"])


@pytest.fixture
def shop(server: Any) -> Iterator[Shop]:
    """The shared server's merchant; whatever the test does, its endpoint does not outlive it."""
    made = Shop(server, server.execute(CREATE, {"url": "https://shop.example/"})["createWebhookEndpoint"])
    yield made
    server.execute(DELETE, {"id": made.endpoint_id})


async def captured(shop: Shop) -> Received:
    """Return a message as the server sends it."""
    async with receiving() as post_box:
        shop.move(post_box.url)
        await shop.sale()
        await post_box.until(1)
    return post_box.received[0]


async def test_a_sale_reaches_the_receiver_verified(receivers: Receivers, shop: Shop, server: Any) -> None:
    async with receivers.listening(secret=shop.secret) as node:
        shop.move(node.url)
        with server.socket() as socket:
            socket.subscribe(DELIVERED, {"id": shop.endpoint_id})
            payment_id = await shop.sale()

            printed = await node.printed()
            delivery = (await asyncio.to_thread(socket.next))["webhookDelivered"]["delivery"]

    assert (printed["type"], printed["data"]["payment"]["id"]) == ("payment.settled", payment_id)
    assert printed["data"]["payment"]["received"] == {"value": "21000", "assetCode": "BTC", "assetScale": 11}
    assert delivery == {
        "eventId": printed["id"],
        "state": "DELIVERED",
        "attempts": [{"statusCode": 204}],
        "payment": {"id": payment_id},
    }


async def test_a_payment_s_own_address_is_verified_with_the_merchant_s_secret(
    receivers: Receivers, shop: Shop, server: Any
) -> None:
    secret = server.execute(ROTATE_NOTIFY)["rotateNotifySecret"]["secret"]
    async with receivers.listening(secret=secret) as node:
        payment_id = await shop.sale(f"{node.url}?order=17")

        printed = [await node.printed() for _ in range(3)]

    assert [one["type"] for one in printed] == ["payment.updated", "payment.updated", "payment.settled"]
    assert {one["data"]["payment"]["id"] for one in printed} == {payment_id}


async def test_h6_during_a_rotation_the_old_and_the_new_secret_verify_and_then_only_the_new_one(
    receivers: Receivers, shop: Shop
) -> None:
    new = shop.rotate(overlap=3_600)
    overlapping = await captured(shop)
    newest = shop.rotate(overlap=0)
    after = await captured(shop)

    async def answers(secret: str) -> list[int]:
        async with receivers.listening(secret=secret) as node:
            return [await node.status_of(one.headers, one.body) for one in (overlapping, after)]

    assert [await answers(secret) for secret in (shop.secret, new, newest)] == [[204, 401], [204, 401], [401, 204]]


async def test_what_comes_twice_is_handled_once(receivers: Receivers, shop: Shop) -> None:
    message, other = await captured(shop), await captured(shop)

    async with receivers.listening(secret=shop.secret) as node:
        answers = await asyncio.gather(*(node.status_of(message.headers, message.body) for _ in range(5)))
        later = await node.status_of(other.headers, other.body)
        handled = [(await node.printed())["id"] for _ in range(2)]

    assert (answers, later) == ([204] * 5, 204)
    assert handled == [message.headers["webhook-id"], other.headers["webhook-id"]]


async def test_whatever_was_tampered_with_is_refused_and_not_handled(receivers: Receivers, shop: Shop) -> None:
    message, other = await captured(shop), await captured(shop)
    right, ed25519 = message.headers["webhook-signature"].split(" ")
    wrong = "v1," + base64.b64encode(bytes(32)).decode()

    async with receivers.listening(secret=shop.secret) as node:
        bodies = [message.body.replace(b"21000", b"21001"), message.body + b" ", message.body[:-1], b"", b"{}"]
        by_body = [await node.status_of(message.headers, body) for body in bodies]
        by_header = {
            f"{name}: {value}": await node.status_of(
                {key: one for key, one in (message.headers | {name: value}).items() if one}, message.body
            )
            for name, value in _tampered(shop, message, right=right, ed25519=ed25519, wrong=wrong)
        }
        untouched = await node.status_of(other.headers, other.body)
        handled = await node.printed()

    assert set(by_body) == {401}
    assert {said_: status for said_, status in by_header.items() if status != 401} == {}
    assert (untouched, handled["id"]) == (204, other.headers["webhook-id"])


def _tampered(
    shop: Shop, message: Received, *, right: str, ed25519: str, wrong: str
) -> Iterator[tuple[str, str | None]]:
    """Give a header and what is made of it; None takes it away."""
    for name in ("webhook-id", "webhook-timestamp", "webhook-signature"):
        yield name, None
    yield "webhook-id", other_id(message)
    for timestamp in ("soon", "NaN", "0", str(int(message.headers["webhook-timestamp"]) + 1)):
        yield "webhook-timestamp", timestamp
    for signature in ("v1,", right[:-4], right.removeprefix("v1,"), right.replace("v1,", "v2,"), "v1", ",", wrong):
        yield "webhook-signature", signature
    yield "webhook-signature", ed25519  # the other kind alone
    yield "webhook-signature", ed25519.replace("v1a,", "v1,")
    yield "webhook-signature", f"{wrong} {wrong} v2,{right.removeprefix('v1,')}"


def other_id(message: Received) -> str:
    return message.headers["webhook-id"][:-1] + "x"


@pytest.mark.parametrize(("seconds", "status"), [(-301, 401), (310, 401), (-290, 204), (290, 204)])
async def test_a_message_from_another_time_is_refused(
    receivers: Receivers, shop: Shop, seconds: int, status: int
) -> None:
    message = await captured(shop)
    at = datetime.now(UTC) + timedelta(seconds=seconds)
    signature = Webhook(shop.secret).sign(message.headers["webhook-id"], at, message.body.decode())
    shifted = {"webhook-timestamp": str(int(at.timestamp())), "webhook-signature": signature}

    async with receivers.listening(secret=shop.secret) as node:
        assert await node.status_of(message.headers | shifted, message.body) == status


async def test_one_right_signature_among_others_is_enough(receivers: Receivers, shop: Shop) -> None:
    message = await captured(shop)
    right = message.headers["webhook-signature"]
    wrong = "v1," + base64.b64encode(bytes(32)).decode()
    among = {"webhook-signature": f"{wrong} v2,{wrong} {wrong} {right}"}

    async with receivers.listening(secret=shop.secret.removeprefix("whsec_")) as node:  # copying loses prefixes
        assert await node.status_of(message.headers | among, message.body) == 204


async def test_what_is_no_message_gets_an_answer_and_harms_nothing(receivers: Receivers, shop: Shop) -> None:
    message = await captured(shop)
    async with receivers.listening(secret=shop.secret) as node:
        refused = [
            await node.status_of({}, b"", method="GET"),
            await node.status_of(message.headers, b"x" * 2_000_000),
            await node.status_of({}, b"{}"),
        ]
        assert refused == [405, 413, 401]
        assert await node.status_of(message.headers, message.body) == 204


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_!!!"])
def test_without_a_secret_it_does_not_start(receivers: Receivers, secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBHOOK_SECRET", secret)

    done = run("node", "receiver.js", folder=receivers._folder)

    assert (done.returncode, done.stderr) == (1, SENTENCE), said(done)


def test_lock_names_no_registry() -> None:
    assert named_registries(EXAMPLE) == []
