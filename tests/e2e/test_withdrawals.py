"""A reader withdraws what upvotes earned: a code over the wire, the sandbox's wallet, and the money at its node."""

from typing import Any

import httpx
import pytest
from tests.e2e.orders import NewServer, wait_for
from tests.e2e.test_paywall import new_article
from tests.e2e.test_upvotes import is_split, log_in, order

CREATE = """
mutation ($input: CreateWithdrawalInput) { createWithdrawal(input: $input) {
  ... on CreateWithdrawalSuccess { withdrawal { id lnurl status maxWithdrawable { value } } }
  ... on UserError { code message } } }
"""
FIND = """
query ($id: ID!) { withdrawal(id: $id) {
  status lnurl payout { id status amount { value } fee { value } destination } } }
"""
BALANCE = "{ viewer { account { balances { value } } } }"
PAYOUTS = "subscription ($after: String) { payoutUpdated(after: $after) { payout { id status } } }"
EARNED_MSAT = 3_000_000


def balance_msat(server: Any, token: str) -> int:
    found = server.execute(BALANCE, key=token)["viewer"]["account"]["balances"]
    return sum(int(one["value"]) for one in found)


def node_msat(server: Any, name: str) -> int:
    nodes = httpx.get(f"{server.url}/sandbox", timeout=20.0).json()["nodes"]
    return next(int(one["balanceMsat"]) for one in nodes if one["name"] == name)


@pytest.fixture
def server(new_server: NewServer) -> Any:
    """A server of one's own: other tests count what its readers have earned."""
    one = new_server()
    one.start()
    return one


def earn(server: Any) -> str:
    """Let two readers upvote one article, so that the second's upvote is the first's to have; return whose token."""
    article_id, tokens = new_article(server), [log_in(server, "alice"), log_in(server, "bob")]
    for token in tokens:
        payment = order(server, article_id, EARNED_MSAT, key=token)
        assert server.pay(payment["paymentRequest"]).is_success
        wait_for(lambda one=payment["id"]: is_split(server, one), within_s=20, why="an upvote is not shared out")  # type: ignore[misc]
    assert balance_msat(server, tokens[0]) == EARNED_MSAT
    return tokens[0]


def create(server: Any, token: str, **input_: Any) -> Any:
    return server.execute(CREATE, {"input": input_}, key=token)["createWithdrawal"]["withdrawal"]


def find(server: Any, token: str, withdrawal_id: str) -> Any:
    return server.execute(FIND, {"id": withdrawal_id}, key=token)["withdrawal"]


def test_a_reader_shows_a_code_and_a_wallet_takes_the_money_once(server: Any) -> None:
    alice = earn(server)

    made = server.execute(CREATE, {"input": {"amountMax": {"sat": "2000"}}}, key=alice)["createWithdrawal"][
        "withdrawal"
    ]
    carol = node_msat(server, "carol")
    with server.socket({"Authorization": f"Bearer {alice}"}) as socket:
        socket.subscribe(PAYOUTS)
        taken = server.run("sandbox", "withdraw", made["lnurl"], "--node", "carol", "--url", server.url)
        told = [socket.next()["payoutUpdated"]["payout"] for _ in range(3)]
    again = server.run("sandbox", "withdraw", made["lnurl"], "--url", server.url)

    done = find(server, alice, made["id"])
    assert (made["status"], made["maxWithdrawable"]["value"]) == ("OPEN", "2000000")
    assert (taken.returncode, taken.stderr) == (0, "")
    assert [one["status"] for one in told] == ["PENDING", "SENDING", "SUCCEEDED"]
    assert {one["id"] for one in told} == {done["payout"]["id"]}
    assert (done["status"], done["lnurl"], done["payout"]["status"]) == ("PAID", None, "SUCCEEDED")
    assert (done["payout"]["amount"]["value"], done["payout"]["destination"]) == ("2000000", taken.stdout.strip())
    assert node_msat(server, "carol") == carol + 2_000_000
    fee = int(done["payout"]["fee"]["value"])
    assert balance_msat(server, alice) == EARNED_MSAT - 2_000_000 - fee
    assert (again.returncode, "this code was used already" in again.stderr) == (1, True)
    assert made["lnurl"].lower() not in server.log.read_text().lower()
    assert "/lnurl/withdraw/callback" in server.log.read_text()


def test_a_wallet_takes_part_of_what_it_may(server: Any) -> None:
    alice = earn(server)
    made = create(server, alice)

    too_much = server.run("sandbox", "withdraw", made["lnurl"], "--amount-msat", "9000000000", "--url", server.url)
    part = {"lnurl": made["lnurl"], "node": "bob", "amountMsat": 1_234_567}
    taken = httpx.post(f"{server.url}/sandbox/withdraw", json=part, timeout=20.0).json()

    assert too_much.returncode == 1
    assert "millisatoshi; this code gives 1000 to" in too_much.stderr
    assert (taken["status"], taken["amountMsat"]) == ("OK", 1_234_567)
    wait_for(lambda: find(server, alice, made["id"])["status"] == "PAID", within_s=20, why="nothing is paid")
