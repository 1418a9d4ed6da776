"""Messages signed by a Lightning node: the form that LND, Core Lightning and Electrum share."""

import hashlib
from collections.abc import Callable
from typing import Final

from quittance.domain import zbase32

SIGNATURE_CHARACTERS: Final = 104
_PREFIX: Final = b"Lightning Signed Message:"
_HEADER_MIN: Final = 27 + 4  # a compressed key; what is above it is the recovery id
_RECOVERY_ID_MAX: Final = 3

RecoverKey = Callable[[bytes, bytes, int], bytes]
"""Takes a digest, the 64 bytes of R and S and the recovery id; gives the compressed key, or raises ``ValueError``."""


def signer_of(message: bytes, signature: str, *, recover: RecoverKey) -> bytes:
    """Return the key that made this signature of ``message``.

    Every well-formed signature names some key: of another text, or a wrong one, a key that nobody holds.

    Raises:
        ValueError: no key made it.
    """
    if len(signature) != SIGNATURE_CHARACTERS:
        raise ValueError(f"a signature has {SIGNATURE_CHARACTERS} characters")
    raw = zbase32.decode(signature)
    recovery_id = raw[0] - _HEADER_MIN
    if not 0 <= recovery_id <= _RECOVERY_ID_MAX:
        raise ValueError("the first byte of the signature is none that a node writes")
    digest = hashlib.sha256(hashlib.sha256(_PREFIX + message).digest()).digest()
    return recover(digest, raw[1:], recovery_id)
