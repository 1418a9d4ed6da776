"""The vocabulary of ``graphql-transport-ws``: close codes, and messages read strictly."""

from collections.abc import Mapping
from typing import Any, Final

import orjson
from starlette.types import Message

from quittance.gql.context import Credentials

SUBPROTOCOL: Final = "graphql-transport-ws"
INVALID_MESSAGE: Final = 4400
UNAUTHORIZED: Final = 4401
FORBIDDEN: Final = 4403
SUBPROTOCOL_NOT_ACCEPTABLE: Final = 4406
INIT_TIMEOUT: Final = 4408
SUBSCRIBER_EXISTS: Final = 4409
TOO_MANY_INITS: Final = 4429
TERMINATED: Final = 4499
INTERNAL_ERROR: Final = 4500
MESSAGE_TOO_BIG: Final = 1009

_ID_CHARACTERS_MAX = 128

Payload = dict[str, Any]


class SocketClose(Exception):
    """The client broke the protocol, or may not stay."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def parse_message(message: Message, *, bytes_max: int) -> Payload:
    """Return a message that has a type.

    Raises:
        SocketClose: it is no message of the protocol.
    """
    text = message.get("text")
    if text is None:
        raise SocketClose(INVALID_MESSAGE, "Only text messages are understood")
    if len(text) > bytes_max or len(encoded := text.encode(errors="replace")) > bytes_max:
        raise SocketClose(MESSAGE_TOO_BIG, "Message too big")
    try:
        parsed = orjson.loads(encoded)
    except orjson.JSONDecodeError as error:
        raise SocketClose(INVALID_MESSAGE, "Invalid message received") from error
    if not isinstance(parsed, dict) or not isinstance(parsed.get("type"), str):
        raise SocketClose(INVALID_MESSAGE, "Invalid message received")
    return parsed


def credentials_of(payload: Mapping[str, object], *, authorization: str | None, address: str) -> Credentials:
    """Read what a client shows in ``connection_init``; ``authorization`` is the header of its handshake."""
    for name in ("Authorization", "authorization", "apiKey", "clientSecret"):
        if not isinstance(payload.get(name, ""), str | None):
            raise SocketClose(INVALID_MESSAGE, f"{name} must be a string")
    shown = payload.get("Authorization") or payload.get("authorization") or authorization
    if payload.get("apiKey"):
        shown = f"Bearer {payload['apiKey']}"
    secret = payload.get("clientSecret")
    return Credentials(
        authorization=str(shown) if shown else None,
        client_secret=str(secret) if secret else None,
        address=address,
    )


def id_of(message: Payload) -> str:
    id_ = message.get("id")
    if not isinstance(id_, str) or not 0 < len(id_) <= _ID_CHARACTERS_MAX:
        raise SocketClose(INVALID_MESSAGE, "Invalid message received")
    return id_


def payload_of(message: Payload) -> Mapping[str, object]:
    payload = message.get("payload")
    if payload is None:
        return {}
    if not isinstance(payload, dict):
        raise SocketClose(INVALID_MESSAGE, "Invalid message received")
    return payload
