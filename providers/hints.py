"""Hints signed as Standard Webhooks asks: for a rail that sends no callbacks of its own, from a script beside it."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from quittance.domain.webhook import SignatureInvalid, verify
from quittance.providers.callbacks import CallbackRefused, ProviderCallback

_TYPES: Final = frozenset({"invoice.settled", "invoice.canceled"})


class SignedHints:
    """Reads ``{"type": "invoice.settled", "timestamp": …, "data": {"reference": …}}``: look at this invoice now.

    Each of ``secrets`` is accepted: during a rotation there are two.
    """

    def __init__(self, secrets: Sequence[bytes]) -> None:
        if not secrets:
            raise ValueError("hints need a secret to be verified with")
        self._secrets = tuple(secrets)

    def read_callback(self, *, headers: Mapping[str, str], body: bytes, at: datetime) -> ProviderCallback:
        """Return the hint that one of the secrets signed less than five minutes ago.

        Raises:
            CallbackRefused: anything else, whatever the request holds.
        """
        try:
            event_id = verify(headers=headers, body=body, secrets=self._secrets, at=at)
        except SignatureInvalid as error:
            raise CallbackRefused(str(error)) from error
        message = _read(body)
        kind, data = message.get("type"), message.get("data")
        if not isinstance(kind, str):
            raise CallbackRefused("the message has no type")
        reference = data.get("reference") if kind in _TYPES and isinstance(data, dict) else None
        return ProviderCallback(
            event_id=event_id, kind=kind, reference=reference if isinstance(reference, str) else None
        )


def _read(body: bytes) -> dict[str, Any]:
    try:
        message = json.loads(body)
    except (RecursionError, ValueError) as error:
        raise CallbackRefused("the body is not JSON") from error
    if not isinstance(message, dict):
        raise CallbackRefused("the message is no JSON object")
    return message
