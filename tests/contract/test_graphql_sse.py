"""GraphQL over server-sent events: one operation a connection, resumable by the event's id."""

import asyncio
import json
from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import strawberry
import uvicorn
from starlette.applications import Starlette

from quittance.domain.access import ANONYMOUS, Principal
from quittance.domain.cursor import decode_position, encode_position
from quittance.domain.errors import PermissionDenied, RateLimited, Unauthenticated
from quittance.domain.event import Event, EventKind, EventSelector
from quittance.domain.ids import ApiKeyId, EventId, MerchantId, PaymentId
from quittance.gql.context import Credentials
from quittance.gql.documents import DocumentStore
from quittance.gql.execution import Executor
from quittance.gql.hub import Hub
from quittance.gql.limits import DocumentLimits, TransportLimits
from quittance.gql.streams import EventStream
from quittance.server.http.door import DoorSettings
from quittance.server.http.graphql import graphql_routes


class Log:
    """An event log in memory."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.listeners: list[Callable[[Sequence[Event]], None]] = []

    @property
    def head(self) -> int:
        return len(self.events)

    async def read(self, selector: EventSelector, *, after: int, up_to: int, limit: int) -> list[Event]:
        return [event for event in self.events[after:up_to] if selector.matches(event)][:limit]

    def listen(self, listener: Callable[[Sequence[Event]], None]) -> Callable[[], None]:
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    def append(self, count: int = 1) -> None:
        new = [
            Event(
                position=self.head + number + 1,
                id=EventId(f"evt_{self.head + number + 1}"),
                kind=EventKind.PAYMENT_SETTLED,
                merchant_id=MerchantId("mer_1"),
                payment_id=PaymentId("pay_1"),
                article_id=None,
                status=None,
                occurred_at=datetime(2030, 1, 1, tzinfo=UTC),
            )
            for number in range(count)
        ]
        self.events.extend(new)
        for listener in list(self.listeners):
            listener(new)


class Access:
    """Knows one key, can revoke it, and remembers what it was shown."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.shown: list[Credentials] = []
        self.paid: list[str] = []
        self.valid = True
        self.limited = False
        self.gate = asyncio.Event()

    async def authenticate(self, credentials: Credentials) -> Principal:
        self.shown.append(credentials)
        if credentials.client_secret is not None:
            return Principal(payment_id=PaymentId("pay_1"))
        if credentials.authorization is None:
            return ANONYMOUS
        if credentials.authorization != "Bearer good":
            raise Unauthenticated
        return Principal(merchant_id=MerchantId("mer_1"), key_id=ApiKeyId("key_1"))

    async def admit(self, principal: Principal, address: str) -> None:  # noqa: ARG002
        if self.limited:
            raise RateLimited(7)

    async def still_valid(self, principal: Principal) -> bool:  # noqa: ARG002
        return self.valid

    def new_context(self, principal: Principal) -> "Access":  # noqa: ARG002
        return self


@strawberry.type
class Query:
    @strawberry.field
    def hello(self, name: str = "world") -> str:
        return f"hello {name}"

    @strawberry.field
    def crash(self) -> str | None:
        raise RuntimeError("SELECT secret")


@strawberry.type
class Mutation:
    @strawberry.mutation
    async def pay(self, info: strawberry.Info[Access, None], wait: bool = False) -> str | None:
        if wait:
            await info.context.gate.wait()
        info.context.paid.append("paid")
        return "paid"


@strawberry.type
class Subscriptions:
    @strawberry.subscription
    async def ticked(self, info: strawberry.Info[Access, None], after: str | None = None) -> AsyncIterable[int]:
        position = None if after is None else decode_position(after)
        return EventStream(
            source=info.context.log,
            selector=EventSelector(kinds=frozenset({EventKind.PAYMENT_SETTLED})),
            after=position,
            to_type=lambda event: event.position,
        )

    @strawberry.subscription
    async def refused(self) -> AsyncIterable[int]:
        raise PermissionDenied("payments:read")

    @strawberry.subscription
    async def counted(self) -> AsyncIterable[int]:
        yield 1
        yield 2


