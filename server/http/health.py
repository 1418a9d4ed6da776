"""Health and metrics doors, for machines."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from quittance.domain.job import JobKind, JobState
from quittance.resolvers.jobs import queue_depths
from quittance.resolvers.rails import health_of_all
from quittance.resolvers.services import Services
from quittance.store.events import newest_position

JOB_COUNTS_KEPT_S: Final = 5.0

_Depths = list[tuple[JobKind, JobState, int]]


class _JobCounts:
    """How many jobs there are. A count reads them all, so there is one at a time, remembered for a while."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._counted: tuple[datetime, asyncio.Future[_Depths]] | None = None

    async def depths(self) -> _Depths:
        known = self._counted
        if known is None or self._is_over(*known):
            known = self._counted = self._services.now(), asyncio.ensure_future(queue_depths(self._services))
        return await asyncio.shield(known[1])

    def _is_over(self, begun_at: datetime, count: asyncio.Future[_Depths]) -> bool:
        if not count.done():
            return False
        age_s = (self._services.now() - begun_at).total_seconds()
        return count.cancelled() or count.exception() is not None or not 0 <= age_s < JOB_COUNTS_KEPT_S


@dataclass(frozen=True, slots=True)
class _Health:
    services: Services
    registry: CollectorRegistry
    jobs: Gauge
    counts: _JobCounts

    async def live(self, _request: Request) -> Response:
        """The process answers; nothing else is asked."""
        return JSONResponse({"status": "ok"})

    async def ready(self, _request: Request) -> Response:
        """The database and every rail answer: 200, else 503 with the reason of each."""
        database = await self._database()
        rails = await health_of_all(self.services)
        ready = database == "ok" and all(health.ready for health in rails.values())
        body = {
            "status": "ok" if ready else "unavailable",
            "database": database,
            "rails": {name: {"ready": health.ready, "detail": health.detail} for name, health in rails.items()},
        }
        return JSONResponse(body, status_code=200 if ready else 503)

    async def metrics(self, _request: Request) -> Response:
        depths = await self.counts.depths()
        self.jobs.clear()
        for kind, state, count in depths:
            self.jobs.labels(kind.value, state.value).set(count)
        return Response(generate_latest(self.registry), media_type=CONTENT_TYPE_LATEST)

    async def _database(self) -> str:
        try:
            await self.services.database.read(newest_position)
        except Exception as error:  # noqa: BLE001 - whatever it is, the database is not ready
            return type(error).__name__
        return "ok"


def health_routes(services: Services, registry: CollectorRegistry) -> list[Route]:
    """Return ``/health``, ``/ready`` and ``/metrics``."""
    jobs = Gauge("quittance_jobs", "Jobs that are not done, by kind and state.", ["kind", "state"], registry=registry)
    door = _Health(services, registry, jobs, _JobCounts(services))
    return [
        Route("/health", door.live, methods=["GET"]),
        Route("/ready", door.ready, methods=["GET"]),
        Route("/metrics", door.metrics, methods=["GET"]),
    ]
