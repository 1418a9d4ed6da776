"""What waits to be delivered to an endpoint: counted for a page at once, and never made a second time."""

import asyncio
from dataclasses import replace as replaced
from typing import Any

import pytest
from tests.integration.watched import WatchedDatabase
from tests.integration.webhook_post import AGAIN, REPLAY, TEST, Post, fan_out_all, sale, update
from tests.integration.webhook_receiver import Receiver

from quittance.domain.cursor import encode_position
from quittance.sandbox.clock import SandboxClock

LOG = "{ auditLog { edges { node { action subjectId detail } } } }"
QUEUES = """
query ($first: Int!) { webhookEndpoints(first: $first) { edges { node { id queueDepth } } } }
"""
TEST_TWICE = """
mutation ($id: ID!) {
  one: sendTestWebhook(endpointId: $id) { ...Queue }
  two: sendTestWebhook(endpointId: $id) { ...Queue }
}
fragment Queue on SendTestWebhookResult { ... on SendTestWebhookSuccess { delivery { endpoint { queueDepth } } } }
"""
_OF_THE_BROKER = "event.position > "


async def queues(till: Any, first: int) -> tuple[list[str], dict[str, int]]:
    """Return the statements that a page of endpoints costs, and how many deliveries wait for each."""
    ran: list[str] = []
    till.services.database.counter = ran.append
    page = (await till.shop.run(QUEUES, {"first": first}))["webhookEndpoints"]
    till.services.database.counter = None
    depths = {edge["node"]["id"]: edge["node"]["queueDepth"] for edge in page["edges"]}
    return [sql for sql in ran if _OF_THE_BROKER not in sql], depths


async def test_the_queues_of_a_page_of_endpoints_cost_one_statement(post: Post, receiver: Receiver) -> None:
    kinds = [["PAYMENT_SETTLED"], ["PAYMENT_SETTLED", "PAYMENT_UPDATED"], ["ARTICLE_PUBLISHED"]]
    made = [(await post.endpoint(receiver, eventTypes=some))["endpoint"]["id"] for some in kinds]
    await sale(post)
    await sale(post)
    await fan_out_all(post)

    narrow, one = await queues(post.till, 1)
    wide, waiting = await queues(post.till, 100)
    await post.tell()
    _, told = await queues(post.till, 100)

    assert one == {made[2]: 0}
    assert waiting == {made[0]: 2, made[1]: 6, made[2]: 0}
    assert len(narrow) == len(wide) == 2
    assert set(told.values()) == {0}


async def test_a_queue_is_counted_anew_after_each_mutation_of_a_document(post: Post, receiver: Receiver) -> None:
    made = await post.endpoint(receiver)

    sent = await post.till.shop.run(TEST_TWICE, {"id": made["endpoint"]["id"]})

    assert [sent[name]["delivery"]["endpoint"]["queueDepth"] for name in ("one", "two")] == [1, 2]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # PostgreSQL scans tables this small
async def test_queues_are_counted_by_an_index_alone(post: Post, receiver: Receiver) -> None:
    await post.endpoint(receiver)
    await sale(post)
    await fan_out_all(post)
    watched: Any = WatchedDatabase(post.till.services.database)

    await post.till.on(replaced(post.till.services, database=watched)).shop.run(QUEUES, {"first": 100})

    (steps,) = [steps for sql, steps in watched.plans().items() if "FROM webhook_delivery" in sql]
    assert "USING COVERING INDEX ix_webhook_delivery_endpoint_id_state_id (endpoint_id=? AND state=?)" in steps[0]
    assert [step for step in steps if "SCAN" in step or "TEMP B-TREE" in step] == []


async def replay(post: Post, made: dict[str, Any], *, after: int = 0) -> dict[str, Any]:
    asked = {"id": made["endpoint"]["id"], "after": encode_position(after)}
    answer: dict[str, Any] = await post.till.shop.mutate("replayWebhooks", REPLAY, asked)
    return answer


