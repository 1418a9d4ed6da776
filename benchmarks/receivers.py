"""One local receiver of webhooks, which answers at once; its endpoints are told apart by their paths."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_BACKLOG = 1_024


class Receiver:
    """Counts what it is told."""

    def __init__(self) -> None:
        self.port = 0
        self.count = 0
        self._wanted: tuple[int, asyncio.Future[None]] | None = None

    def url(self, number: int) -> str:
        return f"http://127.0.0.1:{self.port}/{number}"

    async def until(self, count: int, *, seconds: float) -> None:
        """Return once so many messages came.

        Raises:
            TimeoutError: they did not come in time.
        """
        if self.count < count:
            self._wanted = count, asyncio.get_running_loop().create_future()
            await asyncio.wait_for(self._wanted[1], seconds)

    def one_came(self) -> None:
        self.count += 1
        if self._wanted is not None and self.count >= self._wanted[0] and not self._wanted[1].done():
            self._wanted[1].set_result(None)


class _Connection(asyncio.Protocol):
    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        if found and len(body) >= int(length or 0):
            self._receiver.one_came()
            self._transport.write(_ANSWER)
            self._transport.close()


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    server = await asyncio.get_running_loop().create_server(
        lambda: _Connection(receiver), "127.0.0.1", 0, backlog=_BACKLOG
    )
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
