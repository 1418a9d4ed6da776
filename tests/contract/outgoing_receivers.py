"""Listening sockets that answer a caller as they are told, and what the caller connected to."""

import asyncio
import contextlib
import socket
import ssl
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from ipaddress import ip_network

import pytest

from quittance.providers.outgoing import LOOPBACK, OutgoingRules

OUTER, INNER = "127.0.0.2", "127.0.0.1"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
STRICT = OutgoingRules()
AT_HOME = OutgoingRules(private_networks=LOOPBACK, plain_http=True, connect_timeout_s=2.0, timeout_s=5.0)
OUTER_ONLY = OutgoingRules(private_networks=(ip_network(OUTER),), plain_http=True, connect_timeout_s=2.0, timeout_s=5.0)

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

_watching: list[list[object]] = []


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if event == "socket.connect":
        for seen in _watching:
            seen.append(arguments[1])


sys.addaudithook(_watch)


@contextlib.contextmanager
def connections_of_this_process() -> Iterator[list[object]]:
    """Every address that any socket of this process is told to connect to."""
    seen: list[object] = []
    _watching.append(seen)
    yield seen
    _watching.remove(seen)


def sending(*parts: bytes) -> Answer:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()

    return answer


def dripping(head: bytes, drop: bytes) -> Answer:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(drop)
            await writer.drain()
            await asyncio.sleep(0.02)

    return answer


async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def endless(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b"x" * 65_536)
        await writer.drain()


def resetting(*, after: bytes) -> Answer:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(after)
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return answer


class Receiver:
    """A listening socket that counts what connects, keeps what is sent, and answers as it is told."""

    def __init__(self) -> None:
        self.connections = 0
        self.requests: list[bytes] = []
        self.names: list[str | None] = []
        self.answer: Answer = sending(OK)
        self.early = False  # answer before the body was read
        self.all_closed = asyncio.Event()
        self.port = 0
        self._server: asyncio.Server | None = None

    async def listen(self, host: str, port: int = 0, *, tls: ssl.SSLContext | None = None) -> None:
        self._server = await asyncio.start_server(self._take, host, port, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            size = int(
                next((line[16:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length: ")), 0)
            )
            self.requests.append(head if self.early else head + await reader.readexactly(size))
            await self.answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()
            self.all_closed.set()


@pytest.fixture
async def outer() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    try:
        await receiver.listen(OUTER)
    except OSError:
        pytest.skip(f"this machine has no address {OUTER}")
    yield receiver
    await receiver.close()


@pytest.fixture
async def inner(outer: Receiver) -> AsyncIterator[Receiver]:
    """Listens where ``outer`` does, on another address of this machine."""
    receiver = Receiver()
    await receiver.listen(INNER, outer.port)
    yield receiver
    await receiver.close()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    await receiver.listen(INNER)
    yield receiver
    await receiver.close()


class Names:
    """A resolver that gives the next answer at each question; the last one stays."""

    def __init__(self, *answers: Sequence[str] | OSError) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, OSError):
            raise answer
        return answer


async def no_name(host: str, _port: int) -> Sequence[str]:
    raise AssertionError(f"{host} was resolved")
