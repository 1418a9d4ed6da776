"""Standard Webhooks: the sheet's vector, what must be refused, and the published library as the judge."""

import base64
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from quittance.domain.ids import EndpointId, MerchantId
from quittance.domain.secrets import SecretDeriver
from quittance.domain.webhook import (
    SignatureInvalid,
    payload,
    read_secret,
    shown_public_key,
    shown_secret,
    signature_headers,
    verify,
)

SHOWN = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
AT = datetime.fromtimestamp(1_614_265_330, UTC)
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
SECRET = read_secret(SHOWN)
PRIVATE = "6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
PUBLIC = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
ED25519_SIGNATURE = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
KEY = Ed25519PrivateKey.from_private_bytes(base64.b64decode(PRIVATE)[:32])  # the public key follows the seed
HEADERS = {"webhook-id": ID, "webhook-timestamp": "1614265330", "webhook-signature": SIGNATURE}


def test_the_vector_of_the_standard() -> None:
    headers = signature_headers(message_id=ID, at=AT, body=BODY, secrets=[SECRET])

    assert headers == HEADERS
    assert verify(headers=headers, body=BODY, secrets=[SECRET], at=AT) == ID
    assert shown_secret(SECRET) == SHOWN


def test_the_vector_of_the_standard_for_public_keys() -> None:
    headers = signature_headers(message_id=ID, at=AT, body=BODY, secrets=[SECRET], ed25519=[KEY.sign])

    assert headers["webhook-signature"] == f"{SIGNATURE} {ED25519_SIGNATURE}"
    assert shown_public_key(KEY.public_key().public_bytes_raw()) == PUBLIC
    assert base64.b64decode(PUBLIC.removeprefix("whpk_")) == base64.b64decode(PRIVATE)[32:]
    assert verify(headers=headers, body=BODY, secrets=[SECRET], at=AT) == ID


def test_a_public_key_alone_signs_nothing() -> None:
    with pytest.raises(ValueError, match="secret"):
        signature_headers(message_id=ID, at=AT, body=BODY, secrets=[], ed25519=[KEY.sign])
    with pytest.raises(SignatureInvalid):
        verify(headers=HEADERS | {"webhook-signature": ED25519_SIGNATURE}, body=BODY, secrets=[SECRET], at=AT)


def test_the_published_library_verifies_a_message_with_both_kinds() -> None:
    now = datetime.now(UTC)
    body = payload(type="payment.settled", timestamp=now, data={"eventId": "evt_1"})
    secrets = [bytes(range(32)), bytes(range(32, 64))]

    headers = signature_headers(message_id="evt_1", at=now, body=body, secrets=secrets, ed25519=[KEY.sign, KEY.sign])

    assert [entry.partition(",")[0] for entry in headers["webhook-signature"].split(" ")] == ["v1", "v1", "v1a", "v1a"]
    for secret in secrets:
        assert Webhook(shown_secret(secret)).verify(body, headers)["type"] == "payment.settled"
    with pytest.raises(WebhookVerificationError):
        Webhook(shown_secret(bytes(32))).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(shown_secret(secrets[0])).verify(body.replace(b"evt_1", b"evt_2"), headers)


@pytest.mark.parametrize(
    "changed",
    [
        {"webhook-id": ""},
        {"webhook-timestamp": ""},
        {"webhook-signature": ""},
        {"webhook-timestamp": "soon"},
        {"webhook-timestamp": "1614265330.0"},
        {"webhook-timestamp": "-1614265330"},
        {"webhook-timestamp": "+1614265330"},
        {"webhook-timestamp": " 1614265330"},
        {"webhook-timestamp": "16142653３0"},  # noqa: RUF001 - a fullwidth digit is the point
        {"webhook-timestamp": "9" * 5_000},
        {"webhook-timestamp": "1614265331"},
        {"webhook-id": "msg_another"},
        {"webhook-id": "msg_\ud800"},
        {"webhook-id": "msg.with.dots"},
        {"webhook-signature": "v1,"},
        {"webhook-signature": SIGNATURE[:-4]},
        {"webhook-signature": SIGNATURE.rstrip("=")},
        {"webhook-signature": SIGNATURE + "="},
        {"webhook-signature": SIGNATURE.replace("v1,", "v1a,")},
        {"webhook-signature": SIGNATURE.replace("v1,", "v1,,")},
        {"webhook-signature": "v1"},
        {"webhook-signature": ","},
        {"webhook-signature": "\ud800"},
        {"webhook-signature": SIGNATURE.replace("v1,", "v2,")},
        {"webhook-signature": SIGNATURE.replace("v1,", "")},
        {"webhook-signature": "é"},
    ],
)
def test_whatever_is_malformed_is_refused(changed: dict[str, str]) -> None:
    with pytest.raises(SignatureInvalid):
        verify(headers=HEADERS | changed, body=BODY, secrets=[SECRET], at=AT)


