"""Standard Webhooks: the sheet's vector, what must be refused, and the published library as the judge."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook

from quittance.domain.webhook import (
    SignatureInvalid,
    payload,
    read_secret,
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
HEADERS = {"webhook-id": ID, "webhook-timestamp": "1614265330", "webhook-signature": SIGNATURE}


def test_the_vector_of_the_standard() -> None:
    headers = signature_headers(message_id=ID, at=AT, body=BODY, secrets=[SECRET])

    assert headers == HEADERS
    assert verify(headers=headers, body=BODY, secrets=[SECRET], at=AT) == ID
    assert shown_secret(SECRET) == SHOWN


@pytest.mark.parametrize(
    "changed",
    [
        {"webhook-id": ""},
        {"webhook-timestamp": ""},
        {"webhook-signature": ""},
        {"webhook-timestamp": "soon"},
        {"webhook-id": "msg.with.dots"},
        {"webhook-signature": "v1,"},
        {"webhook-signature": SIGNATURE[:-4]},
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
