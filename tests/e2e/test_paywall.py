"""The paywall over the wire: a reader from login to text, and a stranger whose purchase becomes an account's."""

from collections.abc import Callable
from typing import Any

import httpx
from tests.e2e.test_readers import log_in

TEXT = "What the reader paid for."
PRICE_MSAT = "1000000"
HOUR_S = 3_600
NEW_ARTICLE = """
mutation ($input: CreateArticleInput!) { createArticle(input: $input) {
  ... on CreateArticleSuccess { article { id } } } }
"""
ARTICLE = """
query ($id: ID!) { article(id: $id) { title summary price { value } content locked views payment { id status } } }
"""
BUY = """
mutation ($input: GenerateInvoiceInput!) { generateInvoice(input: $input) { __typename
  ... on GenerateInvoiceSuccess { clientSecret replayed
    payment { id status description amount { value } paymentRequest checkoutUrl } }
  ... on UserError { code message retryable } } }
"""
CHECK = """
mutation ($id: ID!) { checkPayment(id: $id) { ... on CheckPaymentSuccess { payment { status article { content } } }
  ... on UserError { code } } }
"""
RETRY = """
mutation ($id: ID!, $secret: String) { retryPayment(id: $id, clientSecret: $secret) { __typename
  ... on RetryPaymentSuccess { payment { id status paymentRequest options { id state } } } ... on UserError { code } } }
"""
CLAIM = """
mutation ($input: ClaimPaymentInput!) { claimPayment(input: $input) { __typename
  ... on ClaimPaymentSuccess { payment { id status article { content } } } ... on UserError { code } } }
"""
OPEN = "query ($id: ID!, $secret: String) { payment(id: $id, clientSecret: $secret) { status article { content } } }"
SETTLED = "subscription { paymentSettled { payment { id status article { content } } } }"
MODERATE = """
mutation ($id: ID!) { moderateArticle(input: {articleId: $id, status: REMOVED, reason: "It is not theirs."}) {
  ... on ModerateArticleSuccess { article { status } } } }
"""
LISTED = "{ articles(first: 1) { edges { node { id views } } } }"
LOGOUT = "mutation { logout { __typename } }"


def new_article(server: Any) -> str:
    fields = {"title": "Behind the wall", "summary": "What everybody reads.", "content": TEXT, "price": {"sat": "1000"}}
    return str(server.execute(NEW_ARTICLE, {"input": fields})["createArticle"]["article"]["id"])


def buy(server: Any, article_id: str, *, key: str | None = None) -> Any:
    return server.execute(BUY, {"input": {"articleId": article_id}}, key=key)["generateInvoice"]


def article(server: Any, article_id: str, *, key: str | None = None) -> Any:
    return server.execute(ARTICLE, {"id": article_id}, key=key)["article"]


def advance(server: Any, *, seconds: int) -> None:
    moved = httpx.post(f"{server.url}/sandbox/clock", json={"advanceSeconds": seconds}, timeout=20.0)
    assert moved.status_code == httpx.codes.OK


def pay(server: Any, payment_request: str) -> httpx.Response:
    paid: httpx.Response = server.pay(payment_request)
    return paid


def test_lc_05_to_lc_26_the_tutorials_story(new_server: Callable[..., Any]) -> None:
    server = new_server()
    server.start()
    other_id, article_id = new_article(server), new_article(server)
    before = article(server, article_id)
    token = log_in(server)[2]

    made = buy(server, article_id, key=token)
    unpaid = server.execute(CHECK, {"id": made["payment"]["id"]}, key=token)["checkPayment"]
    with server.socket({"Authorization": f"Bearer {token}"}) as socket:
        socket.subscribe(SETTLED)
        socket.send("ping")  # its answer says that the subscription was read
        assert socket.receive() == {"type": "pong"}
        for one in (buy(server, other_id), made):  # what a stranger buys is not told to the reader
            assert pay(server, one["payment"]["paymentRequest"]).status_code == httpx.codes.OK
        settled = socket.next()["paymentSettled"]["payment"]
    advance(server, seconds=48 * HOUR_S)
    again = buy(server, article_id, key=token)
    later = article(server, article_id, key=log_in(server)[2])

    assert before == {
        "title": "Behind the wall", "summary": "What everybody reads.", "price": {"value": "1000"},
        "content": None, "locked": True, "views": 0, "payment": None,
    }  # fmt: skip
    assert made["payment"]["description"] == f"User 'wire_reader' | ArticleId {article_id}"
    assert made["payment"]["amount"]["value"] == PRICE_MSAT
    assert unpaid == {"payment": {"status": "PENDING_PAYMENT", "article": {"content": None}}}
    assert settled == {"id": made["payment"]["id"], "status": "COMPLETE", "article": {"content": TEXT}}
    assert (again["replayed"], again["payment"]["id"]) == (True, made["payment"]["id"])
    assert again["payment"]["status"] == later["payment"]["status"] == "COMPLETE"
    assert (later["content"], later["locked"], later["views"]) == (TEXT, False, 1)
    assert server.execute(LISTED, key=None)["articles"]["edges"] == [{"node": {"id": article_id, "views": 1}}]
    assert article(server, other_id, key=token)["content"] is None
    assert server.execute(LOGOUT, key=token)["logout"]["__typename"] == "LogoutSuccess"
    assert server.post(ARTICLE, {"id": article_id}, key=token).status_code == httpx.codes.UNAUTHORIZED
    assert article(server, article_id)["content"] is None


