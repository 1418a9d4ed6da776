"""Servers that are killed while they pay out: each payout arrives once, and nothing stays set aside."""

import random
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
from tests.e2e.conftest import Sandbox
from tests.e2e.orders import NewServer, wait_for
from tests.e2e.test_tutorial import PAYOUT

BUY = """
mutation { generateInvoice(input: {purpose: ORDER, amount: {sat: "100000"}}) {
  ... on GenerateInvoiceSuccess { payment { id paymentRequest } } } }
"""
STATUS = "query ($id: ID!) { payment(id: $id) { status } }"
PAYOUTS = """
query ($after: String) { payouts(first: 100, after: $after) { totalCount
  edges { node { id status statusReason amount { value } fee { value } attempts { number } } } } }
"""
ACCOUNTS = "{ ledgerAccounts { kind balance { value } } }"
AMOUNT_MSAT = 10_000
A_ROUND = 8


def ask(server: Any, key: str, invoice: str) -> None:
    """Ask for a payout, as far as the server lives to hear it."""
    said = {"input": {"idempotencyKey": key, "destination": invoice}}
    with suppress(httpx.TransportError):
        server.post(PAYOUT, said)


def play_chaos(server: Any, sandbox: Sandbox, *, rounds: int) -> None:
    server.start()
    sale = server.execute(BUY)["generateInvoice"]["payment"]
    assert sandbox.pay(sale["paymentRequest"]).status_code == 200
    wait_for(
        lambda: server.execute(STATUS, {"id": sale["id"]})["payment"]["status"] == "COMPLETE",
        within_s=20,
        why="the sale is not booked",
    )
    before_msat = sandbox.merchant_msat()

    asked: dict[str, str] = {}
    chance = random.Random(rounds)
    for round_ in range(rounds):
        asked |= {f"round-{round_}-{number}": invoice_of(sandbox) for number in range(A_ROUND)}
        with ThreadPoolExecutor(2 * A_ROUND) as pool:
            for key, invoice in list(asked.items())[-2 * A_ROUND :]:
                pool.submit(ask, server, key, invoice)
            time.sleep(chance.uniform(0.03, 0.6))
            server.kill()
        server.start()
    for key, invoice in asked.items():
        begun = server.execute(PAYOUT, {"input": {"idempotencyKey": key, "destination": invoice}})["requestPayout"]
        assert begun["__typename"] == "RequestPayoutSuccess", begun

    wait_for(lambda: all_ended(server), within_s=150, why="a payout does not end")
    assert_paid_once(server, sandbox, count=len(asked), before_msat=before_msat)


def invoice_of(sandbox: Sandbox) -> str:
    said = {"node": "bob", "amountMsat": AMOUNT_MSAT}
    answer = httpx.post(f"{sandbox.control_url}/invoice", json=said, timeout=20.0)
    return str(answer.json()["paymentRequest"])


def payouts_of(server: Any) -> list[dict[str, Any]]:
    return [edge["node"] for edge in server.execute(PAYOUTS)["payouts"]["edges"]]


def all_ended(server: Any) -> bool:
    return {one["status"] for one in payouts_of(server)} <= {"SUCCEEDED", "FAILED"}


def assert_paid_once(server: Any, sandbox: Sandbox, *, count: int, before_msat: int) -> None:
    found = payouts_of(server)
    assert [one["statusReason"] for one in found if one["status"] != "SUCCEEDED"] == []
    assert len(found) == count
    assert {len(one["attempts"]) for one in found} == {1}
    cost = sum(int(one["amount"]["value"]) + int(one["fee"]["value"]) for one in found)
    assert before_msat - sandbox.merchant_msat() == cost
    accounts = {one["kind"]: int(one["balance"]["value"]) for one in server.execute(ACCOUNTS)["ledgerAccounts"]}
    assert accounts["RESERVED"] == 0
    examined = server.run("doctor")
    assert examined.returncode == 0, examined.stdout


def test_killed_while_it_pays_out_on_sqlite(new_server: NewServer, sandbox: Sandbox, tmp_path: Path) -> None:
    play_chaos(new_server(state_dir=tmp_path / "state"), sandbox, rounds=4)


def test_killed_while_it_pays_out_on_postgresql(
    new_server: NewServer, sandbox: Sandbox, tmp_path: Path, postgres_url: str
) -> None:
    environment = {"QUITTANCE_DATABASE_URL": postgres_url, "QUITTANCE_LND_TIMEOUT_S": "2"}
    play_chaos(new_server(state_dir=tmp_path / "state", environment=environment), sandbox, rounds=3)
