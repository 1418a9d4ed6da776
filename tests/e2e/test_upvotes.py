"""Upvotes on running servers: readers who buy them over the wire, and servers that are killed while they share out."""

import asyncio
import os
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import httpx
from sqlalchemy import select
from tests.e2e.conftest import Sandbox
from tests.e2e.orders import NewServer, wait_for
from tests.e2e.test_paywall import new_article

from quittance.domain.ids import EVENT, AccountId, ArticleId, new_id
from quittance.domain.upvote import Upvoter
from quittance.resolvers.services import PaymentRules
from quittance.store import upvotes
from quittance.store.database import open_database
from quittance.store.models import Row
from quittance.store.statement import Statement
from quittance.store.transaction import Transaction

T = TypeVar("T")

LOGIN = """
mutation ($name: String!) { createLnurlLogin(input: {username: $name}) {
  ... on CreateLnurlLoginSuccess { lnurl loginSecret } } }
"""
FINISH = """
mutation ($secret: String!) { finishLogin(input: {loginSecret: $secret}) {
  ... on FinishLoginSuccess { token } ... on UserError { code } } }
"""
UPVOTE = """
mutation ($article: ID!, $msat: BigInt!) {
  generateInvoice(input: {articleId: $article, purpose: UPVOTE, amount: {msat: $msat}}) {
    ... on GenerateInvoiceSuccess { payment { id paymentRequest } } ... on UserError { code message } } }
"""
SHOWN = """
query ($id: ID!) { payment(id: $id) { status upvote { state sharedAmong share { value } remainder { value } } } }
"""
EARNED = """
{ viewer { account { balances { value } earnings { edges { node { amount { value } article { title } } } } } } }
"""
VOTERS = 2_200
ROUNDS = 3
AMOUNT_MSAT = 2_200_000 + 11


def log_in(server: Any, node: str) -> str:
    begun = server.execute(LOGIN, {"name": f"{node}-votes"}, key=None)["createLnurlLogin"]
    control = {"lnurl": begun["lnurl"], "node": node}
    assert httpx.post(f"{server.url}/sandbox/lnurl-auth", json=control, timeout=20.0).json()["status"] == "OK"
    return str(server.execute(FINISH, {"secret": begun["loginSecret"]}, key=None)["finishLogin"]["token"])


def order(server: Any, article_id: str, amount_msat: int, **key: str) -> Any:
    asked = {"article": article_id, "msat": str(amount_msat)}
    return server.execute(UPVOTE, asked, **key)["generateInvoice"]["payment"]


def split_of(server: Any, payment_id: str) -> Any:
    return server.execute(SHOWN, {"id": payment_id})["payment"]["upvote"]


def is_split(server: Any, payment_id: str) -> bool:
    return bool((split_of(server, payment_id) or {}).get("state") == "SPLIT")


def test_readers_log_in_with_wallets_upvote_and_earn(server: Any) -> None:
    article_id = new_article(server)
    tokens = {node: log_in(server, node) for node in ("alice", "bob", "carol")}

    made = []
    for node, amount in (("alice", 1_000_000), ("bob", 1_500_000), ("carol", 1_000_003)):
        payment = order(server, article_id, amount, key=tokens[node])
        assert server.pay(payment["paymentRequest"], node).status_code == 200
        wait_for(lambda one=payment["id"]: is_split(server, one), within_s=20, why="an upvote is not shared out")  # type: ignore[misc]
        made.append(split_of(server, payment["id"]))
    earned = {node: server.execute(EARNED, key=token)["viewer"]["account"] for node, token in tokens.items()}

    assert [(one["sharedAmong"], one["share"]["value"], one["remainder"]["value"]) for one in made] == [
        (0, "0", "1000000"),
        (1, "1500000", "0"),
        (2, "500001", "1"),
    ]
    assert [earned[node]["balances"] for node in ("alice", "bob", "carol")] == [
        [{"value": "2000001"}],
        [{"value": "500001"}],
        [],
    ]
    assert [edge["node"]["amount"]["value"] for edge in earned["alice"]["earnings"]["edges"]] == ["500001", "1500000"]


