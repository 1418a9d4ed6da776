"""Calls to addresses that users give: which are connected to, judged by what reaches a listening socket."""

import asyncio
import socket
from collections.abc import Sequence

import pytest
from tests.contract.outgoing_receivers import (
    AT_HOME,
    INNER,
    OUTER,
    OUTER_ONLY,
    STRICT,
    Names,
    Receiver,
    connections_of_this_process,
    no_name,
    sending,
)

from quittance.domain.errors import ForbiddenAddress
from quittance.providers.base import OutgoingFailed
from quittance.providers.outgoing import OutgoingClient, OutgoingRules

REFUSED_HOSTS = [
    "127.0.0.1",
    "localhost",
    "LocalHost",
    "localhost.",
    "127.0.0.1.",
    "2130706433",
    "0x7f000001",
    "017700000001",
    "0177.0.0.1",
    "127.1",
    "0.0.0.0",
    "[::]",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[64:ff9b::7f00:1]",
    "user@127.0.0.1",
    "example.com@127.0.0.1",
    "127.0.0.1\\@example.com",
    "127。0。0。1",
    "10.0.0.1",
    "192.168.0.1",
    "169.254.169.254",
    "100.64.0.1",
    "[fe80::1]",
    "[fd00::1]",
]


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", REFUSED_HOSTS)
async def test_a_refused_host_is_not_connected_to(receiver: Receiver, host: str, scheme: str) -> None:
    url = f"{scheme}://{host}:{receiver.port}/hook"

    with connections_of_this_process() as connects:
        async with OutgoingClient(STRICT, resolve=no_name) as client:
            with pytest.raises(ForbiddenAddress):
                await client.post(url, body=b"{}", headers={})

    assert connects == []
    assert receiver.connections == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "0177.0.0.1", "127.1"])
async def test_the_receiver_would_have_been_reached_under_these_spellings(receiver: Receiver, host: str) -> None:
    with connections_of_this_process() as connects:
        _, writer = await asyncio.open_connection(host, receiver.port, family=socket.AF_INET)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        writer.close()
        await writer.wait_closed()
        await receiver.all_closed.wait()

    assert connects == [("127.0.0.1", receiver.port)]
    assert receiver.connections == 1


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["::1"],
        ["::ffff:127.0.0.1"],
        ["10.0.0.1"],
        ["169.254.169.254"],
        ["fe80::1%lo"],
        ["93.184.215.14", "127.0.0.1"],
        ["127.0.0.1", "93.184.215.14"],
        ["2606:4700::1111", "::ffff:10.0.0.1"],
        ["127.1"],
        [""],
    ],
)
async def test_a_name_that_leads_inward_is_not_connected_to(receiver: Receiver, addresses: list[str]) -> None:
    names = Names(addresses)

    with connections_of_this_process() as connects:
        async with OutgoingClient(STRICT, resolve=names) as client:
            with pytest.raises(ForbiddenAddress):
                await client.post(f"https://hooks.example:{receiver.port}/", body=b"{}", headers={})

    assert names.asked == [("hooks.example", receiver.port)]
    assert connects == []
    assert receiver.connections == 0


async def test_a_name_that_changes_between_check_and_connect_is_asked_once(outer: Receiver, inner: Receiver) -> None:
    names = Names([OUTER], [INNER])

    with connections_of_this_process() as connects:
        async with OutgoingClient(OUTER_ONLY, resolve=names) as client:
            answer = await client.post(f"http://hooks.example:{outer.port}/", body=b"{}", headers={})

    assert answer.status_code == 200
    assert connects == [(OUTER, outer.port)]
    assert len(names.asked) == 1
    assert (outer.connections, inner.connections) == (1, 0)


async def test_a_name_that_changes_between_two_calls_is_checked_again(outer: Receiver, inner: Receiver) -> None:
    names = Names([OUTER], [INNER])

    async with OutgoingClient(OUTER_ONLY, resolve=names) as client:
        await client.post(f"http://hooks.example:{outer.port}/", body=b"{}", headers={})
        with pytest.raises(ForbiddenAddress):
            await client.post(f"http://hooks.example:{outer.port}/", body=b"{}", headers={})

    assert len(names.asked) == 2
    assert (outer.connections, inner.connections) == (1, 0)