async def test_a_replay_is_not_sent_again_while_it_is_on_its_way(post: Post, receiver: Receiver) -> None:
    made = await post.endpoint(receiver, eventTypes=["PAYMENT_SETTLED"])
    for _ in range(3):
        await sale(post)
    await post.tell()

    first, again = await replay(post, made), await replay(post, made)
    waiting = [one["state"] for one in await post.deliveries()].count("PENDING")
    await post.tell()
    later = await replay(post, made)

    assert (first["count"], first["alreadyPending"]) == (3, 0)
    assert (again["count"], again["alreadyPending"]) == (0, 3)
    assert waiting == 3
    assert len(receiver.received) == 6
    assert (later["count"], later["alreadyPending"]) == (3, 0)


async def test_an_event_that_waits_for_its_next_try_is_not_sent_beside_it(
    post: Post, receiver: Receiver, clock: SandboxClock
) -> None:
    made = await post.endpoint(receiver, eventTypes=["PAYMENT_SETTLED"])
    await sale(post)
    await post.tell()
    receiver.answers = ["500 Oops"]
    await sale(post)
    await post.tell()

    answer = await replay(post, made)
    clock.advance(600)
    await post.tell()

    ids = [received.headers["webhook-id"] for received in receiver.received]
    assert (answer["count"], answer["alreadyPending"]) == (1, 1)
    assert sorted(map(ids.count, set(ids))) == [2, 2]


async def test_replays_together_send_each_event_once(post: Post, receiver: Receiver) -> None:
    made = await post.endpoint(receiver, eventTypes=["PAYMENT_SETTLED"])
    for _ in range(4):
        await sale(post)
    await post.tell()

    answers = await asyncio.gather(*(replay(post, made) for _ in range(5)))
    await post.tell()

    assert sum(answer["count"] for answer in answers) == 4
    assert {answer["count"] + answer["alreadyPending"] for answer in answers} == {4}
    assert len(receiver.received) == 8


async def test_an_event_that_is_replayed_before_it_is_told_is_told_once(post: Post, receiver: Receiver) -> None:
    made = await post.endpoint(receiver, eventTypes=["PAYMENT_SETTLED"])
    await sale(post)

    answer = await replay(post, made)
    await post.tell()

    assert answer["count"] == 1
    assert [one["cause"] for one in await post.deliveries()] == ["REPLAY"]
    assert len(receiver.received) == 1


async def test_a_delivery_is_not_sent_again_beside_a_replay_of_its_event(post: Post, receiver: Receiver) -> None:
    made = await post.endpoint(receiver, eventTypes=["PAYMENT_SETTLED"])
    receiver.answers = ["410 Gone"]
    await sale(post)
    await post.tell()
    (failed,) = await post.deliveries()
    await update(post, made, enabled=True)
    await replay(post, made)

    refused = await post.till.shop.mutate("redeliverWebhook", AGAIN, {"id": failed["id"]})
    await post.tell()

    assert refused["code"] == "INVALID_INPUT"
    assert "on its way" in refused["message"]
    assert [one["state"] for one in await post.deliveries()] == ["FAILED", "DELIVERED"]
    assert len(receiver.received) == 2


async def test_what_is_sent_by_hand_is_in_the_audit_log(post: Post, receiver: Receiver) -> None:
    made = await post.endpoint(receiver, eventTypes=["PAYMENT_SETTLED"])
    endpoint_id = made["endpoint"]["id"]
    receiver.answers = ["410 Gone"]
    await sale(post)
    await post.tell()
    (failed,) = await post.deliveries()
    await update(post, made, enabled=True)

    await post.till.shop.mutate("redeliverWebhook", AGAIN, {"id": failed["id"]})
    await post.tell()
    await replay(post, made)
    await replay(post, made, after=10_000)
    await post.till.shop.mutate("sendTestWebhook", TEST, {"id": endpoint_id})

    test = (await post.deliveries())[-1]
    entries = (await post.till.shop.run(LOG))["auditLog"]["edges"]
    told = [tuple(edge["node"].values()) for edge in entries][:3]
    assert set(told) == {
        ("WEBHOOK_TEST_SENT", endpoint_id, test["id"]),
        ("WEBHOOKS_REPLAYED", endpoint_id, f"1 behind {encode_position(0)}"),
        ("WEBHOOK_REDELIVERED", failed["id"], "payment.settled"),
    }
