"""Rows of our subscriptions to the webhooks of providers."""

# SQLModel declares table names and metadata for itself.
# pyright: reportIncompatibleVariableOverride=false

from typing import ClassVar

from sqlalchemy import BigInteger, Text, UniqueConstraint
from sqlalchemy.orm import declared_attr
from sqlmodel import Field

from quittance.store.models import Row


class ProviderWebhookRow(Row, table=True):
    """An address of ours that a provider tells. Its secrets are derived from ``generation``, never stored."""

    __tablename__: ClassVar[str | declared_attr[str]] = "provider_webhook"
    __table_args__ = (UniqueConstraint("provider", "url"),)

    id: str = Field(sa_type=Text, primary_key=True)
    provider: str = Field(sa_type=Text)
    url: str = Field(sa_type=Text)
    subscription_id: str | None = Field(sa_type=Text, nullable=True)
    generation: int = Field(sa_type=BigInteger)
    told: int = Field(sa_type=BigInteger)
    previous_until_us: int | None = Field(sa_type=BigInteger, nullable=True)
    created_at_us: int = Field(sa_type=BigInteger)
    rotated_at_us: int | None = Field(sa_type=BigInteger, nullable=True)
