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


class PaymentOptionRow(Row, table=True):
    """One attempt on one rail. ``check_at_us`` is when the provider is asked next; null once nothing can change."""

    __tablename__: ClassVar[str | declared_attr[str]] = "payment_option"
    __table_args__ = (
        UniqueConstraint("provider", "reference"),
        Index(None, "payment_id"),
        Index(None, "check_at_us"),
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
    check_at_us: int | None = Field(sa_type=BigInteger, nullable=True)


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
    )

    transaction_id: str = Field(sa_type=Text, primary_key=True)
    line: int = Field(sa_type=BigInteger, primary_key=True)
    account_id: str = Field(sa_type=Text, foreign_key="ledger_account.id")
    settlement_id: str | None = Field(sa_type=Text, foreign_key="settlement.id", nullable=True)
    value: int = Field(sa_type=BigInteger)
    posted_at_us: int = Field(sa_type=BigInteger)


class EventRow(Row, table=True):
    """The log and outbox. Positions are handed out under a lock that is held until commit."""

    __tablename__: ClassVar[str | declared_attr[str]] = "event"
    __table_args__ = (
        UniqueConstraint("id"),
        Index(None, "payment_id", "position"),
        Index(None, "article_id", "position"),
        Index(None, "merchant_id", "position"),
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


class LeaseRow(Row, table=True):
    """Who runs a loop. ``fence`` grows with each holder, so that a stale one is told apart."""

    __tablename__: ClassVar[str | declared_attr[str]] = "lease"

    name: str = Field(sa_type=Text, primary_key=True)
    holder: str = Field(sa_type=Text)
    fence: int = Field(sa_type=BigInteger)
    until_us: int = Field(sa_type=BigInteger)


class JobRow(Row, table=True):
    """Something that must happen later. Jobs of one ``order_key`` run one after the other, by ``order_place``.

    A ``lane`` bounds how many run at once. ``fence`` grows with each claim, so that a slow claimant is told apart.
    """

    __tablename__: ClassVar[str | declared_attr[str]] = "job"
    __table_args__ = (
        UniqueConstraint("kind", "subject"),
        Index(None, "state", "due_at_us"),
        Index(None, "order_key", "order_place"),
    )

    id: str = Field(sa_type=Text, primary_key=True)
    kind: str = Field(sa_type=Text)
    subject: str = Field(sa_type=Text)
    lane: str = Field(sa_type=Text)
    order_key: str | None = Field(sa_type=Text, nullable=True)
    order_place: int = Field(sa_type=BigInteger)
    state: str = Field(sa_type=Text)
    due_at_us: int = Field(sa_type=BigInteger)
    attempts: int = Field(sa_type=BigInteger)
    fence: int = Field(sa_type=BigInteger)
    last_error: str | None = Field(sa_type=Text, nullable=True)
    created_at_us: int = Field(sa_type=BigInteger)
    ended_at_us: int | None = Field(sa_type=BigInteger, nullable=True)


class JobLaneRow(Row, table=True):
    """A lane that rests: none of its jobs is begun before ``paused_until_us``."""

    __tablename__: ClassVar[str | declared_attr[str]] = "job_lane"

    lane: str = Field(sa_type=Text, primary_key=True)
    paused_until_us: int = Field(sa_type=BigInteger)


class WebhookEndpointRow(Row, table=True):
    """Where a merchant is told of events. Its secrets are derived from ``secret_version``, never stored."""

    __tablename__: ClassVar[str | declared_attr[str]] = "webhook_endpoint"
    __table_args__ = (Index(None, "merchant_id", "id"),)

    id: str = Field(sa_type=Text, primary_key=True)
    merchant_id: str = Field(sa_type=Text, foreign_key="merchant.id")
    url: str = Field(sa_type=Text)
    description: str | None = Field(sa_type=Text, nullable=True)
    event_types: str = Field(sa_type=Text)
    document: str | None = Field(sa_type=Text, nullable=True)
    status: str = Field(sa_type=Text)
    status_reason: str | None = Field(sa_type=Text, nullable=True)
    secret_version: int = Field(sa_type=BigInteger)
    previous_secret_until_us: int | None = Field(sa_type=BigInteger, nullable=True)
    failures: int = Field(sa_type=BigInteger)
    created_at_us: int = Field(sa_type=BigInteger)
    modified_at_us: int = Field(sa_type=BigInteger)
    deleted_at_us: int | None = Field(sa_type=BigInteger, nullable=True)


_PENDING = "state = 'PENDING'"


class WebhookDeliveryRow(Row, table=True):
    """One event on its way to one endpoint, which no other brings there meanwhile."""

    __tablename__: ClassVar[str | declared_attr[str]] = "webhook_delivery"
    __table_args__ = (
        Index(None, "merchant_id", "id"),
        Index(None, "endpoint_id", "id"),
        Index(None, "endpoint_id", "state", "id"),
        Index(None, "payment_id", "id"),
        Index("uq_webhook_delivery_pending", "endpoint_id", "event_position", unique=True, **only_where(_PENDING)),
    )

    id: str = Field(sa_type=Text, primary_key=True)
    endpoint_id: str = Field(sa_type=Text, foreign_key="webhook_endpoint.id")
    merchant_id: str = Field(sa_type=Text, foreign_key="merchant.id")
    event_position: int | None = Field(sa_type=BigInteger, nullable=True)
    event_id: str = Field(sa_type=Text)
    event_type: str = Field(sa_type=Text)
    payment_id: str | None = Field(sa_type=Text, nullable=True)
    cause: str = Field(sa_type=Text)
    state: str = Field(sa_type=Text)
    attempts: int = Field(sa_type=BigInteger)
    created_at_us: int = Field(sa_type=BigInteger)
    ended_at_us: int | None = Field(sa_type=BigInteger, nullable=True)


class WebhookAttemptRow(Row, table=True):
    """One try to deliver, and how it ended."""

    __tablename__: ClassVar[str | declared_attr[str]] = "webhook_attempt"

    delivery_id: str = Field(sa_type=Text, primary_key=True, foreign_key="webhook_delivery.id")
    number: int = Field(sa_type=BigInteger, primary_key=True)
    begun_at_us: int = Field(sa_type=BigInteger)
    took_us: int = Field(sa_type=BigInteger)
    status_code: int | None = Field(sa_type=BigInteger, nullable=True)
    error: str | None = Field(sa_type=Text, nullable=True)


class AuditEntryRow(Row, table=True):
    """Who did what: kept for ever, never changed."""

    __tablename__: ClassVar[str | declared_attr[str]] = "audit_entry"
    __table_args__ = (
        Index(None, "merchant_id", "id"),
        Index(None, "merchant_id", "action", "id"),
        Index(None, "merchant_id", "actor_id", "id"),
        Index(None, "merchant_id", "subject_id", "id"),
    )

    id: str = Field(sa_type=Text, primary_key=True)
    merchant_id: str = Field(sa_type=Text, foreign_key="merchant.id")
    actor_id: str = Field(sa_type=Text)
    actor_name: str = Field(sa_type=Text)
    action: str = Field(sa_type=Text)
    subject_id: str = Field(sa_type=Text)
    detail: str | None = Field(sa_type=Text, nullable=True)
    at_us: int = Field(sa_type=BigInteger)


class InstanceRow(Row, table=True):
    """Facts of this installation, such as the fingerprint of the secret key it was made with."""

    __tablename__: ClassVar[str | declared_attr[str]] = "instance"

    name: str = Field(sa_type=Text, primary_key=True)
    value: str = Field(sa_type=Text)


def table_of(row: type[Row]) -> Table:
    """Return the Core table of a row class."""
    return row.metadata.tables[str(row.__tablename__)]
