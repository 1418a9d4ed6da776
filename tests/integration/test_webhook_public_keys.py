"""Ed25519 beside the secret: for receivers that hold nothing worth stealing. On only where it was asked for."""

import base64
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import Webhook
from tests.integration.webhook_post import CREATE, ROTATE, Post, sale, update
from tests.integration.webhook_receiver import Received, Receiver

from quittance.domain.ids import EndpointId
from quittance.sandbox.clock import SandboxClock

KEYS = "query ($id: ID!) { node(id: $id) { ... on WebhookEndpoint { publicKeys } } }"


def kinds(received: Received) -> list[str]:
    return [entry.partition(",")[0] for entry in received.headers["webhook-signature"].split(" ")]


def is_signed(received: Received, public_key: str, *, body: bytes | None = None) -> bool:
    """Tell whether the owner of a ``whpk_`` key signed what came, as a receiver finds out."""
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key.removeprefix("whpk_")))
    head = f"{received.headers['webhook-id']}.{received.headers['webhook-timestamp']}.".encode()
    for entry in received.headers["webhook-signature"].split(" "):
        version, _, signature = entry.partition(",")
        if version != "v1a":
            continue
        try:
            key.verify(base64.b64decode(signature), head + (received.body if body is None else body))
        except InvalidSignature:
            continue
        return True
    return False


async def told(post: Post, receiver: Receiver) -> Received:
    await sale(post)
    await post.tell()
    return receiver.received[-1]


async def public_keys(post: Post, made: dict[str, Any]) -> list[str]:
    found: list[str] = (await post.till.shop.run(KEYS, {"id": made["endpoint"]["id"]}))["node"]["publicKeys"]
    return found


async def test_a_message_carries_both_kinds_and_each_is_verified_with_its_own_key(
    post: Post, receiver: Receiver
) -> None:
    made = await post.endpoint(receiver, eventTypes=["PAYMENT_SETTLED"], ed25519=True)
    other = await post.endpoint(receiver, eventTypes=["ARTICLE_PUBLISHED"], ed25519=True)

    received = await told(post, receiver)

    (public_key,) = made["endpoint"]["publicKeys"]
    assert kinds(received) == ["v1", "v1a"]
    assert Webhook(made["secret"]).verify(received.body, received.headers)["type"] == "payment.settled"
    assert is_signed(received, public_key)
    assert not is_signed(received, public_key, body=received.body + b" ")
    assert not is_signed(received, other["endpoint"]["publicKeys"][0])
    assert await public_keys(post, made) == [public_key]


async def test_h6_during_a_rotation_both_keys_sign_and_are_shown_and_then_only_the_new_one(
    post: Post, receiver: Receiver, clock: SandboxClock
) -> None:
    made = await post.endpoint(receiver, eventTypes=["PAYMENT_SETTLED"], ed25519=True)
    (old,) = made["endpoint"]["publicKeys"]
    rotated = await post.till.shop.mutate("rotateWebhookSecret", ROTATE, {"id": made["endpoint"]["id"], "overlap": 60})
    new, before = rotated["endpoint"]["publicKeys"]

    overlapping = await told(post, receiver)
    clock.advance(61)
    after = await told(post, receiver)

    assert (before, new == old) == (old, False)
    assert kinds(overlapping) == ["v1", "v1", "v1a", "v1a"]
    assert [is_signed(overlapping, key) for key in (new, old)] == [True, True]
    assert kinds(after) == ["v1", "v1a"]
    assert [is_signed(after, key) for key in (new, old)] == [True, False]
    assert await public_keys(post, made) == [new]


async def test_a_leaked_key_ends_at_once(post: Post, receiver: Receiver) -> None:
    made = await post.endpoint(receiver, eventTypes=["PAYMENT_SETTLED"], ed25519=True)
    rotated = await post.till.shop.mutate("rotateWebhookSecret", ROTATE, {"id": made["endpoint"]["id"], "overlap": 0})

    received = await told(post, receiver)

    (new,) = rotated["endpoint"]["publicKeys"]
    assert is_signed(received, new)
    assert not is_signed(received, made["endpoint"]["publicKeys"][0])


@pytest.mark.parametrize("said", [{}, {"ed25519": False}, {"ed25519": None}])
async def test_it_is_off_unless_asked_for_and_can_be_turned_on_and_off(
    post: Post, receiver: Receiver, said: dict[str, Any]
) -> None:
    made = await post.endpoint(receiver, eventTypes=["PAYMENT_SETTLED"], **said)
    off = await told(post, receiver)
    on = await update(post, made, ed25519=True)
    both = await told(post, receiver)
    untouched = await update(post, made, description="kept")
    off_again = await update(post, made, ed25519=False)
    last = await told(post, receiver)

    (public_key,) = on["endpoint"]["publicKeys"]
    assert made["endpoint"]["publicKeys"] == off_again["endpoint"]["publicKeys"] == []
    assert untouched["endpoint"]["publicKeys"] == [public_key]
    assert [kinds(received) for received in (off, both, last)] == [["v1"], ["v1", "v1a"], ["v1"]]
    assert is_signed(both, public_key)


async def test_s1_the_private_key_is_in_no_table_and_no_answer(post: Post, receiver: Receiver) -> None:
    made = await post.till.shop.mutate(
        "createWebhookEndpoint", CREATE, {"input": {"url": receiver.url, "ed25519": True}}
    )
    await told(post, receiver)
    seed = post.till.services.derive.webhook_seed(EndpointId(made["endpoint"]["id"]), 1)

    rows = [await post.till.rows(table) for table in ("webhook_endpoint", "webhook_delivery", "job", "audit_entry")]
    everything = repr((rows, made, receiver.received, post.till.services))

    assert made["endpoint"]["id"] in everything
    forms = [seed.hex(), repr(seed)[2:-1], base64.b64encode(seed).decode()[:42]]
    assert [form for form in forms if form in everything] == []
