"""Rows of names that merchants are paid by."""

# SQLModel declares table names and metadata for itself.
# pyright: reportIncompatibleVariableOverride=false

from typing import ClassVar

from sqlalchemy import BigInteger, Index, Text
from sqlalchemy.orm import declared_attr
from sqlmodel import Field

from quittance.store.models import Row, only_where


class LightningNameRow(Row, table=True):
    """A name belongs to its first merchant for ever; ``in_use`` is 1 for the one that the merchant is paid by now."""

    __tablename__: ClassVar[str | declared_attr[str]] = "lightning_name"
    __table_args__ = (
        Index("uq_lightning_name_in_use", "merchant_id", unique=True, **only_where("in_use = 1")),
        Index(None, "merchant_id"),
    )

    name: str = Field(sa_type=Text, primary_key=True)
    merchant_id: str = Field(sa_type=Text, foreign_key="merchant.id")
    in_use: int = Field(sa_type=BigInteger)
    taken_at_us: int = Field(sa_type=BigInteger)
