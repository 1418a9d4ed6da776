"""Secrets: what is derived from the installation's secret key, so that none of it is stored.

A database dump holds no client secret, preimage or webhook secret: each is HMAC-SHA256 over a purpose and an id.
"""

import base64
import hashlib
import hmac

from quittance.domain.errors import InvalidInput
from quittance.domain.ids import (
    OPTION,
    PAYMENT,
    EndpointId,
    MerchantId,
    OptionId,
    PaymentId,
    Preimage,
    ProviderWebhookId,
    TransferId,
    prefix_of,
)

_SEPARATOR = "_secret_"
_VERIFY_SEPARATOR = "_verify_"
SECRET_KEY_BYTES_MIN = 32
OVERLAP_S_MAX = 30 * 86_400


def check_overlap(overlap_s: int) -> None:
    """Accept for how long an old key or secret is valid beside its successor.

    Raises:
        InvalidInput: not between nothing and 30 days.
    """
    if not 0 <= overlap_s <= OVERLAP_S_MAX:
        raise InvalidInput("overlapSeconds", f"overlapSeconds lies between 0 and {OVERLAP_S_MAX}")


class SecretDeriver:
    """Derives per-payment secrets from one key of at least 32 bytes."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        if len(key) < SECRET_KEY_BYTES_MIN:
            raise ValueError(f"the secret key needs at least {SECRET_KEY_BYTES_MIN} bytes")
        self._key = key

    def __repr__(self) -> str:
        return "SecretDeriver(…)"

    def fingerprint(self) -> str:
        """Return a public name of the key: equal keys have equal fingerprints, and it tells nothing else."""
        return self._mac("fingerprint", "").hex()[:16]

    def preimage(self, option_id: OptionId) -> Preimage:
        """Return the 32 bytes whose SHA-256 is the payment hash of this option's invoice."""
        return Preimage(self._mac("preimage", option_id))

    def transfer_preimage(self, transfer_id: TransferId, number: int) -> Preimage:
        """Return the 32 bytes that a payment without an invoice carries, another for each try."""
        return Preimage(self._mac("transfer-preimage", f"{transfer_id}\x00{number}"))

    def client_secret(self, payment_id: PaymentId) -> str:
        """Return what opens one payment and what it bought, nothing else."""
        return f"{payment_id}{_SEPARATOR}{self._mac('client-secret', payment_id).hex()}"

    def payment_opened_by(self, client_secret: str) -> PaymentId | None:
        """Return the payment that this client secret opens, compared in constant time; None for a forged one."""
        payment_id, separator, _ = client_secret.partition(_SEPARATOR)
        if not separator or prefix_of(payment_id) != PAYMENT or not client_secret.isascii():
            return None
        expected = self.client_secret(PaymentId(payment_id))
        if not hmac.compare_digest(expected.encode(), client_secret.encode()):
            return None
        return PaymentId(payment_id)

    def verify_token(self, option_id: OptionId) -> str:
        """Return what shows whether the invoice of this option was paid (LUD-21), and opens nothing."""
        return f"{option_id}{_VERIFY_SEPARATOR}{self._mac('verify', option_id).hex()}"

    def option_verified_by(self, token: str) -> OptionId | None:
        """Return the option that this token is of, compared in constant time; None for a forged one."""
        option_id, separator, _ = token.partition(_VERIFY_SEPARATOR)
        if not separator or prefix_of(option_id) != OPTION or not token.isascii():
            return None
        expected = self.verify_token(OptionId(option_id))
        return OptionId(option_id) if hmac.compare_digest(expected.encode(), token.encode()) else None

    def webhook_secret(self, endpoint_id: EndpointId, version: int) -> bytes:
        """Return the 32 bytes that sign what this endpoint is sent; the next version is the next secret."""
        return self._mac("webhook", f"{endpoint_id}\x00{version}")

    def webhook_seed(self, endpoint_id: EndpointId, version: int) -> bytes:
        """Return the 32 bytes of the Ed25519 key that signs what this endpoint is sent, with each secret another."""
        return self._mac("webhook-ed25519", f"{endpoint_id}\x00{version}")

    def notify_secret(self, merchant_id: MerchantId, version: int) -> bytes:
        """Return the 32 bytes that sign what is sent to the addresses of this merchant's payments."""
        return self._mac("notify", f"{merchant_id}\x00{version}")

    def provider_webhook_secret(self, webhook_id: ProviderWebhookId, generation: int) -> str:
        """Return what a provider signs with when it tells us: 32 bytes as 43 characters of unpadded base64url."""
        secret = self._mac("provider-webhook", f"{webhook_id}\x00{generation}")
        return base64.urlsafe_b64encode(secret).decode().rstrip("=")

    def _mac(self, purpose: str, subject: str) -> bytes:
        return hmac.digest(self._key, f"{purpose}\x00{subject}".encode(), hashlib.sha256)
