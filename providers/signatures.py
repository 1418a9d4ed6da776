"""Whose key signed: the curve that the domain leaves to its callers."""

from coincurve import PublicKey


def recover(digest: bytes, signature: bytes) -> bytes:
    """Return the compressed key that made a signature of 65 bytes: R, S and the recovery id.

    Raises:
        ValueError: no key made it.
    """
    try:
        return PublicKey.from_signature_and_message(signature, digest, hasher=None).format(compressed=True)
    except Exception as error:  # the binding raises bare Exception for a signature that it cannot recover
        raise ValueError("no key made this signature") from error
