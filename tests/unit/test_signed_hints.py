"""Hints signed as Standard Webhooks asks: what they say, and that nothing else is read."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from quittance.domain.webhook import read_secrets, shown_secret, signature_headers
from quittance.providers.callbacks import CallbackRefused, ProviderCallback
from quittance.providers.hints import SignedHints

AT = datetime(2026, 5, 1, tzinfo=UTC)
OLD, NEW = bytes(range(32)), bytes(range(32, 64))
READER = SignedHints([OLD, NEW])
REFERENCE = "ab" * 32
BODY = json.dumps(
    {"type": "invoice.settled", "timestamp": "2026-05-01T00:00:00Z", "data": {"reference": REFERENCE}}
).encode()


def signed(body: bytes, *, secret: bytes = OLD) -> dict[str, str]:
    return signature_headers(message_id="msg_1", at=AT, body=body, secrets=[secret])


@pytest.mark.parametrize("secret", [OLD, NEW])
@pytest.mark.parametrize("type_", ["invoice.settled", "invoice.canceled"])
def test_a_hint_names_an_invoice(secret: bytes, type_: str) -> None:
    body = BODY.replace(b"invoice.settled", type_.encode())

    said = READER.read_callback(headers=signed(body, secret=secret), body=body, at=AT)

    assert said == ProviderCallback(event_id="msg_1", kind=type_, reference=REFERENCE)


def test_a_hint_that_the_published_library_signed_is_read() -> None:
    signature = Webhook(shown_secret(NEW)).sign("msg_1", AT, BODY.decode())
    headers = {
        "Webhook-Id": "msg_1",
        "Webhook-Timestamp": str(int(AT.timestamp())),
        "Webhook-Signature": signature,
    }

    assert READER.read_callback(headers=headers, body=BODY, at=AT).reference == REFERENCE


@pytest.mark.parametrize(
    "message",
    [
        {"type": "invoice.exploded", "data": {"reference": REFERENCE}},
        {"type": "", "data": {"reference": REFERENCE}},
        {"type": "invoice.settled"},
        {"type": "invoice.settled", "data": REFERENCE},
        {"type": "invoice.settled", "data": {"reference": [REFERENCE]}},
        {"type": "invoice.settled", "data": {"reference": None}},
    ],
)
def test_what_names_no_invoice_in_a_type_we_know_is_about_nothing(message: object) -> None:
    body = json.dumps(message).encode()

    assert READER.read_callback(headers=signed(body), body=body, at=AT).reference is None


@pytest.mark.parametrize("body", [b"", b"x", b"\xff\xfe", b"[]", b'"invoice.settled"', b"{}", b'{"type": 7}', b"{" * 9])
def test_what_is_signed_and_no_message_is_refused(body: bytes) -> None:
    with pytest.raises(CallbackRefused):
        READER.read_callback(headers=signed(body), body=body, at=AT)


def test_every_flipped_bit_of_body_and_headers_is_refused() -> None:
    headers = signed(BODY)

    for bit in range(8 * len(BODY)):
        with pytest.raises(CallbackRefused):
            READER.read_callback(headers=headers, body=flipped(BODY, bit), at=AT)
    for name, value in headers.items():
        for bit in range(8 * len(value)):
            changed = flipped(value.encode(), bit).decode("latin-1")
            with pytest.raises(CallbackRefused):
                READER.read_callback(headers=headers | {name: changed}, body=BODY, at=AT)


def flipped(content: bytes, bit: int) -> bytes:
    place = bit // 8
    return content[:place] + bytes([content[place] ^ 1 << bit % 8]) + content[place + 1 :]


@pytest.mark.parametrize("seconds", [-302, 301])
def test_a_hint_of_another_time_is_refused(seconds: int) -> None:
    with pytest.raises(CallbackRefused, match="timestamp"):
        READER.read_callback(headers=signed(BODY), body=BODY, at=AT + timedelta(seconds=seconds))


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=80), max_size=5), st.binary(max_size=200))
def test_no_stranger_is_read_and_none_makes_the_reader_crash(headers: dict[str, str], body: bytes) -> None:
    with pytest.raises(CallbackRefused):
        READER.read_callback(headers=signed(BODY) | headers, body=body + b" ", at=AT)


def test_a_reader_without_a_secret_is_our_mistake() -> None:
    with pytest.raises(ValueError, match="need a secret"):
        SignedHints([])


def test_secrets_are_read_one_by_one() -> None:
    assert read_secrets(f"{shown_secret(OLD)}, {shown_secret(NEW)}") == [OLD, NEW]


@pytest.mark.parametrize("shown", ["", ",", f"{shown_secret(OLD)},", f"{shown_secret(OLD)} {shown_secret(NEW)}"])
def test_a_list_with_what_is_no_secret_is_refused(shown: str) -> None:
    with pytest.raises(ValueError, match="secret"):
        read_secrets(shown)
