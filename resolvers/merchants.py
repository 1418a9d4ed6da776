"""Merchants and their API keys: made, listed, revoked."""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field

from quittance.domain.access import Scope
from quittance.domain.errors import InvalidInput
from quittance.domain.ids import API_KEY, MERCHANT, ApiKeyId, MerchantId
from quittance.domain.policy import NAME_MAX, Merchant, SettlementPolicy
from quittance.resolvers.services import Services
from quittance.store import merchants
from quittance.store.merchants import ApiKey
from quittance.store.transaction import Transaction

KEY_LENGTH_MIN = 8
_SECRET_BYTES = 32
BOOTSTRAP_MERCHANT = MerchantId(f"{MERCHANT}_{0:032x}")
BOOTSTRAP_KEY_NAME = "bootstrap"


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedKey:
    """A new key. ``secret`` is shown this once; only its hash is stored."""

    key: ApiKey
    secret: str = field(repr=False)


async def ensure_bootstrap(services: Services, *, name: str, secret: str) -> ApiKey:
    """Make the first merchant and its admin key; another secret than before revokes the one before.

    Raises:
        InvalidInput: the secret is too short.
    """
    if len(secret) < KEY_LENGTH_MIN:
        raise InvalidInput("bootstrapApiKey", f"an API key has at least {KEY_LENGTH_MIN} characters")

    def unit(transaction: Transaction) -> ApiKey:
        _ensure_merchant(transaction, services, BOOTSTRAP_MERCHANT, name=name)
        current = merchants.principal_by_key(transaction, secret)
        if current is not None and current.key_id is not None:
            found = merchants.key_by_id(transaction, current.key_id)
            if found is not None:
                return found
        for key in merchants.keys(transaction):
            if key.merchant_id == BOOTSTRAP_MERCHANT and key.name == BOOTSTRAP_KEY_NAME and key.revoked_at is None:
                merchants.revoke_key(transaction, key.id, at=services.now())
        return _add_key(transaction, services, BOOTSTRAP_MERCHANT, BOOTSTRAP_KEY_NAME, {Scope.ADMIN}, secret=secret)

    return await services.database.write(unit)


async def ensure_first_merchant(services: Services, *, name: str) -> Merchant:
    """Return the first merchant, which keys belong to unless said otherwise; the first call makes it."""
    return await services.database.write(
        lambda transaction: _ensure_merchant(transaction, services, BOOTSTRAP_MERCHANT, name=name)
    )


async def create_merchant(services: Services, *, name: str) -> Merchant:
    """Add a merchant.

    Raises:
        InvalidInput: the name is empty or too long.
    """
    if not name.strip() or len(name) > NAME_MAX:
        raise InvalidInput("name", f"a merchant's name has 1 to {NAME_MAX} characters")
    merchant_id = MerchantId(services.new_id(MERCHANT))
    return await services.database.write(
        lambda transaction: _ensure_merchant(transaction, services, merchant_id, name=name)
    )


async def create_key(services: Services, *, merchant_id: MerchantId, name: str, scopes: Iterable[Scope]) -> CreatedKey:
    """Make a key for a merchant and return its secret, this once.

    Raises:
        InvalidInput: no such merchant, an empty name, or no scope.
    """
    wanted = frozenset(scopes)
    if not name.strip() or len(name) > NAME_MAX:
        raise InvalidInput("name", f"a key's name has 1 to {NAME_MAX} characters")
    if not wanted:
        raise InvalidInput("scopes", f"say at least one scope: {', '.join(Scope)}")
    secret = f"qk_{secrets.token_urlsafe(_SECRET_BYTES)}"

    def unit(transaction: Transaction) -> ApiKey:
        if merchants.merchant_by_id(transaction, merchant_id) is None:
            raise InvalidInput("merchant", "no such merchant")
        return _add_key(transaction, services, merchant_id, name, wanted, secret=secret)

    return CreatedKey(key=await services.database.write(unit), secret=secret)


async def list_keys(services: Services) -> list[ApiKey]:
    return await services.database.scan(merchants.keys)


async def revoke_key(services: Services, key_id: ApiKeyId) -> bool:
    """Revoke a key at once, open sockets included; False when there is none, or it was revoked before."""
    return await services.database.write(
        lambda transaction: merchants.revoke_key(transaction, key_id, at=services.now())
    )


async def find_merchant(services: Services, merchant_id: MerchantId) -> Merchant | None:
    return await services.database.read(lambda transaction: merchants.merchant_by_id(transaction, merchant_id))


def _ensure_merchant(transaction: Transaction, services: Services, merchant_id: MerchantId, *, name: str) -> Merchant:
    found = merchants.merchant_by_id(transaction, merchant_id)
    if found is not None:
        return found
    merchant = Merchant(
        id=merchant_id,
        name=name,
        default_provider=services.default_provider,
        policy=SettlementPolicy(),
        created_at=services.now(),
    )
    merchants.insert_merchant(transaction, merchant)
    return merchant


def _add_key(
    transaction: Transaction,
    services: Services,
    merchant_id: MerchantId,
    name: str,
    scopes: Iterable[Scope],
    *,
    secret: str,
) -> ApiKey:
    key = ApiKey(
        id=ApiKeyId(services.new_id(API_KEY)),
        merchant_id=merchant_id,
        name=name,
        prefix=merchants.prefix_of_key(secret),
        scopes=frozenset(scopes),
        created_at=services.now(),
        last_used_at=None,
        revoked_at=None,
    )
    merchants.insert_key(transaction, key, key_hash=merchants.hash_key(secret))
    return key
