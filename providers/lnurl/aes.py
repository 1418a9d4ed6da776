"""What only a preimage opens (LUD-10): AES-256 in CBC mode, with PKCS#7 padding."""

from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7

from quittance.domain.ids import Preimage
from quittance.domain.lnurl_pay import CIPHERTEXT_CHARACTERS_MAX, AesAction, printable

_KEY_BYTES: Final = 32
_BLOCK_BITS: Final = 128


def opened(action: AesAction, preimage: Preimage) -> str | None:
    """Return the text, printable; None where this preimage does not open it."""
    if len(preimage) != _KEY_BYTES:
        return None
    decryptor = Cipher(AES(preimage), CBC(action.iv)).decryptor()
    unpadder = PKCS7(_BLOCK_BITS).unpadder()
    try:
        padded = decryptor.update(action.ciphertext) + decryptor.finalize()
        text = (unpadder.update(padded) + unpadder.finalize()).decode()
    except ValueError:
        return None
    return printable(text, characters_max=CIPHERTEXT_CHARACTERS_MAX)
