"""Who calls, and what that allows."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from quittance.domain.errors import InvalidInput, LoginRequired, PermissionDenied
from quittance.domain.ids import BOOTSTRAP_MERCHANT, AccountId, ApiKeyId, MerchantId, PaymentId, SessionId

_OPERATOR = "admin of the first merchant"


class Scope(StrEnum):
    """What a key may do. ADMIN includes the rest."""

    ADMIN = "admin"
    ARTICLES_WRITE = "articles:write"
    PAYMENTS_READ = "payments:read"
    PAYMENTS_WRITE = "payments:write"
    REFUNDS_WRITE = "refunds:write"
    PAYOUTS_WRITE = "payouts:write"


def read_scopes(texts: Iterable[str]) -> frozenset[Scope]:
    """Return the scopes that are named.

    Raises:
        InvalidInput: a name is unknown, or there is none.
    """
    try:
        scopes = frozenset(Scope(text) for text in texts)
    except ValueError:
        raise InvalidInput("scopes", f"a scope is one of {', '.join(Scope)}") from None
    if not scopes:
        raise InvalidInput("scopes", f"say at least one scope: {', '.join(Scope)}")
    return scopes


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """What is known of a key; the key itself is not. ``revoked_at`` may lie ahead: until then the key works."""

    id: ApiKeyId
    merchant_id: MerchantId
    name: str
    prefix: str
    scopes: frozenset[Scope]
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None

    def works(self, *, at: datetime) -> bool:
        return self.revoked_at is None or self.revoked_at > at


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A caller: a merchant's key, a reader, the holder of one payment's client secret, or nobody in particular.

    ``viewer`` names whose purchases this caller reads; empty for nobody. ``address`` is where a caller without a key
    calls from: it bounds how much, and never says who it is.
    """

    merchant_id: MerchantId | None = None
    key_id: ApiKeyId | None = None
    key_name: str | None = None
    scopes: frozenset[Scope] = frozenset()
    payment_id: PaymentId | None = None
    account_id: AccountId | None = None
    session_id: SessionId | None = None
    address: str = field(default="", compare=False)

    @property
    def viewer(self) -> str:
        return self.merchant_id or self.account_id or ""

    @property
    def label(self) -> str:
        """A stable name for rate limits and logs; never a secret."""
        return self.key_id or self.account_id or self.payment_id or f"anonymous {self.address}"

    def allows(self, scope: Scope) -> bool:
        return self.merchant_id is not None and (scope in self.scopes or Scope.ADMIN in self.scopes)

    def merchant_with(self, scope: Scope) -> MerchantId | None:
        """Return the merchant this key belongs to; None without a key, or for a key without ``scope``."""
        return self.merchant_id if self.allows(scope) else None

    def require(self, scope: Scope) -> MerchantId:
        """Return the merchant this key belongs to.

        Raises:
            PermissionDenied: no key, or a key without ``scope``.
        """
        merchant_id = self.merchant_with(scope)
        if merchant_id is None:
            raise PermissionDenied(scope)
        return merchant_id

    def require_account(self) -> AccountId:
        """Return the account of the reader who calls.

        Raises:
            LoginRequired: it is no reader.
        """
        if self.account_id is None:
            raise LoginRequired
        return self.account_id

    @property
    def is_operator(self) -> bool:
        """Whether this is an admin key of the first merchant, which may manage all merchants."""
        return self.merchant_id == BOOTSTRAP_MERCHANT and self.allows(Scope.ADMIN)

    def require_operator(self) -> MerchantId:
        """Return the first merchant.

        Raises:
            PermissionDenied: no key, a key without ``admin``, or a key of another merchant.
        """
        if not self.is_operator:
            raise PermissionDenied(_OPERATOR)
        return BOOTSTRAP_MERCHANT


ANONYMOUS = Principal()
COMMAND_LINE = Principal(merchant_id=BOOTSTRAP_MERCHANT, scopes=frozenset({Scope.ADMIN}))
"""Who works at a terminal of the server: the operator, without a key."""
