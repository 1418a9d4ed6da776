"""Servers killed while they tell of events: nothing is lost, nothing goes out under another id, order holds."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import Sandbox

from quittance.domain.webhook import read_secret, verify
from quittance.resolvers.services import PaymentRules
from quittance.sandbox.clock import SandboxClock

NewServer = Callable[..., Any]

LIVES_SQLITE = int(os.environ.get("TEST_KILLS", "20"))
LIVES_POSTGRESQL = int(os.environ.get("TEST_KILLS_POSTGRESQL", "10"))
CLAIM_S = PaymentRules().job_claim_s
WAIT_S = 30.0
RANDOM_S_MAX = 0.25
SALES_A_LIFE = 2
NTH_MAX = 4
LIVES = Path(__file__).with_name("webhook_lives.py")
MOMENTS = (
    "at random",
    "before it is told",
    "before the call",
    "in the middle of the request",
    "at random",
    "before the receiver answers",
    "before the answer is stored",
)

ENDPOINT = """
mutation ($url: String!) {
  createWebhookEndpoint(input: { url: $url, eventTypes: [PAYMENT_UPDATED, PAYMENT_SETTLED] }) {
    ... on CreateWebhookEndpointSuccess { secret }
  }
}
"""
ORDER = """
mutation {
  generateInvoice(input: { purpose: ORDER, amount: { msat: "21000" } }) {
    ... on GenerateInvoiceSuccess { payment { events { edges { cursor } } } }
  }
}
"""
LOG = "subscription ($after: String) { paymentUpdated(after: $after) { eventId cursor payment { id } } }"
COUNTS = """
{
  all: webhookDeliveries { totalCount }
  delivered: webhookDeliveries(filter: { state: DELIVERED }) { totalCount }
}
"""


@dataclass(frozen=True)
class Arrival:
    event_id: str
    cursor: str
    payment_id: str
    body: bytes
    headers: dict[str, str]


class Receiver:
    """Takes what is sent; at the moment that it is told of, it holds still until the sender is dead."""

    def __init__(self) -> None:
        self.arrivals: list[Arrival] = []
        self.struck = threading.Event()
        self.dead = threading.Event()
        self._lock = threading.Lock()
        self._moment, self._left = "", 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/hook"

    def expect(self, moment: str, nth: int) -> None:
        self.struck.clear()
        self.dead.clear()
        with self._lock:
            self._moment, self._left = moment, nth

    def close(self) -> None:
        self.dead.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                moment = receiver._next()
                if moment == "in the middle of the request":
                    receiver._hold()
                    return
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver._take(dict(self.headers), body)
                if moment == "before the receiver answers":
                    receiver._hold()
                    return
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def _next(self) -> str:
        """Return for whose sake the request that comes in now is held, if any is."""
        with self._lock:
            self._left -= 1
            return self._moment if self._left == 0 else ""

    def _hold(self) -> None:
        self.struck.set()
        assert self.dead.wait(WAIT_S)

    def _take(self, headers: dict[str, str], body: bytes) -> None:
        data = json.loads(body)["data"]
        with self._lock:
            self.arrivals.append(
                Arrival(
                    event_id=headers["webhook-id"],
                    cursor=data["cursor"],
                    payment_id=data["payment"]["id"],
                    body=body,
                    headers=headers,
                )
            )


class Nursery:
    """Lives one after the other, each of which is killed."""

    def __init__(self, variables: dict[str, str], log: Path) -> None:
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, str(LIVES)],
                env=variables,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self._log = log

    def begin(self, *, moment: str, nth: int) -> int:
        """Begin a life and return its process."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"moment": moment, "nth": nth, "sales": SALES_A_LIFE}) + "\n")
        self._process.stdin.flush()
        return int(self.until("begun")["pid"])

    def until(self, word: str) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        said: dict[str, Any] = json.loads(line) if line else {"said": "nothing"}
        assert said["said"] == word, f"{said}\n{self._log.read_text()}"
        return said

    def kill(self, pid: int) -> None:
        """Let a life end as a crash would end it: no handler runs."""
        os.kill(pid, signal.SIGKILL)
        assert self.until("ended")["signal"] == signal.SIGKILL

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    running = Receiver()
    yield running
    running.close()


