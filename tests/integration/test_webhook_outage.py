"""H4: a receiver that is away for days, on a moved clock: tried in order, a bounded number of times, then given up."""

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.integration.webhook_post import AGAIN, Post, sale, update
from tests.integration.webhook_receiver import Receiver, receiving

from quittance.domain.delivery import ATTEMPTS_MAX, JITTER_SHARE, RETRY_DELAYS_S
from quittance.domain.job import JobState
from quittance.resolvers.attempts import GIVEN_UP_MAX
from quittance.resolvers.jobs import list_jobs
from quittance.sandbox.clock import SandboxClock

HOUR_S = 3_600
AWAY = "503 Away"
AWAY_HOURS = 48
EVENTS_OF_A_SALE = 3


@pytest.fixture
async def other_receiver() -> AsyncIterator[Receiver]:
    async with receiving() as running:
        yield running


def log_of(rows: list[dict[str, Any]], payment_id: str) -> list[str]:
    return [row["id"] for row in rows if row["payment_id"] == payment_id]


async def test_h4_a_receiver_that_comes_back_after_two_days_is_told_of_everything_in_order(
    post: Post, receiver: Receiver, clock: SandboxClock
) -> None:
    await post.endpoint(receiver)
    receiver.answers = [AWAY] * 1_000
    payments = [await sale(post) for _ in range(2)]
    for _ in range(AWAY_HOURS):
        await post.tell()
        clock.advance(HOUR_S)
    payments.append(await sale(post))
    await post.tell()
    in_vain = Counter(one.headers["webhook-id"] for one in receiver.received)
    receiver.received.clear()
    receiver.answers.clear()

    for _ in range(max(RETRY_DELAYS_S) // HOUR_S + 3):
        clock.advance(HOUR_S)
        await post.tell()

    log = await post.till.rows("event")
    arrived = [one.headers["webhook-id"] for one in receiver.received]
    assert len(arrived) == len(set(arrived)) == len(payments) * EVENTS_OF_A_SALE
    for payment_id in payments:
        told = log_of(log, payment_id)
        assert [event_id for event_id in arrived if event_id in told] == told
        assert [event_id for event_id in told if in_vain[event_id]] == told[:1]  # the others waited behind the first
    assert all(1 <= tries < ATTEMPTS_MAX for tries in in_vain.values())
    assert {one["state"] for one in await post.deliveries()} == {"DELIVERED"}
    assert [row["status"] for row in await post.till.rows("webhook_endpoint")] == ["ENABLED"]


async def test_h4_a_receiver_that_stays_away_is_tried_as_planned_given_up_told_of_and_served_by_hand(
    post: Post, receiver: Receiver, other_receiver: Receiver, clock: SandboxClock
) -> None:
    made = await post.endpoint(receiver, eventTypes=["PAYMENT_SETTLED"])
    await post.endpoint(other_receiver, eventTypes=["WEBHOOK_ENDPOINT_DISABLED"])
    receiver.answers = [AWAY] * (ATTEMPTS_MAX * GIVEN_UP_MAX)
    for _ in range(GIVEN_UP_MAX):
        await sale(post)
    tries = [await tried(post, receiver)]
    for delay_s in RETRY_DELAYS_S:
        clock.advance(delay_s - 2)
        early = await tried(post, receiver)
        clock.advance(delay_s * JITTER_SHARE + 3)
        tries += [early, await tried(post, receiver)]
    clock.advance(30 * 24 * HOUR_S)
    never_again = await tried(post, receiver)
    await sale(post)
    await post.tell()
    given_up = await post.deliveries(endpointId=made["endpoint"]["id"])
    dead = await list_jobs(post.till.services, JobState.DEAD)

    await update(post, made, enabled=True)
    for one in given_up:
        again = await post.till.shop.mutate("redeliverWebhook", AGAIN, {"id": one["id"]})
        assert again == {"__typename": "RedeliverWebhookSuccess"}
    await post.tell()

    assert tries == [GIVEN_UP_MAX] + [0, GIVEN_UP_MAX] * len(RETRY_DELAYS_S)
    assert never_again == 0
    assert sum(RETRY_DELAYS_S) > 3 * 24 * HOUR_S
    assert [one["state"] for one in given_up] == ["FAILED"] * GIVEN_UP_MAX  # and the last sale was not even begun
    assert [len(one["attempts"]) for one in given_up] == [ATTEMPTS_MAX] * GIVEN_UP_MAX
    assert len(dead) == GIVEN_UP_MAX
    (notice,) = other_receiver.received
    told = notice.message
    assert told["type"] == "webhook.endpoint_disabled"
    assert told["data"]["subjectId"] == made["endpoint"]["id"]
    assert told["data"]["status"] == "FAILED"
    served = receiver.received[ATTEMPTS_MAX * GIVEN_UP_MAX :]
    assert sorted(one.headers["webhook-id"] for one in served) == sorted(one["eventId"] for one in given_up)
    assert {one["state"] for one in await post.deliveries(endpointId=made["endpoint"]["id"])} == {"DELIVERED"}
    assert await list_jobs(post.till.services, JobState.DEAD) == []


async def tried(post: Post, receiver: Receiver) -> int:
    """Try what is due, and return how many calls that were."""
    before = len(receiver.received)
    await post.tell()
    return len(receiver.received) - before
