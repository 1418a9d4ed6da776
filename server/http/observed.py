"""Around every request: an id, a log line, the metrics. Query strings are never logged: they may hold secrets."""

import re
import secrets
import time

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = structlog.get_logger("quittance.http")

_CLIENT_ID = re.compile(rb"[A-Za-z0-9_.-]{1,64}")
_DOORS = (
    "/graphql",
    "/pay/",
    "/callbacks/",
    "/.well-known/lnurlp/",
    "/lnurl/",
    "/assets/",
    "/sandbox",
    "/health",
    "/ready",
    "/metrics",
)
_QUIET = ("/health", "/ready", "/metrics", "/assets/")


class Observed:
    """ASGI middleware. A request id from the client is kept if it is harmless, and always answered."""

    def __init__(self, app: ASGIApp, *, registry: CollectorRegistry) -> None:
        self._app = app
        self._requests = Counter(
            "quittance_http_requests", "HTTP requests answered.", ["door", "status"], registry=registry
        )
        self._seconds = Histogram(
            "quittance_http_request_seconds", "Time to the end of the answer.", ["door"], registry=registry
        )
        self._counted: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self._sockets = Gauge("quittance_sockets_open", "Open WebSockets.", registry=registry)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            with self._sockets.track_inprogress():
                await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        structlog.contextvars.bind_contextvars(request_id=request_id)
        begun = time.perf_counter()
        status = 500

        async def observed_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            await self._app(scope, receive, observed_send)
        finally:
            door = _door(scope["path"])
            seconds = time.perf_counter() - begun
            self._count(door, status, seconds)
            if not scope["path"].startswith(_QUIET):
                log.info(
                    "request", method=scope["method"], path=scope["path"], status=status, ms=round(seconds * 1000, 2)
                )
            structlog.contextvars.unbind_contextvars("request_id")

    def _count(self, door: str, status: int, seconds: float) -> None:
        counted = self._counted.get((door, status))
        if counted is None:
            counted = self._requests.labels(door, str(status)), self._seconds.labels(door)
            self._counted[door, status] = counted
        counted[0].inc()
        counted[1].observe(seconds)


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _CLIENT_ID.fullmatch(value):
            return str(value.decode())
    return secrets.token_hex(8)


def _door(path: str) -> str:
    return next((door for door in _DOORS if path.startswith(door)), "other")
