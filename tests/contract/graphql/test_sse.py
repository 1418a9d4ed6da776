"""GraphQL over server-sent events: one operation a connection, resumable by the event's id."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from quittance.domain.cursor import encode_position
from quittance.gql.limits import TransportLimits

STREAM = {"accept": "text/event-stream", "content-type": "application/json"}
TICKS = "subscription($after:String){ticked(after:$after)}"
Frame = dict[str, str]


@pytest.fixture
async def stage(served: Any) -> AsyncIterator[Any]:
    async with served(TransportLimits(sse_keepalive_s=0.1)) as running:
        yield running


@asynccontextmanager
async def streamed(
    client: httpx.AsyncClient, query: str, *, headers: dict[str, str] | None = None, **variables: Any
) -> AsyncIterator[tuple[httpx.Response, AsyncIterator[Frame]]]:
    body = {"query": query, "variables": variables}
    async with client.stream("POST", "/graphql", json=body, headers={**STREAM, **(headers or {})}) as response:
        frames = _frames(response)
        yield response, frames
        await frames.aclose()  # type: ignore[attr-defined]


async def _frames(response: httpx.Response) -> AsyncIterator[Frame]:
    frame: Frame = {}
    async for line in response.aiter_lines():
        if not line:
            yield frame
            frame = {}
            continue
        name, _, value = line.partition(":")
        frame[name or "comment"] = value.strip()


async def _next(frames: AsyncIterator[Frame]) -> Frame:
    async with asyncio.timeout(5):
        while True:
            frame = await anext(frames)
            if "event" in frame:
                return frame


async def _rest(stage: Any) -> None:
    async with asyncio.timeout(5):
        while stage.hub.groups or stage.hub.tasks:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_events_come_with_their_cursor_as_id(client: httpx.AsyncClient, stage: Any) -> None:
    async with streamed(client, TICKS) as (response, frames):
        stage.log.append(2)
        first, second = await _next(frames), await _next(frames)

    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-store"
    assert first == {"event": "next", "id": encode_position(1), "data": '{"data":{"ticked":1}}'}
    assert second["id"] == encode_position(2)
    await _rest(stage)


async def test_a_client_that_reconnects_misses_nothing(client: httpx.AsyncClient, stage: Any) -> None:
    stage.log.append(3)

    async with streamed(client, TICKS, headers={"last-event-id": encode_position(1)}) as (_, frames):
        got = [(await _next(frames))["id"], (await _next(frames))["id"]]
        stage.log.append()
        got.append((await _next(frames))["id"])

    assert got == [encode_position(2), encode_position(3), encode_position(4)]


async def test_a_stream_that_ends_says_so(client: httpx.AsyncClient) -> None:
    async with streamed(client, "subscription{counted}") as (_, frames):
        got = [await _next(frames) for _ in range(3)]

    assert [frame["data"] for frame in got] == ['{"data":{"counted":1}}', '{"data":{"counted":2}}', ""]
    assert got[2]["event"] == "complete"


@pytest.mark.parametrize("query", ["{hello}", "mutation{pay}"])
async def test_a_single_result_is_a_stream_of_one(client: httpx.AsyncClient, query: str) -> None:
    async with streamed(client, query) as (_, frames):
        got = [await _next(frames), await _next(frames)]

    assert [frame["event"] for frame in got] == ["next", "complete"]


async def test_an_event_source_may_use_get(client: httpx.AsyncClient, stage: Any) -> None:
    stage.log.append()
    params = {"query": TICKS, "variables": json.dumps({"after": encode_position(0)})}

    async with client.stream("GET", "/graphql", params=params, headers={"accept": "text/event-stream"}) as response:
        frame = await _next(_frames(response))

    assert frame["data"] == '{"data":{"ticked":1}}'


async def test_comments_keep_a_quiet_stream_alive(client: httpx.AsyncClient) -> None:
    async with streamed(client, TICKS) as (_, frames), asyncio.timeout(5):
        got = [await anext(frames) for _ in range(3)]

    assert all(frame == {"comment": ""} for frame in got)


async def test_a_revoked_key_ends_the_stream_even_while_events_flow(client: httpx.AsyncClient, stage: Any) -> None:
    async with streamed(client, TICKS, headers={"authorization": "Bearer good"}) as (_, frames):
        stage.log.append()
        await _next(frames)
        stage.access.valid = False
        async with asyncio.timeout(5):
            while (await _next(frames))["event"] != "complete":
                stage.log.append()

    await _rest(stage)


@pytest.mark.parametrize(
    ("query", "status"),
    [("subscription{nothing}", 400), ("subscription{refused}", 403), ("subscription($a:Int!){ticked(after:$a)}", 400)],
)
async def test_what_cannot_stream_is_an_http_error(client: httpx.AsyncClient, query: str, status: int) -> None:
    response = await client.post("/graphql", json={"query": query}, headers=STREAM)

    assert response.status_code == status
    assert response.json()["errors"][0]["extensions"]["code"]


async def test_a_forged_event_id_is_refused(client: httpx.AsyncClient) -> None:
    response = await client.post("/graphql", json={"query": TICKS}, headers={**STREAM, "last-event-id": "x"})

    assert (response.status_code, response.json()["errors"][0]["extensions"]["code"]) == (400, "INVALID_CURSOR")


async def test_a_foreign_page_cannot_open_an_event_source(client: httpx.AsyncClient) -> None:
    headers = {"accept": "text/event-stream", "origin": "https://evil.example", "sec-fetch-site": "cross-site"}

    assert (await client.get("/graphql", params={"query": TICKS}, headers=headers)).status_code == 403


async def test_streams_count_as_connections(served: Any) -> None:
    async with served(TransportLimits(sockets_per_address_max=1)) as stage:  # noqa: SIM117
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{stage.port}", trust_env=False) as http:
            async with streamed(http, TICKS) as (first, _):
                second = await http.post("/graphql", json={"query": TICKS}, headers=STREAM)
            await _rest(stage)
            third = await http.post("/graphql", json={"query": "subscription{counted}"}, headers=STREAM)

    assert (first.status_code, second.status_code, third.status_code) == (200, 429, 200)


async def test_nothing_is_left_when_clients_vanish(client: httpx.AsyncClient, stage: Any) -> None:
    before = len(asyncio.all_tasks())
    for _ in range(20):
        async with streamed(client, TICKS) as (_, frames):
            await anext(frames)

    await _rest(stage)
    await client.aclose()
    async with asyncio.timeout(5):
        while len(asyncio.all_tasks()) > before:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
