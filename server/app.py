"""The application: doors over one runtime."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from quittance.server import demo
from quittance.server.http.observed import Observed
from quittance.server.logs import configure_logs
from quittance.server.metrics import EventMetrics
from quittance.server.process import freeze_garbage
from quittance.server.runtime import open_runtime
from quittance.server.settings import Settings, load_settings

log = structlog.get_logger("quittance.app")

DOCUMENTS_KEPT = 1_000


def app_from_environment() -> FastAPI:
    """Return the application as the environment says; what server processes call."""
    settings = load_settings()
    configure_logs(level=settings.log_level, as_json=settings.log_format == "json")
    return create_app(settings)


def create_app(settings: Settings) -> FastAPI:
    """Return the application; it opens its runtime when it starts and closes it when it stops."""
    registry = CollectorRegistry()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_runtime(settings, loops=settings.in_process_worker) as runtime:
            prepared = await demo.prepare(runtime)
            app.state.runtime = runtime
            app.state.demo = prepared
            EventMetrics(registry).follow(runtime.broker)
            app.router.routes.extend(_routes(settings, runtime, prepared, registry))
            freeze_garbage()
            greet(settings, prepared)
            yield

    app = FastAPI(title="Quittance", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Observed, registry=registry)
    return app