@pytest.mark.parametrize("missing", list(HEADERS))
def test_a_missing_header_is_refused(missing: str) -> None:
    rest = {name: value for name, value in HEADERS.items() if name != missing}

    with pytest.raises(SignatureInvalid):
        verify(headers=rest, body=BODY, secrets=[SECRET], at=AT)


@pytest.mark.parametrize("seconds", [-301, 301])
def test_a_time_more_than_five_minutes_away_is_refused(seconds: int) -> None:
    with pytest.raises(SignatureInvalid):
        verify(headers=HEADERS, body=BODY, secrets=[SECRET], at=AT + timedelta(seconds=seconds))


@pytest.mark.parametrize("seconds", [-300, 0, 300])
def test_a_time_of_up_to_five_minutes_away_is_accepted(seconds: int) -> None:
    assert verify(headers=HEADERS, body=BODY, secrets=[SECRET], at=AT + timedelta(seconds=seconds)) == ID


def test_another_secret_is_refused() -> None:
    with pytest.raises(SignatureInvalid):
        verify(headers=HEADERS, body=BODY, secrets=[bytes(32)], at=AT)


def test_headers_are_found_in_any_case() -> None:
    shouted = {name.upper(): value for name, value in HEADERS.items()}

    assert verify(headers=shouted, body=BODY, secrets=[SECRET], at=AT) == ID


def test_what_was_signed_cannot_be_cut_at_another_dot() -> None:
    inner = f"1614265330.{BODY.decode()}".encode()
    signed = signature_headers(message_id="msg", at=AT, body=inner, secrets=[SECRET])
    shifted = signed | {"webhook-id": "msg.1614265330"}

    with pytest.raises(SignatureInvalid):
        verify(headers=shifted, body=BODY, secrets=[SECRET], at=AT)


@given(st.dictionaries(st.sampled_from(list(HEADERS)), st.text(max_size=60)), st.binary(max_size=60))
def test_no_stranger_s_headers_are_accepted_or_crash(changed: dict[str, str], body: bytes) -> None:
    with pytest.raises(SignatureInvalid):
        verify(headers=HEADERS | changed, body=body + b"x", secrets=[SECRET], at=AT)


def test_a_flipped_byte_of_the_body_is_refused() -> None:
    for place in range(len(BODY)):
        flipped = bytes(byte ^ (index == place) for index, byte in enumerate(BODY))
        with pytest.raises(SignatureInvalid):
            verify(headers=HEADERS, body=flipped, secrets=[SECRET], at=AT)


def test_one_right_signature_among_wrong_ones_is_enough() -> None:
    wrong = "v1," + base64.b64encode(bytes(32)).decode()
    headers = HEADERS | {"webhook-signature": f"{wrong} v2,xyz {SIGNATURE}"}

    assert verify(headers=headers, body=BODY, secrets=[SECRET], at=AT) == ID


def test_the_published_library_verifies_both_secrets_of_a_rotation() -> None:
    old, new = bytes(range(32)), bytes(range(32, 64))
    now = datetime.now(UTC)
    body = payload(type="payment.settled", timestamp=now, data={"eventId": "evt_1"})

    headers = signature_headers(message_id="evt_1", at=now, body=body, secrets=[new, old])

    for secret in (old, new):
        assert Webhook(shown_secret(secret)).verify(body, headers)["type"] == "payment.settled"


def test_the_published_library_refuses_the_old_secret_after_the_rotation() -> None:
    old, new = bytes(range(32)), bytes(range(32, 64))
    headers = signature_headers(message_id="evt_1", at=datetime.now(UTC), body=b"{}", secrets=[new])

    with pytest.raises(WebhookVerificationError):
        Webhook(shown_secret(old)).verify(b"{}", headers)


def test_a_message_that_the_published_library_signed_is_accepted() -> None:
    signature = Webhook(SHOWN).sign(ID, AT, BODY.decode())

    assert verify(headers=HEADERS | {"webhook-signature": signature}, body=BODY, secrets=[SECRET], at=AT) == ID


