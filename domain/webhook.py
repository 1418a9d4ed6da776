"""Webhooks as Standard Webhooks 1.0.0 writes and signs them."""

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

ID_HEADER: Final = "webhook-id"
TIMESTAMP_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"

TOLERANCE_S: Final = 300
SECRET_BYTES_MIN: Final = 24
SECRET_BYTES_MAX: Final = 64

Sign = Callable[[bytes], bytes]

_PREFIX: Final = "whsec_"
_PUBLIC_PREFIX: Final = "whpk_"
_VERSION: Final = "v1,"
_ED25519_VERSION: Final = "v1a,"
_MESSAGE_ID: Final = re.compile(r"[!-\-/-~]{1,255}")  # visible ASCII without the dot, which separates what is signed
_TIMESTAMP: Final = re.compile(r"[0-9]{1,11}")
_TYPE: Final = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*")


class SignatureInvalid(Exception):
    """The message does not prove where it comes from. What was wrong is for our logs, not for the sender."""


def shown_secret(secret: bytes) -> str:
    """Return a secret as receivers are given it: ``whsec_`` and base64."""
    return _PREFIX + base64.b64encode(_checked(secret)).decode()


def read_secret(shown: str) -> bytes:
    """Return the bytes of a secret; its prefix and the padding may be missing, as copying loses them.

    Raises:
        ValueError: it is no secret, or shorter or longer than the standard allows.
    """
    text = shown.removeprefix(_PREFIX).rstrip("=")
    try:
        secret = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("the webhook secret is not base64") from None
    return _checked(secret)


def read_secrets(shown: str) -> list[bytes]:
    """Return the bytes of one secret, or of several joined by commas: during a rotation both.

    Raises:
        ValueError: one of them is no secret.
    """
    return [read_secret(part.strip()) for part in shown.split(",")]


def shown_public_key(public_key: bytes) -> str:
    """Return the 32 bytes of an Ed25519 public key as receivers are given them: ``whpk_`` and base64."""
    return _PUBLIC_PREFIX + base64.b64encode(public_key).decode()


def signature_headers(
    *, message_id: str, at: datetime, body: bytes, secrets: Sequence[bytes], ed25519: Sequence[Sign] = ()
) -> dict[str, str]:
    """Return the headers of one attempt at ``at``, with one signature for each secret: during a rotation both.

    ``ed25519`` holds what signs with a private key each; the library for it is the caller's.

    Raises:
        ValueError: an id with a dot, a space or what is not ASCII, no secret, a weak one, or a time without zone.
    """
    if not _MESSAGE_ID.fullmatch(message_id):
        raise ValueError("a webhook's id is up to 255 visible ASCII characters without a dot")
    if not secrets:
        raise ValueError("a webhook needs a secret to be signed with")
    timestamp = str(int(_utc(at).timestamp()))
    signed = _signed(message_id=message_id, timestamp=timestamp, body=body)
    signatures = [_signature(secret, signed) for secret in secrets]
    signatures += [_ED25519_VERSION + base64.b64encode(sign(signed)).decode() for sign in ed25519]
    return {ID_HEADER: message_id, TIMESTAMP_HEADER: timestamp, SIGNATURE_HEADER: " ".join(signatures)}


def verify(*, headers: Mapping[str, str], body: bytes, secrets: Sequence[bytes], at: datetime) -> str:
    """Return the id of a message that one of the secrets signed less than five minutes before or after ``at``.

    Every signature is compared with every secret, so that the time taken tells nothing of either.

    Raises:
        SignatureInvalid: anything else, whatever the headers hold.
        ValueError: no secret, a weak one, or a time without zone: our mistake, and nothing is accepted.
    """
    if not secrets:
        raise ValueError("a webhook needs a secret to be verified with")
    given = {name.lower(): value for name, value in headers.items()}
    message_id, timestamp = given.get(ID_HEADER, ""), given.get(TIMESTAMP_HEADER, "")
    if not _MESSAGE_ID.fullmatch(message_id):
        raise SignatureInvalid("the webhook's id is missing or malformed")
    if not _TIMESTAMP.fullmatch(timestamp):
        raise SignatureInvalid("the webhook's timestamp is missing or malformed")
    if abs(_utc(at).timestamp() - int(timestamp)) > TOLERANCE_S:
        raise SignatureInvalid("the webhook's timestamp is too far from now")
    signed = _signed(message_id=message_id, timestamp=timestamp, body=body)
    expected = [_signature(secret, signed) for secret in secrets]
    found = False
    for entry in given.get(SIGNATURE_HEADER, "").split(" "):
        written = entry.encode(errors="replace")  # what is not ASCII equals no signature
        for signature in expected:
            found |= hmac.compare_digest(signature.encode(), written)
    if not found:
        raise SignatureInvalid("no signature of the webhook is right")
    return message_id


def payload(*, type: str, timestamp: datetime, data: object) -> bytes:  # noqa: A002 - the standard's own name
    """Return the body of a message about what happened at ``timestamp``; the same values give the same bytes.

    Raises:
        ValueError, TypeError: a type that is not words joined by dots, a time without zone, or data that is no JSON.
    """
    if not _TYPE.fullmatch(type):
        raise ValueError("a webhook's type is words of letters, digits and _, joined by dots")
    moment = _utc(timestamp).isoformat().replace("+00:00", "Z")
    members = {"type": type, "timestamp": moment, "data": data}
    return json.dumps(members, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _signed(*, message_id: str, timestamp: str, body: bytes) -> bytes:
    return f"{message_id}.{timestamp}.".encode() + body


def _signature(secret: bytes, signed: bytes) -> str:
    return _VERSION + base64.b64encode(hmac.digest(_checked(secret), signed, hashlib.sha256)).decode()


def _checked(secret: bytes) -> bytes:
    if not SECRET_BYTES_MIN <= len(secret) <= SECRET_BYTES_MAX:
        raise ValueError(f"a webhook secret has {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes")
    return secret


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("a time without a zone is no moment")
    return moment.astimezone(UTC)
