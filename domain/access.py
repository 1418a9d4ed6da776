"""Who calls, and what that allows."""

from dataclasses import dataclass
from enum import StrEnum

from quittance.domain.errors import PermissionDenied
from quittance.domain.ids import ApiKeyId, MerchantId, PaymentId


class Scope(StrEnum):
    """What a key may do. ADMIN includes the rest."""

    ADMIN = "admin"
    ARTICLES_WRITE = "articles:write"
    PAYMENTS_READ = "payments:read"
    PAYMENTS_WRITE = "payments:write"


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A caller: a merchant's key, the holder of one payment's client secret, or nobody in particular.

    ``viewer`` names whose purchases this caller reads; empty for nobody.
    """

    merchant_id: MerchantId | None = None
    key_id: ApiKeyId | None = None
    key_name: str | None = None
    scopes: frozenset[Scope] = frozenset()
    payment_id: PaymentId | None = None

    @property
    def viewer(self) -> str:
        return self.merchant_id or ""

    @property
    def label(self) -> str:
        """A stable name for rate limits and logs; never a secret."""
        return self.key_id or self.payment_id or "anonymous"

    def allows(self, scope: Scope) -> bool:
        return self.merchant_id is not None and (scope in self.scopes or Scope.ADMIN in self.scopes)

    def require(self, scope: Scope) -> MerchantId:
        """Return the merchant this key belongs to.

        Raises:
            PermissionDenied: no key, or a key without ``scope``.
        """
        if self.merchant_id is None or not self.allows(scope):
            raise PermissionDenied(scope)
        return self.merchant_id


ANONYMOUS = Principal()
