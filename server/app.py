"""The application: doors over one runtime."""

import gc
import logging
import multiprocessing
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from quittance.gql.documents import DocumentStore
from quittance.gql.execution import Executor
from quittance.gql.hub import Hub
from quittance.gql.limits import DocumentLimits, TransportLimits
from quittance.gql.schema import core_schema, schema
from quittance.resolvers.shop_orders import ShopTerms
from quittance.server import demo
from quittance.server.greeting import greet
from quittance.server.http.addresses import client_address_behind
from quittance.server.http.callbacks import CallbackDoor, callback_door, callback_routes
from quittance.server.http.checkout import checkout_routes
from quittance.server.http.door import DoorSettings
from quittance.server.http.graphql import graphql_routes
from quittance.server.http.health import health_routes
from quittance.server.http.lnpay import LnpayDoor, lnpay_routes
from quittance.server.http.lnurl_auth import lnurl_auth_routes
from quittance.server.http.observed import Observed
from quittance.server.http.pages import asset_routes
from quittance.server.http.payees import payee_routes
from quittance.server.http.playground import playground
from quittance.server.http.withdrawals import withdrawal_routes
from quittance.server.logs import configure_logs
from quittance.server.metrics import EventMetrics
from quittance.server.runtime import Runtime, StartRefused, open_runtime
from quittance.server.settings import LNPAY, Settings, load_settings
from quittance.server.trusted import load_trusted_documents

SWITCH_INTERVAL_S = 0.0005


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
            executor = _executor(settings)
            limits = _transport_limits(settings)
            hub = Hub(executor=executor, access=runtime.access, source=runtime.broker, limits=limits)
            door = _door_settings(settings, prepared, limits)
            graphql = graphql_routes(executor=executor, hub=hub, access=runtime.access, settings=door)
            app.state.doors = {route.path: route.endpoint for route in graphql if isinstance(route, Route)}
            callbacks = callback_door(runtime.services, door, registry)
            app.router.routes.extend(
                [
                    *graphql,
                    *checkout_routes(runtime.services, door.client_address),
                    *payee_routes(runtime.services, door.client_address),
                    *callback_routes(callbacks),
                    *_lnpay_routes(runtime, door, callbacks),
                    *lnurl_auth_routes(runtime.services, door.client_address),
                    *withdrawal_routes(runtime.services, door.client_address),
                    *asset_routes(),
                    *health_routes(runtime.services, registry),
                    *(runtime.sandbox.routes() if runtime.sandbox is not None else []),
                ]
            )
            tune_interpreter()
            greet(settings, prepared)
            yield
            await hub.aclose()

    app = FastAPI(title="Quittance", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(_DoorsFirst)  # added first, so innermost
    if settings.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.allowed_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "Last-Event-ID", "X-Request-Id"],
            expose_headers=["X-Request-Id", "Retry-After"],
        )
    app.add_middleware(Observed, registry=registry)
    app.add_middleware(_TellingRefusals)
    return app


class _DoorsFirst:
    """ASGI middleware: the busiest doors are met before the layers and the search that only other routes need."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        door = scope["app"].state.doors.get(scope["path"]) if scope["type"] == "http" else None
        await (door or self._app)(scope, receive, send)


class _TellingRefusals:
    """ASGI middleware: a refused start is told in its sentence; tracebacks are for what nobody foresaw."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def telling_send(message: Message) -> None:
            refusal = sys.exc_info()[1]
            if message["type"] == "lifespan.startup.failed" and isinstance(refusal, StartRefused):
                message["message"] = scope["app"].state.refusal = str(refusal)
                if multiprocessing.parent_process() is None:  # then the command line says it
                    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
            await send(message)

        await self._app(scope, receive, telling_send if scope["type"] == "lifespan" else send)


def tune_interpreter() -> None:
    """Take what start-up made out of the collector's sight: its pauses were most of the slowest answers.

    The threads that wait for disk and node should not wait the usual 5 ms more to hand over what they have.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    sys.setswitchinterval(SWITCH_INTERVAL_S)


def _lnpay_routes(runtime: Runtime, door: DoorSettings, callbacks: CallbackDoor) -> list[Route]:
    settings = runtime.settings
    if LNPAY not in settings.doors:
        return []
    terms = ShopTerms(
        currency=settings.lnpay_currency,
        notice_url=settings.lnpay_shop_url,
        expires_in_s=settings.lnpay_expires_in_s,
    )
    return lnpay_routes(
        LnpayDoor(
            services=runtime.services,
            settings=door,
            access=runtime.access,
            callbacks=callbacks,
            terms=terms,
            requires_key=settings.lnpay_require_key,
        )
    )


def _executor(settings: Settings) -> Executor:
    documents = DocumentStore(
        schema=core_schema(),
        limits=_document_limits(settings),
        trusted=load_trusted_documents(settings.trusted_documents_path),
        trusted_only=settings.trusted_documents_only,
    )
    return Executor(schema=schema, documents=documents)


def _door_settings(settings: Settings, prepared: demo.Demo, limits: TransportLimits) -> DoorSettings:
    page = playground(sandbox=bool(settings.sandbox), api_key=prepared.api_key, article_id=prepared.article_id)
    return DoorSettings(
        limits=limits,
        allowed_origins=frozenset(settings.allowed_origins),
        client_address=client_address_behind(frozenset(settings.trusted_proxies)),
        playground=page if settings.playground else None,
    )


def _document_limits(settings: Settings) -> DocumentLimits:
    return DocumentLimits(
        tokens_max=settings.query_tokens_max,
        depth_max=settings.query_depth_max,
        aliases_max=settings.query_aliases_max,
        cost_max=settings.query_cost_max,
        mutations_max=settings.query_mutations_max,
        page_size_max=settings.page_size_max,
        introspection=settings.introspection,
    )


def _transport_limits(settings: Settings) -> TransportLimits:
    return TransportLimits(
        body_bytes_max=settings.body_bytes_max,
        batch_max=settings.batch_max,
        sockets_max=settings.sockets_max,
        sockets_per_address_max=settings.sockets_per_address_max,
        subscriptions_per_socket_max=settings.subscriptions_per_socket_max,
        subscription_queue_max=settings.subscription_queue_max,
    )
