"""Deliveries that are sent again by hand: to whom that can arrive, once, and otherwise with a word on what to do."""

import asyncio
from pathlib import Path
from typing import Any

from tests.integration.webhook_post import AGAIN, DELETE, Post, sale, update
from tests.integration.webhook_receiver import Receiver
from typer.testing import CliRunner

from quittance.server.cli import app


async def given_up(post: Post, receiver: Receiver) -> dict[str, Any]:
    """Return a delivery that its receiver refused for good; an endpoint is disabled by it."""
    receiver.answers = ["410 Gone"]
    await sale(post)
    await post.tell()
    (failed,) = await post.deliveries()
    assert failed["state"] == "FAILED"
    return failed


async def again(post: Post, delivery: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = await post.till.shop.mutate("redeliverWebhook", AGAIN, {"id": delivery["id"]})
    return answer


async def test_to_an_endpoint_that_is_disabled_nothing_is_redelivered(post: Post, receiver: Receiver) -> None:
    made = await post.endpoint(receiver, eventTypes=["PAYMENT_SETTLED"])
    failed = await given_up(post, receiver)
    before = await post.till.rows("webhook_delivery"), await post.till.rows("job")

    refused = await again(post, failed)
    after = await post.till.rows("webhook_delivery"), await post.till.rows("job")
    await update(post, made, enabled=True)
    accepted = await again(post, failed)
    await post.tell()

    assert refused["code"] == "INVALID_INPUT"
    assert "enable it first" in refused["message"]
    assert after == before
    assert accepted == {"__typename": "RedeliverWebhookSuccess"}
    assert [one["state"] for one in await post.deliveries()] == ["DELIVERED"]


async def test_to_an_endpoint_that_was_deleted_nothing_is_redelivered(post: Post, receiver: Receiver) -> None:
    made = await post.endpoint(receiver, eventTypes=["PAYMENT_SETTLED"])
    failed = await given_up(post, receiver)
    await post.till.shop.mutate("deleteWebhookEndpoint", DELETE, {"id": made["endpoint"]["id"]})

    refused = await again(post, failed)
    await post.tell()

    assert refused["code"] == "INVALID_INPUT"
    assert "was deleted" in refused["message"]
    assert [one["state"] for one in await post.deliveries()] == ["FAILED"]
    assert len(receiver.received) == 1


async def test_of_redeliveries_together_one_goes_out_and_the_others_are_told_so(post: Post, receiver: Receiver) -> None:
    made = await post.endpoint(receiver, eventTypes=["PAYMENT_SETTLED"])
    failed = await given_up(post, receiver)
    await update(post, made, enabled=True)

    answers = await asyncio.gather(*(again(post, failed) for _ in range(4)))
    await post.tell()

    _assert_one_goes_out(answers)
    assert len(receiver.received) == 2


async def test_the_same_holds_for_the_address_of_a_payment(post: Post, receiver: Receiver) -> None:
    receiver.answers = ["410 Gone"] * 3
    await sale(post, notify_url=receiver.url)
    await post.tell()
    failed = (await post.deliveries())[0]
    receiver.received.clear()

    answers = await asyncio.gather(*(again(post, failed) for _ in range(4)))
    await post.tell()

    assert failed["state"] == "FAILED"
    _assert_one_goes_out(answers)
    assert [received.headers["webhook-id"] for received in receiver.received] == [failed["eventId"]]


async def test_the_job_of_a_delivery_that_was_given_up_is_not_retried_in_its_place(
    post: Post, receiver: Receiver, database_url: str, tmp_path: Path
) -> None:
    made = await post.endpoint(receiver, eventTypes=["PAYMENT_SETTLED"])
    failed = await given_up(post, receiver)
    await update(post, made, enabled=True)
    before = await post.till.rows("job")
    (dead,) = [row for row in before if row["state"] == "DEAD"]

    command = ["jobs", "retry", dead["id"], "--database-url", database_url]
    environment = {"QUITTANCE_STATE_DIR": str(tmp_path)}
    told = await asyncio.to_thread(CliRunner(env=environment).invoke, app, command)

    assert told.exit_code == 1
    assert f'redeliverWebhook(deliveryId: "{failed["id"]}")' in told.output
    assert await post.till.rows("job") == before


def _assert_one_goes_out(answers: list[dict[str, Any]]) -> None:
    refused = [answer for answer in answers if answer["__typename"] != "RedeliverWebhookSuccess"]
    assert len(refused) == 3
    for answer in refused:
        assert answer["code"] == "INVALID_INPUT"
        assert "on its way" in answer["message"]