def test_lc_25_a_reader_who_comes_back_after_a_day_gets_another_invoice(new_server: Callable[..., Any]) -> None:
    server = new_server()
    server.start()
    article_id, token = new_article(server), log_in(server)[2]
    made = buy(server, article_id, key=token)
    payment_id, old = made["payment"]["id"], made["payment"]["paymentRequest"]

    advance(server, seconds=24 * HOUR_S)
    expired = server.execute(CHECK, {"id": payment_id}, key=token)["checkPayment"]["payment"]["status"]
    token = log_in(server)[2]
    retried = server.execute(RETRY, {"id": payment_id}, key=token)["retryPayment"]["payment"]
    refused = pay(server, old)
    paid = pay(server, retried["paymentRequest"])
    checked = server.execute(CHECK, {"id": payment_id}, key=token)["checkPayment"]["payment"]

    assert expired == "EXPIRED"
    assert retried["paymentRequest"] != old
    assert [option["state"] for option in retried["options"]] == ["CLOSED", "OPEN"]
    assert refused.is_client_error
    assert paid.status_code == httpx.codes.OK
    assert checked == {"status": "COMPLETE", "article": {"content": TEXT}}


def test_what_a_stranger_bought_becomes_an_accounts_own(server: Any) -> None:
    article_id = new_article(server)
    made = buy(server, article_id)
    payment_id, secret = made["payment"]["id"], made["clientSecret"]
    pay(server, made["payment"]["paymentRequest"])
    with server.socket({"clientSecret": secret}) as socket:
        socket.subscribe('subscription { paymentSettled(after: "cDE6MA") { payment { id status } } }')
        settled = socket.next()["paymentSettled"]["payment"]
    page = httpx.get(made["payment"]["checkoutUrl"], timeout=20.0)
    held = server.execute(OPEN, {"id": payment_id, "secret": secret}, key=None)["payment"]
    bob, carol = (log_in(server, node, username=f"{node}_who_buys")[2] for node in ("bob", "carol"))
    before = article(server, article_id, key=bob)

    claimed = server.execute(CLAIM, {"input": {"clientSecret": secret}}, key=bob)["claimPayment"]
    refused = server.execute(CLAIM, {"input": {"clientSecret": secret}}, key=carol)["claimPayment"]
    stranger = server.execute(CLAIM, {"input": {"clientSecret": secret}}, key=None)["claimPayment"]

    assert settled == {"id": payment_id, "status": "COMPLETE"}
    assert (page.status_code, TEXT in page.text) == (httpx.codes.OK, True)
    assert held == {"status": "COMPLETE", "article": {"content": TEXT}}
    assert (before["content"], before["payment"]) == (None, None)
    assert claimed["payment"] == {"id": payment_id, "status": "COMPLETE", "article": {"content": TEXT}}
    assert (refused["code"], stranger["code"]) == ("PAYMENT_NOT_CLAIMABLE", "LOGIN_REQUIRED")
    assert article(server, article_id, key=bob)["content"] == TEXT
    assert article(server, article_id, key=carol)["content"] is None
    assert secret not in server.log.read_text()


def test_the_checkout_page_of_a_removed_article_shows_neither_text_nor_invoice(server: Any) -> None:
    article_id = new_article(server)
    paid, unpaid = buy(server, article_id), buy(server, article_id)
    pay(server, paid["payment"]["paymentRequest"])
    server.execute(CHECK, {"id": paid["payment"]["id"]})

    before = [httpx.get(made["payment"]["checkoutUrl"], timeout=20.0) for made in (paid, unpaid)]
    moderated = server.execute(MODERATE, {"id": article_id})["moderateArticle"]
    after = [httpx.get(made["payment"]["checkoutUrl"], timeout=20.0) for made in (paid, unpaid)]

    request = unpaid["payment"]["paymentRequest"]
    assert [(TEXT in page.text, request in page.text) for page in before] == [(True, False), (False, True)]
    assert moderated == {"article": {"status": "REMOVED"}}
    assert [(TEXT in page.text, request in page.text) for page in after] == [(False, False)] * 2
    assert [page.status_code for page in after] == [httpx.codes.OK, httpx.codes.GONE]
    assert "Please do not pay" in after[1].text


def test_s2_a_stranger_is_counted_by_the_socket_and_not_by_what_a_header_says(new_server: Callable[..., Any]) -> None:
    server = new_server(environment={"QUITTANCE_ASKING_PER_MINUTE_PER_ADDRESS": "3"})
    server.start()
    article_id = new_article(server)
    asked = {"query": BUY, "variables": {"input": {"articleId": article_id}}}

    answers = [
        httpx.post(
            f"{server.url}/graphql", json=asked, headers={"X-Forwarded-For": f"203.0.113.{n}"}, timeout=20.0
        ).json()["data"]["generateInvoice"]["__typename"]
        for n in range(5)
    ]
    merchant = server.execute(BUY, {"input": {"articleId": article_id}})["generateInvoice"]["__typename"]

    assert answers == ["GenerateInvoiceSuccess"] * 3 + ["RateLimitedError"] * 2
    assert merchant == "GenerateInvoiceSuccess"
