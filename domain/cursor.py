"""Cursors: opaque, url-safe and versioned texts that lead back to a place in a stream or a list."""

import base64
import binascii
import json
import re

from quittance.domain.errors import InvalidCursor
from quittance.domain.text import is_storable

CURSOR_CHARACTERS_MAX = 1_024
_INTEGER_MAX = 2**63 - 1
_POSITION, _KEY = "p1", "k1"
_ALPHABET = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


def encode_position(position: int) -> str:
    """Return the cursor of an event at ``position`` of the log."""
    if not 0 <= position <= _INTEGER_MAX:
        raise ValueError("a position is a 64-bit integer that is not negative")
    return _encode(f"{_POSITION}:{position}")


def decode_position(text: str) -> int:
    """Return the position that ``encode_position`` was given.

    Raises:
        InvalidCursor: any other text, however close to a cursor.
    """
    digits = _decode(text, kind=_POSITION)
    if not digits.isdigit() or not digits.isascii():
        raise InvalidCursor
    position = int(digits)
    if position > _INTEGER_MAX or encode_position(position) != text:
        raise InvalidCursor
    return position


def encode_key(*parts: str | int) -> str:
    """Return the cursor of a row, named by the values its list is sorted by."""
    if not parts or not all(_is_part(part) for part in parts):
        raise ValueError("a key has at least one part: text without NUL, or a 64-bit integer")
    return _encode(f"{_KEY}:{json.dumps(parts, ensure_ascii=False, separators=(',', ':'))}")


def decode_key(text: str) -> tuple[str | int, ...]:
    """Return the parts that ``encode_key`` was given.

    Raises:
        InvalidCursor: any other text. Callers still check the number and the types of the parts.
    """
    try:
        parts = json.loads(_decode(text, kind=_KEY))
    except (ValueError, RecursionError) as error:
        raise InvalidCursor from error
    if not isinstance(parts, list) or not parts or not all(_is_part(part) for part in parts):
        raise InvalidCursor
    if encode_key(*parts) != text:
        raise InvalidCursor
    return tuple(parts)


def _is_part(part: object) -> bool:
    if isinstance(part, str):
        return is_storable(part)
    return isinstance(part, int) and not isinstance(part, bool) and abs(part) <= _INTEGER_MAX


def _encode(plain: str) -> str:
    text = base64.urlsafe_b64encode(plain.encode()).rstrip(b"=").decode("ascii")
    if len(text) > CURSOR_CHARACTERS_MAX:
        raise ValueError(f"a cursor has at most {CURSOR_CHARACTERS_MAX} characters")
    return text


def _decode(text: str, *, kind: str) -> str:
    if len(text) > CURSOR_CHARACTERS_MAX or not _ALPHABET.fullmatch(text):
        raise InvalidCursor
    try:
        plain = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise InvalidCursor from error
    found, separator, rest = plain.partition(":")
    if found != kind or not separator:
        raise InvalidCursor
    return rest
