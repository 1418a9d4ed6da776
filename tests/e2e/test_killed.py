"""Servers that are killed in the middle of their work: nothing is lost, nothing is done twice."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import httpx
from tests.e2e.conftest import Sandbox
from tests.e2e.orders import (
    AMOUNT_MSAT,
    NEW_INVOICE,
    PAYMENTS,
    SETTLE_S_MAX,
    SETTLED,
    STATUS,
    NewServer,
    cursor_of,
    invoice_input,
    new_invoice,
    replayed,
    status_of,
    wait_for,
)
from websockets.exceptions import WebSocketException

KEYS_A_ROUND = 6


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
