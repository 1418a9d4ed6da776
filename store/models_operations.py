"""Rows of what the server does beside the books: loops, jobs, webhooks, callbacks, the audit log."""

# SQLModel declares table names and metadata for itself.
# pyright: reportIncompatibleVariableOverride=false

from typing import ClassVar

from sqlalchemy import BigInteger, Index, LargeBinary, Text, UniqueConstraint
from sqlalchemy.orm import declared_attr
from sqlmodel import Field

from quittance.store.models import Row, only_where


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
    The row of a job that is done is gone.
    """

    __tablename__: ClassVar[str | declared_attr[str]] = "job"
    __table_args__ = (
        UniqueConstraint("kind", "subject"),
        Index("ix_job_lane_due_at_us_id", "lane", "due_at_us", "id", **only_where("state <> 'DEAD'")),
        Index("ix_job_kind_due_at_us", "kind", "due_at_us", **only_where("state <> 'DEAD'")),
        Index("ix_job_dead_due_at_us", "due_at_us", **only_where("state = 'DEAD'")),
        Index("ix_job_order_key_order_place", "order_key", "order_place", **only_where("order_key IS NOT NULL")),
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
    """What is known of a lane: none of its jobs is begun before ``paused_until_us``.

    ``slow``: 1 where what its jobs call does not answer. ``per_second``: how many may be begun, where the lane says so.
    """

    __tablename__: ClassVar[str | declared_attr[str]] = "job_lane"
    __table_args__ = (Index(None, "paused_until_us"),)

    lane: str = Field(sa_type=Text, primary_key=True)
    paused_until_us: int = Field(sa_type=BigInteger)
    slow: int = Field(sa_type=BigInteger)
    per_second: int | None = Field(sa_type=BigInteger, nullable=True)


class WebhookEndpointRow(Row, table=True):
    """Where a merchant is told of events. Its secrets are derived from ``secret_version``, never stored.

    ``ed25519`` is 1 where deliveries are signed with a private key too.
    """

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
    ed25519: int = Field(sa_type=BigInteger)


_PENDING = "state = 'PENDING'"


class WebhookDeliveryRow(Row, table=True):
    """One event on its way to one endpoint, which no other brings there meanwhile, or to the ``url`` of its payment."""

    __tablename__: ClassVar[str | declared_attr[str]] = "webhook_delivery"
    __table_args__ = (
        Index(None, "merchant_id", "id"),
        Index(None, "endpoint_id", "id"),
        Index(None, "endpoint_id", "state", "id"),
        Index(None, "payment_id", "id"),
        Index("uq_webhook_delivery_pending", "endpoint_id", "event_position", unique=True, **only_where(_PENDING)),
    )

    id: str = Field(sa_type=Text, primary_key=True)
    endpoint_id: str | None = Field(sa_type=Text, foreign_key="webhook_endpoint.id", nullable=True)
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
    url: str | None = Field(sa_type=Text, nullable=True)


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


class ProviderCallbackRow(Row, table=True):
    """What a provider told us, once per event id of its own: kept for ever, so that nothing can be told twice."""

    __tablename__: ClassVar[str | declared_attr[str]] = "provider_callback"
    __table_args__ = (UniqueConstraint("provider", "event_id"),)

    id: str = Field(sa_type=Text, primary_key=True)
    provider: str = Field(sa_type=Text)
    event_id: str = Field(sa_type=Text)
    kind: str = Field(sa_type=Text)
    reference: str | None = Field(sa_type=Text, nullable=True)
    payment_id: str | None = Field(sa_type=Text, foreign_key="payment.id", nullable=True)
    state: str = Field(sa_type=Text)
    reason: str | None = Field(sa_type=Text, nullable=True)
    received_at_us: int = Field(sa_type=BigInteger)
    processed_at_us: int | None = Field(sa_type=BigInteger, nullable=True)


class ProviderCallbackBodyRow(Row, table=True):
    """The raw body that was signed, for as long as it is kept."""

    __tablename__: ClassVar[str | declared_attr[str]] = "provider_callback_body"

    callback_id: str = Field(sa_type=Text, primary_key=True, foreign_key="provider_callback.id")
    body: bytes = Field(sa_type=LargeBinary)


class PayerNoteRow(Row, table=True):
    """What the adapter of a rail must know of an outgoing payment after a crash, in its own words."""

    __tablename__: ClassVar[str | declared_attr[str]] = "payer_note"

    provider: str = Field(sa_type=Text, primary_key=True)
    reference: str = Field(sa_type=Text, primary_key=True)
    note: str = Field(sa_type=Text)
    noted_at_us: int = Field(sa_type=BigInteger)


class InstanceRow(Row, table=True):
    """Facts of this installation, such as the fingerprint of the secret key it was made with."""

    __tablename__: ClassVar[str | declared_attr[str]] = "instance"

    name: str = Field(sa_type=Text, primary_key=True)
    value: str = Field(sa_type=Text)