@given(
    st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="."), min_size=1, max_size=60),
    st.binary(max_size=200),
    st.lists(st.binary(min_size=24, max_size=64), min_size=1, max_size=3, unique=True),
)
def test_whatever_is_signed_is_verified_with_each_of_its_secrets(id_: str, body: bytes, secrets: list[bytes]) -> None:
    headers = signature_headers(message_id=id_, at=AT, body=body, secrets=secrets)

    assert headers["webhook-signature"].count("v1,") == len(secrets)
    for secret in secrets:
        assert verify(headers=headers, body=body, secrets=[secret], at=AT) == id_


@pytest.mark.parametrize("id_", ["", "msg.1", "msg 1", "msg\r\nx: y", "msg_é", "m" * 256])
def test_an_id_that_could_be_misread_is_not_signed(id_: str) -> None:
    with pytest.raises(ValueError, match="id is up to 255 visible ASCII characters without a dot"):
        signature_headers(message_id=id_, at=AT, body=BODY, secrets=[SECRET])


@pytest.mark.parametrize("secrets", [[], [b""], [SECRET, b"short"], [bytes(65)]])
def test_nothing_is_signed_without_a_strong_secret(secrets: list[bytes]) -> None:
    with pytest.raises(ValueError, match="secret"):
        signature_headers(message_id=ID, at=AT, body=BODY, secrets=secrets)


def test_a_time_without_a_zone_is_our_mistake() -> None:
    naive = AT.replace(tzinfo=None)

    with pytest.raises(ValueError, match="zone"):
        signature_headers(message_id=ID, at=naive, body=BODY, secrets=[SECRET])
    with pytest.raises(ValueError, match="zone"):
        payload(type="payment.settled", timestamp=naive, data={})


@pytest.mark.parametrize("shown", [SHOWN, SHOWN.removeprefix("whsec_")])
def test_a_secret_is_read_with_and_without_its_prefix(shown: str) -> None:
    assert read_secret(shown) == base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")


def test_a_secret_is_read_without_its_padding() -> None:
    shown = shown_secret(bytes(range(32)))

    assert shown.endswith("=")
    assert read_secret(shown.rstrip("=")) == bytes(range(32))


def test_each_version_of_each_secret_of_each_owner_is_another() -> None:
    derive = SecretDeriver(bytes(range(32)))
    endpoints = [EndpointId("whe_1"), EndpointId("whe_11"), EndpointId("whe_2")]

    secrets = [
        secret(endpoint, version)
        for secret in (derive.webhook_secret, derive.webhook_seed)
        for endpoint in endpoints
        for version in (1, 11, 2)
    ]
    secrets += [derive.notify_secret(MerchantId("whe_1"), version) for version in (1, 11, 2)]

    assert {len(secret) for secret in secrets} == {32}
    assert len(set(secrets)) == 21
    assert secrets[0] == SecretDeriver(bytes(range(32))).webhook_secret(EndpointId("whe_1"), 1)
    assert secrets[0] != SecretDeriver(bytes(range(1, 33))).webhook_secret(EndpointId("whe_1"), 1)


@pytest.mark.parametrize("shown", ["", "whsec_", "whsec_short", "whsec_!!!!", base64.b64encode(bytes(65)).decode()])
def test_a_weak_or_broken_secret_is_refused(shown: str) -> None:
    with pytest.raises(ValueError, match="secret"):
        read_secret(shown)


def test_no_secret_at_all_is_our_mistake_and_accepts_nothing() -> None:
    with pytest.raises(ValueError, match="needs a secret"):
        verify(headers=HEADERS, body=BODY, secrets=[], at=AT)


def test_a_payload_is_compact_and_its_time_is_utc() -> None:
    body = payload(type="payment.settled", timestamp=AT, data={"a": "é"})

    assert body == '{"type":"payment.settled","timestamp":"2021-02-25T15:02:10Z","data":{"a":"é"}}'.encode()


def test_a_payload_tells_a_time_of_any_zone_in_utc() -> None:
    there = datetime(2026, 5, 1, 2, 30, 0, 250_000, tzinfo=timezone(timedelta(hours=2)))

    body = payload(type="article.published", timestamp=there, data=None)

    assert json.loads(body) == {"type": "article.published", "timestamp": "2026-05-01T00:30:00.250000Z", "data": None}


@pytest.mark.parametrize("kind", ["", "a b", ".a", "a.", "a..b", "a-b", "é"])
def test_a_type_that_is_not_words_joined_by_dots_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match="joined by dots"):
        payload(type=kind, timestamp=AT, data={})


@pytest.mark.parametrize("data", [float("nan"), float("inf"), {"a": AT}, {"a": b"x"}])
def test_data_that_json_cannot_hold_is_refused(data: object) -> None:
    with pytest.raises((ValueError, TypeError), match="JSON"):
        payload(type="payment.settled", timestamp=AT, data=data)