def let_live_and_kill(nursery: Nursery, receiver: Receiver, *, moment: str, chance: random.Random) -> None:
    nth = chance.randint(1, NTH_MAX)
    receiver.expect(moment, nth)
    pid = nursery.begin(moment=moment, nth=nth)
    if moment == "at random":
        time.sleep(chance.uniform(0, RANDOM_S_MAX))
    elif moment in {"in the middle of the request", "before the receiver answers"}:
        assert receiver.struck.wait(WAIT_S)
    else:
        nursery.until(moment)
    nursery.kill(pid)
    receiver.dead.set()


def log_after(server: Any, cursor: str) -> list[dict[str, Any]]:
    """Return what the event log tells of payments, in its order."""
    found = []
    with server.socket() as socket:
        socket.subscribe(LOG, {"after": cursor})
        try:
            while True:
                found.append(socket.next(timeout_s=1.0)["paymentUpdated"])
        except TimeoutError:
            return found


def assert_all_was_told(log: list[dict[str, Any]], arrivals: list[Arrival], *, secret: bytes) -> None:
    """Each event of the log arrived, under its own id, and first in the order of its payment; nothing else did."""
    told = {(event["eventId"], event["cursor"], event["payment"]["id"]) for event in log}
    assert len({event_id for event_id, _, _ in told}) == len(log)
    assert {(one.event_id, one.cursor, one.payment_id) for one in arrivals} == told
    for one in arrivals:
        stamped = datetime.fromtimestamp(int(one.headers["webhook-timestamp"]), UTC)
        assert verify(headers=one.headers, body=one.body, secrets=[secret], at=stamped) == one.event_id
    for payment_id in {one.payment_id for one in arrivals}:
        first_arrivals = list(dict.fromkeys(one.event_id for one in arrivals if one.payment_id == payment_id))
        assert first_arrivals == [event["eventId"] for event in log if event["payment"]["id"] == payment_id]


def told_in_quiet(server: Any, receiver: Receiver, *, after: str) -> tuple[list[dict[str, Any]], list[Arrival]]:
    """Return the log and what arrived, once nothing is on its way any more."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        before = server.execute(COUNTS)
        log, arrivals = log_after(server, after), list(receiver.arrivals)
        if before == server.execute(COUNTS) == {"all": {"totalCount": len(log)}, "delivered": {"totalCount": len(log)}}:
            return log, arrivals
    raise AssertionError(f"after {WAIT_S} s not all was delivered: {server.execute(COUNTS)}, {len(log)} events")


def play(server: Any, receiver: Receiver, *, lives: int, between: Callable[[], object]) -> None:
    server.start()
    order = server.execute(ORDER)["generateInvoice"]["payment"]["events"]["edges"]
    secret = read_secret(server.execute(ENDPOINT, {"url": receiver.url})["createWebhookEndpoint"]["secret"])
    server.stop()
    nursery = Nursery(server.variables, server.log)
    chance = random.Random(lives)
    try:
        for number in range(lives):
            let_live_and_kill(nursery, receiver, moment=MOMENTS[number % len(MOMENTS)], chance=chance)
            between()
    finally:
        nursery.close()

    server.start()
    log, arrivals = told_in_quiet(server, receiver, after=order[-1]["cursor"])
    examined = server.run("doctor")

    assert_all_was_told(log, arrivals, secret=secret)
    assert len(log) > lives  # most lived long enough to sell
    assert len(arrivals) > len(log)  # what was taken and not remembered came again
    assert examined.returncode == 0, examined.stdout
    assert "ok    ledger: transactions sum to zero" in examined.stdout


def test_h5_killed_at_any_moment_of_telling_on_sqlite(
    new_server: NewServer, sandbox: Sandbox, receiver: Receiver, tmp_path: Path
) -> None:
    server = new_server(state_dir=tmp_path / "state")

    play(server, receiver, lives=LIVES_SQLITE, between=lambda: None)  # a start alone on a file voids the dead's claims


def test_h5_killed_at_any_moment_of_telling_on_postgresql(
    new_server: NewServer, sandbox: Sandbox, receiver: Receiver, tmp_path: Path, postgres_url: str
) -> None:
    server = new_server(state_dir=tmp_path / "state", environment={"QUITTANCE_DATABASE_URL": postgres_url})
    clock = SandboxClock(tmp_path / "state" / "sandbox" / "clock.json")

    play(server, receiver, lives=LIVES_POSTGRESQL, between=lambda: clock.advance(CLAIM_S + 1))
