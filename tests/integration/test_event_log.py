"""The log: no reader who remembers the last position ever misses an event, whoever writes, however it reads."""

import asyncio
from collections.abc import Callable
from typing import Any

from quittance.domain.event import EVERYTHING, Event, EventKind, EventSelector
from quittance.domain.ids import ArticleId, MerchantId, PaymentId
from quittance.gql.streams import EventStream
from quittance.resolvers.services import Services
from quittance.server.broker import EventBroker
from quittance.store.events import SCAN_ROWS_MAX, events_after, newest_position
from quittance.store.transaction import EventDraft, Transaction

NO_END = 2**63 - 1
SETTLED = frozenset({EventKind.PAYMENT_SETTLED})


def draft(payment_id: str = "pay_1", *, kind: EventKind = EventKind.PAYMENT_UPDATED, **more: Any) -> EventDraft:
    said = {"merchant_id": MerchantId("mer_1"), "payment_id": PaymentId(payment_id), "status": "COMPLETE"}
    return EventDraft(kind=kind, **(said | more))


async def append(services: Services, *drafts: EventDraft) -> None:
    def unit(transaction: Transaction) -> None:
        for one in drafts:
            transaction.emit(one)

    await services.database.write(unit)


async def read(
    services: Services, selector: EventSelector = EVERYTHING, *, after: int = 0, up_to: int = NO_END, limit: int = 100
) -> list[Event]:
    return await services.database.read(lambda t: events_after(t, selector, after=after, up_to=up_to, limit=limit))


async def test_a_reader_that_remembers_the_last_position_misses_nothing_of_many_writers(
    new_services: Callable[[], Services],
) -> None:
    processes = [new_services(), new_services()]
    writers, units, seen = 12, 15, list[Event]()
    writing = True

    async def write(n: int) -> None:
        for unit in range(units):
            await append(processes[n % 2], *(draft(f"pay_{n}_{unit}_{k}") for k in range(1 + unit % 3)))

    async def follow() -> None:
        while True:
            last_round = not writing
            position = seen[-1].position if seen else 0
            seen.extend(await read(processes[0], after=position, limit=7))
            if last_round and len(await read(processes[0], after=seen[-1].position)) == 0:
                return
            await asyncio.sleep(0)

    reader = asyncio.create_task(follow())
    await asyncio.gather(*(write(n) for n in range(writers)))
    writing = False
    await reader

    assert [event.position for event in seen] == list(range(1, writers * 30 + 1))
    assert {event.payment_id for event in seen} == {
        f"pay_{n}_{unit}_{k}" for n in range(writers) for unit in range(units) for k in range(1 + unit % 3)
    }
    assert len({event.id for event in seen}) == len(seen)


async def test_events_of_one_unit_stand_together_and_a_failed_unit_leaves_no_hole(services: Services) -> None:
    def failing(transaction: Transaction) -> None:
        transaction.emit(draft("lost"))
        raise KeyError("a bug")

    results = await asyncio.gather(
        append(services, draft("a1"), draft("a2")),
        services.database.write(failing),
        append(services, draft("b1"), draft("b2")),
        return_exceptions=True,
    )

    found = await read(services)
    assert [type(result) for result in results] == [type(None), KeyError, type(None)]
    assert [event.position for event in found] == [1, 2, 3, 4]
    assert [event.payment_id for event in found] in (["a1", "a2", "b1", "b2"], ["b1", "b2", "a1", "a2"])
    assert await services.database.read(newest_position) == 4


async def test_a_page_without_a_match_is_not_the_end(services: Services) -> None:
    shop, article = MerchantId("mer_1"), ArticleId("art_1")
    many = [draft(f"pay_{n}", article_id=article) for n in range(SCAN_ROWS_MAX + 500)]
    await append(services, draft("first", kind=EventKind.PAYMENT_SETTLED, article_id=article))
    await append(services, *many)
    await append(services, draft("second", kind=EventKind.PAYMENT_SETTLED, article_id=article))
    await append(services, *many)
    await append(services, draft("third", kind=EventKind.PAYMENT_SETTLED, article_id=article))
    await append(services, draft("other", kind=EventKind.PAYMENT_SETTLED, merchant_id=MerchantId("mer_2")))

    for selector in (
        EventSelector(kinds=SETTLED, merchant_id=shop),
        EventSelector(kinds=SETTLED, article_id=article),
        EventSelector(kinds=SETTLED, merchant_id=shop, article_id=article),
    ):
        every = await read(services, selector)
        assert [event.payment_id for event in every] == ["first", "second", "third"]
        assert await read(services, selector, limit=2) == every[:2]
        assert await read(services, selector, after=every[1].position) == every[2:]
        assert await read(services, selector, up_to=every[1].position) == every[:2]
    assert [event.payment_id for event in await read(services, EventSelector(kinds=SETTLED))] == [
        "first",
        "second",
        "third",
        "other",
    ]


async def test_a_stream_replays_and_goes_live_without_a_gap_or_a_duplicate(
    services: Services, new_services: Callable[[], Services], broker: EventBroker
) -> None:
    elsewhere = new_services()
    for n in range(300):
        await append(services, draft(f"old_{n}"), draft("noise", merchant_id=MerchantId("mer_2")))
    selector = EventSelector(kinds=frozenset(EventKind), merchant_id=MerchantId("mer_1"))
    seen: list[Event] = []

    async def follow(after: int, *, count: int) -> None:
        stream = EventStream(source=broker, selector=selector, after=after, to_type=lambda event: event)
        async for event in stream:
            seen.append(event)
            if len(seen) == count:
                return

    async def write(on: Services, name: str) -> None:
        for n in range(150):
            await append(on, draft(f"{name}_{n}"), draft("noise", merchant_id=MerchantId("mer_2")))

    async with asyncio.timeout(20):
        await asyncio.gather(follow(0, count=400), write(services, "here"), write(elsewhere, "there"))
        await follow(seen[-1].position, count=600)

    positions = [event.position for event in seen]
    assert positions == sorted(set(positions))
    assert len(seen) == 600
    assert {event.payment_id for event in seen} == {f"old_{n}" for n in range(300)} | {
        f"{name}_{n}" for name in ("here", "there") for n in range(150)
    }


async def test_a_stream_without_a_cursor_begins_now(services: Services, broker: EventBroker) -> None:
    await append(services, draft("before"))
    async with asyncio.timeout(5):
        while broker.head < 1:  # noqa: ASYNC110 - the broker tells listeners, not tests
            await asyncio.sleep(0.01)
    stream = EventStream(source=broker, selector=EVERYTHING, after=None, to_type=lambda event: event.payment_id)
    events = aiter(stream)
    following = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0)

    await append(services, draft("after"))

    assert await asyncio.wait_for(following, 5) == "after"
