"""From the log to deliveries: each event once for each endpoint, in bounded units, and again when it is asked for."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from tests.integration.webhook_post import (
    REPLAY,
    Post,
    fan_out_all,
    sale,
)
from tests.integration.webhook_receiver import Receiver, receiving

from quittance.resolvers.deliveries import fan_out, position_told
from quittance.resolvers.services import Services
from quittance.store.events import newest_position
from quittance.workers.webhooks import FanOut


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
    assert everything == {"__typename": "ReplayWebhooksSuccess", "count": 1, "alreadyPending": 0}
    assert ids == [ids[0], ids[1], ids[1]]
    assert wrong["code"] == "INVALID_INPUT"


async def test_the_log_is_followed_once_although_the_position_was_not_stored(post: Post, receiver: Receiver) -> None:
    await post.endpoint(receiver, eventTypes=["PAYMENT_SETTLED"])
    await sale(post)

    again = [await fan_out(post.till.services, after=0) for _ in range(3)]
    await post.tell()

    assert len(set(again)) == 1
    assert len(receiver.received) == 1
    assert await position_told(post.till.services) == again[0]


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


async def test_the_addresses_of_payments_count_in_a_unit_too(
    post: Post, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quittance.resolvers.deliveries.UNIT_DELIVERIES", 3)
    await post.endpoint(receiver)
    for _ in range(3):
        await post.till.order(notify_url=receiver.url)
    told = [0]
    position = 0
    while (reached := await fan_out(post.till.services, after=position)) > position:
        position = reached
        told.append(len(await post.deliveries()))

    grown = [after - before for before, after in pairwise(told)]
    assert [number for number in grown if number] == [2] * 6


async def test_who_is_told_nothing_costs_nothing_more(
    post: Post, receiver: Receiver, new_services: Callable[[], Services]
) -> None:
    """A pass over new events: the head of the log and who listens; the events, if somebody does; addresses, if any."""
    follower = new_services()  # a process of its own: nobody else's statements are counted
    follower.webhook_tools = post.till.services.webhook_tools

    async def follow(after: int) -> tuple[int, list[str]]:
        ran: list[str] = []
        follower.database.counter = ran.append
        reached = await fan_out(follower, after=after)
        follower.database.counter = None
        return reached, [sql for sql in ran if sql.startswith("SELECT")]

    await sale(post)
    nobody, unheard = await follow(0)
    idle, nothing = await follow(nobody)
    await post.endpoint(receiver, eventTypes=["ARTICLE_PUBLISHED"])
    await sale(post)
    somebody, heard = await follow(idle)
    await sale(post, notify_url=receiver.url)
    _, notified = await follow(somebody)

    head, anybody, endpoints, events, addresses = (
        "SELECT event_head.position,", "SELECT webhook_endpoint.id", "SELECT webhook_endpoint.id,",
        "SELECT event.position,", "SELECT payment.id,",
    )  # fmt: skip
    assert [_begin(sql) for sql in unheard] == [head, anybody]
    assert (idle, [_begin(sql) for sql in nothing]) == (nobody, [head])
    assert [_begin(sql) for sql in heard] == [head, anybody, events, endpoints]
    assert [_begin(sql) for sql in notified] == [head, anybody, events, endpoints, addresses]
    assert len(await post.deliveries()) == 3


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


async def test_each_merchant_is_told_of_their_own_events_alone(post: Post, receiver: Receiver, other_shop: Any) -> None:
    async with receiving() as others:
        await post.endpoint(receiver, eventTypes=["PAYMENT_SETTLED"])
        other_post = replace(post, till=post.till.of(other_shop))
        await other_post.endpoint(others, eventTypes=["PAYMENT_SETTLED"])
        own, foreign = await sale(post), await sale(other_post)

        await post.tell()

        assert [one.message["data"]["payment"]["id"] for one in receiver.received] == [own]
        assert [one.message["data"]["payment"]["id"] for one in others.received] == [foreign]


async def test_what_nobody_can_be_told_of_is_passed_over_without_asking_who_listens(
    post: Post, receiver: Receiver
) -> None:
    await post.endpoint(receiver, eventTypes=["PAYMENT_SETTLED"])
    await sale(post)
    await fan_out_all(post)
    await post.runner.begin_due()
    await post.runner.idle()  # which put into the log that it was delivered
    database = post.till.services.database
    before = post.position
    ran: list[str] = []

    database.counter = ran.append
    after = await fan_out(post.till.services, after=before)
    database.counter = None

    assert after == before + 1
    assert ran
    assert not [sql for sql in ran if "webhook_endpoint.url" in sql]


def _begin(sql: str) -> str:
    return " ".join(sql.split()[:2])
