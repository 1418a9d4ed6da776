"""Strike's webhooks: what proves them, and what they may say."""

import hmac
import json
from typing import Any

import pytest
from pydantic import SecretStr
from tests.contract.strike.scripted import INVOICE_ID, START, event

from quittance.providers.callbacks import CallbackRefused, ProviderCallback
from quittance.providers.strike.callbacks import StrikeCallbacks

SECRET = "fake_secret"
BODY = (
    b'{"id":"11111111-1111-1111-1111-111111111111","eventType":"invoice.updated","webhookVersion":"v1",'
    b'"data":{"entityId":"22222222-2222-2222-2222-222222222222","changes":["state"]},'
    b'"created":"2022-11-05T15:14:35.5054944+00:00"}'
)
SIGNATURE = "2173BE86FA37CFCB9D6BDB58C6D3DEA2327EB0EA2DC848D82DA2C2A967EF8DD5"
SAID = ProviderCallback(
    event_id="11111111-1111-1111-1111-111111111111",
    kind="invoice.updated",
    reference=None,
    entity="22222222-2222-2222-2222-222222222222",
)


def signed(body: bytes, *, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), body, "sha256").hexdigest()


def read(body: bytes, signature: str | None, *secrets: str, name: str = "X-Webhook-Signature") -> ProviderCallback:
    headers = {} if signature is None else {name: signature}
    reader = StrikeCallbacks([SecretStr(secret) for secret in secrets or (SECRET,)])
    return reader.read_callback(headers=headers, body=body, at=START)


@pytest.mark.parametrize("name", ["X-Webhook-Signature", "x-webhook-signature", "X-WEBHOOK-SIGNATURE"])
@pytest.mark.parametrize("signature", [SIGNATURE, SIGNATURE.lower()])
def test_known_vector_is_read_whatever_the_case(name: str, signature: str) -> None:
    assert len(BODY) == 222
    assert read(BODY, signature, name=name) == SAID


@pytest.mark.parametrize("secrets", [("new", SECRET), (SECRET, "new")])
def test_old_and_new_secret_prove_during_the_change(secrets: tuple[str, str]) -> None:
    assert read(BODY, signed(BODY), *secrets) == SAID
    assert read(BODY, signed(BODY, secret="new"), *secrets) == SAID
    with pytest.raises(CallbackRefused):
        read(BODY, signed(BODY, secret="other"), *secrets)


@pytest.mark.parametrize(
    "signature",
    [
        None, "", " ", SIGNATURE[:-1], SIGNATURE[:-2], SIGNATURE + "00", f" {SIGNATURE}", f"{SIGNATURE}\n",
        f"0x{SIGNATURE}", "é" * 64, "zz" * 32, "٣" * 64, f"sha256={SIGNATURE}", "00" * 32,
        " ".join([SIGNATURE[:32], SIGNATURE[32:]]), signed(BODY, secret="Fake_secret"), signed(BODY + b"\n"),
    ],
)  # fmt: skip
def test_anything_but_32_bytes_of_proof_is_refused(signature: str | None) -> None:
    with pytest.raises(CallbackRefused):
        read(BODY, signature)


@pytest.mark.parametrize("place", range(0, len(BODY), 13))
def test_every_byte_is_under_the_signature(place: int) -> None:
    changed = BODY[:place] + bytes([BODY[place] ^ 1]) + BODY[place + 1 :]

    with pytest.raises(CallbackRefused, match="not Strike's"):
        read(changed, SIGNATURE)


def test_two_signatures_are_none() -> None:
    reader = StrikeCallbacks([SecretStr(SECRET)])

    with pytest.raises(CallbackRefused):
        reader.read_callback(
            headers={"X-Webhook-Signature": SIGNATURE, "x-webhook-signature": "00" * 32}, body=BODY, at=START
        )


@pytest.mark.parametrize(
    ("kind", "entity"),
    [
        ("invoice.created", INVOICE_ID),
        ("invoice.updated", INVOICE_ID),
        ("receive-request.receive-pending", INVOICE_ID),
        ("receive-request.receive-completed", INVOICE_ID),
        ("payment.updated", None),
        ("deposit.updated", None),
        ("invoicex", None),
        ("something.new", None),
    ],
)
def test_only_what_tells_of_money_coming_in_names_an_entity(kind: str, entity: str | None) -> None:
    body = json.dumps(event(INVOICE_ID, kind=kind)).encode()

    said = read(body, signed(body))

    assert (said.kind, said.entity, said.reference) == (kind, entity, None)


CHANGES: list[dict[str, Any]] = [
    {"id": ""},
    {"id": 7},
    {"id": "x" * 256},
    {"eventType": None},
    {"data": None},
    {"eventType": "invoice.updated", "data": {"entityId": "../secrets"}},
    {"data": {"entityId": 1}},
]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"{",
        b"\xff",
        b"[" * 100_000,
        *(json.dumps(event() | one).encode() for one in CHANGES),
    ],
)
def test_proved_nonsense_is_refused(body: bytes) -> None:
    with pytest.raises(CallbackRefused, match="no event"):
        read(body, signed(body))


@pytest.mark.parametrize("data", [{}, {"entityId": None}, {"entityId": "no uuid"}])
def test_unknown_type_may_name_anything(data: dict[str, Any]) -> None:
    body = json.dumps(event(kind="something.new") | {"data": data}).encode()

    assert read(body, signed(body)).entity is None


def test_what_strike_adds_is_left_out() -> None:
    more: dict[str, Any] = event(INVOICE_ID, kind="invoice.updated") | {"state": "PAID", "amount": "1000000"}
    body = json.dumps(more).encode()

    assert read(body, signed(body)).entity == INVOICE_ID


@pytest.mark.parametrize("secrets", [[], [SecretStr("")], [SecretStr(SECRET), SecretStr("")]])
def test_reader_without_a_secret_is_none(secrets: list[SecretStr]) -> None:
    with pytest.raises(ValueError, match="secret"):
        StrikeCallbacks(secrets)
