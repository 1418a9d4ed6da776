"""Calls to addresses that users give, over TLS: the name is verified although the address is called."""

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.contract.outgoing_receivers import AT_HOME, INNER, Names, Receiver

from quittance.providers.base import OutgoingFailed
from quittance.providers.outgoing import LOOPBACK, OutgoingClient, OutgoingRules


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


@pytest.mark.parametrize("secured", [False, True], ids=["http", "https"])
async def test_a_receiver_that_refuses_a_long_body_early_is_heard(
    receiver: Receiver, secure: tuple[Receiver, ssl.SSLContext], secured: bool
) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()  # with most of the body unread, which resets the connection

    refusing = secure[0] if secured else receiver
    refusing.early, refusing.answer = True, refuse
    url = f"https://hooks.example:{refusing.port}/" if secured else f"http://127.0.0.1:{refusing.port}/"

    async with OutgoingClient(AT_HOME, resolve=Names([INNER]), tls=secure[1]) as client:
        answer = await client.post(url, body=b"x" * 20_000_000, headers={})

    assert answer.status_code == 413
