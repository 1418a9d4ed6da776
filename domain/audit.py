"""Who did what: one entry for every change that a key or the command line made, and for money refused its way."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from quittance.domain.access import Principal
from quittance.domain.ids import AuditEntryId, MerchantId

_COMMAND_LINE = "command line"


class AuditAction(StrEnum):
    """What was done."""

    MERCHANT_CREATED = "MERCHANT_CREATED"
    MERCHANT_UPDATED = "MERCHANT_UPDATED"
    API_KEY_CREATED = "API_KEY_CREATED"
    API_KEY_ROTATED = "API_KEY_ROTATED"
    API_KEY_REVOKED = "API_KEY_REVOKED"
    ARTICLE_CREATED = "ARTICLE_CREATED"
    ARTICLE_UPDATED = "ARTICLE_UPDATED"
    ARTICLE_MODERATED = "ARTICLE_MODERATED"
    PAYMENT_CANCELED = "PAYMENT_CANCELED"
    PAYMENT_REFUNDED = "PAYMENT_REFUNDED"
    PAYOUT_REQUESTED = "PAYOUT_REQUESTED"
    DESTINATION_REFUSED = "DESTINATION_REFUSED"
    WITHDRAWAL_CREATED = "WITHDRAWAL_CREATED"
    PAYMENT_CAPTURED = "PAYMENT_CAPTURED"
    PAYMENT_RELEASED = "PAYMENT_RELEASED"
    WEBHOOK_ENDPOINT_CREATED = "WEBHOOK_ENDPOINT_CREATED"
    WEBHOOK_ENDPOINT_UPDATED = "WEBHOOK_ENDPOINT_UPDATED"
    WEBHOOK_ENDPOINT_DELETED = "WEBHOOK_ENDPOINT_DELETED"
    WEBHOOK_SECRET_ROTATED = "WEBHOOK_SECRET_ROTATED"  # noqa: S105 - the name of an action
    WEBHOOK_REDELIVERED = "WEBHOOK_REDELIVERED"
    NOTIFY_SECRET_ROTATED = "NOTIFY_SECRET_ROTATED"  # noqa: S105 - the name of an action
    WEBHOOK_TEST_SENT = "WEBHOOK_TEST_SENT"
    WEBHOOKS_REPLAYED = "WEBHOOKS_REPLAYED"
    PROVIDER_WEBHOOK_SUBSCRIBED = "PROVIDER_WEBHOOK_SUBSCRIBED"
    PROVIDER_WEBHOOK_UPDATED = "PROVIDER_WEBHOOK_UPDATED"
    PROVIDER_WEBHOOK_UNSUBSCRIBED = "PROVIDER_WEBHOOK_UNSUBSCRIBED"
    PROVIDER_WEBHOOK_SECRET_ROTATED = "PROVIDER_WEBHOOK_SECRET_ROTATED"  # noqa: S105 - the name of an action
    PROVIDER_EVENTS_CAUGHT_UP = "PROVIDER_EVENTS_CAUGHT_UP"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """What was done to what. ``detail`` is for people and never holds a secret."""

    action: AuditAction
    subject_id: str
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One line of a merchant's log."""

    id: AuditEntryId
    merchant_id: MerchantId
    actor_id: str
    actor_name: str
    action: AuditAction
    subject_id: str
    detail: str | None
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """What to narrow a log to; None does not narrow."""

    action: AuditAction | None = None
    actor_id: str | None = None
    subject_id: str | None = None


def actor_of(principal: Principal | None) -> tuple[str, str]:
    """Return the id and the name of who acts: an API key, a reader, whoever holds a secret, or the command line."""
    if principal is not None and principal.key_id is not None:
        return principal.key_id, principal.key_name or ""
    if principal is None or principal.merchant_id is not None:
        return _COMMAND_LINE, _COMMAND_LINE
    if principal.account_id is not None:
        return principal.account_id, "reader"
    return principal.payment_id or "anonymous", "anonymous"
