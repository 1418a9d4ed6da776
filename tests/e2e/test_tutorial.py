"""The article site's whole story over the wire: an author, two readers, a paywall, upvotes that pay, and money out."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from tests.e2e.conftest import Server
from tests.e2e.orders import wait_for
from tests.e2e.test_paywall import new_article

CHALLENGE = "mutation { createLoginChallenge { ... on CreateLoginChallengeSuccess { nonce } } }"
VERIFY = """
mutation ($input: VerifyLoginInput!) { verifyLogin(input: $input) { __typename
  ... on VerifyLoginSuccess { token account { username identityPubkey } } ... on UserError { code } } }
"""
BUY = """
mutation ($input: GenerateInvoiceInput!) { generateInvoice(input: $input) { __typename
  ... on GenerateInvoiceSuccess { replayed payment { id status paymentRequest amount { value } } }
  ... on UserError { code } } }
"""
ARTICLE = "query ($id: ID!) { article(id: $id) { content locked views upvotes payment { status } } }"
UPVOTE_OF = "query ($id: ID!) { payment(id: $id) { status upvote { state sharedAmong share { value } } } }"
ME = "{ viewer { balances { value } account { balances { value } } } }"
PAYOUT = """
mutation ($input: RequestPayoutInput!) { requestPayout(input: $input) { __typename
  ... on RequestPayoutSuccess { payout { id status } } ... on UserError { code message } } }
"""
REFUND = """
mutation ($input: RefundPaymentInput!) { refundPayment(input: $input) { __typename
  ... on RefundPaymentSuccess { refund { id status } } ... on UserError { code message } } }
"""
TRANSFER = """
query ($id: ID!) { node(id: $id) {
  ... on Payout { status amount { value } fee { value } }
  ... on Refund { status fee { value } payment { refunded { value } } } } }
"""


@pytest.fixture
def server(new_server: Callable[..., Server]) -> Server:
    """A server that nobody else logs in at, or earns from."""
    running = new_server()
    running.start()
    return running


def log_in(server: Any, node: str, username: str) -> tuple[str, dict[str, str]]:
    """Log in with a node's signature, and return the token and what was signed."""
    nonce = server.execute(CHALLENGE, key=None)["createLoginChallenge"]["nonce"]
    signed = httpx.post(
        f"{server.url}/sandbox/sign-message", json={"message": nonce, "node": node}, timeout=20.0
    ).json()
    said = {"nonce": nonce, "signature": signed["signature"], "username": username}
    login = server.execute(VERIFY, {"input": said}, key=None)["verifyLogin"]
    assert login["account"] == {"username": username, "identityPubkey": signed["pubkey"]}
    return login["token"], said


def order(server: Any, token: str, **said: Any) -> dict[str, Any]:
    made: dict[str, Any] = server.execute(BUY, {"input": said}, key=token)["generateInvoice"]
    return made


def ended(server: Any, transfer_id: str, token: str | None = None) -> dict[str, Any]:
    """Return a refund or a payout once it has ended."""
    more = {} if token is None else {"key": token}

    def shown() -> dict[str, Any]:
        node: dict[str, Any] = server.execute(TRANSFER, {"id": transfer_id}, **more)["node"]
        return node

    wait_for(lambda: shown()["status"] in {"SUCCEEDED", "FAILED"}, within_s=20, why="money does not go out")
    return shown()


def balance(server: Any, token: str) -> int:
    return sum(int(one["value"]) for one in server.execute(ME, key=token)["viewer"]["account"]["balances"])


def address_of(server: Any, node: str) -> str:
    nodes = httpx.get(f"{server.url}/sandbox", timeout=20.0).json()["nodes"]
    return next(str(one["lightningAddress"]) for one in nodes if one["name"] == node)


