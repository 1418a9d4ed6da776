"""Identifiers: a prefix that says what it names, and a UUID version 7 that sorts by time."""

import uuid
from datetime import datetime
from typing import NewType

MerchantId = NewType("MerchantId", str)
ApiKeyId = NewType("ApiKeyId", str)
ArticleId = NewType("ArticleId", str)
PaymentId = NewType("PaymentId", str)
OptionId = NewType("OptionId", str)
EventId = NewType("EventId", str)
SettlementId = NewType("SettlementId", str)
JobId = NewType("JobId", str)
EndpointId = NewType("EndpointId", str)
DeliveryId = NewType("DeliveryId", str)
AuditEntryId = NewType("AuditEntryId", str)
CallbackId = NewType("CallbackId", str)
PaymentHash = NewType("PaymentHash", str)
Preimage = NewType("Preimage", bytes)

MERCHANT, API_KEY, ARTICLE, PAYMENT, OPTION, EVENT, SETTLEMENT, LEDGER_TRANSACTION = (
    "mer", "key", "art", "pay", "opt", "evt", "set", "ltx",
)  # fmt: skip
JOB, ENDPOINT, DELIVERY, AUDIT_ENTRY = "job", "whe", "whd", "aud"
CALLBACK = "cbk"
BOOTSTRAP_MERCHANT = MerchantId(f"{MERCHANT}_{0:032x}")


def new_id(prefix: str, *, at: datetime, entropy: bytes) -> str:
    """Return ``prefix_`` and 32 hex digits: a UUIDv7 (RFC 9562, 5.7) from the injected time and 10 random bytes."""
    if len(entropy) != 10:
        raise ValueError("a UUIDv7 takes 10 bytes of entropy")
    value = int(at.timestamp() * 1000) << 80 | int.from_bytes(entropy, "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return f"{prefix}_{uuid.UUID(int=value).hex}"


def prefix_of(identifier: str) -> str:
    """Return what an identifier names, or an empty string for a foreign one."""
    prefix, _, rest = identifier.partition("_")
    return prefix if len(rest) == 32 and all(digit in "0123456789abcdef" for digit in rest) else ""
