"""The whole story over the wire: with the key, with a wrong one, without one, with a client secret alone."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

TEXT = "Paid for, and therefore readable."
NEW_ARTICLE = """
mutation ($input: CreateArticleInput!) {
  createArticle(input: $input) {
    __typename
    ... on CreateArticleSuccess { article { id locked content } }
    ... on UserError { code message retryable }
  }
}
"""
NEW_INVOICE = """
mutation ($input: GenerateInvoiceInput!) {
  generateInvoice(input: $input) {
    ... on GenerateInvoiceSuccess { clientSecret payment { id status amount { value } paymentRequest } }
    ... on UserError { code message }
  }
}
"""
READ = """
query ($id: ID!, $secret: String) {
  payment(id: $id, clientSecret: $secret) { status article { content locked } }
}
"""
SETTLED = """
subscription ($after: String) { paymentSettled(after: $after) { cursor eventId payment { id status } } }
"""
ARTICLES = "{ articles(first: 100) { edges { node { id title locked content price { value } } } } }"


@pytest.fixture(scope="module")
def article_id(server: Any) -> str:
    fields = {"title": "The story", "content": TEXT, "price": {"sat": "7"}}
    made = server.execute(NEW_ARTICLE, {"input": fields})["createArticle"]
    assert made["__typename"] == "CreateArticleSuccess"
    return str(made["article"]["id"])


def new_invoice(server: Any, article_id: str) -> dict[str, Any]:
    made: dict[str, Any] = server.execute(NEW_INVOICE, {"input": {"articleId": article_id}})["generateInvoice"]
    return made


def pay(server: Any, made: dict[str, Any]) -> str:
    paid = server.pay(made["payment"]["paymentRequest"])
    assert paid.status_code == 200, paid.text
    return str(paid.json()["preimage"])


def sse(server: Any, *, headers: dict[str, str], query: str, variables: dict[str, object], count: int) -> list[Any]:
    """Return the first events of a stream, each as its id and its data."""
    found = []
    request = {"query": query, "variables": variables}
    asked = {"Accept": "text/event-stream", **headers}
    with httpx.stream("POST", f"{server.url}/graphql", json=request, headers=asked, timeout=20.0) as response:
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")
        last_id = None
        for line in response.iter_lines():
            if line.startswith("id: "):
                last_id = line.removeprefix("id: ")
            elif line.startswith("data: "):
                found.append((last_id, json.loads(line.removeprefix("data: "))["data"]))
                if len(found) == count:
                    break
    return found


def test_merchant_sells_an_article(server: Any, article_id: str) -> None:
    with server.socket() as socket:
        socket.subscribe(SETTLED)
        socket.send("ping")  # its answer says that the subscription was read
        assert socket.receive() == {"type": "pong"}
        made = new_invoice(server, article_id)
        before = server.execute(READ, {"id": made["payment"]["id"], "secret": made["clientSecret"]}, key=None)[
            "payment"
        ]
        pay(server, made)
        settled = socket.next()["paymentSettled"]
    after = server.execute(READ, {"id": made["payment"]["id"], "secret": made["clientSecret"]}, key=None)["payment"]

    assert made["payment"]["amount"] == {"value": "7000"}
    assert before == {"status": "PENDING_PAYMENT", "article": {"content": None, "locked": True}}
    assert settled["payment"] == {"id": made["payment"]["id"], "status": "COMPLETE"}
    assert after == {"status": "COMPLETE", "article": {"content": TEXT, "locked": False}}


def test_wrong_key_is_refused_everywhere(server: Any) -> None:
    answer = server.post(ARTICLES, key="not-the-key-of-anybody")

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    with pytest.raises(ConnectionClosed) as closed, server.socket({"Authorization": "Bearer not-the-key"}):
        pass
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4403


def test_anonymous_reads_and_makes_nothing(server: Any, article_id: str) -> None:
    articles = server.execute(ARTICLES, key=None)["articles"]["edges"]
    fields = {"title": "Mine", "content": "No", "price": {"sat": "1"}}
    refused = server.execute(NEW_ARTICLE, {"input": fields}, key=None)["createArticle"]

    story = next(edge["node"] for edge in articles if edge["node"]["id"] == article_id)
    assert story == {
        "id": article_id, "title": "The story", "locked": True, "content": None, "price": {"value": "7"},
    }  # fmt: skip
    assert refused["__typename"] == "PermissionDeniedError"
    assert refused["code"] == "PERMISSION_DENIED"
    assert refused["retryable"] is False
    assert "Mine" not in server.post(ARTICLES).text


def test_client_secret_opens_its_payment_alone(server: Any, article_id: str) -> None:
    mine, other = new_invoice(server, article_id), new_invoice(server, article_id)
    foreign = server.execute(READ, {"id": other["payment"]["id"], "secret": mine["clientSecret"]}, key=None)
    bare = server.execute(READ, {"id": mine["payment"]["id"]}, key=None)

    with server.socket({"clientSecret": mine["clientSecret"]}) as socket:
        socket.subscribe(SETTLED)
        socket.send("ping")
        assert socket.receive() == {"type": "pong"}
        pay(server, other)
        pay(server, mine)
        seen = socket.next()["paymentSettled"]["payment"]

    assert foreign == {"payment": None}
    assert bare == {"payment": None}
    assert seen == {"id": mine["payment"]["id"], "status": "COMPLETE"}


def test_event_stream_with_a_client_secret(server: Any, article_id: str) -> None:
    made = new_invoice(server, article_id)
    pay(server, made)
    query = """
    subscription ($id: ID!, $secret: String!, $after: String!) {
      paymentSettled(paymentId: $id, clientSecret: $secret, after: $after) { cursor payment { id status } }
    }
    """
    events = "query ($id: ID!) { payment(id: $id) { events(first: 1) { edges { cursor } } } }"
    first = server.execute(events, {"id": made["payment"]["id"]})["payment"]["events"]["edges"][0]["cursor"]
    variables = {"id": made["payment"]["id"], "secret": made["clientSecret"], "after": first}

    ((last_id, data),) = sse(server, headers={}, query=query, variables=variables, count=1)

    assert data["paymentSettled"]["payment"] == {"id": made["payment"]["id"], "status": "COMPLETE"}
    assert last_id == data["paymentSettled"]["cursor"]


def test_dropped_connections_resume_behind_the_last_event(server: Any, article_id: str) -> None:
    paid = []
    with server.socket() as socket:
        socket.subscribe(SETTLED)
        socket.send("ping")
        assert socket.receive() == {"type": "pong"}
        paid.append(new_invoice(server, article_id))
        pay(server, paid[0])
        seen = [socket.next()["paymentSettled"]]
    paid += [new_invoice(server, article_id) for _ in range(2)]
    for made in paid[1:]:
        pay(server, made)
    with server.socket() as socket:
        socket.subscribe(SETTLED, {"after": seen[0]["cursor"]})
        seen += [socket.next()["paymentSettled"] for _ in range(2)]
    key = {"Authorization": f"Bearer {server.api_key}"}
    by_id = sse(server, headers={**key, "Last-Event-ID": seen[0]["cursor"]}, query=SETTLED, variables={}, count=2)

    assert [event["payment"]["id"] for event in seen] == [made["payment"]["id"] for made in paid]
    assert len({event["eventId"] for event in seen}) == 3
    assert [data["paymentSettled"] for _, data in by_id] == seen[1:]
    assert [id_ for id_, _ in by_id] == [event["cursor"] for event in seen[1:]]


def test_published_articles_are_told_and_replayed(server: Any, article_id: str) -> None:
    query = "subscription ($after: String) { articlePublished(after: $after) { cursor article { id title } } }"
    with server.socket() as socket:
        socket.subscribe(query)
        socket.send("ping")
        assert socket.receive() == {"type": "pong"}
        titles = ["First news", "Second news"]
        for title in titles:
            server.execute(NEW_ARTICLE, {"input": {"title": title, "content": "…", "price": {"sat": "1"}}})
        live = [socket.next()["articlePublished"] for _ in titles]
    key = {"Authorization": f"Bearer {server.api_key}"}
    after = {"after": live[0]["cursor"]}
    replay = sse(server, headers=key, query=query, variables=after, count=1)

    assert [event["article"]["title"] for event in live] == titles
    assert [data["articlePublished"] for _, data in replay] == live[1:]


def test_machines_are_told_how_it_stands(server: Any, article_id: str) -> None:
    pay(server, new_invoice(server, article_id))
    health, ready = httpx.get(f"{server.url}/health"), httpx.get(f"{server.url}/ready")
    metrics = httpx.get(f"{server.url}/metrics").text.splitlines()

    assert (health.status_code, health.json()) == (200, {"status": "ok"})
    assert ready.status_code == 200
    assert ready.json()["database"] == "ok"
    assert ready.json()["rails"]["lnd"]["ready"] is True
    assert any(line.startswith('quittance_http_requests_total{door="/graphql",status="200"}') for line in metrics)
    assert any(line.startswith("quittance_event_position ") for line in metrics)


def test_logs_carry_request_ids_and_no_secret(server: Any, article_id: str) -> None:
    made = new_invoice(server, article_id)
    preimage = pay(server, made)
    headers = {"Authorization": f"Bearer {server.api_key}", "X-Request-Id": "of-the-story"}
    reading = {"query": READ, "variables": {"id": made["payment"]["id"], "secret": made["clientSecret"]}}
    answer = httpx.post(f"{server.url}/graphql", json=reading, headers=headers, timeout=20.0)
    httpx.get(f"{server.url}/pay/{made['payment']['id']}", params={"client_secret": made["clientSecret"]})
    server.post(READ, {"id": made["clientSecret"], "secret": preimage}, key=made["clientSecret"])
    macaroons = [path.read_bytes().hex() for path in Path(server.state_dir).rglob("*.macaroon")]
    log = server.log.read_text()
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    banner = next(line for line in log.splitlines() if "API key" in line)

    assert answer.headers["x-request-id"] == "of-the-story"
    requests = [line for line in lines if line["event"] == "request"]
    assert any(line["request_id"] == "of-the-story" for line in requests)
    assert all(line["request_id"] for line in requests)
    assert len(macaroons) >= 12
    written = log.replace(banner, "")  # what `serve` says to its user holds the key, on purpose
    for secret in (server.api_key, made["clientSecret"], preimage, *macaroons):
        assert secret not in written


def test_a_page_of_an_allowed_site_may_ask_and_another_may_not(new_server: Any) -> None:
    server = new_server(environment={"QUITTANCE_ALLOWED_ORIGINS": "https://shop.example"})
    server.start()
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}

    allowed = httpx.options(f"{server.url}/graphql", headers={"Origin": "https://shop.example", **asked})
    foreign = httpx.options(f"{server.url}/graphql", headers={"Origin": "https://other.example", **asked})
    answer = httpx.post(
        f"{server.url}/graphql", json={"query": "{ __typename }"}, headers={"Origin": "https://shop.example"}
    )

    assert allowed.status_code == httpx.codes.OK
    assert allowed.headers["access-control-allow-origin"] == "https://shop.example"
    assert "access-control-allow-origin" not in foreign.headers
    assert answer.json() == {"data": {"__typename": "Query"}}
    assert answer.headers["access-control-allow-origin"] == "https://shop.example"
