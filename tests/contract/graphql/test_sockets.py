"""GraphQL over websockets: the exact close codes, the limits, and nothing left behind."""

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from quittance.domain.cursor import decode_position, encode_position
from quittance.gql.limits import TransportLimits

PROTOCOL = "graphql-transport-ws"
TICKS = "subscription($after:String){ticked(after:$after)}"
INIT = {"type": "connection_init"}


@pytest.fixture
async def stage(served: Any) -> AsyncIterator[Any]:
    limits = TransportLimits(
        subscriptions_per_socket_max=3, subscription_queue_max=8, init_timeout_s=0.3, message_bytes_max=1_000
    )
    async with served(limits) as running:
        yield running


def opened(stage: Any, *, protocol: str | None = PROTOCOL, **headers: str) -> connect:
    return connect(
        f"ws://127.0.0.1:{stage.port}/graphql",
        subprotocols=[Subprotocol(protocol)] if protocol else None,
        compression=None,
        proxy=None,
        ping_interval=None,
        additional_headers=headers,
    )


async def tell(socket: ClientConnection, *messages: Any) -> None:
    for message in messages:
        await socket.send(message if isinstance(message, str | bytes) else json.dumps(message))


async def hear(socket: ClientConnection) -> Any:
    async with asyncio.timeout(5):
        return json.loads(await socket.recv())


async def closed(socket: ClientConnection) -> tuple[int, str]:
    async with asyncio.timeout(5):
        with suppress(ConnectionClosed):
            while True:
                await socket.recv()
    return socket.close_code or 0, socket.close_reason or ""


async def acknowledged(socket: ClientConnection, **payload: Any) -> None:
    await tell(socket, {**INIT, "payload": payload} if payload else INIT)
    assert await hear(socket) == {"type": "connection_ack"}


def subscribe(id_: str, query: str = TICKS, **variables: Any) -> dict[str, Any]:
    return {"type": "subscribe", "id": id_, "payload": {"query": query, "variables": variables}}


async def settled(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_queries_mutations_and_subscriptions_go_over_one_socket(stage: Any) -> None:
    async with opened(stage) as socket:
        await acknowledged(socket)
        await tell(socket, subscribe("q", "{hello}"))
        assert await hear(socket) == {"type": "next", "id": "q", "payload": {"data": {"hello": "hello world"}}}
        assert await hear(socket) == {"type": "complete", "id": "q"}
        await tell(socket, subscribe("m", "mutation{pay}"))
        assert (await hear(socket))["payload"] == {"data": {"pay": "paid"}}
        assert await hear(socket) == {"type": "complete", "id": "m"}
        await tell(socket, subscribe("s"))
        await settled(lambda: stage.hub.groups == 1)
        stage.log.append(2)
        assert await hear(socket) == {"id": "s", "type": "next", "payload": {"data": {"ticked": 1}}}
        assert await hear(socket) == {"id": "s", "type": "next", "payload": {"data": {"ticked": 2}}}
        await tell(socket, {"type": "complete", "id": "s"})
        await settled(lambda: stage.hub.groups == 0)
        await tell(socket, subscribe("s", "{hello}"))
        assert (await hear(socket))["type"] == "next"


async def test_a_stream_that_ends_frees_its_id(stage: Any) -> None:
    async with opened(stage) as socket:
        await acknowledged(socket)
        for _ in range(2):
            await tell(socket, subscribe("s", "subscription{counted}"))
            assert [(await hear(socket))["type"] for _ in range(3)] == ["next", "next", "complete"]


async def test_a_socket_resumes_where_it_left_off(stage: Any) -> None:
    stage.log.append(5)
    async with opened(stage) as socket:
        await acknowledged(socket)
        await tell(socket, subscribe("s", after=encode_position(3)))
        assert [(await hear(socket))["payload"]["data"]["ticked"] for _ in range(2)] == [4, 5]
        stage.log.append()
        assert (await hear(socket))["payload"]["data"]["ticked"] == 6


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("{nothing}", "GRAPHQL_VALIDATION_FAILED"),
        ("query($n:String!){hello(name:$n)}", "BAD_USER_INPUT"),
        ("subscription{refused}", "PERMISSION_DENIED"),
        ("{" + "a:hello " * 60 + "}", "LIMIT_EXCEEDED"),
    ],
)
async def test_a_refused_operation_is_an_error_message_and_the_socket_lives(stage: Any, query: str, code: str) -> None:
    async with opened(stage) as socket:
        await acknowledged(socket)
        await tell(socket, subscribe("s", query))
        refused = await hear(socket)
        assert (refused["type"], refused["id"]) == ("error", "s")
        assert refused["payload"][0]["extensions"]["code"] == code
        await tell(socket, subscribe("s", "{hello}"))
        assert (await hear(socket))["type"] == "next"


