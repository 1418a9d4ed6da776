"""The door of providers over a whole shop, and somebody who knows the secret, or does not."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from tests.integration.runners import runner_of

from quittance.domain.job import JobKind
from quittance.domain.webhook import signature_headers
from quittance.gql.limits import TransportLimits
from quittance.providers.callbacks import ReadsCallbacks
from quittance.providers.hints import SignedHints
from quittance.resolvers.services import Services
from quittance.server.http.callbacks import callback_door, callback_routes
from quittance.server.http.door import DoorSettings
from quittance.workers.jobs import JobRunner

SECRET = bytes(range(32))
BODY_BYTES_MAX = 4_096
CALLBACKS = """
query ($first: Int, $after: String) {
  providerCallbacks(first: $first, after: $after) {
    totalCount
    pageInfo { hasNextPage endCursor }
    edges { cursor node {
      id provider eventId type reference state reason receivedAt processedAt paymentId payment { id status }
    } }
  }
}
"""
EFFECTS = ("provider_callback", "provider_callback_body", "job", "settlement", "ledger_entry")


def hint(reference: object, *, type_: str = "invoice.settled") -> bytes:
    """Return what a script beside the node would send."""
    message = {"type": type_, "timestamp": "2026-05-01T00:00:00Z", "data": {"reference": reference}}
    return json.dumps(message).encode()


@dataclass
class CallbackDoor:
    """One process's door, and its workers one step at a time."""

    till: Any
    app: Starlette
    http: httpx.AsyncClient
    runner: JobRunner
    registry: CollectorRegistry

    @property
    def services(self) -> Services:
        services: Services = self.till.services
        return services

    def signed(
        self, body: bytes, *, event_id: str = "msg_1", secret: bytes = SECRET, late_s: float = 0
    ) -> dict[str, str]:
        at = self.services.now() - timedelta(seconds=late_s)
        return signature_headers(message_id=event_id, at=at, body=body, secrets=[secret])

    async def send(self, body: bytes, headers: Mapping[str, str], *, provider: str = "lnd") -> httpx.Response:
        return await self.http.post(f"/callbacks/{provider}", content=body, headers=headers)

    async def hear(
        self, reference: object, *, event_id: str = "msg_1", type_: str = "invoice.settled"
    ) -> httpx.Response:
        """Take in a hint that is signed as it should be."""
        body = hint(reference, type_=type_)
        return await self.send(body, self.signed(body, event_id=event_id))

    async def work(self) -> None:
        """Run every job that is due."""
        while await self.runner.begin_due():
            await self.runner.idle()

    async def listed(self, **more: Any) -> list[dict[str, Any]]:
        """Return what the operator sees, the oldest first."""
        page = (await self.till.shop.run(CALLBACKS, {"first": 100}, **more))["providerCallbacks"]
        assert page["totalCount"] == len(page["edges"])
        return [edge["node"] for edge in reversed(page["edges"])]

    async def standing(self) -> list[tuple[str, str, str | None]]:
        return [(one["eventId"], one["state"], one["reason"]) for one in await self.listed()]

    async def effects(self) -> dict[str, int]:
        """Count the rows of everything that a callback could have an effect on."""
        counted = {table: len(await self.till.rows(table)) for table in EFFECTS}
        return counted | {"job": len(await self.jobs())}

    async def jobs(self) -> list[dict[str, Any]]:
        """Return the jobs that callbacks asked for; others watch the invoices."""
        return [row for row in await self.till.rows("job") if row["kind"] == JobKind.PROVIDER_CALLBACK]

    def counted(self, receipt: str) -> float:
        labels = {"provider": "lnd", "receipt": receipt}
        return self.registry.get_sample_value("quittance_provider_callbacks_total", labels) or 0.0


async def paid(door: CallbackDoor) -> tuple[str, str]:
    """Sell something, have it paid, and return the payment and the reference of its invoice."""
    payment_id = (await door.till.order()).payment.id
    return str(payment_id), str((await door.till.pay(payment_id)).reference)


NewDoor = Callable[..., CallbackDoor]


@pytest.fixture
async def new_door(till: Any, post: Any, new_services: Callable[[], Services]) -> AsyncIterator[NewDoor]:
    """Open the door of one process; calling it with ``another`` opens that of a second one over the same database."""
    async with AsyncExitStack() as stack:

        def make(
            *, another: bool = False, readers: dict[str, ReadsCallbacks] | None = None, **more: Any
        ) -> CallbackDoor:
            services = replace(
                new_services() if another else till.services,
                callbacks={"lnd": SignedHints([SECRET])} if readers is None else readers,
                **more,
            )
            runner = runner_of(services, JobKind.PROVIDER_CALLBACK)
            services.wake_jobs = runner.wake.set
            registry = CollectorRegistry()
            settings = DoorSettings(limits=TransportLimits(body_bytes_max=BODY_BYTES_MAX))
            app = Starlette(routes=callback_routes(callback_door(services, settings, registry)))
            http = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://shop.test")
            stack.push_async_callback(http.aclose)
            return CallbackDoor(till.on(services), app, http, runner, registry)

        yield make


@pytest.fixture
def door(new_door: NewDoor) -> CallbackDoor:
    return new_door()
