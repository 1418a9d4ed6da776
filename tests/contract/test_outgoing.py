"""Calls to addresses that users give, judged by what reaches a listening socket."""

import asyncio
import contextlib
import datetime as dt
import gzip
import socket
import ssl
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from ipaddress import ip_network
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from quittance.domain.errors import ForbiddenAddress
from quittance.providers.base import OutgoingFailed
from quittance.providers.outgoing import LOOPBACK, OutgoingClient, OutgoingRules

OUTER, INNER = "127.0.0.2", "127.0.0.1"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
STRICT = OutgoingRules()
AT_HOME = OutgoingRules(private_networks=LOOPBACK, plain_http=True, connect_timeout_s=2.0, timeout_s=5.0)
OUTER_ONLY = OutgoingRules(private_networks=(ip_network(OUTER),), plain_http=True, connect_timeout_s=2.0, timeout_s=5.0)

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

_watching: list[list[object]] = []


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if event == "socket.connect":
        for seen in _watching:
            seen.append(arguments[1])


sys.addaudithook(_watch)


@contextlib.contextmanager
def connections_of_this_process() -> Iterator[list[object]]:
    """Every address that any socket of this process is told to connect to."""
    seen: list[object] = []
    _watching.append(seen)
    yield seen
    _watching.remove(seen)


def sending(*parts: bytes) -> Answer:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()

    return answer


def dripping(head: bytes, drop: bytes) -> Answer:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(drop)
            await writer.drain()
            await asyncio.sleep(0.02)

    return answer


async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def endless(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b"x" * 65_536)
        await writer.drain()


def resetting(*, after: bytes) -> Answer:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(after)
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return answer


