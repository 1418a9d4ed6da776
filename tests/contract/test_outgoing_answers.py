"""Calls to addresses that users give: what is sent, what is taken for an answer, and when a call ends."""

import asyncio
import gzip

import pytest
from tests.contract.outgoing_receivers import AT_HOME, Answer, Receiver, dripping, endless, resetting, sending, silent

from quittance.providers.base import OutgoingFailed
from quittance.providers.outgoing import EXCERPT_S, LOOPBACK, OutgoingClient, OutgoingRules


async def test_a_post_arrives_as_it_was_given(receiver: Receiver) -> None:
    receiver.answer = sending(b"HTTP/1.1 202 Accepted\r\ncontent-length: 4\r\nx-other: 1\r\n\r\nfine")

    async with OutgoingClient(AT_HOME) as client:
        answer = await client.post(
            f"http://127.0.0.1:{receiver.port}/hook?token=a%20b", body=b'{"a":1}', headers={"webhook-id": "evt_1"}
        )

    head, _, body = receiver.requests[0].partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /hook?token=a%20b HTTP/1.1"
    assert {line.lower() for line in lines[1:]} >= {
        f"host: 127.0.0.1:{receiver.port}".encode(),
        b"webhook-id: evt_1",
        b"content-length: 7",
        b"accept-encoding: identity",
        b"connection: close",
        b"user-agent: quittance",
    }
    assert body == b'{"a":1}'
    assert (answer.status_code, answer.body_excerpt, answer.is_whole) == (202, b"fine", True)
    assert answer.headers == {}
    assert 0 < answer.took_s < 5


async def test_a_get_asks_without_a_body(receiver: Receiver) -> None:
    async with OutgoingClient(AT_HOME) as client:
        answer = await client.get(
            f"http://localhost:{receiver.port}/.well-known/lnurlp/alice", headers={"accept": "x/y"}
        )

    head = receiver.requests[0].lower()
    assert head.startswith(b"get /.well-known/lnurlp/alice http/1.1\r\n")
    assert b"\r\naccept: x/y\r\n" in head
    assert b"content-length" not in head
    assert (answer.status_code, answer.body_excerpt) == (200, b"ok")


@pytest.mark.parametrize("status", [204, 400, 410, 429, 500, 503])
async def test_any_status_is_an_answer_with_its_retry_after(receiver: Receiver, status: int) -> None:
    receiver.answer = sending(f"HTTP/1.1 {status} X\r\nRetry-After: 120\r\nset-cookie: a=b\r\n\r\n".encode())

    async with OutgoingClient(AT_HOME) as client:
        answer = await client.post(f"http://127.0.0.1:{receiver.port}/", body=b"", headers={})

    assert answer.status_code == status
    assert answer.headers == {"retry-after": "120"}


async def test_no_cookie_is_kept(receiver: Receiver) -> None:
    receiver.answer = sending(b"HTTP/1.1 200 OK\r\nset-cookie: a=b; path=/\r\ncontent-length: 0\r\n\r\n")

    async with OutgoingClient(AT_HOME) as client:
        for _ in range(2):
            await client.get(f"http://127.0.0.1:{receiver.port}/", headers={})

    assert receiver.connections == 2
    assert b"cookie" not in receiver.requests[1].lower()


