"""Rows of readers: what they are asked to sign, their accounts, their sessions."""

# SQLModel declares table names and metadata for itself.
# pyright: reportIncompatibleVariableOverride=false

from typing import ClassVar

from sqlalchemy import BigInteger, Index, LargeBinary, Text, UniqueConstraint
from sqlalchemy.orm import declared_attr
from sqlmodel import Field

from quittance.store.models import Row


class LoginChallengeRow(Row, table=True):
    """A nonce that can still be used: using it deletes the row."""

    __tablename__: ClassVar[str | declared_attr[str]] = "login_challenge"
    __table_args__ = (Index(None, "expires_at_us"),)

    nonce_hash: bytes = Field(sa_type=LargeBinary, primary_key=True)
    expires_at_us: int = Field(sa_type=BigInteger)


class AccountRow(Row, table=True):
    """A reader. ``username_key`` is the name as it is compared."""

    __tablename__: ClassVar[str | declared_attr[str]] = "account"
    __table_args__ = (
        UniqueConstraint("username_key"),
        UniqueConstraint("identity_pubkey"),
        UniqueConstraint("lnurl_key"),
    )

    id: str = Field(sa_type=Text, primary_key=True)
    username: str = Field(sa_type=Text)
    username_key: str = Field(sa_type=Text)
    identity_pubkey: str | None = Field(sa_type=Text, nullable=True)
    lightning_address: str | None = Field(sa_type=Text, nullable=True)
    wallet_address: str | None = Field(sa_type=Text, nullable=True)
    created_at_us: int = Field(sa_type=BigInteger)
    lnurl_key: str | None = Field(sa_type=Text, nullable=True)
    payout_from_msat: int | None = Field(sa_type=BigInteger, nullable=True)


class ReaderSessionRow(Row, table=True):
    """A login that still counts: ending it deletes the row."""

    __tablename__: ClassVar[str | declared_attr[str]] = "reader_session"
    __table_args__ = (Index(None, "prefix"), Index(None, "account_id", "id"))

    id: str = Field(sa_type=Text, primary_key=True)
    account_id: str = Field(sa_type=Text, foreign_key="account.id")
    prefix: str = Field(sa_type=Text)
    token_hash: bytes = Field(sa_type=LargeBinary)
    created_at_us: int = Field(sa_type=BigInteger)
    last_used_at_us: int | None = Field(sa_type=BigInteger, nullable=True)
    expires_at_us: int = Field(sa_type=BigInteger)


class LnurlLoginRow(Row, table=True):
    """A login by wallet that has begun: ``lnurl_key`` is set once, by the wallet; finishing it deletes the row."""

    __tablename__: ClassVar[str | declared_attr[str]] = "lnurl_login"
    __table_args__ = (UniqueConstraint("k1_hash"), UniqueConstraint("secret_hash"), Index(None, "expires_at_us"))

    id: str = Field(sa_type=Text, primary_key=True)
    k1_hash: bytes = Field(sa_type=LargeBinary)
    secret_hash: bytes = Field(sa_type=LargeBinary)
    action: str = Field(sa_type=Text)
    username: str | None = Field(sa_type=Text, nullable=True)
    account_id: str | None = Field(sa_type=Text, foreign_key="account.id", nullable=True)
    lnurl_key: str | None = Field(sa_type=Text, nullable=True)
    expires_at_us: int = Field(sa_type=BigInteger)


class ReaderIdempotencyRow(Row, table=True):
    """What one reader's key was first used for."""

    __tablename__: ClassVar[str | declared_attr[str]] = "reader_idempotency"

    account_id: str = Field(sa_type=Text, primary_key=True, foreign_key="account.id")
    key: str = Field(sa_type=Text, primary_key=True)
    fingerprint: bytes = Field(sa_type=LargeBinary)
    payment_id: str = Field(sa_type=Text)
    created_at_us: int = Field(sa_type=BigInteger)
