"""Several processes, and processes that are killed: nothing is lost, nothing is done twice."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import asyncpg
import httpx
import pytest
from websockets.exceptions import WebSocketException

NewServer = Callable[..., Any]

SETTLE_S_MAX = 40.0
TAKE_OVER_S_MAX = 20.0
LEASE_S = 15
KEYS_A_ROUND = 6
AMOUNT_MSAT = 21_000

NEW_INVOICE = """
mutation ($input: GenerateInvoiceInput!) {
  generateInvoice(input: $input) {
    __typename
    ... on GenerateInvoiceSuccess {
      replayed clientSecret
      payment { id status paymentRequest correlationId events(first: 1) { edges { cursor } } }
    }
    ... on UserError { code message }
  }
}
"""
STATUS = "query ($id: ID!) { payment(id: $id) { status received { value } events { edges { node { status } } } } }"
PAYMENTS = """
query ($filter: PaymentFilter!) { payments(filter: $filter) { totalCount edges { node { id status } } } }
"""
SETTLED = """
subscription ($after: String) {
  paymentSettled(after: $after) { cursor eventId payment { id status correlationId } }
}
"""


def invoice_input(key: str) -> dict[str, object]:
    """Return the input of one key; the same key always asks for the same."""
    return {
        "input": {
            "purpose": "ORDER",
            "amount": {"msat": str(AMOUNT_MSAT)},
            "description": "an order",
            "correlationId": key,
            "idempotencyKey": key,
        }
    }


def new_invoice(server: Any, key: str) -> dict[str, Any]:
    made: dict[str, Any] = server.execute(NEW_INVOICE, invoice_input(key))["generateInvoice"]
    assert made["__typename"] == "GenerateInvoiceSuccess", made
    return made


def cursor_of(made: dict[str, Any]) -> str:
    return str(made["payment"]["events"]["edges"][0]["cursor"])


def status_of(server: Any, payment_id: str) -> str:
    return str(server.execute(STATUS, {"id": payment_id})["payment"]["status"])


def wait_for(what: Callable[[], bool], *, within_s: float, why: str) -> None:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            if what():
                return
        time.sleep(0.1)
    raise AssertionError(f"after {within_s} s: {why}")


def replayed(server: Any, *, after: str, count: int) -> list[dict[str, Any]]:
    """Return the settlements behind a cursor; ``count`` of them, and no more within a moment."""
    with server.socket() as socket:
        socket.subscribe(SETTLED, {"after": after})
        found = [socket.next()["paymentSettled"] for _ in range(count)]
        with pytest.raises(TimeoutError):
            socket.receive(timeout_s=0.5)
    return found


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


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    rails = Sandbox(tmp_path / "state" / "sandbox")
    yield rails
    rails.stop()


class Follower:
    """A client that follows every settlement, and resumes behind the last one whenever its connection breaks."""

    def __init__(self, server: Any, *, after: str) -> None:
        self.seen: list[dict[str, Any]] = []
        self._server = server
        self._after = after
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(timeout=30)
        assert not self._thread.is_alive()

    def _follow(self) -> None:
        while not self._ended.is_set():
            with suppress(OSError, TimeoutError, WebSocketException), self._server.socket() as socket:
                socket.subscribe(SETTLED, {"after": self._after})
                self._take(socket)
            time.sleep(0.05)

    def _take(self, socket: Any) -> None:
        while not self._ended.is_set():
            with suppress(TimeoutError):
                event = socket.next(timeout_s=0.5)["paymentSettled"]
                self.seen.append(event)
                self._after = event["cursor"]


def buy(server: Any, key: str, pay: Callable[[str], httpx.Response]) -> None:
    """Ask for an invoice and pay it, as far as the server lives to see it."""
    with suppress(httpx.TransportError):
        answer = server.post(NEW_INVOICE, invoice_input(key)).json()
        made = (answer.get("data") or {}).get("generateInvoice") or {}
        if made.get("payment", {}).get("paymentRequest"):
            pay(made["payment"]["paymentRequest"])


def kill_in_the_middle(server: Any, pay: Callable[[str], httpx.Response], *, rounds: int) -> list[str]:
    """Kill the server again and again while invoices are made and paid; return every key that was used."""
    keys: list[str] = []
    chance = random.Random(rounds)
    for round_ in range(rounds):
        keys += [f"round-{round_}-{number}" for number in range(KEYS_A_ROUND)]
        again = keys[-2 * KEYS_A_ROUND :]
        with ThreadPoolExecutor(len(again)) as pool:
            for key in again:
                pool.submit(buy, server, key, pay)
            time.sleep(chance.uniform(0.03, 0.4))
            server.kill()
        server.start()
    return keys


def settle_everything(server: Any, keys: list[str], pay: Callable[[str], httpx.Response]) -> list[str]:
    """Ask again with every key, pay what is unpaid, and wait until all is booked; return the payments' ids."""
    ids = []
    for key in keys:
        made = new_invoice(server, key)
        ids.append(made["payment"]["id"])
        assert server.execute(PAYMENTS, {"filter": {"correlationId": key}})["payments"]["totalCount"] == 1
        paid = pay(made["payment"]["paymentRequest"])
        assert paid.status_code == 200 or paid.json()["error"]["message"] == "invoice is already paid", paid.text
    wait_for(
        lambda: all(status_of(server, payment_id) == "COMPLETE" for payment_id in ids),
        within_s=SETTLE_S_MAX,
        why="a paid invoice is not booked",
    )
    return ids


