"""Rows. Times are integer microseconds since 1970 (UTC), amounts are 64-bit counts, so both databases agree."""

# SQLModel declares table names and metadata for itself.
# pyright: reportIncompatibleVariableOverride=false

from typing import Any, ClassVar

from sqlalchemy import BigInteger, Index, LargeBinary, MetaData, Table, Text, UniqueConstraint, text
from sqlalchemy.orm import declared_attr
from sqlmodel import Field, SQLModel

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Row(SQLModel):
    """What every table shares: one metadata with named constraints."""

    metadata: ClassVar[MetaData] = MetaData(naming_convention=NAMING_CONVENTION)


def only_where(condition: str) -> dict[str, Any]:
    """Return the arguments of an index that holds only the rows of a condition, on either database."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


ONE_VIEW = "purpose = 'VIEW' AND viewer <> merchant_id"  # a reader pays for the view of an article with one payment


class MerchantRow(Row, table=True):
    __tablename__: ClassVar[str | declared_attr[str]] = "merchant"

    id: str = Field(sa_type=Text, primary_key=True)
    name: str = Field(sa_type=Text)
    default_provider: str = Field(sa_type=Text)
    late_policy: str = Field(sa_type=Text)
    late_grace_s: int = Field(sa_type=BigInteger)
    under_policy: str = Field(sa_type=Text)
    under_tolerance_ppm: int = Field(sa_type=BigInteger)
    over_policy: str = Field(sa_type=Text)
    created_at_us: int = Field(sa_type=BigInteger)
    notify_secret_version: int = Field(sa_type=BigInteger)
    notify_previous_secret_until_us: int | None = Field(sa_type=BigInteger, nullable=True)
    unique_correlation_ids: int = Field(sa_type=BigInteger)


class ApiKeyRow(Row, table=True):
    __tablename__: ClassVar[str | declared_attr[str]] = "api_key"
    __table_args__ = (Index(None, "prefix"), Index(None, "merchant_id"))

    id: str = Field(sa_type=Text, primary_key=True)
    merchant_id: str = Field(sa_type=Text, foreign_key="merchant.id")
    name: str = Field(sa_type=Text)
    prefix: str = Field(sa_type=Text)
    key_hash: bytes = Field(sa_type=LargeBinary)
    scopes: str = Field(sa_type=Text)
    created_at_us: int = Field(sa_type=BigInteger)
    last_used_at_us: int | None = Field(sa_type=BigInteger, nullable=True)
    revoked_at_us: int | None = Field(sa_type=BigInteger, nullable=True)


class ArticleRow(Row, table=True):
    __tablename__: ClassVar[str | declared_attr[str]] = "article"
    __table_args__ = (
        Index(None, "merchant_id", "id"),
        Index(None, "status", "id"),
        Index(None, "status", "views", "id"),
    )

    id: str = Field(sa_type=Text, primary_key=True)
    merchant_id: str = Field(sa_type=Text, foreign_key="merchant.id")
    title: str = Field(sa_type=Text)
    summary: str | None = Field(sa_type=Text, nullable=True)
    content: str = Field(sa_type=Text)
    status: str = Field(sa_type=Text)
    price_value: int = Field(sa_type=BigInteger)
    asset_code: str = Field(sa_type=Text)
    asset_scale: int = Field(sa_type=BigInteger)
    views: int = Field(sa_type=BigInteger)
    upvotes: int = Field(sa_type=BigInteger)
    created_at_us: int = Field(sa_type=BigInteger)
    modified_at_us: int = Field(sa_type=BigInteger)


class PaymentRow(Row, table=True):
    __tablename__: ClassVar[str | declared_attr[str]] = "payment"
    __table_args__ = (
        Index(None, "merchant_id", "id"),
        Index(None, "merchant_id", "status", "id"),
        Index(None, "merchant_id", "correlation_id"),
        Index(None, "article_id", "viewer", "purpose", "status"),
        Index("ix_payment_of_reader", "viewer", "id", **only_where("viewer <> merchant_id")),  # not the merchant's own
        Index("uq_payment_view_of_reader", "article_id", "viewer", unique=True, **only_where(ONE_VIEW)),
    )

    id: str = Field(sa_type=Text, primary_key=True)
    merchant_id: str = Field(sa_type=Text, foreign_key="merchant.id")
    viewer: str = Field(sa_type=Text)
    article_id: str | None = Field(sa_type=Text, foreign_key="article.id", nullable=True)
    status: str = Field(sa_type=Text)
    status_reason: str | None = Field(sa_type=Text, nullable=True)
    purpose: str = Field(sa_type=Text)
    provider: str = Field(sa_type=Text)
    amount_value: int = Field(sa_type=BigInteger)
    asset_code: str = Field(sa_type=Text)
    asset_scale: int = Field(sa_type=BigInteger)
    received_value: int | None = Field(sa_type=BigInteger, nullable=True)
    description: str | None = Field(sa_type=Text, nullable=True)
    correlation_id: str | None = Field(sa_type=Text, nullable=True)
    refund_address: str | None = Field(sa_type=Text, nullable=True)
    expires_in_s: int = Field(sa_type=BigInteger)
    created_at_us: int = Field(sa_type=BigInteger)
    modified_at_us: int = Field(sa_type=BigInteger)
    expires_at_us: int | None = Field(sa_type=BigInteger, nullable=True)
    settled_at_us: int | None = Field(sa_type=BigInteger, nullable=True)
    notify_url: str | None = Field(sa_type=Text, nullable=True)
    hold: int = Field(sa_type=BigInteger)
    hold_expires_at_us: int | None = Field(sa_type=BigInteger, nullable=True)
    described_by: str | None = Field(sa_type=Text, nullable=True)
    hold_order: str | None = Field(sa_type=Text, nullable=True)
    fiat_code: str | None = Field(sa_type=Text, nullable=True)
    fiat_scale: int | None = Field(sa_type=BigInteger, nullable=True)
    fiat_value: int | None = Field(sa_type=BigInteger, nullable=True)
    rate_value: str | None = Field(sa_type=Text, nullable=True)
    rate_spread_ppm: int | None = Field(sa_type=BigInteger, nullable=True)
    rate_sources: str | None = Field(sa_type=Text, nullable=True)
    rate_observed_at_us: int | None = Field(sa_type=BigInteger, nullable=True)
    notify_format: str = Field(sa_type=Text)


class CorrelationIdRow(Row, table=True):
    """Which payment of a merchant had a correlation id first."""

    __tablename__: ClassVar[str | declared_attr[str]] = "correlation_id"

    merchant_id: str = Field(sa_type=Text, primary_key=True, foreign_key="merchant.id")
    correlation_id: str = Field(sa_type=Text, primary_key=True)
    payment_id: str = Field(sa_type=Text)


class GivenInvoiceRow(Row, table=True):
    """The invoice that a shop was given of a payment, by which it knows the payment."""

    __tablename__: ClassVar[str | declared_attr[str]] = "given_invoice"

    payment_id: str = Field(sa_type=Text, primary_key=True, foreign_key="payment.id")
    payment_request: str = Field(sa_type=Text)


class PaymentOptionRow(Row, table=True):
    """One attempt on one rail. A job says when the provider is asked next, until nothing can change."""

    __tablename__: ClassVar[str | declared_attr[str]] = "payment_option"
    __table_args__ = (
        UniqueConstraint("provider", "reference"),
        Index(None, "payment_id"),
    )

    id: str = Field(sa_type=Text, primary_key=True)
    payment_id: str = Field(sa_type=Text, foreign_key="payment.id")
    provider: str = Field(sa_type=Text)
    state: str = Field(sa_type=Text)
    reference: str = Field(sa_type=Text)
    amount_value: int = Field(sa_type=BigInteger)
    asset_code: str = Field(sa_type=Text)
    asset_scale: int = Field(sa_type=BigInteger)
    payment_request: str | None = Field(sa_type=Text, nullable=True)
    created_at_us: int = Field(sa_type=BigInteger)
    expires_at_us: int = Field(sa_type=BigInteger)
    claimed_until_us: int = Field(sa_type=BigInteger)
    payable_until_us: int | None = Field(default=None, sa_type=BigInteger, nullable=True)


class SettlementRow(Row, table=True):
    """Money that arrived, once per provider and reference."""

    __tablename__: ClassVar[str | declared_attr[str]] = "settlement"
    __table_args__ = (
        UniqueConstraint("provider", "reference"),
        Index(None, "payment_id"),
        Index(None, "merchant_id", "id"),
    )

    id: str = Field(sa_type=Text, primary_key=True)
    merchant_id: str = Field(sa_type=Text, foreign_key="merchant.id")
    provider: str = Field(sa_type=Text)
    reference: str = Field(sa_type=Text)
    payment_id: str = Field(sa_type=Text, foreign_key="payment.id")
    option_id: str = Field(sa_type=Text, foreign_key="payment_option.id")
    amount_value: int = Field(sa_type=BigInteger)
    asset_code: str = Field(sa_type=Text)
    asset_scale: int = Field(sa_type=BigInteger)
    disposition: str = Field(sa_type=Text)
    settled_at_us: int = Field(sa_type=BigInteger)
    booked_at_us: int = Field(sa_type=BigInteger)


class LedgerAccountRow(Row, table=True):
    """A running total; debits are positive. The id says it all: kind, owner and asset."""

    __tablename__: ClassVar[str | declared_attr[str]] = "ledger_account"
    __table_args__ = (Index(None, "owner"),)

    id: str = Field(sa_type=Text, primary_key=True)
    kind: str = Field(sa_type=Text)
    owner: str = Field(sa_type=Text)
    asset_code: str = Field(sa_type=Text)
    asset_scale: int = Field(sa_type=BigInteger)
    balance_value: int = Field(sa_type=BigInteger)


class LedgerEntryRow(Row, table=True):
    """One line of a balanced transaction: the lines of one ``transaction_id`` sum to zero per asset."""

    __tablename__: ClassVar[str | declared_attr[str]] = "ledger_entry"
    __table_args__ = (
        Index(None, "account_id", "posted_at_us", "transaction_id", "line"),
        Index(None, "settlement_id"),
        Index(None, "transfer_id"),
    )

    transaction_id: str = Field(sa_type=Text, primary_key=True)
    line: int = Field(sa_type=BigInteger, primary_key=True)
    account_id: str = Field(sa_type=Text, foreign_key="ledger_account.id")
    settlement_id: str | None = Field(sa_type=Text, foreign_key="settlement.id", nullable=True)
    value: int = Field(sa_type=BigInteger)
    posted_at_us: int = Field(sa_type=BigInteger)
    transfer_id: str | None = Field(sa_type=Text, nullable=True)


class EventRow(Row, table=True):
    """The log and outbox. Positions are handed out under a lock that is held until commit."""

    __tablename__: ClassVar[str | declared_attr[str]] = "event"
    __table_args__ = (
        UniqueConstraint("id"),
        Index(None, "payment_id", "position"),
        Index(None, "article_id", "position"),
        Index(None, "merchant_id", "position"),
        Index("ix_event_of_reader", "account_id", "position", **only_where("account_id IS NOT NULL")),
    )

    position: int = Field(sa_type=BigInteger, primary_key=True)
    id: str = Field(sa_type=Text)
    kind: str = Field(sa_type=Text)
    merchant_id: str = Field(sa_type=Text)
    payment_id: str | None = Field(sa_type=Text, nullable=True)
    article_id: str | None = Field(sa_type=Text, nullable=True)
    status: str | None = Field(sa_type=Text, nullable=True)
    occurred_at_us: int = Field(sa_type=BigInteger)
    subject_id: str | None = Field(sa_type=Text, nullable=True)
    account_id: str | None = Field(sa_type=Text, nullable=True)


class EventHeadRow(Row, table=True):
    """One row: the newest position. Its row lock orders appenders by commit."""

    __tablename__: ClassVar[str | declared_attr[str]] = "event_head"

    id: int = Field(sa_type=BigInteger, primary_key=True)
    position: int = Field(sa_type=BigInteger)


class IdempotencyRow(Row, table=True):
    """What one merchant's key was first used for."""

    __tablename__: ClassVar[str | declared_attr[str]] = "idempotency"

    merchant_id: str = Field(sa_type=Text, primary_key=True, foreign_key="merchant.id")
    key: str = Field(sa_type=Text, primary_key=True)
    fingerprint: bytes = Field(sa_type=LargeBinary)
    payment_id: str = Field(sa_type=Text)
    created_at_us: int = Field(sa_type=BigInteger)


class FeedPositionRow(Row, table=True):
    """How far one provider's settlement feed is booked, and on which node."""

    __tablename__: ClassVar[str | declared_attr[str]] = "feed_position"

    provider: str = Field(sa_type=Text, primary_key=True)
    source: str = Field(sa_type=Text)
    feed_index: int = Field(sa_type=BigInteger)
    updated_at_us: int = Field(sa_type=BigInteger)


def table_of(row: type[Row]) -> Table:
    """Return the Core table of a row class."""
    return row.metadata.tables[str(row.__tablename__)]
