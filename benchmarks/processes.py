"""The processes that are measured: started in order, found by port, watched in /proc, and always ended."""

import asyncio
import json
import os
import resource
import socket
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import IO, Any

API_KEY = "qk_of_the_benchmark_and_of_nobody_else"
START_S = 60.0
STOP_S = 15.0
_LAST_WORDS_MAX = 500
_NO_LIMIT = "1000000000"
_HERE = Path(__file__).resolve().parent.parent
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class BenchmarkFailed(Exception):
    """What was measured did not work, so there is no figure."""


class Measured:
    """A running process and its own view in /proc."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process = process
        self.port = port

    @property
    def cpu_s(self) -> float:
        """User and system time so far, of all threads."""
        text = Path(f"/proc/{self.process.pid}/stat").read_text()
        fields = text.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    @property
    def resident_bytes(self) -> int:
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * _PAGE_BYTES


class Rails(Measured):
    """The sandbox rails in a process of their own."""

    def __init__(self, process: asyncio.subprocess.Process, coordinates: Mapping[str, Any]) -> None:
        super().__init__(process, int(coordinates["control_url"].rsplit(":", 1)[1].split("/")[0]))
        self.lnd: Mapping[str, str] = coordinates["lnd"]

    @property
    def settings(self) -> dict[str, str]:
        """Return what a server must be told to use these rails over gRPC."""
        return {
            "QUITTANCE_SANDBOX": "false",
            "QUITTANCE_LND_ADDRESS": self.lnd["address"],
            "QUITTANCE_LND_TLS_CERT_PATH": self.lnd["tls_cert_path"],
            "QUITTANCE_LND_MACAROON_PATH": self.lnd["macaroon_path"],
            "QUITTANCE_LND_NETWORK": self.lnd["network"],
        }


def raise_file_limit() -> int:
    """Let this process and its children hold as many sockets as the machine allows; return how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def server_environment(state: Path, rails: Rails, **settings: str) -> dict[str, str]:
    """Return the environment of a server that no budget holds back; everything else is the default."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("QUITTANCE_")}
    return {
        **inherited,
        **rails.settings,
        "QUITTANCE_STATE_DIR": str(state),
        "QUITTANCE_BOOTSTRAP_API_KEY": API_KEY,
        "QUITTANCE_MUTATIONS_PER_MINUTE": _NO_LIMIT,
        "QUITTANCE_REQUESTS_PER_MINUTE_PER_KEY": _NO_LIMIT,
        "QUITTANCE_REQUESTS_PER_MINUTE_PER_ADDRESS": _NO_LIMIT,
        **settings,
    }


@asynccontextmanager
async def rails_process(directory: Path) -> AsyncIterator[Rails]:
    """Run the sandbox rails."""
    command = [sys.executable, "-m", "quittance.sandbox", "--directory", str(directory)]
    async with _running(command, directory, output=asyncio.subprocess.PIPE) as process:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), START_S)
        if not line:
            raise BenchmarkFailed(f"the rails did not start: {_last_words(directory)}")
        yield Rails(process, json.loads(line))


@asynccontextmanager
async def server_process(state: Path, rails: Rails, **settings: str) -> AsyncIterator[Measured]:
    """Run `quittance serve` and wait until /ready says so; ``settings`` are further environment variables."""
    port = free_port()
    console = Path(sys.executable).with_name("quittance")
    command = [str(console), "serve", "--port", str(port)]
    async with _running(command, state, environment=server_environment(state, rails, **settings)) as process:
        await until_answering(process, port, "/ready", state)
        yield Measured(process, port)


@asynccontextmanager
async def worker_process(state: Path, rails: Rails, **settings: str) -> AsyncIterator[Measured]:
    """Run `quittance worker` on the state of a server; it has no port."""
    console = Path(sys.executable).with_name("quittance")
    environment = server_environment(state, rails, **settings)
    async with _running([str(console), "worker"], state, environment=environment) as process:
        yield Measured(process, 0)


@asynccontextmanager
async def floor_process(kind: str, directory: Path) -> AsyncIterator[Measured]:
    """Run one of the hand-written servers of :mod:`benchmarks.floors`."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.floors", kind, str(port)]
    environment = {**os.environ, "PYTHONPATH": str(_HERE)}
    async with _running(command, directory, environment=environment) as process:
        await until_answering(process, port, None, directory)
        yield Measured(process, port)


def _log_in(directory: Path) -> IO[bytes]:
    directory.mkdir(parents=True, exist_ok=True)
    return (directory / "log").open("ab")


def _last_words(directory: Path) -> str:
    """Return the end of a process's log, which goes when the benchmark ends."""
    return (directory / "log").read_text(errors="replace")[-_LAST_WORDS_MAX:].strip()


@asynccontextmanager
async def _running(
    command: list[str],
    directory: Path,
    *,
    environment: Mapping[str, str] | None = None,
    output: int = asyncio.subprocess.DEVNULL,
) -> AsyncIterator[asyncio.subprocess.Process]:
    with _log_in(directory) as log:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=directory, env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=log
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_S)
        except TimeoutError:
            process.kill()
            await process.wait()


async def until_answering(process: asyncio.subprocess.Process, port: int, path: str | None, directory: Path) -> None:
    """Return once the port takes connections, and ``path`` answers 200 if one is given.

    Raises:
        BenchmarkFailed: the process ended, or took too long.
    """
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process.returncode is not None:
            raise BenchmarkFailed(
                f"a process ended with {process.returncode}, and its last words were: {_last_words(directory)}"
            )
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                if path is None:
                    return
                writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
                if b" 200 " in (await reader.read())[:20]:
                    return
            finally:
                writer.close()
        await asyncio.sleep(0.01)
    raise BenchmarkFailed(f"nothing answered within {START_S:.0f} s: {_last_words(directory)}")