async def test_one_inward_address_among_allowed_ones_refuses_the_name(outer: Receiver, inner: Receiver) -> None:
    async with OutgoingClient(OUTER_ONLY, resolve=Names([OUTER, INNER])) as client:
        with pytest.raises(ForbiddenAddress):
            await client.get(f"http://hooks.example:{outer.port}/", headers={})

    assert (outer.connections, inner.connections) == (0, 0)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_an_answer_and_is_not_followed(outer: Receiver, inner: Receiver, status: int) -> None:
    location = f"location: http://{INNER}:{inner.port}/secret\r\n"
    outer.answer = sending(f"HTTP/1.1 {status} Elsewhere\r\n{location}content-length: 0\r\n\r\n".encode())

    async with OutgoingClient(OUTER_ONLY) as client:
        answer = await client.post(f"http://{OUTER}:{outer.port}/", body=b"{}", headers={})

    assert answer.status_code == status
    assert (outer.connections, inner.connections) == (1, 0)


async def test_a_redirect_to_an_allowed_address_is_not_followed_either(receiver: Receiver) -> None:
    location = f"location: http://{INNER}:{receiver.port}/again\r\n"
    receiver.answer = sending(f"HTTP/1.1 302 Found\r\n{location}content-length: 0\r\n\r\n".encode())

    async with OutgoingClient(AT_HOME) as client:
        answer = await client.get(f"http://{INNER}:{receiver.port}/", headers={})

    assert answer.status_code == 302
    assert receiver.connections == 1


@pytest.mark.parametrize(
    "location",
    [b"javascript:x", b"//[::", b"http://" + b"a" * 70_000, b"http://xn--\xff/", b"http://\xe9.example:x/", b""],
    ids=["scheme", "bracket", "long", "idna", "port", "empty"],
)
async def test_a_redirect_to_nowhere_is_an_answer_like_any_other(receiver: Receiver, location: bytes) -> None:
    receiver.answer = sending(b"HTTP/1.1 302 Found\r\nlocation: " + location + b"\r\ncontent-length: 0\r\n\r\n")

    async with OutgoingClient(AT_HOME) as client:
        answer = await client.post(f"http://{INNER}:{receiver.port}/", body=b"{}", headers={})

    assert (answer.status_code, receiver.connections) == (302, 1)


async def test_plain_http_to_a_public_address_is_not_sent() -> None:
    with connections_of_this_process() as connects:
        async with OutgoingClient(AT_HOME, resolve=Names(["93.184.215.14"])) as client:
            with pytest.raises(ForbiddenAddress, match="must begin with https://"):
                await client.post("http://hooks.example/", body=b"{}", headers={})

    assert connects == []


async def test_no_proxy_of_the_environment_is_used(
    outer: Receiver, inner: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://{INNER}:{inner.port}")
        monkeypatch.setenv(name.lower(), f"http://{INNER}:{inner.port}")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)

    async with OutgoingClient(OUTER_ONLY) as client:
        answer = await client.post(f"http://{OUTER}:{outer.port}/", body=b"{}", headers={})

    assert answer.status_code == 200
    assert (outer.connections, inner.connections) == (1, 0)


async def test_a_slow_resolver_ends_in_the_time_for_connecting() -> None:
    async def slow(_host: str, _port: int) -> Sequence[str]:
        await asyncio.sleep(60)
        return []

    rules = OutgoingRules(connect_timeout_s=0.1, timeout_s=30)

    async with OutgoingClient(rules, resolve=slow) as client:
        with pytest.raises(OutgoingFailed, match=r"^the call failed: timeout$"):
            async with asyncio.timeout(5):
                await client.get("https://hooks.example/", headers={})


@pytest.mark.parametrize("answer", [socket.gaierror(socket.EAI_NONAME, "unknown"), []])
async def test_a_name_without_an_address_is_not_found(answer: Sequence[str] | OSError) -> None:
    async with OutgoingClient(STRICT, resolve=Names(answer)) as client:
        with pytest.raises(OutgoingFailed) as caught:
            await client.get("https://hooks.example/", headers={})

    assert caught.value.reason == "name not found"


async def test_a_dead_address_does_not_hide_a_live_one(outer: Receiver) -> None:
    async with OutgoingClient(AT_HOME, resolve=Names([INNER, OUTER])) as client:
        answer = await client.get(f"http://hooks.example:{outer.port}/", headers={})

    assert answer.status_code == 200
    assert outer.connections == 1


async def test_the_client_checks_addresses_before_they_are_stored() -> None:
    async with OutgoingClient(OUTER_ONLY, resolve=no_name) as client:
        client.check(f"http://{OUTER}:8080/")

        with pytest.raises(ForbiddenAddress):
            client.check(f"http://{INNER}:8080/")
