"""The running server: a real process, over real sockets."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

API_KEY = "an-admin-key-of-the-tests"
START_S = 30.0
QUITTANCE = Path(sys.executable).with_name("quittance")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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

    def start(self) -> None:
        """Start and wait until it is ready.

        Raises:
            AssertionError: it did not become ready; the log says why.
        """
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("QUITTANCE_")},
            "QUITTANCE_STATE_DIR": str(self.state_dir),
            "QUITTANCE_BOOTSTRAP_API_KEY": self.api_key,
            **self.environment,
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(QUITTANCE), "serve", "--port", str(self.port), *self.arguments],
                env=environment,
                stdout=log,
                stderr=log,
                cwd=self.state_dir,
            )
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
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """End the process as an operator would."""
        assert self.process is not None
        self.process.terminate()
        self.process.wait(timeout=20)

    def post(self, query: str, variables: dict[str, object] | None = None, *, key: str | None = API_KEY) -> httpx.Response:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        return httpx.post(
            f"{self.url}/graphql", json={"query": query, "variables": variables or {}}, headers=headers, timeout=20.0
        )

    def pay(self, payment_request: str, node: str = "alice") -> httpx.Response:
        return httpx.post(
            f"{self.url}/sandbox/pay", json={"paymentRequest": payment_request, "node": node}, timeout=20.0
        )


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
        state_dir = tmp_path / f"server-{len(made)}"
        state_dir.mkdir()
        running = Server(state_dir=state_dir, port=free_port(), **more)  # type: ignore[arg-type]
        made.append(running)
        return running

    yield make
    for running in made:
        if running.process is not None and running.process.poll() is None:
            running.kill()
