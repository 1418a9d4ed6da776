"""Events: what happened, in the one order that every reader sees."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from quittance.domain.ids import AccountId, ArticleId, EventId, MerchantId, PaymentId


class EventKind(StrEnum):
    PAYMENT_SETTLED = "payment.settled"
    PAYMENT_UPDATED = "payment.updated"
    REFUND_UPDATED = "refund.updated"
    PAYOUT_UPDATED = "payout.updated"
    ARTICLE_PUBLISHED = "article.published"
    ARTICLE_UPDATED = "article.updated"
    WEBHOOK_DELIVERED = "webhook.delivered"
    WEBHOOK_ENDPOINT_DISABLED = "webhook.endpoint_disabled"
    LOGIN_SIGNED = "login.signed"  # wakes who waits for it; ``subject_id`` names the login and opens nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One row of the log. ``position`` has no gap for readers: a later number is never visible before an earlier.

    ``subject_id`` names what it is about where that is neither a payment nor an article: the wider thing before the
    narrower one, as ``endpoint/delivery``. ``account_id`` is the reader whom the payment bought for at that moment.
    """

    position: int
    id: EventId
    kind: EventKind
    merchant_id: MerchantId
    payment_id: PaymentId | None
    article_id: ArticleId | None
    status: str | None
    occurred_at: datetime
    subject_id: str | None = None
    account_id: AccountId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSelector:
    """Which events a reader may see and asked for; ``None`` leaves a dimension open."""

    kinds: frozenset[EventKind]
    merchant_id: MerchantId | None = None
    payment_id: PaymentId | None = None
    article_id: ArticleId | None = None
    subject_id: str | None = None
    account_id: AccountId | None = None

    def matches(self, event: Event) -> bool:
        return (
            event.kind in self.kinds
            and (self.merchant_id is None or event.merchant_id == self.merchant_id)
            and (self.payment_id is None or event.payment_id == self.payment_id)
            and (self.article_id is None or event.article_id == self.article_id)
            and (self.account_id is None or event.account_id == self.account_id)
            and (self.subject_id is None or self.subject_id in (event.subject_id or "").split("/"))
        )


EVERYTHING = EventSelector(kinds=frozenset(EventKind))
