"""A load client for HTTP/1.1: one request in flight on each connection, every answer checked, little else."""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any, cast

from benchmarks.processes import API_KEY, BenchmarkFailed, Measured
from benchmarks.report import percentile

ANSWER_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What to send, and what every right answer holds."""

    request: Callable[[], bytes]
    expected: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What one round gave. ``cpu_us`` is the server's own time for each request."""

    per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float


def http_request(path: str, body: bytes, *, api_key: str | None = API_KEY) -> bytes:
    """Return a POST as bytes."""
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/json",
        "Accept: application/json",
        f"Content-Length: {len(body)}",
    ]
    if api_key is not None:
        lines.append(f"Authorization: Bearer {api_key}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def graphql(document: str, variables: dict[str, Any] | None = None) -> bytes:
    body = json.dumps({"query": document, "variables": variables or {}}, separators=(",", ":"))
    return http_request("/graphql", body.encode())


def numbered(request: bytes, mark: bytes) -> Callable[[], bytes]:
    """Return a maker of requests in which ``mark`` is replaced by numbers of the same length."""
    before, found, after = request.partition(mark)
    assert found
    numbers = count()
    width = len(mark)
    return lambda: before + str(next(numbers)).zfill(width).encode() + after


class _Run:
    def __init__(self, work: Work, *, deadline: float, clients: int) -> None:
        self.work = work
        self.deadline = deadline
        self.left = clients
        self.ended = asyncio.get_running_loop().create_future()
        self.took_s: list[float] = []

    def leave(self) -> None:
        self.left -= 1
        if self.left == 0 and not self.ended.done():
            self.ended.set_result(None)

    def fail(self, why: str) -> None:
        if not self.ended.done():
            self.ended.set_exception(BenchmarkFailed(why))


class _Client(asyncio.Protocol):
    def __init__(self, run: _Run) -> None:
        self._run = run
        self._begun = 0.0
        self._size: int | None = None
        self._buffer = b""
        self._done = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._ask()

    def _ask(self) -> None:
        self._begun = time.perf_counter()
        if self._begun >= self._run.deadline:
            self._done = True
            self._transport.close()
            self._run.leave()
            return
        self._transport.write(self._run.work.request())

    def data_received(self, data: bytes) -> None:
        answer = self._buffer + data if self._buffer else data
        if self._size is None:
            end = answer.find(b"\r\n\r\n")
            if end < 0:
                self._buffer = answer
                return
            self._size = end + 4 + _content_length(answer[:end])
        if len(answer) < self._size:
            self._buffer = answer
            return
        self._run.took_s.append(time.perf_counter() - self._begun)
        if self._run.work.expected not in answer:
            self._run.fail(f"a wrong answer: {answer[:2000].decode(errors='replace')}")
            return
        self._size = None
        self._buffer = b""
        self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done:
            self._run.fail(f"a connection was lost: {exc}")


def _content_length(head: bytes) -> int:
    _, found, rest = head.lower().partition(b"content-length:")
    if not found:
        raise BenchmarkFailed(f"an answer without a length: {head.decode(errors='replace')}")
    return int(rest.partition(b"\r\n")[0])


async def load(server: Measured, work: Work, *, clients: int, seconds: float) -> Load:
    """Ask for ``seconds`` from ``clients`` connections.

    Raises:
        BenchmarkFailed: an answer was wrong or did not come.
    """
    loop = asyncio.get_running_loop()
    begun = time.perf_counter()
    cpu_s = server.cpu_s
    run = _Run(work, deadline=begun + seconds, clients=clients)
    for _ in range(clients):
        await loop.create_connection(lambda: _Client(run), "127.0.0.1", server.port)
    await asyncio.wait_for(run.ended, seconds + ANSWER_S)
    took_s = time.perf_counter() - begun
    answered = len(run.took_s)
    return Load(
        per_s=answered / took_s,
        p50_ms=percentile(run.took_s, 0.50) * 1000,
        p99_ms=percentile(run.took_s, 0.99) * 1000,
        cpu_us=(server.cpu_s - cpu_s) / answered * 1e6,
    )


async def ask(port: int, request: bytes) -> tuple[Any, float]:
    """Send one request and return the JSON of its answer, and how long it took in seconds."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        begun = time.perf_counter()
        writer.write(request)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), ANSWER_S)
        body = await asyncio.wait_for(reader.readexactly(_content_length(head)), ANSWER_S)
        took_s = time.perf_counter() - begun
    finally:
        writer.close()
    if b" 200 " not in head[:20]:
        raise BenchmarkFailed(f"a wrong answer: {body[:2000].decode(errors='replace')}")
    return json.loads(body), took_s
