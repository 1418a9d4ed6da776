"""Macaroons in the second binary form, with the identifiers that LND's bakery writes."""

import hmac
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Final

_VERSION: Final = 2
_END, _LOCATION, _IDENTIFIER, _VERIFICATION, _SIGNATURE = 0, 1, 2, 4, 6
_ID_VERSION: Final = 3
_KEY_GENERATOR: Final = b"macaroons-key-generator"
_ROOT_KEY_ID: Final = b"0"
_SIZE_MAX: Final = 16_384

Permission = tuple[str, str]  # an entity and an action, such as ("invoices", "read")


class MacaroonRefused(Exception):
    """Why a macaroon opens nothing, in LND's words."""


@dataclass(frozen=True, slots=True)
class _Macaroon:
    identifier: bytes
    caveats: tuple[bytes, ...]
    signature: bytes


def bake(root_key: bytes, permissions: Iterable[Permission]) -> bytes:
    """Return a macaroon that grants ``permissions``."""
    identifier = _identifier(permissions)
    signature = hmac.digest(_derived(root_key), identifier, sha256)
    head = bytes([_VERSION]) + _field(_LOCATION, b"lnd") + _field(_IDENTIFIER, identifier) + bytes([_END])
    return head + bytes([_END]) + _field(_SIGNATURE, signature)


def verify(raw: bytes, *, root_key: bytes, now: datetime) -> frozenset[Permission]:
    """Return what a macaroon grants, once its signature and its caveats hold.

    Raises:
        MacaroonRefused: it does not parse, we did not bake it, or a caveat does not hold.
    """
    try:
        macaroon = _parsed(raw)
        key_id, granted = _opened(macaroon.identifier)
    except (IndexError, UnicodeDecodeError, ValueError) as error:
        raise MacaroonRefused("cannot determine data format of binary-encoded macaroon") from error
    if key_id != _ROOT_KEY_ID:
        raise MacaroonRefused("cannot get macaroon: root key with id doesn't exist")
    signature = hmac.digest(_derived(root_key), macaroon.identifier, sha256)
    for caveat in macaroon.caveats:
        signature = hmac.digest(signature, caveat, sha256)
    if not hmac.compare_digest(signature, macaroon.signature):
        raise MacaroonRefused("verification failed: signature mismatch after caveat verification")
    for caveat in macaroon.caveats:
        _check_caveat(caveat.decode(errors="replace"), now)
    return granted


def restrict(raw: bytes, caveat: str) -> bytes:
    """Return the macaroon with one more first-party caveat, as its holder may add it."""
    macaroon = _parsed(raw)
    body = raw[: -len(macaroon.signature) - 3]
    signature = hmac.digest(macaroon.signature, caveat.encode(), sha256)
    return body + _field(_IDENTIFIER, caveat.encode()) + bytes([_END, _END]) + _field(_SIGNATURE, signature)


def is_lasting(raw: bytes) -> bool:
    """Tell whether a macaroon that was verified once holds for ever: it has no caveat."""
    return not _parsed(raw).caveats


def _check_caveat(caveat: str, now: datetime) -> None:
    condition, _, argument = caveat.partition(" ")
    if condition != "time-before":
        raise MacaroonRefused(f'caveat "{caveat}" not satisfied: caveat not recognized')
    try:
        holds = now < datetime.fromisoformat(argument)
    except (TypeError, ValueError):
        holds = False
    if not holds:
        raise MacaroonRefused(f'caveat "{caveat}" not satisfied: macaroon has expired')


def _derived(root_key: bytes) -> bytes:
    return hmac.digest(_KEY_GENERATOR.ljust(32, b"\0"), root_key, sha256)


def _identifier(permissions: Iterable[Permission]) -> bytes:
    """Return the bakery's identifier: its version, then a message of nonce, root key id and operations."""
    actions: dict[str, list[str]] = {}
    for entity, action in permissions:
        actions.setdefault(entity, []).append(action)
    message = _member(1, os.urandom(16)) + _member(2, _ROOT_KEY_ID)
    for entity in sorted(actions):
        operation = _member(1, entity.encode())
        operation += b"".join(_member(2, action.encode()) for action in sorted(actions[entity]))
        message += _member(3, operation)
    return bytes([_ID_VERSION]) + message


def _opened(identifier: bytes) -> tuple[bytes, frozenset[Permission]]:
    if identifier[0] != _ID_VERSION:
        raise ValueError("not a bakery identifier")
    key_id, granted = b"", set[Permission]()
    for number, content in _members(identifier[1:]):
        if number == 2:
            key_id = content
        elif number == 3:
            operation = list(_members(content))
            entity = next(value.decode() for field, value in operation if field == 1)
            granted.update((entity, value.decode()) for field, value in operation if field == 2)
    return key_id, frozenset(granted)


def _parsed(raw: bytes) -> _Macaroon:
    if len(raw) > _SIZE_MAX or raw[0] != _VERSION:
        raise ValueError("not a macaroon of the second form")
    fields, at = _section(raw, 1)
    caveats: list[bytes] = []
    while raw[at] != _END:
        caveat, at = _section(raw, at)
        if _VERIFICATION in caveat:
            raise ValueError("third-party caveats are not spoken here")
        caveats.append(caveat[_IDENTIFIER])
    kind, signature, at = _read_field(raw, at + 1)
    if kind != _SIGNATURE or len(signature) != sha256().digest_size or at != len(raw):
        raise ValueError("no signature at the end")
    return _Macaroon(fields[_IDENTIFIER], tuple(caveats), signature)


def _section(raw: bytes, at: int) -> tuple[Mapping[int, bytes], int]:
    fields: dict[int, bytes] = {}
    while raw[at] != _END:
        kind, content, at = _read_field(raw, at)
        fields[kind] = content
    if _IDENTIFIER not in fields:
        raise ValueError("no identifier")
    return fields, at + 1


def _read_field(raw: bytes, at: int) -> tuple[int, bytes, int]:
    kind, at = _read_varint(raw, at)
    size, at = _read_varint(raw, at)
    if at + size > len(raw):
        raise ValueError("cut short")
    return kind, raw[at : at + size], at + size


def _members(message: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(message):
        tag, content, at = _read_field(message, at)
        if tag & 7 != 2:
            raise ValueError("not a field with a length")
        yield tag >> 3, content


def _read_varint(raw: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 35, 7):
        value |= (raw[at] & 0x7F) << shift
        at += 1
        if raw[at - 1] < 0x80:
            return value, at
    raise ValueError("a number too long")


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _field(kind: int, content: bytes) -> bytes:
    return _varint(kind) + _varint(len(content)) + content


def _member(number: int, content: bytes) -> bytes:
    return _field(number << 3 | 2, content)