class Receiver:
    """A listening socket that counts what connects, keeps what is sent, and answers as it is told."""

    def __init__(self) -> None:
        self.connections = 0
        self.requests: list[bytes] = []
        self.names: list[str | None] = []
        self.answer: Answer = sending(OK)
        self.all_closed = asyncio.Event()
        self.port = 0
        self._server: asyncio.Server | None = None

    async def listen(self, host: str, port: int = 0, *, tls: ssl.SSLContext | None = None) -> None:
        self._server = await asyncio.start_server(self._take, host, port, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            size = int(
                next((line[16:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length: ")), 0)
            )
            self.requests.append(head + await reader.readexactly(size))
            await self.answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()
            self.all_closed.set()


@pytest.fixture
async def outer() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    try:
        await receiver.listen(OUTER)
    except OSError:
        pytest.skip(f"this machine has no address {OUTER}")
    yield receiver
    await receiver.close()


@pytest.fixture
async def inner(outer: Receiver) -> AsyncIterator[Receiver]:
    """Listens where ``outer`` does, on another address of this machine."""
    receiver = Receiver()
    await receiver.listen(INNER, outer.port)
    yield receiver
    await receiver.close()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    await receiver.listen(INNER)
    yield receiver
    await receiver.close()


class Names:
    """A resolver that gives the next answer at each question; the last one stays."""

    def __init__(self, *answers: Sequence[str] | OSError) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, OSError):
            raise answer
        return answer


async def no_name(host: str, _port: int) -> Sequence[str]:
    raise AssertionError(f"{host} was resolved")


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
        dripping(b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
        dripping(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        dripping(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    ],
    ids=["silent", "headers", "body", "chunks", "hints"],
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


async def test_a_slow_resolver_ends_in_the_time_for_connecting() -> None:
    async def slow(_host: str, _port: int) -> Sequence[str]:
        await asyncio.sleep(60)
        return []

    rules = OutgoingRules(connect_timeout_s=0.1, timeout_s=30)

    async with OutgoingClient(rules, resolve=slow) as client:
        with pytest.raises(OutgoingFailed, match=r"^the call failed: timeout$"):
            async with asyncio.timeout(5):
                await client.get("https://hooks.example/", headers={})


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (resetting(after=b""), "reset"),
        (resetting(after=b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx"), "reset"),
        (sending(), "protocol"),
        (sending(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx"), "protocol"),
        (sending(b"SSH-2.0-OpenSSH_9.6\r\n"), "protocol"),
        (sending(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx"), "protocol"),
        (sending(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"), "protocol"),
        (sending(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000), "protocol"),
    ],
    ids=["reset", "reset in the body", "closed", "cut", "other protocol", "two lengths", "bad chunk", "huge header"],
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


async def test_the_client_checks_addresses_before_they_are_stored() -> None:
    async with OutgoingClient(OUTER_ONLY, resolve=no_name) as client:
        client.check(f"http://{OUTER}:8080/")

        with pytest.raises(ForbiddenAddress):
            client.check(f"http://{INNER}:8080/")


def _certificate(folder: Path, *, name: str) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


@pytest.fixture
async def secure(tmp_path: Path) -> AsyncIterator[tuple[Receiver, ssl.SSLContext]]:
    """A receiver whose certificate names ``hooks.example``, and what a client that trusts it needs."""
    certificate, key = _certificate(tmp_path, name="hooks.example")
    receiver = Receiver()

    def note(_socket: object, name: str | None, _context: object) -> None:
        receiver.names.append(name)

    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate, key)
    serving.sni_callback = note
    await receiver.listen(INNER, tls=serving)
    yield receiver, ssl.create_default_context(cafile=str(certificate))
    await receiver.close()


async def test_tls_verifies_the_name_although_the_address_is_called(secure: tuple[Receiver, ssl.SSLContext]) -> None:
    receiver, tls = secure

    async with OutgoingClient(AT_HOME, resolve=Names([INNER]), tls=tls) as client:
        answer = await client.post(f"https://hooks.example:{receiver.port}/hook", body=b"{}", headers={})

    assert answer.status_code == 200
    assert receiver.names == ["hooks.example"]
    assert f"host: hooks.example:{receiver.port}".encode() in receiver.requests[0].lower()


@pytest.mark.parametrize("host", ["other.example", "127.0.0.1"])
async def test_a_certificate_of_another_name_is_refused_and_nothing_is_sent(
    secure: tuple[Receiver, ssl.SSLContext], host: str
) -> None:
    receiver, tls = secure

    async with OutgoingClient(AT_HOME, resolve=Names([INNER]), tls=tls) as client:
        with pytest.raises(OutgoingFailed) as caught:
            await client.post(f"https://{host}:{receiver.port}/", body=b"{}", headers={})

    assert caught.value.reason == "tls"
    assert receiver.requests == []


async def test_a_certificate_that_nobody_trusts_is_refused(secure: tuple[Receiver, ssl.SSLContext]) -> None:
    receiver, _ = secure

    async with OutgoingClient(AT_HOME, resolve=Names([INNER])) as client:
        with pytest.raises(OutgoingFailed) as caught:
            await client.post(f"https://hooks.example:{receiver.port}/", body=b"{}", headers={})

    assert caught.value.reason == "tls"
    assert receiver.requests == []


async def test_a_receiver_without_tls_is_a_tls_failure() -> None:
    async def refuse(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(refuse, INNER, 0)
    port = server.sockets[0].getsockname()[1]

    async with server, OutgoingClient(AT_HOME) as client:
        with pytest.raises(OutgoingFailed) as caught:
            await client.post(f"https://{INNER}:{port}/", body=b"{}", headers={})

    assert caught.value.reason == "tls"


async def test_a_receiver_that_says_nothing_in_the_handshake_ends_in_the_time_for_connecting(
    receiver: Receiver,
) -> None:
    rules = OutgoingRules(private_networks=LOOPBACK, connect_timeout_s=0.2, timeout_s=30)

    async with OutgoingClient(rules) as client:
        with pytest.raises(OutgoingFailed) as caught:
            async with asyncio.timeout(5):
                await client.post(f"https://{INNER}:{receiver.port}/", body=b"{}", headers={})

    assert caught.value.reason == "timeout"
    assert receiver.requests == []