def assert_booked_once(server: Any, ids: list[str], *, after: str, seen: list[dict[str, Any]]) -> None:
    assert len(set(ids)) == len(ids)
    for payment_id in ids:
        payment = server.execute(STATUS, {"id": payment_id})["payment"]
        assert payment["received"] == {"value": str(AMOUNT_MSAT)}
        statuses = [edge["node"]["status"] for edge in payment["events"]["edges"]]
        assert statuses[-1] == "COMPLETE"
        assert Counter(statuses)["COMPLETE"] == 1  # an attempt that died before the rail acted may end in ERROR first
    replay = replayed(server, after=after, count=len(ids))
    assert sorted(event["payment"]["id"] for event in replay) == sorted(ids)
    assert len({event["eventId"] for event in replay}) == len(ids)
    assert seen == replay
    examined = server.run("doctor")
    assert examined.returncode == 0, examined.stdout
    assert "ok    ledger: transactions sum to zero" in examined.stdout


def play_chaos(server: Any, pay: Callable[[str], httpx.Response], *, rounds: int) -> list[str]:
    server.start()
    after = cursor_of(new_invoice(server, "before"))

    with Follower(server, after=after) as follower:
        keys = kill_in_the_middle(server, pay, rounds=rounds)
        ids = settle_everything(server, keys, pay)
        wait_for(lambda: len(follower.seen) >= len(ids), within_s=10, why="the follower misses a settlement")

    assert_booked_once(server, ids, after=after, seen=follower.seen)
    return ids


def test_killed_in_the_middle_on_sqlite(new_server: NewServer, sandbox: Sandbox, tmp_path: Path) -> None:
    server = new_server(state_dir=tmp_path / "state")
    before_msat = sandbox.merchant_msat()

    ids = play_chaos(server, sandbox.pay, rounds=5)

    assert sandbox.merchant_msat() - before_msat == len(ids) * AMOUNT_MSAT


def test_killed_in_the_middle_on_postgresql(
    new_server: NewServer, sandbox: Sandbox, tmp_path: Path, postgres_url: str
) -> None:
    environment = {
        "QUITTANCE_DATABASE_URL": postgres_url,
        "QUITTANCE_LND_TIMEOUT_S": "2",  # what a killed process had claimed is free after three such times and 5 s
    }
    server = new_server(state_dir=tmp_path / "state", environment=environment)
    before_msat = sandbox.merchant_msat()

    ids = play_chaos(server, sandbox.pay, rounds=3)

    assert sandbox.merchant_msat() - before_msat == len(ids) * AMOUNT_MSAT


def test_rails_that_die_with_the_server_lose_nothing(new_server: NewServer) -> None:
    server = new_server()

    ids = play_chaos(server, server.pay, rounds=2)

    nodes = httpx.get(f"{server.url}/sandbox").json()["nodes"]
    merchant_msat = next(node["balanceMsat"] for node in nodes if node["name"] == "merchant")
    assert merchant_msat == len(ids) * AMOUNT_MSAT


@pytest.fixture
def two(new_server: NewServer, tmp_path: Path, postgres_url: str) -> tuple[Any, Any]:
    """Two servers on one PostgreSQL database and one state directory, started together; one of them runs the rails."""
    environment = {"QUITTANCE_DATABASE_URL": postgres_url}
    first = new_server(state_dir=tmp_path / "state", environment=environment)
    second = new_server(state_dir=tmp_path / "state", environment=environment)
    for server in (first, second):
        server.launch()
    for server in (first, second):
        server.wait_until_ready()
    return first, second


async def lease_holder(postgres_url: str) -> int:
    """Return the process that reads the settlement feed."""
    connection = await asyncpg.connect(postgres_url)
    try:
        rows = await connection.fetch("SELECT holder FROM lease WHERE name = 'feed/lnd'")
    finally:
        await connection.close()
    assert len(rows) == 1
    return int(rows[0]["holder"].partition("-")[0])


def test_payment_made_on_one_server_settles_on_the_other(two: tuple[Any, Any]) -> None:
    first, second = two
    after = cursor_of(new_invoice(first, "before"))

    with second.socket() as socket:
        socket.subscribe(SETTLED)
        time.sleep(0.3)
        paid = []
        for key in ("one", "two", "three"):
            made = new_invoice(first, key)
            assert second.pay(made["payment"]["paymentRequest"]).status_code == 200
            paid.append(made["payment"]["id"])
        live = [socket.next()["paymentSettled"] for _ in paid]

    assert [event["payment"]["id"] for event in live] == paid
    assert [event["payment"]["status"] for event in live] == ["COMPLETE"] * 3
    assert replayed(first, after=after, count=3) == live
    assert replayed(second, after=live[0]["cursor"], count=2) == live[1:]


