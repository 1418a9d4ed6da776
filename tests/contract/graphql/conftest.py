"""What GraphQL meets on its way out: a log in memory, and a small schema behind the real door."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import strawberry
import uvicorn
from starlette.applications import Starlette

from quittance.domain.access import ANONYMOUS, Principal
from quittance.domain.cursor import decode_position
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
    """An event log in memory. Its reads give way to others, so that everything can interleave."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.listeners: list[Callable[[Sequence[Event]], None]] = []
        self.reads = 0
        self.broken = False

    @property
    def head(self) -> int:
        return len(self.events)

    async def read(self, selector: EventSelector, *, after: int, up_to: int, limit: int) -> list[Event]:
        self.reads += 1
        await asyncio.sleep(0)
        if self.broken:
            raise RuntimeError("SELECT secret FROM events")
        found = [event for event in self.events[after:up_to] if selector.matches(event)]
        await asyncio.sleep(0)
        return found[:limit]

    def listen(self, listener: Callable[[Sequence[Event]], None]) -> Callable[[], None]:
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    def append(self, count: int = 1, *, payment: str = "pay_1") -> None:
        new = []
        for _ in range(count):
            position = len(self.events) + 1
            new.append(
                Event(
                    position=position,
                    id=EventId(f"evt_{position}"),
                    kind=EventKind.PAYMENT_SETTLED,
                    merchant_id=MerchantId("mer_1"),
                    payment_id=PaymentId(payment),
                    article_id=None,
                    status=None,
                    occurred_at=datetime(2030, 1, 1, tzinfo=UTC),
                )
            )
            self.events.append(new[-1])
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
async def _served(limits: TransportLimits | None = None, **settings: Any) -> AsyncIterator[Stage]:
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


@pytest.fixture(scope="session")
def new_log() -> Callable[[], Log]:
    return Log


@pytest.fixture
def served() -> Callable[..., AbstractAsyncContextManager[Stage]]:
    """Run a stage behind the limits and the door's settings that are given."""
    return _served


@pytest.fixture
async def client(stage: Stage) -> AsyncIterator[httpx.AsyncClient]:
    """Speak to the stage of the module, which has the limits that its tests need."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{stage.port}", trust_env=False) as http:
        yield http
