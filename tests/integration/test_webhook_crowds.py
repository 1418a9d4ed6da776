"""Hundreds of endpoints, some of which take every call and never answer: they hold up nobody but themselves."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from tests.integration.webhook_post import Post, fan_out_all, posting, sale

from quittance.domain.event import EventKind
from quittance.resolvers.endpoints import EndpointDraft, create_endpoint
from quittance.sandbox.clock import SandboxClock
from quittance.workers.work import WEBHOOKS_OF_ONE

NEVER_S = 600.0
WAIT_S = 120.0
FIRST_RETRY_S = 6
BACKLOG = 1_024


class Crowd:
    """Many receivers on one socket, told apart by their paths."""

    def __init__(self) -> None:
        self.port = 0
        self.hanging: set[int] = set()
        self.arrived: Counter[int] = Counter()
        self.open: Counter[int] = Counter()
        self.ids: dict[int, list[str]] = {}
        self._hung_up = asyncio.Event()
        self._changed = asyncio.Condition()

    def url(self, number: int) -> str:
        return f"http://127.0.0.1:{self.port}/{number}"

    async def until_open(self, count: int) -> None:
        """Wait until so many calls are held open."""
        async with asyncio.timeout(WAIT_S), self._changed:
            await self._changed.wait_for(lambda: self.open.total() >= count)

    def hang_up(self) -> None:
        """Close what is held open, without an answer."""
        self._hung_up.set()
        self._hung_up = asyncio.Event()

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
            await reader.readexactly(int(fields["content-length"]))
            number = int(head.split(" ", 2)[1].removeprefix("/"))
            self.ids.setdefault(number, []).append(fields["webhook-id"])
            if number in self.hanging:
                await self._hang(number)
            else:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                self.arrived[number] += 1
        writer.close()

    async def _hang(self, number: int) -> None:
        async with self._changed:
            self.open[number] += 1
            self._changed.notify_all()
        await self._hung_up.wait()
        self.open[number] -= 1


@pytest.fixture
async def crowd() -> AsyncIterator[Crowd]:
    running = Crowd()
    server = await asyncio.start_server(running.take, "127.0.0.1", 0, backlog=BACKLOG)
    running.port = server.sockets[0].getsockname()[1]
    yield running
    server.close()
    running.hang_up()
    await server.wait_closed()


@pytest.fixture
async def patient(till: Any, crowd: Crowd) -> AsyncIterator[Post]:
    """A shop that waits longer for an answer than the test lasts."""
    async with posting(till, timeout_s=NEVER_S) as running:
        yield running
        crowd.hanging.clear()
        crowd.hang_up()
        await running.runner.idle()


async def listen(post: Post, crowd: Crowd, count: int) -> list[str]:
    """Make so many endpoints, and return their ids."""
    services, shop = post.till.services, post.till.shop.principal
    drafts = [EndpointDraft(url=crowd.url(number), event_types=[EventKind.PAYMENT_SETTLED]) for number in range(count)]
    return [(await create_endpoint(services, shop, draft)).endpoint.id for draft in drafts]


async def begin_until(post: Post, crowd: Crowd, others: int) -> None:
    """Begin what may begin until so many calls were answered, and nothing more can begin."""
    async with asyncio.timeout(WAIT_S):
        while True:
            post.runner.wake.clear()
            if await post.runner.begin_due():
                continue
            if crowd.arrived.total() >= others:
                return
            await post.runner.wake.wait()


async def test_one_endpoint_of_a_thousand_that_hangs_delays_no_other(
    patient: Post, crowd: Crowd, clock: SandboxClock
) -> None:
    count = (
        1_000 if patient.till.services.database.dialect == "sqlite" else 250
    )  # each costs PostgreSQL a round trip more
    hung = count // 2
    crowd.hanging = {hung}
    ids = await listen(patient, crowd, count)
    for _ in range(3):
        await sale(patient)
    await fan_out_all(patient)

    await begin_until(patient, crowd, (count - 1) * 3)
    await crowd.until_open(3)
    still_open, before = crowd.open[hung], await patient.deliveries(endpointId=ids[hung])
    crowd.hang_up()
    crowd.hanging.clear()
    await patient.runner.idle()
    after = await patient.deliveries(endpointId=ids[hung])
    clock.advance(FIRST_RETRY_S)
    await patient.tell()
    in_the_end = await patient.deliveries(endpointId=ids[hung])

    assert still_open == 3
    assert crowd.arrived == Counter(dict.fromkeys(range(count), 3))
    assert [(one["state"], len(one["attempts"])) for one in before] == [("PENDING", 0)] * 3
    assert [(one["state"], len(one["attempts"])) for one in after] == [("PENDING", 1)] * 3
    assert [(one["state"], len(one["attempts"])) for one in in_the_end] == [("DELIVERED", 2)] * 3
    assert Counter(crowd.ids[hung]) == Counter({one["eventId"]: 2 for one in before})


async def test_a_hundred_of_three_hundred_endpoints_that_hang_hold_up_no_other(
    patient: Post, crowd: Crowd, clock: SandboxClock
) -> None:
    crowd.hanging = set(range(0, 300, 3))
    await listen(patient, crowd, 300)
    await sale(patient)
    await fan_out_all(patient)
    await begin_until(patient, crowd, 200)
    await crowd.until_open(100)
    crowd.hang_up()  # now it is known who does not answer
    await patient.runner.idle()
    clock.advance(FIRST_RETRY_S)
    for _ in range(4):
        await sale(patient)
    await fan_out_all(patient)
    await begin_until(patient, crowd, 200 * 5)
    await sale(patient)
    await fan_out_all(patient)

    await begin_until(patient, crowd, 200 * 6)

    await crowd.until_open(WEBHOOKS_OF_ONE // 2)
    assert crowd.open.total() == WEBHOOKS_OF_ONE // 2
    assert {number: crowd.arrived[number] for number in range(300)} == {
        number: 0 if number in crowd.hanging else 6 for number in range(300)
    }
