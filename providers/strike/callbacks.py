"""Strike's webhooks: an HMAC over the raw body, and nothing in them but where to look (1.8)."""

import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Final

from pydantic import SecretStr, ValidationError

from quittance.providers.callbacks import CallbackRefused, ProviderCallback
from quittance.providers.strike.bodies import CallbackBody, EventEntity, is_uuid

SIGNATURE: Final = "x-webhook-signature"
_SIGNATURE_BYTES: Final = 32
_TELLS_OF: Final = ("invoice.", "receive-request.")


class StrikeCallbacks:
    """Reads what is signed with one of ``secrets``: while one is replaced, the old and the new.

    The signature covers no time, so a callback can be played again: it only makes us ask Strike once more.
    """

    def __init__(self, secrets: Sequence[SecretStr]) -> None:
        if not secrets or not all(secret.get_secret_value() for secret in secrets):
            raise ValueError("without a secret, anybody could have signed")
        self._keys = [secret.get_secret_value().encode() for secret in secrets]

    def read_callback(self, *, headers: Mapping[str, str], body: bytes, at: datetime) -> ProviderCallback:
        """Return what a request says, once it is proved; ``at`` plays no part here.

        Raises:
            CallbackRefused: anything else, whatever the request holds.
        """
        del at
        self._prove(_signature(headers), body)
        try:
            event = CallbackBody.model_validate_json(body)
        except ValidationError as error:
            raise CallbackRefused("its body is no event of Strike's") from error
        entity = entity_of(event.event_type, event.data)
        if entity is not None and not is_uuid(entity):
            raise CallbackRefused("its body is no event of Strike's: what it tells of has no id")
        return ProviderCallback(event_id=event.id, kind=event.event_type, reference=None, entity=entity)

    def _prove(self, signature: bytes, body: bytes) -> None:
        proofs = [hmac.compare_digest(hmac.digest(key, body, sha256), signature) for key in self._keys]
        if not any(proofs):
            raise CallbackRefused("its signature is not Strike's")


def entity_of(event_type: str, data: EventEntity) -> str | None:
    """Return Strike's id of the invoice that an event tells of; None where its type tells of none."""
    return data.entity_id if event_type.startswith(_TELLS_OF) else None


def _signature(headers: Mapping[str, str]) -> bytes:
    """Return the signature of a request, which is hex of either case."""
    found = [value for name, value in headers.items() if name.lower() == SIGNATURE]
    if len(found) != 1:
        raise CallbackRefused("it has no signature, or several")
    text = found[0]
    try:
        signature = bytes.fromhex(text)
    except ValueError:
        signature = b""
    if len(signature) != _SIGNATURE_BYTES or len(text) != 2 * _SIGNATURE_BYTES:
        raise CallbackRefused("its signature is not 32 bytes in hex")
    return signature