def test_killed_while_it_shares_out_on_sqlite(new_server: NewServer, sandbox: Sandbox, tmp_path: Path) -> None:
    play_chaos(new_server(state_dir=tmp_path / "state"), sandbox, f"sqlite:///{tmp_path}/state/quittance.db")


def test_killed_while_it_shares_out_on_postgresql(
    new_server: NewServer, sandbox: Sandbox, tmp_path: Path, postgres_url: str
) -> None:
    environment = {"QUITTANCE_DATABASE_URL": postgres_url, "QUITTANCE_LND_TIMEOUT_S": "2"}
    play_chaos(new_server(state_dir=tmp_path / "state", environment=environment), sandbox, postgres_url)


def play_chaos(server: Any, sandbox: Sandbox, database_url: str) -> None:
    server.start()
    article_id = new_article(server)
    server.stop()
    voters = run_unit(database_url, lambda transaction: add_voters(transaction, ArticleId(article_id)))
    server.start()

    chance = random.Random(7)
    ids = []
    for _ in range(ROUNDS):
        payment = order(server, article_id, AMOUNT_MSAT)
        ids.append(payment["id"])
        with ThreadPoolExecutor(1) as pool:
            paid = pool.submit(sandbox.pay, payment["paymentRequest"])
            time.sleep(chance.uniform(0.1, 0.6))
            server.kill()
            assert paid.result().status_code == 200
        server.start()
    wait_for(lambda: all(split_of(server, one) for one in ids), within_s=40, why="a paid upvote is not booked")
    lapsed = httpx.post(f"{sandbox.control_url}/clock", json={"advanceSeconds": PaymentRules().job_claim_s + 1})
    assert lapsed.status_code == 200  # what a killed process had claimed is anybody's now
    wait_for(lambda: all(is_split(server, one) for one in ids), within_s=40, why="an upvote is not shared out")
    verified = server.run("ledger", "verify")
    server.stop()

    assert (verified.returncode, verified.stdout.rpartition(": ")[2]) == (0, "all agree\n")
    balances, posted = run_unit(database_url, books)
    each = AMOUNT_MSAT // VOTERS * ROUNDS
    assert {owner: value for (kind, owner), value in balances.items() if kind == "READER"} == dict.fromkeys(
        voters, -each
    )
    assert {kind: value for (kind, _), value in balances.items() if kind != "READER"} == {
        "PROVIDER": AMOUNT_MSAT * ROUNDS,
        "MERCHANT": -11 * ROUNDS,
        "SPLIT": 0,
    }
    assert posted == VOTERS * ROUNDS


def add_voters(transaction: Transaction, article_id: ArticleId) -> Sequence[AccountId]:
    """Give an article the upvoters of a long history."""
    voters = [AccountId(f"acc_{number:032x}") for number in range(1, VOTERS + 1)]
    for place, account_id in enumerate(voters, start=1):
        upvotes.insert_upvoter(transaction, article_id, Upvoter(place=place, account_id=account_id))
    return voters


def books(transaction: Transaction) -> tuple[dict[tuple[str, str], int], int]:
    """Return every balance, and how many lines readers' accounts have."""
    account, entry = Row.metadata.tables["ledger_account"], Row.metadata.tables["ledger_entry"]
    balances = transaction.all(Statement(lambda _: select(account.c.kind, account.c.owner, account.c.balance_value)))
    lines = transaction.all(Statement(lambda _: select(entry.c.account_id)))
    readers = [line for (line,) in lines if line.startswith("READER/")]
    return {(kind, owner): value for kind, owner, value in balances}, len(readers)


def run_unit(database_url: str, unit: Callable[[Transaction], T]) -> T:
    """Run a unit on the database of a server that does not run."""

    def now() -> datetime:
        return datetime.now(UTC)

    async def run() -> T:
        database = open_database(
            database_url, now=now, new_event_id=lambda: new_id(EVENT, at=now(), entropy=os.urandom(10))
        )
        try:
            return await database.write(unit)
        finally:
            await database.close()

    return asyncio.run(run())
