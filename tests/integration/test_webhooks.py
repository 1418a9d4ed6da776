"""Webhooks from an event to a receiver on a real socket: signed, in order, at least once, and no longer than wanted."""

import asyncio
import gc
from contextlib import suppress

import pytest
from standardwebhooks import Webhook
from tests.integration.webhook_post import (
    AGAIN,
    STATUS,
    UPDATE,
    Post,
    sale,
    update,
)
from tests.integration.webhook_receiver import Receiver, receiving

from quittance.domain.job import JobEnd, JobState
from quittance.resolvers.deliveries import fan_out
from quittance.resolvers.jobs import JobRun, Room, claim_due, end_run, list_jobs
from quittance.sandbox.clock import SandboxClock
from quittance.store import jobs
from quittance.workers.work import CRASHES_MAX, WEBHOOKS_AT_ONCE


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

        assert 1 <= waiting <= WEBHOOKS_AT_ONCE


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
@pytest.mark.parametrize("target", ["an endpoint", "the payment's own address"])
async def test_h5_death_at_any_moment_of_a_delivery_loses_nothing_and_changes_no_id(
    post: Post, receiver: Receiver, clock: SandboxClock, target: str
) -> None:
    if target == "an endpoint":
        await post.endpoint(receiver, eventTypes=["PAYMENT_SETTLED"])
        await sale(post)
    else:
        await post.till.order(notify_url=receiver.url, idempotency_key="k")
        post.position = (await post.till.rows("event"))[-1]["position"] - 1  # one event is one delivery to die of
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


async def test_a_redelivery_overtakes_a_job_that_runs_just_now(
    post: Post, receiver: Receiver, clock: SandboxClock
) -> None:
    receiver.answers = ["410 Gone"]
    made = await post.endpoint(receiver, eventTypes=["PAYMENT_SETTLED"])
    await sale(post)
    await post.tell()
    await update(post, made, enabled=True)
    (failed,) = await post.deliveries()
    services = post.till.services
    (dead,) = await list_jobs(services, JobState.DEAD)
    await services.database.write(lambda t: jobs.run_again(t, dead.id, at=services.now()))
    (running,) = await claim_due(services, post.runner.work, Room(at_once=4, owner_at_once=4))

    again = await post.till.shop.mutate("redeliverWebhook", AGAIN, {"id": failed["id"]})
    overtaken = await end_run(services, running, JobRun(end=JobEnd(state=JobState.DONE)))
    await post.tell()

    assert running.job.id == dead.id
    assert (again["__typename"], overtaken) == ("RedeliverWebhookSuccess", False)
    assert (await post.deliveries())[0]["state"] == "DELIVERED"
    assert len(receiver.received) == 2
