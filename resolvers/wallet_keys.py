"""Keys of wallets: whether one signed a challenge (LUD-04). They are made for one domain name, and are no node's."""

from cryptography.exceptions import InvalidSignature as Mismatch
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256K1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256

from quittance.domain.errors import InvalidSignature
from quittance.domain.lnurl_login import KEY_BYTES, SIGNATURE_BYTES_MAX

_RAW = ECDSA(Prehashed(SHA256()))  # the challenge has the length of a digest, and is signed as it is


def check_signature(challenge: bytes, *, signature: bytes, key: bytes) -> None:
    """Return if this key made this DER signature of the 32 bytes; S may be above half the order.

    Raises:
        InvalidSignature: it did not, or is no compressed key.
    """
    if len(key) != KEY_BYTES or len(signature) > SIGNATURE_BYTES_MAX:
        raise InvalidSignature
    try:
        EllipticCurvePublicKey.from_encoded_point(SECP256K1(), key).verify(signature, challenge, _RAW)
    except (Mismatch, ValueError):
        raise InvalidSignature from None
