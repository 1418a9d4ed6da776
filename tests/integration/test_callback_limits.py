"""What the door of providers lets in at all: one method, known providers, so much, and so often."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import uvicorn
from structlog.testing import capture_logs
from tests.integration.callback_door import BODY_BYTES_MAX, EFFECTS, CallbackDoor, NewDoor, hint

from quittance.server.http.callbacks import HEADERS_BYTES_MAX
from quittance.store.transaction import Transaction

NOTHING = dict.fromkeys(EFFECTS, 0)
BODY = hint("ab" * 32)
CHUNK = b" " * 1_024


@asynccontextmanager
async def served(door: CallbackDoor) -> AsyncIterator[httpx.AsyncClient]:
    """Serve the door on a real socket, as the server is served."""
    config = uvicorn.Config(
        door.app, port=0, lifespan="off", log_level="critical", http="httptools", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
            yield http
    finally:
        server.should_exit = True
        await running


async def test_every_answer_over_a_real_socket(door: CallbackDoor) -> None:
    async def too_much() -> AsyncIterator[bytes]:
        for _ in range(2 * BODY_BYTES_MAX // len(CHUNK)):
            yield CHUNK

    async with served(door) as http:
        url, headers = "/callbacks/lnd", door.signed(BODY)
        answers = [
            await http.post("/callbacks/nobody", content=BODY, headers=headers),
            await http.get(url, headers=headers),
            await http.post(url, content=BODY),
            await http.post(url, content=b" " * (BODY_BYTES_MAX + 1), headers=headers),
            await http.post(url, content=too_much(), headers=headers),
            await http.post(url, content=BODY, headers=headers | {"x-much": "x" * HEADERS_BYTES_MAX}),
        ]
        nothing = await door.effects()
        taken = [await http.post(url, content=BODY, headers=headers) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [404, 405, 401, 413, 413, 431]
    assert answers[1].headers["allow"] == "POST"
    assert nothing == NOTHING
    assert [(answer.status_code, answer.json()) for answer in taken] == [
        (202, {"status": "STORED"}), (200, {"status": "REPEATED"}),
    ]  # fmt: skip


async def test_a_provider_without_a_secret_has_no_door_and_is_not_told_from_one_that_is_unknown(
    new_door: NewDoor,
) -> None:
    door = new_door(readers={})

    answers = [await door.send(BODY, door.signed(BODY), provider=name) for name in ("lnd", "nobody")]

    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].content == answers[1].content
    assert await door.effects() == NOTHING


async def test_a_body_that_does_not_end_is_refused_once_it_is_too_long(door: CallbackDoor) -> None:
    pulled = 0

    async def endless() -> dict[str, Any]:
        nonlocal pulled
        pulled += len(CHUNK)
        return {"type": "http.request", "body": CHUNK, "more_body": True}

    async with asyncio.timeout(5):
        assert await status_of(door, endless) == 413

    assert pulled == BODY_BYTES_MAX + len(CHUNK)
    assert await door.effects() == NOTHING


async def test_a_length_that_is_declared_too_long_is_refused_unread(door: CallbackDoor) -> None:
    async def unread() -> dict[str, Any]:
        raise AssertionError("the body was read")

    declared = [(b"content-length", str(BODY_BYTES_MAX + 1).encode())]

    assert await status_of(door, unread, headers=declared) == 413


async def test_a_sender_that_goes_away_leaves_nothing(door: CallbackDoor) -> None:
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": BODY, "more_body": True},
        {"type": "http.disconnect"},
    ]
    headers = [(name.encode(), value.encode()) for name, value in door.signed(BODY).items()]

    async def leaving() -> dict[str, Any]:
        return messages.pop(0)

    with capture_logs() as logs:
        status = await status_of(door, leaving, headers=headers)

    assert status == 400
    assert logs == []
    assert await door.effects() == NOTHING


async def status_of(door: CallbackDoor, receive: Callable[[], Any], *, headers: Any = ()) -> int:
    """Send what ``receive`` yields straight to the application, and return the status of its answer."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/callbacks/lnd", "raw_path": b"/callbacks/lnd", "headers": headers,
        "query_string": b"", "client": ("127.0.0.1", 1), "server": ("shop.test", 80), "scheme": "http",
        "http_version": "1.1", "root_path": "",
    }  # fmt: skip
    await door.app(scope, receive, send)
    return int(sent[0]["status"])


async def test_what_is_refused_uses_up_the_budget_of_its_address_and_fills_no_table(door: CallbackDoor) -> None:
    door.services.limiter.left = 3  # type: ignore[attr-defined]
    forged = door.signed(BODY, secret=bytes(32))

    answers = [await door.send(BODY, forged) for _ in range(3)]
    answers.append(await door.send(BODY, door.signed(BODY)))
    nothing = await door.effects()
    door.services.limiter.left = None  # type: ignore[attr-defined]
    later = await door.send(BODY, door.signed(BODY))

    assert [answer.status_code for answer in answers] == [401, 401, 401, 429]
    assert answers[-1].headers["retry-after"] == "60"
    assert nothing == NOTHING
    assert later.status_code == 202


async def test_a_database_that_fails_is_no_proof_of_forgery_so_the_provider_comes_again(new_door: NewDoor) -> None:
    class Failing:
        def __init__(self, inside: Any) -> None:
            self._inside = inside

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inside, name)

        async def write(self, unit: Callable[[Transaction], Any]) -> Any:
            del unit
            raise RuntimeError("SELECT secret FROM anywhere")

    door = new_door()
    database = door.services.database
    failing = new_door(database=Failing(database))

    with capture_logs() as logs:
        answer = await failing.send(BODY, failing.signed(BODY))
    again = await door.send(BODY, door.signed(BODY))

    assert answer.status_code == 500
    assert answer.json()["errors"][0]["extensions"]["code"] == "INTERNAL"
    assert "SELECT" not in answer.text
    assert [line["event"] for line in logs] == ["unexpected error"]
    assert again.status_code == 202


async def test_a_body_is_kept_as_it_came(door: CallbackDoor) -> None:
    body = b'\r\n {"type":"invoice.settled",\t"data":{"reference":"\xc3\xa9"}}\n '
    headers = door.signed(body) | {"content-type": "text/html; charset=utf-16"}

    answer = await door.send(body, headers)

    assert answer.status_code == 202
    assert [row["body"] for row in await door.till.rows("provider_callback_body")] == [body]
