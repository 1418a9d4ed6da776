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
ProviderWebhookId = NewType("ProviderWebhookId", str)
AccountId = NewType("AccountId", str)
SessionId = NewType("SessionId", str)
LoginId = NewType("LoginId", str)
TransferId = NewType("TransferId", str)
WithdrawalId = NewType("WithdrawalId", str)
PaymentHash = NewType("PaymentHash", str)
Preimage = NewType("Preimage", bytes)

MERCHANT, API_KEY, ARTICLE, PAYMENT, OPTION, EVENT, SETTLEMENT, LEDGER_TRANSACTION = (
    "mer", "key", "art", "pay", "opt", "evt", "set", "ltx",
)  # fmt: skip
JOB, ENDPOINT, DELIVERY, AUDIT_ENTRY = "job", "whe", "whd", "aud"
CALLBACK, PROVIDER_WEBHOOK = "cbk", "pwh"
ACCOUNT, SESSION, LOGIN = "acc", "ses", "lgn"
REFUND, PAYOUT = "rfd", "pot"
WITHDRAWAL = "wdr"
BOOTSTRAP_MERCHANT = MerchantId(f"{MERCHANT}_{0:032x}")
ENTROPY_BYTES = 10
_COUNTER_BITS = 12


def new_id(prefix: str, *, at: datetime, entropy: bytes) -> str:
    """Return ``prefix_`` and 32 hex digits: a UUIDv7 (RFC 9562, 5.7) from the injected time and 10 random bytes."""
    return _identifier(prefix, int(at.timestamp() * 1000), entropy)


class IdSequence:
    """Makes identifiers that sort in the order in which this process makes them, however many within a millisecond.

    As :func:`new_id`, but the 12 bits behind the version count (RFC 9562, 6.2, method 1), and time never goes back: a
    clock that is set back is not followed until it has caught up. Belongs to one thread.
    """

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last = 0  # milliseconds since 1970, and the count within them

    def new_id(self, prefix: str, *, at: datetime, entropy: bytes) -> str:
        self._last = max(self._last + 1, int(at.timestamp() * 1000) << _COUNTER_BITS)
        counted = (self._last & (1 << _COUNTER_BITS) - 1).to_bytes(2, "big")
        return _identifier(prefix, self._last >> _COUNTER_BITS, counted + entropy[2:])


def _identifier(prefix: str, at_ms: int, rest: bytes) -> str:
    if len(rest) != ENTROPY_BYTES:
        raise ValueError("a UUIDv7 takes 10 bytes of entropy")
    value = at_ms << 80 | int.from_bytes(rest, "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return f"{prefix}_{uuid.UUID(int=value).hex}"


def prefix_of(identifier: str) -> str:
    """Return what an identifier names, or an empty string for a foreign one."""
    prefix, _, rest = identifier.partition("_")
    return prefix if len(rest) == 32 and all(digit in "0123456789abcdef" for digit in rest) else ""
