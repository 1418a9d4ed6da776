"""A payment's own address: told of its events besides the endpoints, and of nothing else, whatever becomes of it."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError
from tests.integration.webhook_post import AGAIN, ROTATE_NOTIFY, STATUS, Post, sale
from tests.integration.webhook_receiver import Receiver, receiving

from quittance.domain.access import ANONYMOUS, Principal, Scope
from quittance.domain.delivery import ATTEMPTS_MAX
from quittance.domain.job import JobKind
from quittance.providers.outgoing import LOOPBACK, OutgoingClient, OutgoingRules
from quittance.resolvers.attempts import GIVEN_UP_MAX
from quittance.resolvers.deliveries import fan_out
from quittance.sandbox.clock import SandboxClock
from quittance.store.notify import look_ahead
from quittance.workers.work import WEBHOOKS_AT_ONCE

GENERATE = """
mutation ($input: GenerateInvoiceInput!) {
  generateInvoice(input: $input) {
    __typename
    ... on GenerateInvoiceSuccess { replayed clientSecret payment { id notifyUrl } }
    ... on UserError { code message }
  }
}
"""
READ = "query ($id: ID!, $secret: String) { payment(id: $id, clientSecret: $secret) { id notifyUrl } }"
AUDIT = "{ auditLog(filter: {action: NOTIFY_SECRET_ROTATED}) { edges { node { actorId subjectId detail } } } }"
WATCH = """
subscription ($after: String!) {
  webhookDelivered(after: $after) { delivery { state url endpoint { id } payment { id } } }
}
"""
FROM_THE_START = "cDE6MA"


async def generate(post: Post, **said: Any) -> dict[str, Any]:
    answer: dict[str, Any] = await post.till.shop.mutate(
        "generateInvoice", GENERATE, {"input": {"amount": {"sat": 5}} | said}
    )
    return answer


async def test_every_event_of_the_payment_is_told_there_in_order_and_signed(post: Post, receiver: Receiver) -> None:
    secret = await post.notify_secret()
    made = await generate(post, notifyUrl=receiver.url)
    payment_id = made["payment"]["id"]
    await post.till.report(await post.till.money(payment_id))
    await sale(post)

    await post.tell()

    verified = [Webhook(secret).verify(received.body, received.headers) for received in receiver.received]
    events = [row["id"] for row in await post.till.rows("event") if row["payment_id"] == payment_id]
    assert made["payment"]["notifyUrl"] == receiver.url
    assert [one["type"] for one in verified] == ["payment.updated", "payment.updated", "payment.settled"]
    assert [received.headers["webhook-id"] for received in receiver.received] == events
    assert {one["data"]["payment"]["id"] for one in verified} == {payment_id}
    assert verified[-1]["data"]["payment"]["received"] == {"value": "5000", "assetCode": "BTC", "assetScale": 11}
    assert (await post.till.shop.run(STATUS, {"id": payment_id}))["payment"] == {
        "deliveryStatus": "DELIVERED",
        "deliveries": {"totalCount": 3},
    }
    assert [(one["state"], one["url"], one["endpoint"], one["payment"]["id"]) for one in await post.deliveries()] == [
        ("DELIVERED", receiver.url, None, payment_id)
    ] * 3


async def test_endpoints_are_told_besides_and_each_is_signed_with_its_own_secret(
    post: Post, receiver: Receiver
) -> None:
    secret = await post.notify_secret()
    async with receiving() as own:
        made = await post.endpoint(receiver, eventTypes=["PAYMENT_SETTLED"])
        await sale(post, notify_url=own.url)
        await post.tell()

        settled = own.received[-1]
        (told,) = receiver.received
        assert settled.headers["webhook-id"] == told.headers["webhook-id"]
        assert settled.body == told.body
        assert Webhook(secret).verify(settled.body, settled.headers)["type"] == "payment.settled"
        with pytest.raises(WebhookVerificationError):
            Webhook(made["secret"]).verify(settled.body, settled.headers)
        assert [one["url"] for one in await post.deliveries(endpointId=made["endpoint"]["id"])] == [None]


async def test_only_the_merchant_sees_the_address(post: Post, receiver: Receiver, other_shop: Any) -> None:
    made = await generate(post, notifyUrl=f"{receiver.url}?token=t0k3n")
    asked = {"id": made["payment"]["id"], "secret": made["clientSecret"]}
    reader = Principal(merchant_id=post.till.shop.principal.merchant_id, scopes=frozenset({Scope.PAYMENTS_READ}))
    holder = Principal(payment_id=made["payment"]["id"])

    seen = [
        (await post.till.shop.run(READ, asked, as_=who))["payment"]
        for who in (reader, holder, ANONYMOUS, other_shop.principal)
    ]

    hidden = {"id": asked["id"], "notifyUrl": None}
    assert seen == [{"id": asked["id"], "notifyUrl": f"{receiver.url}?token=t0k3n"}, hidden, hidden, hidden]


@pytest.mark.parametrize(
    "url",
    ["", "https://10.0.0.1/", "https://u@shop.example/", "https://shop.example/" + "x" * 2_048,
     "https://shop.example/\x00", "ftp://shop.example/"],
)  # fmt: skip
async def test_an_address_that_may_not_be_called_makes_nothing(post: Post, rails: Any, url: str) -> None:
    refused = await generate(post, notifyUrl=url, idempotencyKey="k")

    assert (refused["__typename"], refused["code"]) == ("ForbiddenAddressError", "FORBIDDEN_ADDRESS")
    assert await post.till.rows("payment") == await post.till.rows("idempotency") == []
    assert rails.nodes["merchant"].invoices == {}


async def test_the_address_belongs_to_what_an_idempotency_key_stands_for(post: Post, receiver: Receiver) -> None:
    made = await generate(post, notifyUrl=receiver.url, idempotencyKey="k")
    again = await generate(post, notifyUrl=receiver.url, idempotencyKey="k")
    other = await generate(post, notifyUrl=f"{receiver.url}/other", idempotencyKey="k")
    none = await generate(post, idempotencyKey="k")

    assert (again["replayed"], again["payment"]) == (True, made["payment"])
    assert [refused["code"] for refused in (other, none)] == ["IDEMPOTENCY_CONFLICT"] * 2
    assert len(await post.till.rows("payment")) == 1


async def test_an_address_that_is_gone_ends_the_delivery_and_nothing_else(post: Post, receiver: Receiver) -> None:
    receiver.answers = ["410 Gone"] * (GIVEN_UP_MAX + 1)
    for _ in range(GIVEN_UP_MAX + 1):
        await sale(post, notify_url=receiver.url)
    await post.tell()
    before = await post.deliveries()

    payment_id = await sale(post, notify_url=receiver.url)
    await post.tell()

    failed = [one for one in before if one["state"] == "FAILED"]
    assert [one["attempts"] for one in failed] == [[{"number": 1, "statusCode": 410, "error": None}]] * len(failed)
    assert len(failed) == GIVEN_UP_MAX + 1
    assert {one["state"] for one in await post.deliveries(paymentId=payment_id)} == {"DELIVERED"}
    assert "webhook.endpoint_disabled" not in {row["kind"] for row in await post.till.rows("event")}


async def test_an_address_that_stays_away_is_given_up_and_can_be_told_again_by_hand(
    post: Post, receiver: Receiver, clock: SandboxClock
) -> None:
    receiver.answers = ["503 Away"] * ATTEMPTS_MAX
    payment_id = str((await post.till.order(notify_url=receiver.url)).payment.id)
    for _ in range(ATTEMPTS_MAX):
        await post.tell()
        clock.advance(30 * 3_600)
    failed, waiting = sorted(await post.deliveries(), key=lambda one: one["state"] != "FAILED")

    again = await post.till.shop.mutate("redeliverWebhook", AGAIN, {"id": failed["id"]})
    await post.tell()

    assert (failed["state"], len(failed["attempts"])) == ("FAILED", ATTEMPTS_MAX)
    assert waiting["state"] == "DELIVERED"
    assert again["__typename"] == "RedeliverWebhookSuccess"
    assert [one["state"] for one in await post.deliveries()] == ["DELIVERED"] * 2
    assert {one["payment"]["id"] for one in await post.deliveries()} == {payment_id}
    assert [received.headers["webhook-id"] for received in receiver.received].count(failed["eventId"]) == (
        ATTEMPTS_MAX + 1
    )


async def test_one_server_that_wants_rest_does_not_rest_others_in_its_lane(post: Post, receiver: Receiver) -> None:
    async with receiving() as tired:
        tired.answers = ["503 Away\r\nretry-after: 86400"]
        await sale(post, notify_url=tired.url)
        await post.tell()

        await sale(post, notify_url=receiver.url)
        await post.tell()

        assert len({row["lane"] for row in await post.till.rows("job") if row["kind"] == "webhook.delivery"}) == 1
        assert len(tired.received) == 1
        assert len(receiver.received) == 3


async def test_a_dead_shop_delays_no_other(post: Post, receiver: Receiver) -> None:
    async with receiving() as dead:
        dead.gate = asyncio.Event()
        for _ in range(8):
            await sale(post, notify_url=dead.url.replace("127.0.0.1", "localhost"))
        await sale(post, notify_url=receiver.url)
        while (reached := await fan_out(post.till.services, after=post.position)) > post.position:
            post.position = reached
        lanes = {row["lane"] for row in await post.till.rows("job") if row["kind"] == JobKind.WEBHOOK_DELIVERY}
        running = asyncio.create_task(post.runner.run())

        await receiver.until(3)
        waiting = len(dead.received)
        dead.gate.set()
        await dead.until(3 * 8)
        await post.runner.idle()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running

        assert 1 <= waiting <= WEBHOOKS_AT_ONCE
        assert len(lanes) == 2


async def test_h6_during_a_rotation_both_secrets_verify_and_then_only_the_new_one(
    post: Post, receiver: Receiver, clock: SandboxClock
) -> None:
    first = await post.notify_secret()
    second = await post.notify_secret(3_600)
    early = await post.till.shop.mutate("rotateNotifySecret", ROTATE_NOTIFY, {"overlap": 60})
    endless = await post.till.shop.mutate("rotateNotifySecret", ROTATE_NOTIFY, {"overlap": -1})
    await post.till.order(notify_url=receiver.url)
    await post.tell()
    clock.advance(3_601)
    await post.till.order(notify_url=receiver.url)
    await post.tell()

    overlapping, after = receiver.received[0], receiver.received[-1]
    for secret in (first, second):
        assert Webhook(secret).verify(overlapping.body, overlapping.headers)["type"] == "payment.updated"
    signatures = [len(received.headers["webhook-signature"].split(" ")) for received in (overlapping, after)]
    assert signatures == [2, 1]
    assert [(refused["code"], refused["field"]) for refused in (early, endless)] == [
        ("INVALID_INPUT", "overlapSeconds")
    ] * 2


async def test_the_first_rotation_shows_the_first_secret_and_keeps_no_other(post: Post, receiver: Receiver) -> None:
    await post.till.order(notify_url=receiver.url)
    first = await post.notify_secret(None)
    await post.tell()

    received = receiver.received[0]
    assert len(received.headers["webhook-signature"].split(" ")) == 1
    assert Webhook(first).verify(received.body, received.headers)["type"] == "payment.updated"
    assert len({first, await post.notify_secret(None), await post.notify_secret(0)}) == 3


async def test_a_rotation_is_for_admins_counted_and_written_down(post: Post) -> None:
    shop = post.till.shop
    limited = Principal(merchant_id=shop.principal.merchant_id, scopes=frozenset(set(Scope) - {Scope.ADMIN}))

    denied = [
        await shop.mutate("rotateNotifySecret", ROTATE_NOTIFY, {"overlap": 0}, as_=who) for who in (limited, ANONYMOUS)
    ]
    await post.notify_secret()
    post.till.services.limiter.left = 0
    counted = await shop.mutate("rotateNotifySecret", ROTATE_NOTIFY, {"overlap": 0})
    post.till.services.limiter.left = None

    assert [refused["code"] for refused in denied] == ["PERMISSION_DENIED"] * 2
    assert counted["code"] == "RATE_LIMITED"
    assert [edge["node"] for edge in (await shop.run(AUDIT))["auditLog"]["edges"]] == [
        {"actorId": shop.principal.key_id, "subjectId": shop.principal.merchant_id, "detail": None}
    ]


async def test_each_merchant_s_addresses_are_signed_with_its_own_secret(
    post: Post, receiver: Receiver, other_shop: Any
) -> None:
    own = await post.notify_secret()
    theirs = await replace(post, till=post.till.of(other_shop)).notify_secret()
    await post.till.order(notify_url=receiver.url)
    await post.tell()

    received = receiver.received[0]
    assert Webhook(own).verify(received.body, received.headers)["type"] == "payment.updated"
    with pytest.raises(WebhookVerificationError):
        Webhook(theirs).verify(received.body, received.headers)


async def test_h3_a_name_that_turns_private_is_not_called(post: Post, receiver: Receiver) -> None:
    asked: list[str] = []

    async def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    tools = post.till.services.webhook_tools
    async with OutgoingClient(OutgoingRules(timeout_s=2.0), resolve=resolve) as strict:
        post.till.services.webhook_tools = replace(tools, outgoing=strict)
        made = await generate(post, notifyUrl=f"https://shop.example:{receiver.port}/hook")
        await post.tell()

    assert made["__typename"] == "GenerateInvoiceSuccess"
    assert asked == ["shop.example"]  # what waits behind the first try waits for the next
    assert [(one["state"], one["attempts"]) for one in await post.deliveries()] == [
        ("PENDING", [{"number": 1, "statusCode": None, "error": "FORBIDDEN_ADDRESS"}]),
        ("PENDING", []),
    ]
    assert receiver.connections == 0


async def test_a_name_that_leads_astray_for_a_while_loses_nothing(
    post: Post, receiver: Receiver, clock: SandboxClock
) -> None:
    leads_to = iter(["10.0.0.1", *["127.0.0.1"] * 3])

    async def resolve(host: str, port: int) -> list[str]:
        del host, port
        return [next(leads_to)]

    tools = post.till.services.webhooks
    rules = OutgoingRules(private_networks=LOOPBACK, plain_http=True, timeout_s=2.0)
    async with OutgoingClient(rules, resolve=resolve) as outgoing:
        post.till.services.webhook_tools = replace(tools, outgoing=outgoing)
        await sale(post, notify_url=f"http://shop.example:{receiver.port}/hook")
        await post.tell()
        connections = receiver.connections
        clock.advance(6)
        await post.tell()

    assert connections == 0
    told = await post.deliveries()
    assert [one["state"] for one in told] == ["DELIVERED"] * 3
    assert [attempt["error"] for attempt in told[0]["attempts"]] == ["FORBIDDEN_ADDRESS", None]
    assert [received.headers["webhook-id"] for received in receiver.received] == [one["eventId"] for one in told]


async def test_what_became_of_it_is_watched_like_any_other_delivery(post: Post, receiver: Receiver) -> None:
    from quittance.gql.schema import schema

    receiver.answers = ["410 Gone"]
    payment_id = str((await post.till.order(notify_url=receiver.url)).payment.id)
    await post.tell()

    stream: Any = await schema.subscribe(WATCH, {"after": FROM_THE_START}, post.till.shop.context())
    async with asyncio.timeout(10):
        seen = [(await anext(stream)).data["webhookDelivered"]["delivery"] for _ in range(2)]
    await stream.aclose()

    told = {"url": receiver.url, "endpoint": None, "payment": {"id": payment_id}}
    assert seen == [{"state": "FAILED"} | told, {"state": "DELIVERED"} | told]


async def test_each_event_is_told_once_however_many_follow_the_log(post: Post, receiver: Receiver) -> None:
    await sale(post, notify_url=receiver.url)

    reached = await asyncio.gather(*(fan_out(post.till.services, after=0) for _ in range(5)))
    await post.tell()

    ids = [received.headers["webhook-id"] for received in receiver.received]
    assert len(set(reached)) == 1
    assert len(ids) == len(set(ids)) == 3


async def test_the_log_is_followed_in_steps_and_no_address_is_overlooked(post: Post, receiver: Receiver) -> None:
    await sale(post)
    await sale(post, notify_url=receiver.url)
    await sale(post)
    services = post.till.services

    position, steps = 0, []
    while True:
        ahead = await services.database.read(partial(look_ahead, after=position, events_max=2))
        if ahead.up_to == position:
            break
        position = ahead.up_to
        steps.append((ahead.up_to, ahead.notifies))

    rows = await post.till.rows("event")
    (with_address,) = {row["payment_id"] for row in rows} & {
        row["id"] for row in await post.till.rows("payment") if row["notify_url"] is not None
    }
    concerned = {row["position"] for row in rows if row["payment_id"] == with_address}
    expected = [(n, bool({n - 1, n} & concerned)) for n in range(2, len(rows) + 1, 2)]
    assert steps == (expected if len(rows) % 2 == 0 else [*expected, (len(rows), len(rows) in concerned)])
    assert len(concerned) == 3
