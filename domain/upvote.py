"""Upvotes: paid, complete, and shared out among those who upvoted the same article before."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from quittance.domain.ids import AccountId, ArticleId, MerchantId, PaymentId, SettlementId
from quittance.domain.split import Split


class UpvoteState(StrEnum):
    """SPLITTING: the money is set aside, and some shares are not posted yet. SPLIT: all are."""

    SPLITTING = "SPLITTING"
    SPLIT = "SPLIT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upvote:
    """A complete upvote. Its shares were fixed when it completed, by the order in which upvotes complete.

    Each reader has a place among an article's upvoters, counted from one, from their first upvote on.
    ``voters_before`` is the last place that was taken then; ``posted_place`` and ``posted_count`` say how far shares
    are posted. ``account_id`` is the payer, None for the merchant, who is no reader.
    """

    payment_id: PaymentId
    article_id: ArticleId
    merchant_id: MerchantId
    account_id: AccountId | None
    settlement_id: SettlementId
    split: Split
    voters_before: int
    posted_place: int = 0
    posted_count: int = 0
    state: UpvoteState
    completed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Upvoter:
    """A reader who upvoted an article, and their place among those who did."""

    place: int
    account_id: AccountId
