"""Webhooks from an event to a receiver on a real socket: signed, in order, at least once, and no longer than wanted."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from standardwebhooks import Webhook
from tests.integration.webhook_receiver import Receiver, receiving

from quittance.domain.access import Scope
from quittance.domain.delivery import ATTEMPTS_MAX
from quittance.domain.endpoint import DeliveryState
from quittance.domain.job import JobKind, JobState
from quittance.gql.limits import DocumentLimits
from quittance.providers.outgoing import LOOPBACK, OutgoingClient, OutgoingRules
from quittance.resolvers.attempts import GIVEN_UP_MAX, abandon, deliver
from quittance.resolvers.deliveries import fan_out, position_told
from quittance.resolvers.jobs import claim_due, list_jobs, retry_job
from quittance.resolvers.services import WebhookTools
from quittance.sandbox.clock import SandboxClock
from quittance.server.access import ServerAccess
from quittance.server.payloads import GraphQLPayloads
from quittance.store.events import newest_position
from quittance.workers.jobs import CRASHES_MAX, LANE_AT_ONCE, JobRunner
from quittance.workers.webhooks import FanOut

CREATE = """
mutation ($input: CreateWebhookEndpointInput!) {
  createWebhookEndpoint(input: $input) {
    __typename
    ... on CreateWebhookEndpointSuccess { secret endpoint { id url eventTypes document status } }
    ... on UserError { code message }
  }
}
"""
UPDATE = """
mutation ($input: UpdateWebhookEndpointInput!) {
  updateWebhookEndpoint(input: $input) {
    __typename
    ... on UpdateWebhookEndpointSuccess { endpoint { status url eventTypes document description } }
    ... on UserError { code }
  }
}
"""
DELIVERIES = """
query ($filter: WebhookDeliveryFilter) {
  webhookDeliveries(filter: $filter) {
    totalCount
    edges { node { id eventId eventType state cause attempts { number statusCode error } payment { id } } }
  }
}
"""
ACT = """
mutation ($id: ID!) {
  rotateWebhookSecret(id: $id, overlapSeconds: 3600) { ... on RotateWebhookSecretSuccess { secret } }
}
"""
DELETE = "mutation ($id: ID!) { deleteWebhookEndpoint(id: $id) { __typename } }"
TEST = "mutation ($id: ID!) { sendTestWebhook(endpointId: $id) { __typename ... on UserError { code } } }"
DRY = """
mutation ($id: ID!) {
  dryRunWebhook(endpointId: $id) { ... on DryRunWebhookSuccess { body } ... on UserError { code } }
}
"""
AGAIN = """
mutation ($id: ID!) { redeliverWebhook(deliveryId: $id) { __typename ... on UserError { code message } } }
"""
REPLAY = """
mutation ($id: ID!, $after: String!) {
  replayWebhooks(endpointId: $id, after: $after) {
    __typename ... on ReplayWebhooksSuccess { count } ... on UserError { code }
  }
}
"""
STATUS = "query ($id: ID!) { payment(id: $id) { deliveryStatus deliveries { totalCount } } }"


@dataclass
class Post:
    """A shop that tells of its events, one step of the workers at a time."""

    till: Any
    runner: JobRunner
    position: int = 0

    async def endpoint(self, receiver: Receiver, **more: Any) -> dict[str, Any]:
        made: dict[str, Any] = await self.till.shop.mutate(
            "createWebhookEndpoint", CREATE, {"input": {"url": receiver.url} | more}
        )
        assert made["__typename"] == "CreateWebhookEndpointSuccess", made
        return made

    async def tell(self) -> None:
        """Make deliveries of what happened, and try every one that is due."""
        while (reached := await fan_out(self.till.services, after=self.position)) > self.position:
            self.position = reached
        while await self.runner.begin_due():
            await self.runner.idle()

    async def deliveries(self, **narrowed: Any) -> list[dict[str, Any]]:
        """Return every delivery, the oldest first."""
        page = (await self.till.shop.run(DELIVERIES, {"filter": narrowed}))["webhookDeliveries"]
        assert page["totalCount"] == len(page["edges"])
        return [edge["node"] for edge in reversed(page["edges"])]


@pytest.fixture
async def post(till: Any) -> AsyncIterator[Post]:
    services = till.services
    access = ServerAccess(services, till.shop.broker, key_used=lambda _: None)
    rules = OutgoingRules(private_networks=LOOPBACK, plain_http=True, timeout_s=2.0)
    async with OutgoingClient(rules) as outgoing:
        services.webhook_tools = WebhookTools(
            outgoing=outgoing, payloads=GraphQLPayloads(access, limits=DocumentLimits())
        )
        kind = JobKind.WEBHOOK_DELIVERY
        yield Post(till, JobRunner(services=services, handlers={kind: deliver}, abandon={kind: abandon}))


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as running:
        yield running


async def sale(post: Post) -> str:
    payment_id = str((await post.till.order()).payment.id)
    await post.till.report(await post.till.money(payment_id))
    return payment_id


async def test_a_settlement_reaches_its_receiver_signed_with_the_event_id_of_the_log(
    post: Post, receiver: Receiver
) -> None:
    made = await post.endpoint(receiver, eventTypes=["PAYMENT_SETTLED"])
    payment_id = await sale(post)

    await post.tell()

    (received,) = receiver.received
    verified = Webhook(made["secret"]).verify(received.body, received.headers)
    events = [row for row in await post.till.rows("event") if row["kind"] == "payment.settled"]
    assert verified["type"] == "payment.settled"
    assert received.headers["webhook-id"] == verified["data"]["eventId"] == events[0]["id"]
    assert verified["data"]["payment"]["id"] == payment_id
    assert verified["data"]["payment"]["status"] == "COMPLETE"
    assert verified["data"]["payment"]["received"] == {"value": "5000", "assetCode": "BTC", "assetScale": 11}
    assert [(one["state"], len(one["attempts"])) for one in await post.deliveries()] == [("DELIVERED", 1)]
    assert (await post.till.shop.run(STATUS, {"id": payment_id}))["payment"] == {
        "deliveryStatus": "DELIVERED",
        "deliveries": {"totalCount": 1},
    }


async def test_every_change_of_one_payment_is_told_in_order_although_the_first_try_failed(
    post: Post, receiver: Receiver, clock: SandboxClock
) -> None:
    await post.endpoint(receiver)
    receiver.answers = ["500 Oops"]
    await sale(post)

    await post.tell()
    early = [received.message["type"] for received in receiver.received]
    clock.advance(6)
    await post.tell()

    statuses = [
        (received.message["type"], received.message["data"]["payment"]["status"]) for received in receiver.received[1:]
    ]
    assert early == ["payment.updated"]
    assert [type_ for type_, _ in statuses] == ["payment.updated", "payment.updated", "payment.settled"]
    assert receiver.received[0].headers["webhook-id"] == receiver.received[1].headers["webhook-id"]
    assert [one["state"] for one in await post.deliveries()] == ["DELIVERED"] * 3


async def test_h4_a_receiver_that_stays_away_is_tried_a_bounded_number_of_times_and_then_given_up(
    post: Post, receiver: Receiver, clock: SandboxClock
) -> None:
    made = await post.endpoint(receiver, eventTypes=["PAYMENT_SETTLED"])
    receiver.answers = ["503 Away"] * (ATTEMPTS_MAX * GIVEN_UP_MAX)
    for _ in range(GIVEN_UP_MAX):
        await sale(post)

    for _ in range(ATTEMPTS_MAX + 2):
        await post.tell()
        clock.advance(30 * 3_600)

    deliveries = await post.deliveries()
    assert [one["state"] for one in deliveries] == ["FAILED"] * GIVEN_UP_MAX
    assert [len(one["attempts"]) for one in deliveries] == [ATTEMPTS_MAX] * GIVEN_UP_MAX
    assert len(receiver.received) == ATTEMPTS_MAX * GIVEN_UP_MAX
    endpoints = {row["id"]: row for row in await post.till.rows("webhook_endpoint")}
    assert endpoints[made["endpoint"]["id"]]["status"] == "FAILED"
    assert [row["kind"] for row in await post.till.rows("event")].count("webhook.endpoint_disabled") == 1
    assert len(await list_jobs(post.till.services, JobState.DEAD)) == GIVEN_UP_MAX


async def test_a_delivery_that_was_given_up_goes_out_again_by_hand_with_its_id(
    post: Post, receiver: Receiver, clock: SandboxClock
) -> None:
    made = await post.endpoint(receiver, eventTypes=["PAYMENT_SETTLED"])
    receiver.answers = ["410 Gone"]
    await sale(post)
    await post.tell()
    (given_up,) = await post.deliveries()
    enabled = {"input": {"id": made["endpoint"]["id"], "enabled": True}}

    await post.till.shop.mutate("updateWebhookEndpoint", UPDATE, enabled)
    again = await post.till.shop.mutate("redeliverWebhook", AGAIN, {"id": given_up["id"]})
    await post.tell()
    twice = await post.till.shop.mutate("redeliverWebhook", AGAIN, {"id": given_up["id"]})

    assert given_up["state"] == "FAILED"
    assert again == {"__typename": "RedeliverWebhookSuccess"}
    assert [received.headers["webhook-id"] for received in receiver.received] == [given_up["eventId"]] * 2
    assert [one["state"] for one in await post.deliveries()] == ["DELIVERED"]
    assert twice["code"] == "INVALID_INPUT"


async def test_h6_during_a_rotation_both_secrets_verify_and_then_only_the_new_one(
    post: Post, receiver: Receiver, clock: SandboxClock
) -> None:
    made = await post.endpoint(receiver, eventTypes=["PAYMENT_SETTLED"])
    new = await post.till.shop.mutate("rotateWebhookSecret", ACT, {"id": made["endpoint"]["id"]})

    await sale(post)
    await post.tell()
    clock.advance(3_601)
    await sale(post)
    await post.tell()

    overlapping, after = receiver.received
    signatures = [len(received.headers["webhook-signature"].split(" ")) for received in (overlapping, after)]
    assert signatures == [2, 1]
    for secret in (made["secret"], new["secret"]):
        assert Webhook(secret).verify(overlapping.body, overlapping.headers)["type"] == "payment.settled"


async def test_a_document_of_ones_own_shapes_the_payload(post: Post, receiver: Receiver) -> None:
    document = "subscription { paymentSettled { payment { id amount { formatted } } } }"
    made = await post.endpoint(receiver, document=document)
    payment_id = await sale(post)

    await post.tell()

    (received,) = receiver.received
    assert made["endpoint"]["eventTypes"] == ["PAYMENT_SETTLED"]
    assert received.message["data"] == {
        "paymentSettled": {"payment": {"id": payment_id, "amount": {"formatted": "5 sat"}}}
    }


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ("{ viewer { kind } }", "query or a mutation"),
        ("subscription ($a: String) { paymentSettled(after: $a) { cursor } }", "variables"),
        ("subscription { paymentSettled { nothing } }", "nothing"),
        ("subscription { webhookDelivered { cursor } }", "its field must be one of"),
        ("subscription {", "Syntax Error"),
    ],
)
async def test_a_document_that_cannot_become_a_payload_is_refused_and_nothing_is_made(
    post: Post, receiver: Receiver, document: str, reason: str
) -> None:
    refused = await post.till.shop.mutate(
        "createWebhookEndpoint", CREATE, {"input": {"url": receiver.url, "document": document}}
    )

    assert refused["code"] == "INVALID_DOCUMENT"
    assert reason in refused["message"]
    assert await post.till.rows("webhook_endpoint") == []


@pytest.mark.parametrize(
    "url", ["https://10.0.0.1/", "https://169.254.169.254/", "https://user@example.com/", "ftp://example.com/", ""]
)
async def test_an_address_that_may_not_be_called_is_refused_when_it_is_given(post: Post, url: str) -> None:
    refused = await post.till.shop.mutate("createWebhookEndpoint", CREATE, {"input": {"url": url}})

    assert refused["__typename"] == "ForbiddenAddressError"
    assert await post.till.rows("webhook_endpoint") == []


async def test_a_redirect_is_a_failure_and_is_not_followed(post: Post, receiver: Receiver) -> None:
    async with receiving() as inward:
        await post.endpoint(receiver, eventTypes=["PAYMENT_SETTLED"])
        receiver.answers = [f"302 Found\r\nLocation: {inward.url}"]
        await sale(post)

        await post.tell()

        assert inward.received == []
        (delivery,) = await post.deliveries()
        assert (delivery["state"], delivery["attempts"]) == (
            "PENDING",
            [{"number": 1, "statusCode": 302, "error": None}],
        )


async def test_a_receiver_that_hangs_delays_no_other(post: Post, receiver: Receiver) -> None:
    async with receiving() as slow:
        slow.gate = asyncio.Event()
        await post.endpoint(slow, eventTypes=["PAYMENT_SETTLED"])
        await post.endpoint(receiver, eventTypes=["PAYMENT_SETTLED"])
        for _ in range(8):
            await sale(post)
        while (reached := await fan_out(post.till.services, after=post.position)) > post.position:
            post.position = reached
        running = asyncio.create_task(post.runner.run())

        await receiver.until(8)
        waiting = len(slow.received)
        slow.gate.set()
        await slow.until(8)
        await post.runner.idle()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running

        assert 1 <= waiting <= LANE_AT_ONCE


async def test_a_test_and_a_dry_run_say_what_would_be_sent(post: Post, receiver: Receiver) -> None:
    made = await post.endpoint(receiver, eventTypes=["PAYMENT_SETTLED"])
    endpoint = {"id": made["endpoint"]["id"]}

    before = await post.till.shop.mutate("dryRunWebhook", DRY, endpoint)
    payment_id = await sale(post)
    after = await post.till.shop.mutate("dryRunWebhook", DRY, endpoint)
    sent = await post.till.shop.mutate("sendTestWebhook", TEST, endpoint)
    await post.tell()

    assert '"type":"webhook.test"' in before["body"]
    assert payment_id in after["body"]
    assert sent == {"__typename": "SendTestWebhookSuccess"}
    assert sorted(received.message["type"] for received in receiver.received) == ["payment.settled", "webhook.test"]
    assert after["body"].encode() in [received.body for received in receiver.received]


async def test_a_replay_sends_everything_behind_a_cursor_again_with_the_same_ids(
    post: Post, receiver: Receiver
) -> None:
    made = await post.endpoint(receiver, eventTypes=["PAYMENT_SETTLED"])
    for _ in range(2):
        await sale(post)
        await post.tell()
    first = receiver.received[0].message["data"]["cursor"]

    everything = await post.till.shop.mutate("replayWebhooks", REPLAY, {"id": made["endpoint"]["id"], "after": first})
    await post.tell()
    wrong = await post.till.shop.mutate("replayWebhooks", REPLAY, {"id": made["endpoint"]["id"], "after": "nonsense"})

    ids = [received.headers["webhook-id"] for received in receiver.received]
    assert everything == {"__typename": "ReplayWebhooksSuccess", "count": 1}
    assert ids == [ids[0], ids[1], ids[1]]
    assert wrong["code"] == "INVALID_INPUT"


async def test_what_is_on_its_way_to_a_deleted_endpoint_is_canceled(
    post: Post, receiver: Receiver, clock: SandboxClock
) -> None:
    made = await post.endpoint(receiver, eventTypes=["PAYMENT_SETTLED"])
    receiver.answers = ["500 Oops"]
    await sale(post)
    await post.tell()

    await post.till.shop.mutate("deleteWebhookEndpoint", DELETE, {"id": made["endpoint"]["id"]})
    await post.tell()

    assert [one["state"] for one in await post.deliveries()] == [DeliveryState.CANCELED]
    assert len(receiver.received) == 1


async def test_a_key_without_the_admin_scope_sees_and_changes_nothing(post: Post, receiver: Receiver) -> None:
    await post.endpoint(receiver)
    await sale(post)
    await post.tell()
    limited = post.till.shop.principal.__class__(
        merchant_id=post.till.shop.principal.merchant_id, scopes=frozenset({Scope.PAYMENTS_READ, Scope.PAYMENTS_WRITE})
    )

    refused = await post.till.shop.mutate(
        "createWebhookEndpoint", CREATE, {"input": {"url": receiver.url}}, as_=limited
    )
    seen = await post.till.shop.run(DELIVERIES, {"filter": {}}, as_=limited)

    assert refused["code"] == "PERMISSION_DENIED"
    assert seen["webhookDeliveries"] == {"totalCount": 0, "edges": []}


async def test_a_receiver_that_does_not_answer_is_tried_again_and_the_reason_is_told(
    post: Post, receiver: Receiver, clock: SandboxClock
) -> None:
    await post.endpoint(receiver, eventTypes=["PAYMENT_SETTLED"])
    receiver.gate = asyncio.Event()
    await sale(post)

    await post.tell()
    receiver.gate.set()
    clock.advance(6)
    await post.tell()

    (delivery,) = await post.deliveries()
    assert delivery["state"] == "DELIVERED"
    assert delivery["attempts"] == [
        {"number": 1, "statusCode": None, "error": "timeout"},
        {"number": 2, "statusCode": 200, "error": None},
    ]
    assert len({received.headers["webhook-id"] for received in receiver.received}) == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the dead close no sockets
async def test_h5_death_at_any_moment_of_a_delivery_loses_nothing_and_changes_no_id(
    post: Post, receiver: Receiver, clock: SandboxClock
) -> None:
    await post.endpoint(receiver, eventTypes=["PAYMENT_SETTLED"])
    await sale(post)
    while (reached := await fan_out(post.till.services, after=post.position)) > post.position:
        post.position = reached
    for steps in range(60):
        dying = asyncio.create_task(post.runner.begin_due())
        await dying
        for _ in range(steps):
            await asyncio.sleep(0)
        for task in list(post.runner._running):
            task.cancel()
        await post.runner.idle()
        clock.advance(post.till.services.rules.job_claim_s + 1)
        if (await post.deliveries())[0]["state"] == "DELIVERED":
            break

    await post.tell()
    gc.collect()

    (delivery,) = await post.deliveries()
    assert delivery["state"] == "DELIVERED"
    assert {received.headers["webhook-id"] for received in receiver.received} == {delivery["eventId"]}
    assert receiver.received


async def test_the_log_is_followed_once_although_the_position_was_not_stored(post: Post, receiver: Receiver) -> None:
    await post.endpoint(receiver, eventTypes=["PAYMENT_SETTLED"])
    await sale(post)

    again = [await fan_out(post.till.services, after=0) for _ in range(3)]
    await post.tell()

    assert len(set(again)) == 1
    assert len(receiver.received) == 1
    assert await position_told(post.till.services) == again[0]


async def test_a_delivery_that_crashes_at_every_try_fails_visibly_and_can_be_redelivered(
    post: Post, receiver: Receiver, clock: SandboxClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await post.endpoint(receiver, eventTypes=["PAYMENT_SETTLED"])
    await sale(post)

    async def broken(*_: object, **__: object) -> bytes:
        raise LookupError("no such renderer")

    with monkeypatch.context() as patched:
        patched.setattr("quittance.resolvers.attempts._body", broken)
        for _ in range(CRASHES_MAX):
            await post.tell()
            clock.advance(48 * 3_600)
    (failed,) = await post.deliveries()
    again = await post.till.shop.mutate("redeliverWebhook", AGAIN, {"id": failed["id"]})
    await post.tell()
    (delivered,) = await post.deliveries()

    assert (failed["state"], failed["attempts"][-1]["error"]) == ("FAILED", "CRASHED")
    assert again["__typename"] == "RedeliverWebhookSuccess"
    assert delivered["state"] == "DELIVERED"
    assert len(receiver.received) == 1


async def test_a_delivery_is_not_sent_again_while_its_job_runs(
    post: Post, receiver: Receiver, clock: SandboxClock
) -> None:
    receiver.answers = ["410 Gone"]
    await post.endpoint(receiver, eventTypes=["PAYMENT_SETTLED"])
    await sale(post)
    await post.tell()
    (failed,) = await post.deliveries()
    services = post.till.services
    (dead,) = await list_jobs(services, JobState.DEAD)
    await retry_job(services, dead.id)
    (running,) = await claim_due(services, lane_max=4, at_once=4, running={})

    refused = await post.till.shop.mutate("redeliverWebhook", AGAIN, {"id": failed["id"]})

    assert running.id == dead.id
    assert refused["code"] == "INVALID_INPUT"
    assert (await post.deliveries())[0]["state"] == "FAILED"


async def test_much_to_tell_is_told_in_units_of_bounded_size(
    post: Post, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quittance.resolvers.deliveries.UNIT_DELIVERIES", 4)
    for _ in range(3):
        await post.endpoint(receiver, eventTypes=["PAYMENT_SETTLED"])
    for _ in range(3):
        await sale(post)
    told = [0]
    position = 0
    while (reached := await fan_out(post.till.services, after=position)) > position:
        position = reached
        told.append(len(await post.deliveries()))

    grown = [after - before for before, after in pairwise(told)]
    assert [number for number in grown if number] == [3, 3, 3]


async def test_two_who_follow_the_log_at_once_tell_each_event_once(post: Post, receiver: Receiver) -> None:
    await post.endpoint(receiver, eventTypes=["PAYMENT_SETTLED"])
    await sale(post)

    reached = await asyncio.gather(*(fan_out(post.till.services, after=0) for _ in range(5)))

    assert len(set(reached)) == 1
    assert len(await post.deliveries()) == 1


async def test_how_far_the_log_was_followed_is_kept_although_nothing_was_told(post: Post, receiver: Receiver) -> None:
    await post.endpoint(receiver, eventTypes=["ARTICLE_PUBLISHED"])
    await sale(post)
    services = post.till.services
    newest = await services.database.read(newest_position)
    before = await position_told(services)

    following = asyncio.create_task(FanOut(services=services).run(holder="test"))
    async with asyncio.timeout(20):
        while await position_told(services) < newest:  # noqa: ASYNC110 - only the database tells
            await asyncio.sleep(0.05)
    following.cancel()
    with suppress(asyncio.CancelledError):
        await following

    assert before < newest
