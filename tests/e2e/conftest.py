"""The running server: a real process, over real sockets."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from tests.e2e.sold_books import new_books  # noqa: F401 - a fixture
from tests.e2e.visits import browser, open_page  # noqa: F401 - fixtures
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

API_KEY = "an-admin-key-of-the-tests"
START_S = 60.0
QUITTANCE = Path(sys.executable).with_name("quittance")
BYTECODE = Path(tempfile.gettempdir()) / f"quittance-bytecode-{os.getuid()}"
SUBPROTOCOL = Subprotocol("graphql-transport-ws")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Socket:
    """One websocket that speaks ``graphql-transport-ws``; every wait ends."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    def send(self, type_: str, **members: object) -> None:
        self._connection.send(json.dumps({"type": type_, **members}))

    def receive(self, *, timeout_s: float = 10.0) -> dict[str, Any]:
        """Return the next message that is no ping.

        Raises:
            TimeoutError: none came.
            ConnectionClosed: the server closed the socket, or died.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            message: dict[str, Any] = json.loads(self._connection.recv(timeout=max(0.0, deadline - time.monotonic())))
            if message["type"] != "ping":
                return message
            self.send("pong")

    def subscribe(self, query: str, variables: dict[str, object] | None = None, *, id_: str = "1") -> None:
        self.send("subscribe", id=id_, payload={"query": query, "variables": variables or {}})

    def next(self, *, timeout_s: float = 10.0) -> dict[str, Any]:
        """Return the data of the next event of the only subscription."""
        message = self.receive(timeout_s=timeout_s)
        assert message["type"] == "next", message
        assert "errors" not in message["payload"], message
        data: dict[str, Any] = message["payload"]["data"]
        return data


@dataclass
class Server:
    """One ``quittance serve``; it can be killed and started again on the same state."""

    state_dir: Path
    port: int
    api_key: str = API_KEY
    environment: dict[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.state_dir / "server.log"

    @property
    def variables(self) -> dict[str, str]:
        """The environment of this server's processes and commands."""
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("QUITTANCE_")},
            "PYTHONDONTWRITEBYTECODE": "",  # a start that compiles every module costs seconds
            "PYTHONPYCACHEPREFIX": str(BYTECODE),
            "QUITTANCE_STATE_DIR": str(self.state_dir),
            "QUITTANCE_BOOTSTRAP_API_KEY": self.api_key,
            **self.environment,
        }

    def start(self) -> None:
        """Start and wait until it is ready.

        Raises:
            AssertionError: it did not become ready; the log says why.
        """
        self.launch()
        self.wait_until_ready()

    def launch(self) -> None:
        self.process = self.spawn("serve", "--port", str(self.port), *self.arguments)

    def spawn(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """Start a process of this installation, in a group of its own."""
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [str(QUITTANCE), *arguments],
                env=self.variables,
                stdout=log,
                stderr=log,
                cwd=self.state_dir,
                start_new_session=True,
            )

    def run(self, *arguments: str, timeout_s: float = 90.0) -> "subprocess.CompletedProcess[str]":
        """Run a command of this installation to its end."""
        return subprocess.run(
            [str(QUITTANCE), *arguments],
            env={**self.variables, "NO_COLOR": "1", "COLUMNS": "120"},
            cwd=self.state_dir,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def wait_until_ready(self) -> None:
        assert self.process is not None
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            try:
                if httpx.get(f"{self.url}/ready", timeout=2.0).status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        raise AssertionError(f"not ready after {START_S} s:\n{self.log.read_text()}")

    def kill(self) -> None:
        """End the process as a crash would: no handler runs."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """End the process as an operator would."""
        assert self.process is not None
        self.process.terminate()
        self.process.wait(timeout=20)

    def post(
        self, query: str, variables: dict[str, object] | None = None, *, key: str | None = API_KEY
    ) -> httpx.Response:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        return httpx.post(
            f"{self.url}/graphql", json={"query": query, "variables": variables or {}}, headers=headers, timeout=20.0
        )

    def execute(self, query: str, variables: dict[str, object] | None = None, *, key: str | None = API_KEY) -> Any:
        """Return the data of an operation that must succeed."""
        answer = self.post(query, variables, key=key)
        assert answer.status_code == httpx.codes.OK, answer.text
        body = answer.json()
        assert "errors" not in body, body
        return body["data"]

    @contextmanager
    def socket(self, payload: dict[str, object] | None = None) -> Iterator[Socket]:
        """Open a socket and shake hands; the admin key unless another payload is given."""
        shown = {"Authorization": f"Bearer {self.api_key}"} if payload is None else payload
        url = f"ws://127.0.0.1:{self.port}/graphql"
        with connect(url, subprotocols=[SUBPROTOCOL], proxy=None, close_timeout=1) as connection:
            socket_ = Socket(connection)
            socket_.send("connection_init", payload=shown)
            assert socket_.receive() == {"type": "connection_ack"}
            yield socket_

    def pay(self, payment_request: str, node: str | None = None) -> httpx.Response:
        """Pay from a node, or from the first that can."""
        return httpx.post(
            f"{self.url}/sandbox/pay", json={"paymentRequest": payment_request, "node": node}, timeout=20.0
        )


class Sandbox:
    """The rails in a process of their own, which outlives the servers."""

    def __init__(self, directory: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "quittance.sandbox", "--directory", str(directory)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.control_url = str(json.loads(self.process.stdout.readline())["control_url"])

    def pay(self, payment_request: str) -> httpx.Response:
        return httpx.post(f"{self.control_url}/pay", json={"paymentRequest": payment_request}, timeout=20.0)

    def merchant_msat(self) -> int:
        nodes = httpx.get(self.control_url, timeout=20.0).json()["nodes"]
        return next(int(node["balanceMsat"]) for node in nodes if node["name"] == "merchant")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=20)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on SQLite with sandbox rails, shared by the whole run."""
    running = Server(state_dir=tmp_path_factory.mktemp("server"), port=free_port())
    running.start()
    yield running
    running.stop()


@pytest.fixture
def new_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Make servers of one's own, ended with the test."""
    made: list[Server] = []

    def make(**more: object) -> Server:
        home = {"state_dir": tmp_path / f"server-{len(made)}", **more}
        running = Server(port=free_port(), **home)  # type: ignore[arg-type]
        running.state_dir.mkdir(exist_ok=True)
        made.append(running)
        return running

    yield make
    for running in made:
        if running.process is not None and running.process.poll() is None:
            running.kill()


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    rails = Sandbox(tmp_path / "state" / "sandbox")
    yield rails
    rails.stop()


@pytest.fixture
async def postgres_url(postgres_dsn: str, postgres_template: str) -> AsyncIterator[str]:
    """A fresh PostgreSQL database, with the schema that the migrations make."""
    name = f"e2e_{uuid.uuid4().hex[:12]}"
    head, question, tail = postgres_dsn.partition("?")
    connection = await asyncpg.connect(postgres_dsn)
    try:
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE {postgres_template}")
        yield f"{head.rpartition('/')[0]}/{name}{question}{tail}"
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await connection.close()
