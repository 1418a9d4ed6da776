"""A server that keeps what it is sent, and answers what it is told to."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from quittance.sandbox.http import LoopbackServer
from quittance.sandbox.rails import SandboxRails

SECRET = "a secret of 10+"
_WAIT_S = 5.0


@dataclass(frozen=True)
class Sent:
    content: bytes
    signature: str
    media_type: str

    @property
    def body(self) -> Any:
        return json.loads(self.content)


async def attempted(rails: SandboxRails, count: int) -> None:
    """Wait until it was written down that the newest webhook was sent so often."""
    for _ in range(500):
        if rails.strike_deliveries()[0]["attempts"] == count:
            return
        await asyncio.sleep(0.01)
    raise TimeoutError(f"the newest webhook was not sent {count} times")


class WebhookReceiver:
    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.statuses: list[int] = []
        self.pause_s = 0.0
        self._news = asyncio.Event()
        self._server = LoopbackServer(Starlette(routes=[Route("/hook", self._take, methods=["POST"])]))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.port}/hook"

    async def start(self) -> None:
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop()

    async def wait_for(self, count: int) -> list[Sent]:
        """Wait until so many requests have come, and return all that have."""
        async with asyncio.timeout(_WAIT_S):
            while len(self.sent) < count:
                self._news.clear()
                await self._news.wait()
        return self.sent

    async def _take(self, request: Request) -> Response:
        content = await request.body()
        headers = request.headers
        self.sent.append(Sent(content, headers["x-webhook-signature"], headers["content-type"]))
        self._news.set()
        await asyncio.sleep(self.pause_s)
        return Response(status_code=self.statuses.pop(0) if self.statuses else 204)
