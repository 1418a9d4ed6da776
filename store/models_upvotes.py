"""Rows of upvotes: each that is complete, and who has upvoted an article."""

# SQLModel declares table names and metadata for itself.
# pyright: reportIncompatibleVariableOverride=false

from typing import ClassVar

from sqlalchemy import BigInteger, Index, Text
from sqlalchemy.orm import declared_attr
from sqlmodel import Field

from quittance.store.models import Row, only_where


class UpvoteRow(Row, table=True):
    """A complete upvote, and how far it is shared out. ``account_id`` is null for a payer who is no reader."""

    __tablename__: ClassVar[str | declared_attr[str]] = "upvote"
    __table_args__ = (Index("ix_upvote_splitting", "merchant_id", **only_where("state = 'SPLITTING'")),)

    payment_id: str = Field(sa_type=Text, primary_key=True, foreign_key="payment.id")
    article_id: str = Field(sa_type=Text, foreign_key="article.id")
    merchant_id: str = Field(sa_type=Text, foreign_key="merchant.id")
    account_id: str | None = Field(sa_type=Text, nullable=True)
    settlement_id: str = Field(sa_type=Text, foreign_key="settlement.id")
    asset_code: str = Field(sa_type=Text)
    asset_scale: int = Field(sa_type=BigInteger)
    sharers: int = Field(sa_type=BigInteger)
    share_value: int = Field(sa_type=BigInteger)
    remainder_value: int = Field(sa_type=BigInteger)
    voters_before: int = Field(sa_type=BigInteger)
    posted_place: int = Field(sa_type=BigInteger)
    posted_count: int = Field(sa_type=BigInteger)
    state: str = Field(sa_type=Text)
    completed_at_us: int = Field(sa_type=BigInteger)


class UpvoterRow(Row, table=True):
    """A reader who upvoted an article. Places are given under the article's lock, so they have no gap."""

    __tablename__: ClassVar[str | declared_attr[str]] = "upvoter"
    __table_args__ = (Index(None, "article_id", "place", unique=True),)

    article_id: str = Field(sa_type=Text, primary_key=True, foreign_key="article.id")
    account_id: str = Field(sa_type=Text, primary_key=True)
    place: int = Field(sa_type=BigInteger)
