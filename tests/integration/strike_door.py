"""Our door for Strike's notices on a socket of its own, which can be shut and opened again while Strike goes on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from tests.integration.provider_account import CATCH_UP, EVENTS, ROTATE, SUBSCRIBE
from tests.integration.strike_account import RAIL, StrikeAccount

from quittance.gql.limits import TransportLimits
from quittance.providers.base import Settlement
from quittance.providers.strike.provider import StrikeProvider
from quittance.resolvers.settlements import report_settlement
from quittance.sandbox.http import LoopbackServer
from quittance.server.http.callbacks import callback_door, callback_routes
from quittance.server.http.door import DoorSettings

_WAIT_S = 10.0


@dataclass
class Answers:
    """How each notice was answered, in the order in which they came."""

    statuses: list[int] = field(default_factory=list)
    more: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, status: int) -> None:
        self.statuses.append(status)
        self.more.set()

    async def reach(self, count: int) -> None:
        """Wait until so many notices were answered."""
        async with asyncio.timeout(_WAIT_S):
            while len(self.statuses) < count:
                self.more.clear()
                await self.more.wait()


class Noting:
    """Notes the status of each answer."""

    def __init__(self, app: Any, *, answers: Answers) -> None:
        self.app = app
        self.answers = answers

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def noted(message: Any) -> None:
            await send(message)
            if message["type"] == "http.response.start":
                self.answers.add(message["status"])

        await self.app(scope, receive, noted)


@dataclass
class StrikeDoor:
    """Where Strike sends its notices, and the operator who manages its webhooks."""

    strike: StrikeAccount
    app: Starlette
    answers: Answers
    server: LoopbackServer | None = None
    port: int = 0

    @property
    def statuses(self) -> list[int]:
        return self.answers.statuses

    @property
    def till(self) -> Any:
        return self.strike.till

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/callbacks/{RAIL}"

    async def shut(self) -> None:
        if self.server is not None:
            await self.server.stop()
        self.server = None

    async def open(self) -> None:
        self.server = LoopbackServer(self.app)
        await self.server.start(self.port)
        assert self.port in {0, self.server.port}
        self.port = self.server.port

    async def run(self, document: str, **variables: Any) -> Any:
        """Execute a document of one field as the operator, and return that field's value."""
        (value,) = (await self.till.shop.run(document, variables)).values()
        return value

    async def subscribe(self, **said: Any) -> dict[str, Any]:
        made: dict[str, Any] = await self.run(SUBSCRIBE, input={"provider": RAIL, "url": self.url, **said})
        return made

    async def rotate(self, webhook_id: str, *, overlap: int) -> dict[str, Any]:
        rotated: dict[str, Any] = await self.run(ROTATE, provider=RAIL, id=webhook_id, overlap=overlap)
        return rotated

    async def catch_up(self) -> dict[str, Any]:
        caught: dict[str, Any] = await self.run(CATCH_UP, provider=RAIL)
        return caught

    async def events(self, **said: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self.run(EVENTS.replace('"lnd"', f'"{RAIL}"'), **said)
        return found

    async def heard(self, *statuses: int) -> None:
        """Wait until notices were answered so, in this order, and no others came."""
        await self.answered(len(statuses))
        assert self.statuses == list(statuses)

    async def answered(self, count: int) -> None:
        """Wait until so many notices were answered."""
        await self.answers.reach(count)

    async def paid(self, count: int = 1) -> list[str]:
        """Sell through Strike, have it paid, and return the payments."""
        made = [(await self.strike.order()).payment.id for _ in range(count)]
        for payment_id in made:
            await self.strike.pay(payment_id)
        return [str(payment_id) for payment_id in made]

    async def follow(self, count: int) -> None:
        """Report what the feed of a process that was just begun yields, until it has told of so many settlements."""
        begun = StrikeProvider(self.strike.client, network="regtest", now=self.till.services.now, poll_s=0.05)
        async with asyncio.timeout(_WAIT_S), aclosing(begun.settlements(resume=None)) as items:
            async for item in items:
                if isinstance(item, Settlement):
                    await report_settlement(self.till.services, provider=RAIL, settlement=item)
                    count -= 1
                if count == 0:
                    return

    async def statuses_of(self, payment_ids: list[str]) -> list[str]:
        return [(await self.till.payment(payment_id)).status.value for payment_id in payment_ids]


@pytest.fixture
async def strike_door(strike: StrikeAccount) -> AsyncIterator[StrikeDoor]:
    settings = DoorSettings(limits=TransportLimits())
    answers = Answers()
    app = Starlette(routes=callback_routes(callback_door(strike.till.services, settings, CollectorRegistry())))
    app.add_middleware(Noting, answers=answers)
    door = StrikeDoor(strike, app, answers)
    await door.open()
    yield door
    await door.shut()
