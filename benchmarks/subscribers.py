"""Thousands of subscribers in one process: raw sockets that speak just enough graphql-transport-ws."""

import asyncio
import base64
import json
import os
import re
import struct
import time
from collections.abc import Callable
from datetime import datetime
from typing import cast

from benchmarks.documents import SETTLED
from benchmarks.processes import API_KEY, BenchmarkFailed

OPEN_S = 60.0
ARRIVE_S = 30.0
_OPENING_AT_ONCE = 100
_OCCURRED = re.compile(rb'"occurredAt":"([^"]+)"')


class Crowd:
    """All clients of one server, and when each got the event that is on its way."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.clients: list[asyncio.Transport] = []
        self.ready = 0
        self.all_ready = asyncio.get_running_loop().create_future()
        self.arrived: list[float] = []
        self.all_arrived = asyncio.get_running_loop().create_future()
        self.last = b""

    def one_ready(self) -> None:
        self.ready += 1
        if self.ready == self.size and not self.all_ready.done():
            self.all_ready.set_result(None)

    def expect(self) -> None:
        """Forget what came before."""
        self.arrived = []
        self.all_arrived = asyncio.get_running_loop().create_future()

    def one_arrived(self, data: bytes) -> None:
        self.arrived.append(time.time())
        if len(self.arrived) == self.size:
            self.last = data
            self.all_arrived.set_result(None)

    async def arrivals_ms(self) -> list[float]:
        """Return, sorted, how long after the event was booked each client had it."""
        await asyncio.wait_for(self.all_arrived, ARRIVE_S)
        booked = _booked_at(self.last)
        return [(at - booked) * 1000 for at in sorted(self.arrived)]

    def close(self) -> None:
        for client in self.clients:
            client.close()


class Listener(asyncio.Protocol):
    """A client of the floor: whatever comes is the event."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._crowd.clients.append(cast("asyncio.Transport", transport))
        self._crowd.one_ready()

    def data_received(self, data: bytes) -> None:
        self._crowd.one_arrived(data)


class Subscriber(asyncio.Protocol):
    """A client of the server: upgrades, subscribes, answers pings, and counts events."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._subscribed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._crowd.clients.append(cast("asyncio.Transport", transport))
        self._transport.write(_upgrade())

    def data_received(self, data: bytes) -> None:
        if b'"type":"next"' in data:
            self._crowd.one_arrived(data)
        elif b" 101 " in data[:20]:
            self._say({"type": "connection_init", "payload": {"authorization": f"Bearer {API_KEY}"}})
        elif b'"connection_ack"' in data:
            self._say({"type": "subscribe", "id": "1", "payload": {"query": SETTLED}})
            self._say({"type": "ping"})
        elif b'"type":"pong"' in data and not self._subscribed:
            self._subscribed = True
            self._crowd.one_ready()
        elif b'"type":"ping"' in data:
            self._say({"type": "pong"})
        else:
            self._crowd.all_ready.set_exception(BenchmarkFailed(f"a subscriber was told {data[:500]!r}"))

    def _say(self, message: object) -> None:
        self._transport.write(_masked(json.dumps(message, separators=(",", ":")).encode()))


async def gather_crowd(port: int, size: int, protocol: Callable[[Crowd], asyncio.Protocol]) -> Crowd:
    """Open ``size`` connections and return once each of them is subscribed."""
    loop = asyncio.get_running_loop()
    crowd = Crowd(size)
    for begin in range(0, size, _OPENING_AT_ONCE):
        batch = min(_OPENING_AT_ONCE, size - begin)
        await asyncio.gather(
            *(loop.create_connection(lambda: protocol(crowd), "127.0.0.1", port) for _ in range(batch))
        )
        deadline = time.monotonic() + OPEN_S
        while crowd.ready < begin + batch:
            if crowd.all_ready.done() or time.monotonic() > deadline:
                break
            await asyncio.sleep(0.001)
    await asyncio.wait_for(crowd.all_ready, OPEN_S)
    return crowd


def prepared_frame(payload: bytes) -> bytes:
    """Return a text frame as a server sends it."""
    length = struct.pack("!B", len(payload)) if len(payload) < 126 else struct.pack("!BH", 126, len(payload))
    return b"\x81" + length + payload


def _masked(payload: bytes) -> bytes:
    """Return a text frame as a client sends it, masked with zeros: the server undoes it all the same."""
    size = len(payload)
    length = struct.pack("!B", 0x80 | size) if size < 126 else struct.pack("!BH", 0x80 | 126, size)
    return b"\x81" + length + b"\0\0\0\0" + payload


def _upgrade() -> bytes:
    lines = [
        "GET /graphql HTTP/1.1",
        "Host: 127.0.0.1",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Protocol: graphql-transport-ws",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def _booked_at(frame: bytes) -> float:
    found = _OCCURRED.search(frame)
    if found is None:
        raise BenchmarkFailed(f"an event without its time: {frame!r}")
    text = found[1].decode()
    return float(text) if text.replace(".", "").isdigit() else datetime.fromisoformat(text).timestamp()
