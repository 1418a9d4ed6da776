"""Runes: what their holder may call is written in them, under the node's seal.

They look and read as the node's own do, ``=ID&method=A|method=B`` behind a seal; the seal is this sandbox's.
"""

import base64
import hmac
from collections.abc import Iterable
from hashlib import sha256
from typing import Final

from quittance.sandbox.cln.refusals import NOT_AUTHORIZED, NOT_PERMITTED, Refused

_SEAL_BYTES: Final = 32
_LENGTH_MAX: Final = 4_096


def create(secret: bytes, *, number: int, methods: Iterable[str] = ()) -> str:
    """Return a rune that allows ``methods``, or every call when there are none."""
    text = f"={number}"
    allowed = "|".join(f"method={name}" for name in methods)
    if allowed:
        text += f"&{allowed}"
    return base64.urlsafe_b64encode(_seal(secret, text) + text.encode()).decode()


def check(rune: str | None, *, secret: bytes, method: str) -> None:
    """Let a call in whose rune is ours and allows it.

    Raises:
        Refused: as the node does it, and clnrest's status.
    """
    if rune is None:
        raise Refused(NOT_AUTHORIZED, "Not authorized: Missing rune", status=403)
    try:
        raw = base64.urlsafe_b64decode(rune.encode("ascii")[:_LENGTH_MAX])
        text = raw[_SEAL_BYTES:].decode()
    except ValueError:
        raise Refused(NOT_AUTHORIZED, "Not authorized: should be base64 string", status=401) from None
    if not hmac.compare_digest(_seal(secret, text), raw[:_SEAL_BYTES]):
        raise Refused(NOT_AUTHORIZED, "Not authorized: Not derived from master", status=401)
    for restriction in text.split("&")[1:]:
        if f"method={method}" not in restriction.split("|"):
            raise Refused(NOT_PERMITTED, f"Not permitted: method is not equal to {restriction}", status=401)


def _seal(secret: bytes, text: str) -> bytes:
    return hmac.digest(sha256(b"rune" + secret).digest(), text.encode(), sha256)