def test_the_tutorial_s_story(server: Any) -> None:
    article_id = new_article(server)
    readers = {node: log_in(server, node, f"{node}-reads") for node in ("alice", "bob")}
    tokens = {node: token for node, (token, _) in readers.items()}
    replayed = server.execute(VERIFY, {"input": readers["alice"][1]}, key=None)["verifyLogin"]

    locked = server.execute(ARTICLE, {"id": article_id}, key=tokens["alice"])["article"]
    view = order(server, tokens["alice"], articleId=article_id)
    again = order(server, tokens["alice"], articleId=article_id)
    assert server.pay(view["payment"]["paymentRequest"], "alice").status_code == 200

    def opened() -> dict[str, Any]:
        article: dict[str, Any] = server.execute(ARTICLE, {"id": article_id}, key=tokens["alice"])["article"]
        return article

    wait_for(lambda: not opened()["locked"], within_s=20, why="a paid article stays locked")

    assert replayed["code"] == "LOGIN_CHALLENGE_NOT_FOUND"
    assert (locked["content"], locked["locked"], locked["views"]) == (None, True, 0)
    assert (again["replayed"], again["payment"]["id"]) == (True, view["payment"]["id"])
    assert (bool(opened()["content"]), opened()["views"]) == (True, 1)
    assert server.execute(ARTICLE, {"id": article_id}, key=tokens["bob"])["article"]["content"] is None

    shares = [
        upvote(server, tokens, node, article_id, msat) for node, msat in (("alice", 1_000_000), ("bob", 1_000_001))
    ]
    anonymous = server.execute(BUY, {"input": {"articleId": article_id, "purpose": "UPVOTE"}}, key=None)

    assert shares == [(0, "0"), (1, "1000001")]
    assert "code" in anonymous["generateInvoice"]
    assert (balance(server, tokens["alice"]), balance(server, tokens["bob"])) == (1_000_001, 0)
    assert opened()["upvotes"] == 2


def upvote(server: Any, tokens: dict[str, str], node: str, article_id: str, msat: int) -> tuple[int, str]:
    """Upvote and pay, and return among how many it was shared, and how much each got."""
    asked = {"articleId": article_id, "purpose": "UPVOTE", "amount": {"msat": str(msat)}}
    made = order(server, tokens[node], **asked)["payment"]
    assert server.pay(made["paymentRequest"], node).status_code == 200

    def split() -> dict[str, Any]:
        return server.execute(UPVOTE_OF, {"id": made["id"]})["payment"]["upvote"] or {}

    wait_for(lambda: split().get("state") == "SPLIT", within_s=20, why="an upvote is not shared out")
    return split()["sharedAmong"], split()["share"]["value"]


def test_earnings_are_paid_out_and_a_view_is_refunded(server: Any) -> None:
    article_id = new_article(server)
    tokens = {"carol": log_in(server, "carol", "carol-earns")[0]}
    view = order(server, tokens["carol"], articleId=article_id)["payment"]
    assert server.pay(view["paymentRequest"], "carol").status_code == 200
    upvote(server, tokens, "carol", article_id, 1_000_000)
    asked = {"articleId": article_id, "purpose": "UPVOTE", "amount": {"msat": "1500000"}}
    by_author = server.execute(BUY, {"input": asked})["generateInvoice"]["payment"]
    assert server.pay(by_author["paymentRequest"], "alice").status_code == 200
    wait_for(lambda: balance(server, tokens["carol"]) == 1_500_000, within_s=20, why="a share does not arrive")

    said = {"idempotencyKey": "all", "destination": address_of(server, "carol")}
    begun = server.execute(PAYOUT, {"input": said}, key=tokens["carol"])["requestPayout"]
    paid = ended(server, begun["payout"]["id"], tokens["carol"])
    back = {"paymentId": view["id"], "idempotencyKey": "sorry", "destination": address_of(server, "carol")}
    refund = server.execute(REFUND, {"input": back})["refundPayment"]
    returned = ended(server, refund["refund"]["id"])

    assert paid["status"] == "SUCCEEDED"
    left = 1_500_000 - int(paid["amount"]["value"]) - int(paid["fee"]["value"])
    assert balance(server, tokens["carol"]) == left
    assert 0 < left < 15_000
    assert returned["status"] == "SUCCEEDED"
    assert returned["payment"]["refunded"]["value"] == view["amount"]["value"]
    examined = server.run("doctor")
    assert examined.returncode == 0, examined.stdout