def test_one_key_on_both_servers_makes_one_payment(two: tuple[Any, Any]) -> None:
    barrier = threading.Barrier(20)

    def ask(number: int) -> dict[str, Any]:
        barrier.wait(timeout=20)
        return new_invoice(two[number % 2], "the-same")

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(ask, range(20)))

    assert len({answer["payment"]["id"] for answer in answers}) == 1
    assert len({answer["payment"]["paymentRequest"] for answer in answers}) == 1
    assert len({answer["clientSecret"] for answer in answers}) == 1
    assert sorted(answer["replayed"] for answer in answers) == [False] + [True] * 19
    assert two[0].execute(PAYMENTS, {"filter": {}})["payments"]["totalCount"] == 1


async def test_reader_of_the_feed_that_dies_is_replaced(two: tuple[Any, Any], postgres_url: str) -> None:
    holder = await lease_holder(postgres_url)
    dying, living = two if two[0].process.pid == holder else two[::-1]
    assert dying.process.pid == holder
    paid_to_the_dying = new_invoice(dying, "one")["payment"]

    dying.kill()
    wait_for(
        lambda: living.pay(paid_to_the_dying["paymentRequest"]).status_code == 200,
        within_s=TAKE_OVER_S_MAX,
        why="nobody took the rails over",
    )
    moved = living.run("sandbox", "clock", str(LEASE_S + 1), "--url", living.url)

    assert moved.returncode == 0, moved.stderr
    wait_for(
        lambda: status_of(living, paid_to_the_dying["id"]) == "COMPLETE",
        within_s=TAKE_OVER_S_MAX,
        why="nobody took the feed over",
    )
    assert await lease_holder(postgres_url) == living.process.pid


def test_workers_share_the_load_and_the_rails(new_server: NewServer, postgres_url: str) -> None:
    server = new_server(environment={"QUITTANCE_DATABASE_URL": postgres_url}, arguments=("--workers", "2"))
    server.start()
    rails = server.state_dir / "sandbox" / "rails.json"
    owner = json.loads(rails.read_text())["pid"]

    answers = [httpx.get(f"{server.url}/sandbox") for _ in range(20)]
    first = new_invoice(server, "one")["payment"]
    paid = server.pay(first["paymentRequest"])
    os.kill(owner, signal.SIGKILL)
    wait_for(
        lambda: rails.exists() and json.loads(rails.read_text())["pid"] != owner,
        within_s=TAKE_OVER_S_MAX,
        why="no process took the rails over",
    )
    second: dict[str, Any] = {}
    wait_for(
        lambda: (
            second.update(server.execute(NEW_INVOICE, invoice_input("two"))["generateInvoice"]) is None
            and second["__typename"] == "GenerateInvoiceSuccess"
        ),
        within_s=TAKE_OVER_S_MAX,
        why="no invoice is made with the rails taken over",
    )
    wait_for(
        lambda: server.pay(second["payment"]["paymentRequest"]).status_code == 200,
        within_s=TAKE_OVER_S_MAX,
        why="no process answers for the rails",
    )

    assert {answer.status_code for answer in answers} == {200}
    assert {tuple(answer.json()) for answer in answers} == {("rails", "nodes", "clock", "faults")}
    assert paid.status_code == 200
    wait_for(
        lambda: {status_of(server, payment["id"]) for payment in (first, second["payment"])} == {"COMPLETE"},
        within_s=SETTLE_S_MAX,
        why="a payment is not booked",
    )


def test_several_workers_on_sqlite_are_refused(new_server: NewServer) -> None:
    refused = new_server().run("serve", "--workers", "2")

    assert refused.returncode == 2
    assert refused.stdout == ""
    assert refused.stderr.splitlines() == [
        "quittance: QUITTANCE_WORKERS more than one needs PostgreSQL; set QUITTANCE_DATABASE_URL=postgresql://…"
    ]


def test_worker_books_for_a_server_without_loops(new_server: NewServer) -> None:
    server = new_server(environment={"QUITTANCE_IN_PROCESS_WORKER": "false"})
    server.start()
    made = new_invoice(server, "one")
    with server.socket() as socket:
        socket.subscribe(SETTLED, {"after": cursor_of(made)})
        assert server.pay(made["payment"]["paymentRequest"]).status_code == 200
        with pytest.raises(TimeoutError):
            socket.receive(timeout_s=1.5)
        assert status_of(server, made["payment"]["id"]) == "PENDING_PAYMENT"

        worker = server.spawn("worker")
        try:
            settled = socket.next(timeout_s=20)["paymentSettled"]
        finally:
            worker.terminate()
            ended = worker.wait(timeout=20)

    assert settled["payment"] == {"id": made["payment"]["id"], "status": "COMPLETE", "correlationId": "one"}
    assert ended == 0