@pytest.mark.parametrize(
    ("messages", "code", "reason"),
    [
        ([subscribe("s", "{hello}")], 4401, "Unauthorized"),
        ([INIT, INIT], 4429, "Too many initialisation requests"),
        ([INIT, subscribe("s"), subscribe("s")], 4409, "Subscriber for s already exists"),
        ([{**INIT, "payload": {"apiKey": "wrong"}}], 4403, "Forbidden"),
        ([{**INIT, "payload": {"Authorization": "Bearer wrong"}}], 4403, "Forbidden"),
        ([{**INIT, "payload": []}], 4400, "Invalid message received"),
        ([{**INIT, "payload": {"apiKey": 5}}], 4400, "apiKey must be a string"),
        (["{"], 4400, "Invalid message received"),
        (["[]"], 4400, "Invalid message received"),
        (["{}"], 4400, "Invalid message received"),
        ([{"type": "start"}], 4400, "Invalid message received"),
        ([{"type": 5}], 4400, "Invalid message received"),
        ([b"{}"], 4400, "Only text messages are understood"),
        ([INIT, {"type": "subscribe", "id": "", "payload": {"query": "{hello}"}}], 4400, "Invalid message received"),
        ([INIT, {"type": "subscribe", "id": 5, "payload": {"query": "{hello}"}}], 4400, "Invalid message received"),
        ([INIT, {"type": "subscribe", "id": "s", "payload": None}], 4400, "Invalid message received"),
        ([INIT, {"type": "subscribe", "id": "s", "payload": {"query": 5}}], 4400, "Invalid message received"),
        ([INIT, {"type": "complete"}], 4400, "Invalid message received"),
        ([{"type": "ping", "payload": {"x": "y" * 2_000}}], 1009, "Message too big"),
        ([], 4408, "Connection initialisation timeout"),
    ],
)
async def test_a_broken_protocol_closes_with_its_code(stage: Any, messages: list[Any], code: int, reason: str) -> None:
    async with opened(stage) as socket:
        await tell(socket, *messages)

        assert await closed(socket) == (code, reason)


@pytest.mark.parametrize("protocol", [None, "graphql-ws"])
async def test_another_subprotocol_is_not_acceptable(stage: Any, protocol: str | None) -> None:
    async with opened(stage, protocol=protocol) as socket:
        assert (await closed(socket))[0] == 4406


async def test_pings_are_answered_with_their_payload_before_and_after_the_handshake(stage: Any) -> None:
    async with opened(stage) as socket:
        await tell(socket, {"type": "ping"})
        assert await hear(socket) == {"type": "pong"}
        await acknowledged(socket)
        await tell(socket, {"type": "ping", "payload": {"n": 1}}, {"type": "pong"})
        assert await hear(socket) == {"type": "pong", "payload": {"n": 1}}


