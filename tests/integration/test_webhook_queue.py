"""What waits to be delivered to an endpoint: counted for a page at once, and never made a second time."""

from dataclasses import replace
from typing import Any

import pytest
from tests.integration.watched import WatchedDatabase
from tests.integration.webhook_post import Post, fan_out_all, sale
from tests.integration.webhook_receiver import Receiver

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

    await post.till.on(replace(post.till.services, database=watched)).shop.run(QUEUES, {"first": 100})

    (steps,) = [steps for sql, steps in watched.plans().items() if "FROM webhook_delivery" in sql]
    assert "USING COVERING INDEX ix_webhook_delivery_endpoint_id_state_id (endpoint_id=? AND state=?)" in steps[0]
    assert [step for step in steps if "SCAN" in step or "TEMP B-TREE" in step] == []
