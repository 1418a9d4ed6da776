"""Health and metrics doors, for machines."""

from dataclasses import dataclass

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from quittance.resolvers.jobs import queue_depths
from quittance.resolvers.rails import health_of_all
from quittance.resolvers.services import Services
from quittance.store.events import newest_position


@dataclass(frozen=True, slots=True)
class _Health:
    services: Services
    registry: CollectorRegistry
    jobs: Gauge

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
        self.jobs.clear()
        for kind, state, count in await queue_depths(self.services):
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
    door = _Health(services, registry, jobs)
    return [
        Route("/health", door.live, methods=["GET"]),
        Route("/ready", door.ready, methods=["GET"]),
        Route("/metrics", door.metrics, methods=["GET"]),
    ]