SCHEMA = strawberry.Schema(Query, Mutation, Subscriptions)


class Stage:
    """The door of a small schema over a log in memory."""

    def __init__(self, limits: TransportLimits, **settings: Any) -> None:
        self.log = Log()
        self.access = Access(self.log)
        documents = DocumentStore(schema=SCHEMA._schema, limits=DocumentLimits())
        executor = Executor(schema=SCHEMA, documents=documents)
        self.hub = Hub(executor=executor, access=self.access, source=self.log, limits=limits)
        door = DoorSettings(limits=limits, **settings)
        self.app = Starlette(routes=graphql_routes(executor=executor, hub=self.hub, access=self.access, settings=door))
        self.port = 0


@asynccontextmanager
async def served(limits: TransportLimits | None = None, **settings: Any) -> AsyncIterator[Stage]:
    stage = Stage(limits or TransportLimits(), **settings)
    config = uvicorn.Config(
        stage.app, port=0, lifespan="off", log_level="critical", ws="websockets-sansio", ws_per_message_deflate=False,
        proxy_headers=False, timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    stage.port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield stage
    finally:
        await stage.hub.aclose()
        server.should_exit = True
        await running


STREAM = {"accept": "text/event-stream", "content-type": "application/json"}
TICKS = "subscription($after:String){ticked(after:$after)}"
Frame = dict[str, str]


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with served(TransportLimits(sse_keepalive_s=0.1)) as running:
        yield running


@pytest.fixture
async def client(stage: Stage) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{stage.port}", trust_env=False) as http:
        yield http


@asynccontextmanager
async def streamed(
    client: httpx.AsyncClient, query: str, *, headers: dict[str, str] | None = None, **variables: Any
) -> AsyncIterator[tuple[httpx.Response, AsyncIterator[Frame]]]:
    body = {"query": query, "variables": variables}
    async with client.stream("POST", "/graphql", json=body, headers={**STREAM, **(headers or {})}) as response:
        frames = _frames(response)
        yield response, frames
        await frames.aclose()  # type: ignore[attr-defined]


async def _frames(response: httpx.Response) -> AsyncIterator[Frame]:
    frame: Frame = {}
    async for line in response.aiter_lines():
        if not line:
            yield frame
            frame = {}
            continue
        name, _, value = line.partition(":")
        frame[name or "comment"] = value.strip()


async def _next(frames: AsyncIterator[Frame]) -> Frame:
    async with asyncio.timeout(5):
        while True:
            frame = await anext(frames)
            if "event" in frame:
                return frame


async def _rest(stage: Stage) -> None:
    async with asyncio.timeout(5):
        while stage.hub.groups or stage.hub.tasks:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_events_come_with_their_cursor_as_id(client: httpx.AsyncClient, stage: Stage) -> None:
    async with streamed(client, TICKS) as (response, frames):
        stage.log.append(2)
        first, second = await _next(frames), await _next(frames)

    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-store"
    assert first == {"event": "next", "id": encode_position(1), "data": '{"data":{"ticked":1}}'}
    assert second["id"] == encode_position(2)
    await _rest(stage)


async def test_a_client_that_reconnects_misses_nothing(client: httpx.AsyncClient, stage: Stage) -> None:
    stage.log.append(3)

    async with streamed(client, TICKS, headers={"last-event-id": encode_position(1)}) as (_, frames):
        got = [(await _next(frames))["id"], (await _next(frames))["id"]]
        stage.log.append()
        got.append((await _next(frames))["id"])

    assert got == [encode_position(2), encode_position(3), encode_position(4)]


async def test_a_stream_that_ends_says_so(client: httpx.AsyncClient) -> None:
    async with streamed(client, "subscription{counted}") as (_, frames):
        got = [await _next(frames) for _ in range(3)]

    assert [frame["data"] for frame in got] == ['{"data":{"counted":1}}', '{"data":{"counted":2}}', ""]
    assert got[2]["event"] == "complete"


@pytest.mark.parametrize("query", ["{hello}", "mutation{pay}"])
async def test_a_single_result_is_a_stream_of_one(client: httpx.AsyncClient, query: str) -> None:
    async with streamed(client, query) as (_, frames):
        got = [await _next(frames), await _next(frames)]

    assert [frame["event"] for frame in got] == ["next", "complete"]


async def test_an_event_source_may_use_get(client: httpx.AsyncClient, stage: Stage) -> None:
    stage.log.append()
    params = {"query": TICKS, "variables": json.dumps({"after": encode_position(0)})}

    async with client.stream("GET", "/graphql", params=params, headers={"accept": "text/event-stream"}) as response:
        frame = await _next(_frames(response))

    assert frame["data"] == '{"data":{"ticked":1}}'


async def test_comments_keep_a_quiet_stream_alive(client: httpx.AsyncClient) -> None:
    async with streamed(client, TICKS) as (_, frames), asyncio.timeout(5):
        got = [await anext(frames) for _ in range(3)]

    assert all(frame == {"comment": ""} for frame in got)


async def test_a_revoked_key_ends_the_stream_even_while_events_flow(client: httpx.AsyncClient, stage: Stage) -> None:
    async with streamed(client, TICKS, headers={"authorization": "Bearer good"}) as (_, frames):
        stage.log.append()
        await _next(frames)
        stage.access.valid = False
        async with asyncio.timeout(5):
            while (await _next(frames))["event"] != "complete":
                stage.log.append()

    await _rest(stage)


@pytest.mark.parametrize(
    ("query", "status"),
    [("subscription{nothing}", 400), ("subscription{refused}", 403), ("subscription($a:Int!){ticked(after:$a)}", 400)],
)
async def test_what_cannot_stream_is_an_http_error(client: httpx.AsyncClient, query: str, status: int) -> None:
    response = await client.post("/graphql", json={"query": query}, headers=STREAM)

    assert response.status_code == status
    assert response.json()["errors"][0]["extensions"]["code"]


async def test_a_forged_event_id_is_refused(client: httpx.AsyncClient) -> None:
    response = await client.post("/graphql", json={"query": TICKS}, headers={**STREAM, "last-event-id": "x"})

    assert (response.status_code, response.json()["errors"][0]["extensions"]["code"]) == (400, "INVALID_CURSOR")


async def test_a_foreign_page_cannot_open_an_event_source(client: httpx.AsyncClient) -> None:
    headers = {"accept": "text/event-stream", "origin": "https://evil.example", "sec-fetch-site": "cross-site"}

    assert (await client.get("/graphql", params={"query": TICKS}, headers=headers)).status_code == 403


async def test_streams_count_as_connections() -> None:
    async with served(TransportLimits(sockets_per_address_max=1)) as stage:  # noqa: SIM117
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{stage.port}", trust_env=False) as http:
            async with streamed(http, TICKS) as (first, _):
                second = await http.post("/graphql", json={"query": TICKS}, headers=STREAM)
            await _rest(stage)
            third = await http.post("/graphql", json={"query": "subscription{counted}"}, headers=STREAM)

    assert (first.status_code, second.status_code, third.status_code) == (200, 429, 200)


async def test_nothing_is_left_when_clients_vanish(client: httpx.AsyncClient, stage: Stage) -> None:
    before = len(asyncio.all_tasks())
    for _ in range(20):
        async with streamed(client, TICKS) as (_, frames):
            await anext(frames)

    await _rest(stage)
    await client.aclose()
    async with asyncio.timeout(5):
        while len(asyncio.all_tasks()) > before:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
