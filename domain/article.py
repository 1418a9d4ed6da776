"""An article: what a reader pays to see."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from quittance.domain.errors import InvalidArticle
from quittance.domain.ids import ArticleId, MerchantId
from quittance.domain.money import Money
from quittance.domain.text import is_storable

TITLE_MAX = 191
SUMMARY_MAX = 2_000
CONTENT_MAX = 400_000


class ArticleStatus(StrEnum):
    """Whether it is sold. HIDDEN is its merchant's choice, and buyers keep reading; REMOVED is the operator's, and
    nobody reads it.
    """

    VISIBLE = "VISIBLE"
    HIDDEN = "HIDDEN"
    REMOVED = "REMOVED"


class ArticleOrder(StrEnum):
    NEWEST = "NEWEST"
    OLDEST = "OLDEST"
    MOST_VIEWED = "MOST_VIEWED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Article:
    """``views`` and ``upvotes`` are running totals of complete payments, kept by the unit that completes them."""

    id: ArticleId
    merchant_id: MerchantId
    title: str
    summary: str | None
    content: str
    status: ArticleStatus
    price: Money
    views: int
    upvotes: int
    created_at: datetime
    modified_at: datetime


def check_article(*, title: str, summary: str | None, content: str) -> None:
    """Refuse texts that are empty or too long.

    Raises:
        InvalidArticle: names the field.
    """
    if not title.strip() or len(title) > TITLE_MAX:
        raise InvalidArticle("title", f"a title has 1 to {TITLE_MAX} characters")
    if summary is not None and len(summary) > SUMMARY_MAX:
        raise InvalidArticle("summary", f"a summary has at most {SUMMARY_MAX} characters")
    if not content.strip() or len(content) > CONTENT_MAX:
        raise InvalidArticle("content", f"the content has 1 to {CONTENT_MAX} characters")
    for field, text in (("title", title), ("summary", summary or ""), ("content", content)):
        if not is_storable(text):
            raise InvalidArticle(field, f"the {field} holds a NUL character or half a surrogate pair")
