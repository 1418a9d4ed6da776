"""Rows of withdrawals by a code."""

# SQLModel declares table names and metadata for itself.
# pyright: reportIncompatibleVariableOverride=false

from typing import ClassVar

from sqlalchemy import BigInteger, Index, LargeBinary, Text, UniqueConstraint
from sqlalchemy.orm import declared_attr
from sqlmodel import Field

from quittance.store.models import Row, only_where

UNUSED = "payout_id IS NULL"


class WithdrawalRow(Row, table=True):
    """Leave to take money; ``payout_id`` is the newest payout that was begun with it."""

    __tablename__: ClassVar[str | declared_attr[str]] = "withdrawal"
    __table_args__ = (
        UniqueConstraint("k1_hash"),
        UniqueConstraint("payout_id"),
        Index("ix_withdrawal_unused", "expires_at_us", **only_where(UNUSED)),
    )

    id: str = Field(sa_type=Text, primary_key=True)
    k1_hash: bytes = Field(sa_type=LargeBinary)
    owner_id: str = Field(sa_type=Text)
    merchant_id: str = Field(sa_type=Text, foreign_key="merchant.id")
    provider: str = Field(sa_type=Text)
    amount_msat_max: int | None = Field(sa_type=BigInteger, nullable=True)
    payout_id: str | None = Field(sa_type=Text, foreign_key="transfer.id", nullable=True)
    created_at_us: int = Field(sa_type=BigInteger)
    expires_at_us: int = Field(sa_type=BigInteger)
