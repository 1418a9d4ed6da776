"""GraphQL over HTTP: statuses, media types, methods, and what a foreign page may not do."""

import hashlib
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from quittance.gql.limits import TransportLimits

RESPONSE_JSON = "application/graphql-response+json"


@pytest.fixture
async def stage(served: Any) -> AsyncIterator[Any]:
    async with served(TransportLimits(body_bytes_max=2_000)) as running:
        yield running


async def post(
    client: httpx.AsyncClient, body: Any, *, accept: str | None = RESPONSE_JSON, **headers: str
) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {"content-type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    if accept is not None:
        named["accept"] = accept
    return await client.post("/graphql", content=content, headers=named)


def code(response: httpx.Response) -> str:
    return str(response.json()["errors"][0]["extensions"]["code"])


async def test_a_query_is_answered(client: httpx.AsyncClient) -> None:
    response = await post(client, {"query": "query($n:String!){hello(name:$n)}", "variables": {"n": "Ada"}})

    assert response.status_code == 200
    assert response.json() == {"data": {"hello": "hello Ada"}}
    assert response.headers["content-type"] == f"{RESPONSE_JSON}; charset=utf-8"
    assert response.headers["cache-control"] == "no-store"
    assert "Accept" in response.headers["vary"]
    assert response.headers["x-request-id"]


@pytest.mark.parametrize(
    ("accept", "answered"),
    [
        (None, "application/json"),
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        (RESPONSE_JSON, RESPONSE_JSON),
        (f"{RESPONSE_JSON}; charset=utf-8, application/json; q=0.9", RESPONSE_JSON),
        (f"application/json, {RESPONSE_JSON};q=0.5", "application/json"),
        (f"text/event-stream;q=0.1, {RESPONSE_JSON}", RESPONSE_JSON),
    ],
)
async def test_the_answer_is_in_the_type_that_was_asked_for(
    client: httpx.AsyncClient, accept: str | None, answered: str
) -> None:
    client.headers.pop("accept", None)

    response = await post(client, {"query": "{hello}"}, accept=accept)

    assert response.headers["content-type"].partition(";")[0] == answered


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"query": "{ hello("}, "GRAPHQL_PARSE_FAILED"),
        ({"query": "{ nothing }"}, "GRAPHQL_VALIDATION_FAILED"),
        ({"query": "query($n:String!){hello(name:$n)}"}, "BAD_USER_INPUT"),
        ({"query": "query A{hello} query B{hello}"}, "OPERATION_RESOLUTION_FAILURE"),
        ({"query": "{" + "a:hello " * 60 + "}"}, "LIMIT_EXCEEDED"),
    ],
)
async def test_a_refused_document_is_400_or_in_the_older_type_200(
    client: httpx.AsyncClient, body: dict[str, str], expected: str
) -> None:
    strict, legacy = await post(client, body), await post(client, body, accept="application/json")

    assert (strict.status_code, legacy.status_code) == (400, 200)
    assert code(strict) == code(legacy) == expected
    assert "data" not in strict.json()


async def test_a_field_error_is_a_partial_success(client: httpx.AsyncClient) -> None:
    response = await post(client, {"query": "{hello crash}"})

    assert response.status_code == 200
    assert response.json()["data"] == {"hello": "hello world", "crash": None}
    assert code(response) == "INTERNAL"
    assert "SELECT" not in response.text


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"\xff\xfe", b"null", b"5", b'"{hello}"', b"{}", b'{"query":5}', b'{"query":null}',
        b'{"query":"{hello}","variables":[]}', b'{"query":"{hello}","variables":"{}"}',
        b'{"query":"{hello}","operationName":5}', b'{"query":"{hello}","extensions":[]}', b'{"documentId":5}',
        b'{"query":"{hello}","documentId":"sha256:00"}', b'{"query":"\xc3\x28"}', b'{"query":"\\ud800"}',
    ],
)  # fmt: skip
@pytest.mark.parametrize("accept", [RESPONSE_JSON, "application/json"])
async def test_a_malformed_request_is_400(client: httpx.AsyncClient, body: bytes, accept: str) -> None:
    response = await post(client, body, accept=accept)

    if b"sha256:00" in body and accept == "application/json":
        assert response.status_code == 200
    else:
        assert response.status_code == 400
    assert code(response) == "BAD_REQUEST"


async def test_nulls_are_absent_and_foreign_members_are_ignored(client: httpx.AsyncClient) -> None:
    body = b'{"query":"{crash}","query":"{hello}","variables":null,"operationName":null,"extensions":null,"id":7}'

    assert (await post(client, body)).json() == {"data": {"hello": "hello world"}}


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "application/graphql",
     "application/json; charset=utf-16", "text/plain, application/json"],
)  # fmt: skip
async def test_what_a_page_can_send_without_asking_is_415(
    client: httpx.AsyncClient, stage: Any, content_type: str
) -> None:
    response = await post(client, {"query": "mutation{pay}"}, content_type=content_type)

    assert response.status_code == 415
    assert stage.access.paid == []


async def test_utf8_may_be_spelled_out(client: httpx.AsyncClient) -> None:
    response = await post(client, {"query": "{hello}"}, content_type='application/json;charset="UTF-8"')

    assert response.status_code == 200


async def test_a_mutation_by_get_is_405_and_does_nothing(client: httpx.AsyncClient, stage: Any) -> None:
    response = await client.get("/graphql", params={"query": "mutation{pay}"}, headers={"accept": RESPONSE_JSON})

    assert response.status_code == 405
    assert response.headers["allow"] == "POST"
    assert stage.access.paid == []
    assert (await client.put("/graphql")).status_code == 405
    assert (await client.put("/graphql")).headers["allow"] == "GET, POST"


