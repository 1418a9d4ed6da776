"""A node's key: it signs invoices and messages, and its public half is the node's name."""

from hashlib import sha256

import coincurve

from quittance.domain import zbase32

_PREFIX = b"Lightning Signed Message:"
_COMPRESSED = 27 + 4
_SIGNATURE_BYTES = 65


class NodeKey:
    """A secp256k1 key."""

    def __init__(self, secret: bytes) -> None:
        self._key = coincurve.PrivateKey(secret)
        self.public = self._key.public_key.format(compressed=True)

    @property
    def secret(self) -> bytes:
        return self._key.secret

    def sign(self, digest: bytes) -> bytes:
        """Return R, S and the recovery id: 65 bytes."""
        return self._key.sign_recoverable(digest, hasher=None)

    def sign_message(self, message: bytes, *, single_hash: bool = False) -> str:
        """Return LND's text form of a signature over ``message``."""
        signature = self.sign(_digest(message, single_hash=single_hash))
        return zbase32.encode(bytes([_COMPRESSED + signature[64]]) + signature[:64])


def recover(digest: bytes, signature: bytes) -> bytes:
    """Return the compressed public key that made a 65-byte signature.

    Raises:
        ValueError: no key made it.
    """
    try:
        return coincurve.PublicKey.from_signature_and_message(signature, digest, hasher=None).format(compressed=True)
    except Exception as error:  # the binding raises bare Exception for a signature that it cannot recover
        raise ValueError("no key made this signature") from error


def recover_signer(message: bytes, signature: str) -> bytes | None:
    """Return the key that signed ``message``, or ``None`` when no key did.

    Raises:
        ValueError: ``signature`` is not 65 bytes in zbase32.
    """
    raw = zbase32.decode(signature)
    if len(raw) != _SIGNATURE_BYTES:
        raise ValueError("a signature has 65 bytes")
    if not 0 <= raw[0] - _COMPRESSED <= 3:
        return None
    try:
        return recover(_digest(message, single_hash=False), raw[1:] + bytes([raw[0] - _COMPRESSED]))
    except ValueError:
        return None


def _digest(message: bytes, *, single_hash: bool) -> bytes:
    once = sha256(_PREFIX + message).digest()
    return once if single_hash else sha256(once).digest()
