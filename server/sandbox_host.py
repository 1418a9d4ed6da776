"""The sandbox rails as one process sees them: run here, or by another process until that one ends."""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import structlog
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from quittance.sandbox.clock import SandboxClock
from quittance.sandbox.control import BODY_BYTES_MAX, PAY_WAIT_S, control_routes
from quittance.sandbox.files import write_private
from quittance.sandbox.http import LoopbackServer
from quittance.sandbox.rails import SandboxCoordinates, SandboxRails
from quittance.server.http.local import is_local

log = structlog.get_logger("quittance.sandbox")

COORDINATES_WAIT_S = 10.0
TAKE_OVER_S = 1.0
_POLL_S = 0.1
_NOTE = "control.json"
_PASSED_ON = ("host", "content-type")
_PASSED_BACK = ("content-type", "cache-control")


class SandboxHost:
    """One process of those on a state directory runs the rails; when it ends, another takes them over.

    The rails come back on the ports they had, so whoever was connected reconnects by itself.
    """

    def __init__(self, *, directory: Path, clock: SandboxClock) -> None:
        self._directory = directory
        self._clock = clock
        self._rails: SandboxRails | None = None
        self._control: ASGIApp | None = None
        self._listener: LoopbackServer | None = None

    async def open(self) -> SandboxCoordinates | None:
        """Start the rails, or find those that run; None when a process holds them and does not say where."""
        self._directory.mkdir(parents=True, exist_ok=True)
        for _ in range(int(COORDINATES_WAIT_S / _POLL_S)):
            rails = await self._try_start()
            if rails is not None:
                return rails.coordinates
            with contextlib.suppress(FileNotFoundError):
                coordinates = SandboxCoordinates.load(self._directory)
                if _is_alive(coordinates.pid):  # a note of a process that was killed says nothing
                    return coordinates
            await asyncio.sleep(_POLL_S)
        return None

    async def take_over(self) -> None:
        """Wait a moment, then start the rails here if nobody runs them any more."""
        await asyncio.sleep(TAKE_OVER_S)
        if self._rails is None and await self._try_start() is not None:
            log.warning("sandbox_taken_over", directory=str(self._directory))

    async def close(self) -> None:
        """Stop what this process runs; another process may take it over."""
        if self._listener is not None:
            (self._directory / _NOTE).unlink(missing_ok=True)
            await self._listener.stop()
        if self._rails is not None:
            await self._rails.stop()

    def routes(self) -> list[Route]:
        """Return the remote control, which answers the same in every process."""
        return [Route("/sandbox", self), Route("/sandbox/{command:path}", self)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request to the remote control here, or pass it to the process that runs the rails."""
        answer = self._control or await self._pass_on(Request(scope, receive))
        await answer(scope, receive, send)

    async def _pass_on(self, request: Request) -> Response:
        if not is_local(request):
            return _error(404, "NOT_FOUND", "not found")
        try:
            url = json.loads((self._directory / _NOTE).read_bytes())["url"]
            body = b"".join([chunk async for chunk in _at_most(request, BODY_BYTES_MAX + 1)])
            headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
            async with httpx.AsyncClient(base_url=url, timeout=2 * PAY_WAIT_S, trust_env=False) as client:
                answer = await client.request(request.method, request.url.path, content=body, headers=headers)
        except (OSError, ClientDisconnect, httpx.HTTPError):
            return _error(503, "SANDBOX_AWAY", "the process that runs the sandbox rails does not answer; try again")
        passed_on = {name: answer.headers[name] for name in _PASSED_BACK if name in answer.headers}
        return Response(answer.content, status_code=answer.status_code, headers=passed_on)

    async def _try_start(self) -> SandboxRails | None:
        rails = await SandboxRails.try_start(directory=self._directory, clock=self._clock)
        if rails is None:
            return None
        self._rails = rails
        self._control = Starlette(routes=control_routes(rails))
        self._listener = LoopbackServer(self._control)
        await self._listener.start()
        note = {"url": f"http://127.0.0.1:{self._listener.port}"}
        write_private(self._directory / _NOTE, json.dumps(note).encode())
        return rails


async def _at_most(request: Request, size: int) -> AsyncIterator[bytes]:
    """Yield the body up to the chunk that passes ``size``: the control refuses what is longer."""
    async for chunk in request.stream():
        yield chunk
        size -= len(chunk)
        if size <= 0:
            return


def _error(status: int, code: str, message: str) -> Response:
    return JSONResponse({"error": {"code": code, "message": message}}, status_code=status)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