async def test_who_does_not_pong_is_dropped_and_who_does_stays(served: Any) -> None:
    async with served(TransportLimits(ping_interval_s=0.05, pong_timeout_s=0.1)) as stage:  # noqa: SIM117
        async with opened(stage) as silent, opened(stage) as lively:
            await acknowledged(silent)
            await acknowledged(lively)
            for _ in range(5):
                assert await hear(lively) == {"type": "ping"}
                await tell(lively, {"type": "pong"})

            assert await closed(silent) == (4499, "Terminated")


async def test_pongs_nobody_asked_for_do_not_postpone_the_check_of_the_key(served: Any) -> None:
    async with served(TransportLimits(ping_interval_s=0.1, pong_timeout_s=5)) as stage, opened(stage) as socket:
        await acknowledged(socket, apiKey="good")
        stage.access.valid = False

        async def chatter() -> None:
            while True:
                await tell(socket, {"type": "pong"})
                await asyncio.sleep(0.01)

        talking = asyncio.create_task(chatter())
        assert await closed(socket) == (4403, "Forbidden")
        talking.cancel()
        await asyncio.gather(talking, return_exceptions=True)


async def test_a_revoked_key_closes_its_streams(served: Any) -> None:
    async with served(TransportLimits(ping_interval_s=0.05)) as stage, opened(stage) as socket:
        await acknowledged(socket, Authorization="Bearer good")
        await tell(socket, subscribe("s"))
        await settled(lambda: stage.hub.groups == 1)
        stage.access.valid = False

        assert await closed(socket) == (4403, "Forbidden")
        await settled(lambda: stage.hub.groups == 0)


@pytest.mark.parametrize(
    ("payload", "authorization", "secret"),
    [
        ({"Authorization": "Bearer good"}, "Bearer good", None),
        ({"authorization": "Bearer good"}, "Bearer good", None),
        ({"apiKey": "good"}, "Bearer good", None),
        ({"clientSecret": "opens-one-payment"}, None, "opens-one-payment"),
    ],
)
async def test_the_handshake_carries_the_credential(
    stage: Any, payload: dict[str, str], authorization: str | None, secret: str | None
) -> None:
    async with opened(stage, **{"X-Forwarded-For": "10.9.8.7"}) as socket:
        await acknowledged(socket, **payload)

    shown = stage.access.shown[-1]
    assert (shown.authorization, shown.client_secret, shown.address) == (authorization, secret, "127.0.0.1")


