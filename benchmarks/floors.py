"""What the machine can do with nothing on top: the least an HTTP answer, a commit and a fan-out can cost."""

import asyncio
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any, ClassVar, cast

import uvicorn
import uvloop

_BODY = b'{"data":{"payment":{"id":"pay_00000000000000000000000000000000","status":"PENDING_PAYMENT"}}}'
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(_BODY)).encode())]


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answer every request with the same bytes once its body is read."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _BODY})


def commits_per_s(path: Path, *, seconds: float, rows: int = 1) -> float:
    """Return how many rows a second SQLite makes durable, ``rows`` in each commit."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE IF NOT EXISTS floor (id INTEGER PRIMARY KEY, text TEXT)")
    text = "x" * 300
    written = 0
    begun = time.perf_counter()
    while (took_s := time.perf_counter() - begun) < seconds:
        connection.execute("BEGIN IMMEDIATE")
        for _ in range(rows):
            connection.execute("INSERT INTO floor (text) VALUES (?)", (text,))
        connection.execute("COMMIT")
        written += rows
    connection.close()
    return written / took_s


class FanOut(asyncio.Protocol):
    """Writes one prepared frame to every client as soon as any client says a word."""

    clients: ClassVar[set["FanOut"]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.clients.add(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        self.clients.discard(self)

    def data_received(self, data: bytes) -> None:
        frame = data.replace(b"OCCURRED", f"{time.time():.6f}".encode())
        for client in self.clients:
            client.transport.write(frame)


async def _fan_out(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(FanOut, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


def main() -> None:
    kind, port = sys.argv[1], int(sys.argv[2])
    if kind == "fan-out":
        uvloop.run(_fan_out(port))
    else:
        uvicorn.run(
            echo, port=port, loop="uvloop", http="httptools", access_log=False, server_header=False,
            proxy_headers=False, lifespan="off", log_config=None,
        )  # fmt: skip


if __name__ == "__main__":
    main()
