"""Keys of Lightning nodes: whose signature a text carries. Found here, so that no node and no graph is asked."""

from coincurve import PublicKey

from quittance.domain.errors import InvalidSignature
from quittance.domain.signed_message import signer_of


def read_signer(message: str, signature: str) -> str:
    """Return the public key that signed the message, in hex.

    Raises:
        InvalidSignature: no key made this signature.
    """
    try:
        return signer_of(message.encode(), signature.strip(), recover=_recover).hex()
    except ValueError:
        raise InvalidSignature from None


def _recover(digest: bytes, signature: bytes, recovery_id: int) -> bytes:
    compact = signature + bytes([recovery_id])
    try:
        return PublicKey.from_signature_and_message(compact, digest, hasher=None).format(compressed=True)
    except Exception as error:  # the binding raises bare Exception for a signature that it cannot recover
        raise ValueError("no key made this signature") from error
