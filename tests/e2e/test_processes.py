"""Several processes over one database: they share the work, and take over from one that dies."""

import json
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from tests.e2e.orders import (
    NEW_INVOICE,
    PAYMENTS,
    SETTLE_S_MAX,
    SETTLED,
    NewServer,
    cursor_of,
    invoice_input,
    new_invoice,
    replayed,
    status_of,
    wait_for,
)

TAKE_OVER_S_MAX = 20.0
LEASE_S = 15


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