async def test_a_body_of_exactly_the_limit_is_whole_and_one_byte_more_is_cut(receiver: Receiver) -> None:
    rules = OutgoingRules(private_networks=LOOPBACK, plain_http=True, answer_bytes_max=1_000)
    url = f"http://127.0.0.1:{receiver.port}/"

    async with OutgoingClient(rules) as client:
        receiver.answer = sending(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n" + b"a" * 1_000)
        whole = await client.get(url, headers={})
        receiver.answer = sending(b"HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n" + b"b" * 1_001)
        cut = await client.get(url, headers={})

    assert (whole.body_excerpt, whole.is_whole) == (b"a" * 1_000, True)
    assert (cut.body_excerpt, cut.is_whole) == (b"b" * 1_000, False)


async def test_an_endless_body_is_cut_and_its_connection_closed(receiver: Receiver) -> None:
    receiver.answer = endless

    async with OutgoingClient(AT_HOME) as client:
        answer = await client.get(f"http://127.0.0.1:{receiver.port}/", headers={})
        async with asyncio.timeout(5):
            await receiver.all_closed.wait()

    assert (answer.status_code, answer.body_excerpt, answer.is_whole) == (200, b"x" * 65_536, False)


async def test_a_packed_body_is_not_unpacked(receiver: Receiver) -> None:
    packed = gzip.compress(bytes(10_000_000))
    receiver.answer = sending(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n" + packed)

    async with OutgoingClient(AT_HOME) as client:
        answer = await client.get(f"http://127.0.0.1:{receiver.port}/", headers={})

    assert answer.body_excerpt == packed[:65_536]


@pytest.mark.parametrize(
    "answer",
    [
        silent,
        dripping(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n"),
        dripping(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    ],
    ids=["silent", "headers", "hints"],
)
async def test_whatever_is_slow_ends_in_time_and_its_connection_is_closed(receiver: Receiver, answer: Answer) -> None:
    receiver.answer = answer
    rules = OutgoingRules(private_networks=LOOPBACK, plain_http=True, timeout_s=0.3)
    clock = asyncio.get_running_loop().time
    begun_s = clock()

    async with OutgoingClient(rules) as client:
        with pytest.raises(OutgoingFailed) as caught:
            async with asyncio.timeout(5):
                await client.post(f"http://127.0.0.1:{receiver.port}/", body=b"{}", headers={})
        took_s = clock() - begun_s
        async with asyncio.timeout(5):
            await receiver.all_closed.wait()

    assert caught.value.reason == "timeout"
    assert 0.3 <= took_s < 2


@pytest.mark.parametrize("status", [200, 503])
@pytest.mark.parametrize(
    ("head", "rest"),
    [
        (b"", dripping(b"", b"x")),
        (b"transfer-encoding: chunked\r\n", dripping(b"", b"1\r\nx\r\n")),
        (b"content-length: 9\r\n", silent),
        (b"content-length: 9\r\n", resetting(after=b"x")),
        (b"content-length: 9\r\n", sending(b"x")),
        (b"transfer-encoding: chunked\r\n", sending(b"zz\r\n")),
    ],
    ids=["drips", "drips in chunks", "never comes", "reset", "cut", "bad chunk"],
)
async def test_a_body_that_does_not_come_whole_leaves_the_status_as_the_answer(
    receiver: Receiver, status: int, head: bytes, rest: Answer
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status} X\r\n".encode() + head + b"retry-after: 7\r\n\r\n")
        await rest(reader, writer)

    receiver.answer = answer
    rules = OutgoingRules(private_networks=LOOPBACK, plain_http=True, timeout_s=0.3)

    async with OutgoingClient(rules) as client:
        async with asyncio.timeout(5):
            answered = await client.post(f"http://127.0.0.1:{receiver.port}/", body=b"{}", headers={})
            await receiver.all_closed.wait()

    assert (answered.status_code, answered.headers, answered.is_whole) == (status, {"retry-after": "7"}, False)


async def test_a_message_does_not_wait_for_all_that_a_receiver_has_to_say(receiver: Receiver) -> None:
    receiver.answer = dripping(b"HTTP/1.1 200 OK\r\n\r\n", b"x")
    rules = OutgoingRules(private_networks=LOOPBACK, plain_http=True, timeout_s=60)

    async with OutgoingClient(rules) as client:
        async with asyncio.timeout(20):
            answer = await client.post(f"http://127.0.0.1:{receiver.port}/", body=b"{}", headers={})

    assert (answer.status_code, answer.is_whole) == (200, False)
    assert answer.took_s >= EXCERPT_S


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (resetting(after=b""), "reset"),
        (resetting(after=b"HTTP/1.1 200 OK\r\n"), "reset"),
        (sending(), "protocol"),
        (sending(b"HTTP/1.1 200 OK\r\n"), "protocol"),
        (sending(b"SSH-2.0-OpenSSH_9.6\r\n"), "protocol"),
        (sending(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx"), "protocol"),
        (sending(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000), "protocol"),
    ],
    ids=["reset", "reset in the headers", "closed", "cut", "other protocol", "two lengths", "huge header"],
)
async def test_a_broken_answer_is_one_of_our_errors(receiver: Receiver, answer: Answer, reason: str) -> None:
    receiver.answer = answer

    async with OutgoingClient(AT_HOME) as client:
        with pytest.raises(OutgoingFailed) as caught:
            await client.post(f"http://127.0.0.1:{receiver.port}/?token=hush", body=b"{}", headers={})

    assert caught.value.reason == reason
    assert str(caught.value) == f"the call failed: {reason}"


async def test_a_closed_port_refuses(receiver: Receiver) -> None:
    await receiver.close()

    async with OutgoingClient(AT_HOME) as client:
        with pytest.raises(OutgoingFailed) as caught:
            await client.post(f"http://127.0.0.1:{receiver.port}/", body=b"{}", headers={})

    assert caught.value.reason == "refused"


async def test_a_canceled_call_closes_its_connection(receiver: Receiver) -> None:
    begun = asyncio.Event()

    async def hold(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        begun.set()
        await reader.read()

    receiver.answer = hold
    async with OutgoingClient(AT_HOME) as client:
        call = asyncio.create_task(client.get(f"http://127.0.0.1:{receiver.port}/", headers={}))
        await begun.wait()

        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

        async with asyncio.timeout(5):
            await receiver.all_closed.wait()