async def test_a_header_counts_only_where_no_page_can_have_sent_it(stage: Any) -> None:
    async with opened(stage, Authorization="Bearer good") as socket:
        await acknowledged(socket)
    async with opened(stage, Authorization="Bearer good", Origin=f"http://127.0.0.1:{stage.port}") as socket:
        await acknowledged(socket)

    assert [shown.authorization for shown in stage.access.shown] == ["Bearer good", None]


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
async def test_a_foreign_page_cannot_open_a_socket(stage: Any, origin: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with opened(stage, Origin=origin):
            pass

    assert refused.value.response.status_code == 403


async def test_an_allowed_page_can(served: Any) -> None:
    async with served(allowed_origins=frozenset({"https://shop.example"})) as stage:  # noqa: SIM117
        async with opened(stage, Origin="https://shop.example") as socket:
            await acknowledged(socket)


@pytest.mark.parametrize("limits", [TransportLimits(sockets_max=2), TransportLimits(sockets_per_address_max=2)])
async def test_there_is_an_end_to_the_number_of_sockets(limits: TransportLimits, served: Any) -> None:
    async with served(limits) as stage:
        async with opened(stage), opened(stage):
            with pytest.raises(InvalidStatus) as refused:
                async with opened(stage):
                    pass
            assert refused.value.response.status_code == 429
        await asyncio.sleep(0.05)
        async with opened(stage) as socket:
            await acknowledged(socket)


async def test_there_is_an_end_to_the_operations_on_a_socket(stage: Any) -> None:
    async with opened(stage) as socket:
        await acknowledged(socket)
        await tell(socket, *(subscribe(str(number)) for number in range(4)))
        refused = await hear(socket)

        assert (refused["type"], refused["id"]) == ("error", "3")
        assert refused["payload"][0]["extensions"]["code"] == "LIMIT_EXCEEDED"


async def test_a_used_up_budget_refuses_the_operation_or_the_handshake(stage: Any) -> None:
    async with opened(stage) as socket:
        await acknowledged(socket)
        stage.access.limited = True
        await tell(socket, subscribe("s", "mutation{pay}"))
        refused = await hear(socket)
        assert refused["payload"][0]["extensions"] == {
            "code": "RATE_LIMITED", "retryable": True, "retryAfterSeconds": 7
        }  # fmt: skip
    async with opened(stage) as socket:
        await tell(socket, INIT)
        assert (await closed(socket))[0] == 4429
    assert stage.access.paid == []


async def test_a_mutation_is_carried_out_though_its_client_left(stage: Any) -> None:
    for leave in ("complete", "close"):
        stage.access.paid.clear()
        stage.access.gate.clear()
        async with opened(stage) as socket:
            await acknowledged(socket)
            await tell(socket, subscribe("m", "mutation{pay(wait:true)}"))
            await asyncio.sleep(0.05)
            if leave == "complete":
                await tell(socket, {"type": "complete", "id": "m"}, {"type": "ping"})
                assert await hear(socket) == {"type": "pong"}
                stage.access.gate.set()
                await settled(lambda: stage.access.paid == ["paid"])
        await asyncio.sleep(0.05)
        stage.access.gate.set()
        await settled(lambda: stage.access.paid == ["paid"])


async def test_a_slow_reader_loses_its_stream_and_is_told_where_to_resume(served: Any) -> None:
    async with served(TransportLimits(subscription_queue_max=4)) as stage, opened(stage) as socket:
        await acknowledged(socket)
        await tell(socket, subscribe("s"))
        await settled(lambda: stage.hub.groups == 1)
        stage.log.append(50)
        got = [await hear(socket)]
        while got[-1]["type"] == "next":
            got.append(await hear(socket))

        assert got[-1]["type"] == "error"
        extensions = got[-1]["payload"][0]["extensions"]
        assert extensions["code"] == "SUBSCRIBER_TOO_SLOW"
        seen = [message["payload"]["data"]["ticked"] for message in got[:-1]]
        assert seen == list(range(1, len(seen) + 1))
        assert decode_position(extensions["cursor"]) == seen[-1]
        await tell(socket, subscribe("again", after=extensions["cursor"]))
        rest = [(await hear(socket))["payload"]["data"]["ticked"] for _ in range(50 - len(seen))]
        assert seen + rest == list(range(1, 51))


async def test_a_flood_of_pings_does_not_fill_memory(stage: Any) -> None:
    async with opened(stage) as socket:
        await acknowledged(socket)
        await tell(socket, *({"type": "ping"} for _ in range(3_000)))

        for _ in range(3_000):
            assert await hear(socket) == {"type": "pong"}


async def test_a_thousand_abrupt_closes_leave_nothing_behind(served: Any) -> None:
    async with served(TransportLimits(sockets_per_address_max=10_000)) as stage:
        before = len(asyncio.all_tasks())
        for _ in range(20):
            await asyncio.gather(*(_abruptly(stage) for _ in range(50)))

        await settled(lambda: stage.hub.groups == 0 and stage.hub.tasks == 0)
        gc.collect()
        await settled(lambda: len(asyncio.all_tasks()) <= before)


async def _abruptly(stage: Any) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
    writer.write(
        b"GET /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")
    for message in (INIT, subscribe("s")):
        text = json.dumps(message).encode()
        writer.write(bytes([0x81, 0xFE, *len(text).to_bytes(2)] if len(text) > 125 else [0x81, 0x80 | len(text)]))
        writer.write(bytes(4) + text)
    await reader.readuntil(b"connection_ack")
    writer.transport.abort()