async def test_a_query_by_get_is_answered(client: httpx.AsyncClient) -> None:
    params = {
        "query": "query A($n:String){hello(name:$n)} query B{hello}",
        "operationName": "A",
        "variables": '{"n":"Bob"}',
    }

    response = await client.get("/graphql", params=params, headers={"accept": RESPONSE_JSON})

    assert response.json() == {"data": {"hello": "hello Bob"}}


@pytest.mark.parametrize("params", ["variables={", "variables=[]&query={hello}", "query={hello}&query={crash}", "x=1"])
async def test_a_malformed_query_string_is_400(client: httpx.AsyncClient, params: str) -> None:
    response = await client.get(f"/graphql?{params}", headers={"accept": RESPONSE_JSON})

    assert response.status_code == 400


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "cross-site", "origin": "https://evil.example"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "same-site"},
    ],
)
async def test_a_get_from_a_foreign_page_is_403(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    response = await client.get("/graphql", params={"query": "{hello}"}, headers=headers)

    assert response.status_code == 403


async def test_a_get_from_our_own_page_is_answered(client: httpx.AsyncClient, stage: Any) -> None:
    headers = {"origin": f"http://127.0.0.1:{stage.port}", "sec-fetch-site": "same-origin"}

    assert (await client.get("/graphql", params={"query": "{hello}"}, headers=headers)).status_code == 200


async def test_an_allowed_origin_may_ask(served: Any) -> None:
    async with served(allowed_origins=frozenset({"https://shop.example"})) as stage:  # noqa: SIM117
        async with httpx.AsyncClient(trust_env=False) as http:
            url, headers = f"http://127.0.0.1:{stage.port}/graphql", {"origin": "https://shop.example"}

            assert (await http.get(url, params={"query": "{hello}"}, headers=headers)).status_code == 200


async def test_nothing_acceptable_is_406(client: httpx.AsyncClient) -> None:
    assert (await post(client, {"query": "{hello}"}, accept="text/html")).status_code == 406
    assert (await post(client, {"query": "{hello}"}, accept="application/json;q=0")).status_code == 406
    assert (await post(client, {"query": "subscription{counted}"})).status_code == 406


async def test_a_bad_credential_is_401(client: httpx.AsyncClient, stage: Any) -> None:
    response = await post(client, {"query": "{hello}"}, authorization="Bearer wrong")

    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert code(response) == "UNAUTHENTICATED"
    assert (await post(client, {"query": "{hello}"}, authorization="Bearer good")).status_code == 200
    assert stage.access.shown[-1].authorization == "Bearer good"


async def test_a_used_up_budget_is_429(client: httpx.AsyncClient, stage: Any) -> None:
    stage.access.limited = True

    response = await post(client, {"query": "{hello}"})

    assert response.status_code == 429
    assert response.headers["retry-after"] == "7"
    assert code(response) == "RATE_LIMITED"


async def test_a_forwarded_header_does_not_name_the_client(client: httpx.AsyncClient, stage: Any) -> None:
    await post(client, {"query": "{hello}"}, x_forwarded_for="10.9.8.7", forwarded="for=10.9.8.7")

    assert stage.access.shown[-1].address == "127.0.0.1"


async def test_a_body_too_large_is_413_declared_or_not(client: httpx.AsyncClient) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(50):
            yield b" " * 100

    assert (await post(client, b" " * 2_001)).status_code == 413
    streamed = await client.post("/graphql", content=chunks(), headers={"content-type": "application/json"})
    assert streamed.status_code == 413
    assert (await post(client, b'{"query":"{hello}"}'.ljust(2_000))).status_code == 200


async def test_a_batch_is_refused_unless_allowed(client: httpx.AsyncClient, stage: Any) -> None:
    response = await post(client, [{"query": "mutation{pay}"}])

    assert response.status_code == 400
    assert code(response) == "BATCHING_NOT_ALLOWED"
    assert stage.access.paid == []


async def test_a_batch_that_is_allowed_has_an_end(served: Any) -> None:
    async with served(TransportLimits(batch_max=2)) as stage:  # noqa: SIM117
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{stage.port}", trust_env=False) as http:
            answered = await post(http, [{"query": "{hello}"}, {"query": "{nothing}"}])
            too_many = await post(http, [{"query": "mutation{pay}"}] * 3)

    assert answered.json()[0] == {"data": {"hello": "hello world"}}
    assert answered.json()[1]["errors"][0]["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED"
    assert (too_many.status_code, code(too_many)) == (400, "LIMIT_EXCEEDED")
    assert stage.access.paid == []


async def test_a_persisted_query_needs_its_text_once(client: httpx.AsyncClient) -> None:
    key = hashlib.sha256(b"{hello}").hexdigest()
    extensions = {"persistedQuery": {"version": 1, "sha256Hash": key}}

    assert code(await post(client, {"extensions": extensions})) == "PERSISTED_QUERY_NOT_FOUND"
    assert (await post(client, {"query": "{hello}", "extensions": extensions})).status_code == 200
    assert (await post(client, {"extensions": extensions})).json() == {"data": {"hello": "hello world"}}
    assert (await post(client, {"documentId": f"sha256:{key}"})).json() == {"data": {"hello": "hello world"}}


async def test_a_browser_gets_the_page_only_if_it_asks_nothing(served: Any) -> None:
    def page(request: Request) -> Response:
        return HTMLResponse("<title>playground</title>")

    async with served(playground=page) as stage:  # noqa: SIM117
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{stage.port}", trust_env=False) as http:
            accept = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
            shown = await http.get("/graphql", headers=accept)
            asked = await http.get("/graphql", params={"query": "{hello}"}, headers=accept)

    assert shown.text == "<title>playground</title>"
    assert asked.json() == {"data": {"hello": "hello world"}}
