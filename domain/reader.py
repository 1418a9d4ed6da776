"""Readers: accounts behind the keys that people sign with, and the sessions in which they are logged in."""

import re
from dataclasses import dataclass
from datetime import datetime

from quittance.domain.errors import InvalidInput, UsernameRequired
from quittance.domain.ids import AccountId, SessionId

USERNAME_MIN, USERNAME_MAX = 4, 35
SESSIONS_MAX = 50
ADDRESS_MAX = 255
TOKEN_PREFIX = "qr_"  # noqa: S105 - what tokens begin with, no token

_USERNAME = re.compile(rf"[A-Za-z0-9_.-]{{{USERNAME_MIN},{USERNAME_MAX}}}", re.ASCII)
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = rf"{_LABEL}(?:\.{_LABEL})+"
_LIGHTNING_ADDRESS = re.compile(rf"[a-z0-9_.+-]{{1,64}}@{_HOST}(?::[0-9]{{1,5}})?", re.ASCII)  # LUD-16
_WALLET_ADDRESS = re.compile(rf"(?:\$|https://)(?i:{_HOST})(?::[0-9]{{1,5}})?(?:/[A-Za-z0-9._~/%-]*)?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginChallenge:
    """A text to sign, once, until it expires: the name of the server, ``login``, and 256 random bits."""

    nonce: str
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A reader, who has one of two keys at least: that of their node, or one that their wallet made for us (hex).

    A balance of ``payout_from_msat`` or more is paid out by itself to the Lightning Address; None for never.
    """

    id: AccountId
    username: str
    identity_pubkey: str | None
    lnurl_key: str | None = None
    lightning_address: str | None
    wallet_address: str | None
    payout_from_msat: int | None = None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What is known of a login; the token itself is not."""

    id: SessionId
    account_id: AccountId
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime


def username_key(username: str) -> str:
    """Return what two names that count as the same have in common."""
    return username.lower()


def check_username(username: str | None) -> str:
    """Return a name that an account can have.

    Raises:
        UsernameRequired: none was given, or one that is too short.
        InvalidInput: it is too long, or has other characters than ASCII letters, digits and ``_ . -``.
    """
    if username is None or len(username) < USERNAME_MIN:
        raise UsernameRequired
    if not _USERNAME.fullmatch(username):
        raise InvalidInput(
            "username", f"a username has {USERNAME_MIN} to {USERNAME_MAX} letters (a to z), digits, dots, - or _"
        )
    return username


def check_lightning_address(address: str) -> str:
    """Return a Lightning Address (LUD-16) in the small letters that it is made of.

    Raises:
        InvalidInput: it is none.
    """
    small = address.strip().lower()
    if len(small) > ADDRESS_MAX or not _LIGHTNING_ADDRESS.fullmatch(small):
        raise InvalidInput("lightningAddress", "a Lightning Address looks like name@example.com")
    return small


def check_wallet_address(address: str) -> str:
    """Return an Interledger wallet address.

    Raises:
        InvalidInput: it is none.
    """
    said = address.strip()
    if len(said) > ADDRESS_MAX or not _WALLET_ADDRESS.fullmatch(said):
        raise InvalidInput("walletAddress", "a wallet address looks like $wallet.example/name or https://…")
    return said
