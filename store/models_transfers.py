"""Rows of money on its way out: transfers, their tries, and how much of each payment was given back."""

# SQLModel declares table names and metadata for itself.
# pyright: reportIncompatibleVariableOverride=false

from typing import ClassVar

from sqlalchemy import BigInteger, CheckConstraint, Index, LargeBinary, Text, UniqueConstraint
from sqlalchemy.orm import declared_attr
from sqlmodel import Field

from quittance.store.models import Row, only_where

NOT_FAILED = "state <> 'FAILED'"
NOT_ENDED = "state <> 'FAILED' AND state <> 'SUCCEEDED'"


class TransferRow(Row, table=True):
    """A refund or a payout. An invoice is paid by one of them at most, unless that failed."""

    __tablename__: ClassVar[str | declared_attr[str]] = "transfer"
    __table_args__ = (
        UniqueConstraint("owner_id", "idempotency_key"),
        Index(None, "owner_id", "purpose", "id"),
        Index(None, "payment_id", "id"),
        Index(None, "merchant_id", "id"),
        Index("ix_transfer_open", "owner_id", **only_where(NOT_ENDED)),
        Index("uq_transfer_payment_hash", "payment_hash", unique=True, **only_where(NOT_FAILED)),
    )

    id: str = Field(sa_type=Text, primary_key=True)
    purpose: str = Field(sa_type=Text)
    owner_id: str = Field(sa_type=Text)
    merchant_id: str = Field(sa_type=Text, foreign_key="merchant.id")
    payment_id: str | None = Field(sa_type=Text, foreign_key="payment.id", nullable=True)
    provider: str = Field(sa_type=Text)
    state: str = Field(sa_type=Text)
    state_reason: str | None = Field(sa_type=Text, nullable=True)
    amount_value: int = Field(sa_type=BigInteger)
    fee_max_value: int = Field(sa_type=BigInteger)
    from_refundable_value: int = Field(sa_type=BigInteger)
    fee_from_amount: int = Field(sa_type=BigInteger)
    fee_value: int | None = Field(sa_type=BigInteger, nullable=True)
    asset_code: str = Field(sa_type=Text)
    asset_scale: int = Field(sa_type=BigInteger)
    destination_kind: str = Field(sa_type=Text)
    destination: str = Field(sa_type=Text)
    payment_hash: str | None = Field(sa_type=Text, nullable=True)
    comment: str | None = Field(sa_type=Text, nullable=True)
    reason: str | None = Field(sa_type=Text, nullable=True)
    idempotency_key: str = Field(sa_type=Text)
    fingerprint: bytes = Field(sa_type=LargeBinary)
    attempts: int = Field(sa_type=BigInteger)
    message: str | None = Field(sa_type=Text, nullable=True)
    created_at_us: int = Field(sa_type=BigInteger)
    modified_at_us: int = Field(sa_type=BigInteger)
    ended_at_us: int | None = Field(sa_type=BigInteger, nullable=True)


class TransferAttemptRow(Row, table=True):
    """One try. A transfer has one live or successful try, and a reference one on each rail."""

    __tablename__: ClassVar[str | declared_attr[str]] = "transfer_attempt"
    __table_args__ = (
        Index("uq_transfer_attempt_live", "transfer_id", unique=True, **only_where(NOT_FAILED)),
        Index(None, "provider", "reference"),
        Index("uq_transfer_attempt_reference", "provider", "reference", unique=True, **only_where(NOT_FAILED)),
    )

    transfer_id: str = Field(sa_type=Text, primary_key=True, foreign_key="transfer.id")
    number: int = Field(sa_type=BigInteger, primary_key=True)
    provider: str = Field(sa_type=Text)
    reference: str = Field(sa_type=Text)
    payment_request: str | None = Field(sa_type=Text, nullable=True)
    expires_at_us: int | None = Field(sa_type=BigInteger, nullable=True)
    state: str = Field(sa_type=Text)
    failure: str | None = Field(sa_type=Text, nullable=True)
    fee_value: int | None = Field(sa_type=BigInteger, nullable=True)
    asset_code: str = Field(sa_type=Text)
    asset_scale: int = Field(sa_type=BigInteger)
    success_action: str | None = Field(sa_type=Text, nullable=True)
    begun_at_us: int = Field(sa_type=BigInteger)
    asked_at_us: int | None = Field(sa_type=BigInteger, nullable=True)
    ended_at_us: int | None = Field(sa_type=BigInteger, nullable=True)


class RefundTotalRow(Row, table=True):
    """What of a payment is owed back and not on its way, and what was given back or is on its way.

    The database refuses to give back more than came in.
    """

    __tablename__: ClassVar[str | declared_attr[str]] = "refund_total"
    __table_args__ = (
        CheckConstraint("refunded_value >= 0 AND refunded_value <= received_value", name="not_more_than_came"),
        CheckConstraint("refundable_value >= 0", name="owed"),
    )

    payment_id: str = Field(sa_type=Text, primary_key=True, foreign_key="payment.id")
    received_value: int = Field(sa_type=BigInteger)
    refundable_value: int = Field(sa_type=BigInteger)
    refunded_value: int = Field(sa_type=BigInteger)
