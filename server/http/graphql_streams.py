"""GraphQL over server-sent events, each operation on a connection of its own (the distinct connections mode)."""

import asyncio
from collections.abc import Mapping
from contextlib import ExitStack, suppress

import orjson
import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from quittance.domain.access import ANONYMOUS, Principal
from quittance.gql.deliveries import Delivery, Subscription
from quittance.gql.execution import Answer, Prepared
from quittance.server.http.door import Door

log = structlog.get_logger("quittance.http")

_CONTENT_TYPE = "text/event-stream; charset=utf-8"
_COMPLETE = b"event: complete\ndata:\n\n"
_KEEPALIVE = b":\n\n"
_SEND_TIMEOUT_S = 30.0


def single_result(answer: Answer, *, headers: Mapping[str, str]) -> Response:
    """Return a query's or a mutation's answer as a stream of one result."""
    return Response(_next(answer.encode(), None) + _COMPLETE, headers={**headers, "Content-Type": _CONTENT_TYPE})


def _next(payload: bytes, cursor: str | None) -> bytes:
    place = b"" if cursor is None else b"id: " + cursor.encode() + b"\n"
    return b"event: next\n" + place + b"data: " + payload + b"\n\n"


class EventStreamResponse:
    """One subscription as an ASGI response. It holds its place among the connections until it is over."""

    def __init__(self, *, door: Door, principal: Principal, headers: Mapping[str, str]) -> None:
        self._door = door
        self._principal = principal
        self._headers = headers
        self._news = asyncio.Event()
        self._subscription: Subscription | None = None
        self._gone = False
        self._place = ExitStack()

    def enter(self, address: str) -> None:
        """Take a place.

        Raises:
            LimitExceeded: none is left.
        """
        self._place.enter_context(self._door.connections.one(address))

    def leave(self) -> None:
        self._place.close()

    async def begin(self, prepared: Prepared, *, after: int | None) -> Answer | None:
        """Subscribe; return an answer if that failed and nothing will be streamed."""
        result = await self._door.hub.subscribe(
            prepared, self._principal, on_item=lambda _: self._news.set(), after=after
        )
        if isinstance(result, Answer):
            return result
        self._subscription = result
        return None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - the ASGI shape
        watcher = asyncio.create_task(self._watch(receive))
        try:
            with suppress(OSError, TimeoutError):  # the client is gone, or takes nothing any more
                await self._run(send)
        finally:
            if self._subscription is not None:
                self._subscription.cancel()
            self.leave()
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        self._news.set()

    async def _run(self, send: Send) -> None:
        headers = {**self._headers, "Content-Type": _CONTENT_TYPE, "X-Accel-Buffering": "no"}
        raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": raw})
        await self._send(send, _KEEPALIVE)
        loop, keepalive_s = asyncio.get_running_loop(), self._door.settings.limits.sse_keepalive_s
        check_at = loop.time() + keepalive_s
        while not self._gone:
            chunk, ended = self._pending()
            if loop.time() >= check_at:  # also while events flow, or a revoked key would live on them
                check_at = loop.time() + keepalive_s
                chunk = chunk or _KEEPALIVE
                if not await self._still_valid():
                    chunk, ended = _COMPLETE, True
            if chunk:
                await self._send(send, chunk, more=not ended)
            if ended:
                return
            self._news.clear()
            if not chunk:
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(check_at):
                        await self._news.wait()

    def _pending(self) -> tuple[bytes, bool]:
        """Return everything that waits to be sent, and whether it is the end."""
        assert self._subscription is not None
        chunk = b""
        while (item := self._subscription.pop()) is not None:
            if isinstance(item, Delivery):
                chunk += _next(item.payload, item.cursor)
            else:
                told = _next(orjson.dumps({"errors": item.problems}), None) if item.problems else b""
                return chunk + told + _COMPLETE, True
        return chunk, False

    async def _still_valid(self) -> bool:
        if self._principal == ANONYMOUS:
            return True
        try:
            return await self._door.access.still_valid(self._principal)
        except Exception:
            log.exception("credential_check_failed")
            return True

    async def _send(self, send: Send, chunk: bytes, *, more: bool = True) -> None:
        async with asyncio.timeout(_SEND_TIMEOUT_S):
            await send({"type": "http.response.body", "body": chunk, "more_body": more})
