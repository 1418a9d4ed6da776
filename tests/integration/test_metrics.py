"""The metrics door: what a scrape costs the database, however many scrape."""

import asyncio
from dataclasses import replace
from typing import Any

import httpx
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from tests.integration.watched import WatchedDatabase

from quittance.sandbox.clock import SandboxClock
from quittance.server.http.health import JOB_COUNTS_KEPT_S, health_routes

CHECKS = 'quittance_jobs{kind="provider.check",state="WAITING"}'


class Door:
    """Scrapes a server's metrics, and knows how often its jobs were counted for it."""

    def __init__(self, till: Any, *, failing: str | None = None) -> None:
        self.database: Any = WatchedDatabase(till.services.database, failing=failing)
        routes = health_routes(replace(till.services, database=self.database), CollectorRegistry())
        transport = httpx.ASGITransport(Starlette(routes=routes), raise_app_exceptions=False)
        self._http = httpx.AsyncClient(transport=transport, base_url="http://shop.test")

    @property
    def counts(self) -> int:
        return len(self.database.asked)

    async def scrape(self) -> tuple[int, float | None]:
        """Return the status, and how many checks of a provider wait."""
        answer = await self._http.get("/metrics")
        told = dict(line.rsplit(" ", 1) for line in answer.text.splitlines() if line.startswith("quittance_jobs{"))
        return answer.status_code, float(told[CHECKS]) if CHECKS in told else None


async def test_jobs_are_counted_once_in_a_while_however_often_it_is_asked(till: Any, clock: SandboxClock) -> None:
    door = Door(till)
    await till.order()

    together = await asyncio.gather(*(door.scrape() for _ in range(20)))
    await till.order()
    kept = await door.scrape()
    counts = door.counts
    clock.advance(JOB_COUNTS_KEPT_S)
    later = await asyncio.gather(*(door.scrape() for _ in range(20)))

    assert together == [(200, 1.0)] * 20
    assert kept == (200, 1.0)
    assert counts == 1
    assert later == [(200, 2.0)] * 20
    assert door.counts == 2


async def test_a_count_that_failed_is_not_remembered(till: Any) -> None:
    door = Door(till, failing="job")
    await till.order()

    failed = await door.scrape()
    door.database.failing = None
    mended = await door.scrape()

    assert failed == (500, None)
    assert mended == (200, 1.0)
