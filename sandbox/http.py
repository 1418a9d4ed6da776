"""A small HTTP server on loopback, within the running event loop."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

_BACKLOG = 128
_POLL_S = 0.005
_TICK_S = 1.0


class CutOff(Response):
    """An answer that breaks off: the caller learns nothing of what was done."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's
        headers = [(b"content-length", b"2"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": b"{", "more_body": True})


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ended = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the process that hosts us."""
        yield

    async def main_loop(self) -> None:
        """Wait for the end instead of asking for it ten times a second."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.ended.wait(), _TICK_S)


class LoopbackServer:
    """Serves an application on 127.0.0.1, over TLS when it is given a certificate and its key."""

    def __init__(self, app: Starlette, *, certificate: Path | None = None, key: Path | None = None) -> None:
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=1,
            ssl_certfile=certificate,
            ssl_keyfile=key,
        )
        self._server = _Server(config)
        self._task: asyncio.Task[None] | None = None
        self.port = 0

    async def start(self, port: int = 0) -> None:
        """Listen on ``port``, or on any free one when it is 0 or taken."""
        listener = _bound(port)
        self.port = listener.getsockname()[1]
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]), name="sandbox-http")
        while not self._server.started:
            if self._task.done():
                await self._task
            await asyncio.sleep(_POLL_S)

    async def stop(self) -> None:
        """End open requests and stop listening."""
        if self._task is not None:
            self._server.should_exit = self._server.force_exit = True
            self._server.ended.set()
            await self._task
            self._task = None


def _bound(port: int) -> socket.socket:
    # asyncio turns off delayed sending only for sockets that name their protocol
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError:
        listener.bind(("127.0.0.1", 0))
    listener.listen(_BACKLOG)
    listener.setblocking(False)
    return listener
