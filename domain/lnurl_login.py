"""Logins with a wallet that knows LNURL-auth (LUD-04): a challenge in a QR code, which a key of the wallet signs."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from urllib.parse import urlencode

from quittance.domain.ids import AccountId, LoginId

SECRET_PREFIX = "ql_"  # noqa: S105 - what the secrets of browsers begin with, no secret
CHALLENGE_BYTES = 32
KEY_BYTES = 33
SIGNATURE_BYTES_MAX = 72  # of a DER signature over secp256k1
TAG = "login"
DOOR = "/lnurl/auth"


class LoginAction(StrEnum):
    """What the signature is for: to log in, or to give an account that has no wallet the key of one."""

    LOGIN = "LOGIN"
    LINK = "LINK"


@dataclass(frozen=True, slots=True, kw_only=True)
class LnurlLogin:
    """A login that has begun. ``account_id``: to link to; ``key``: the wallet's key, in hex, once it has signed."""

    id: LoginId
    action: LoginAction
    username: str | None
    account_id: AccountId | None
    key: str | None
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewLnurlLogin:
    """A login as it begins: the challenge is for a wallet, the secret for the browser that shows it alone."""

    login: LnurlLogin
    challenge: bytes = field(repr=False)
    secret: str = field(repr=False)

    @property
    def k1(self) -> str:
        return self.challenge.hex()

    def url(self, public_url: str) -> str:
        """Return where a wallet sends its signature; its key is another one for each domain name."""
        action = self.login.action.value.lower()
        return f"{public_url}{DOOR}?{urlencode({'tag': TAG, 'k1': self.k1, 'action': action})}"
