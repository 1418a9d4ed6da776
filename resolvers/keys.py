"""API keys: made, listed, rotated, revoked. Those of one merchant are managed by its admin keys alone."""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta

from quittance.domain.access import ApiKey, Principal, Scope, read_scopes
from quittance.domain.audit import AuditAction, Deed
from quittance.domain.errors import ApiKeyNotFound, InvalidInput, MerchantNotFound
from quittance.domain.ids import API_KEY, BOOTSTRAP_MERCHANT, ApiKeyId, MerchantId
from quittance.domain.policy import check_name
from quittance.domain.secrets import check_overlap
from quittance.resolvers.audit import record_in
from quittance.resolvers.services import Services
from quittance.store import merchants
from quittance.store.transaction import Transaction

BOOTSTRAP_KEY_NAME = "bootstrap"
OVERLAP_S_DEFAULT = 86_400
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedKey:
    """A new key. ``secret`` is shown this once; only its hash is stored."""

    key: ApiKey
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyDraft:
    """A key to be made."""

    merchant_id: MerchantId
    name: str
    scopes: frozenset[Scope]
    secret: str = field(repr=False)


def new_secret() -> str:
    return f"qk_{secrets.token_urlsafe(_SECRET_BYTES)}"


async def create_own_key(services: Services, principal: Principal, *, name: str, scopes: Iterable[str]) -> CreatedKey:
    """Make a key for the caller's merchant and return its secret, this once.

    An admin key has every scope, so it can give none that it has not.

    Raises:
        PermissionDenied, InvalidInput: nothing was made.
    """
    merchant_id = principal.require(Scope.ADMIN)
    await services.admit_mutation(principal)
    return await _create(services, principal, merchant_id=merchant_id, name=name, scopes=read_scopes(scopes))


async def create_key(services: Services, *, merchant_id: MerchantId, name: str, scopes: Iterable[str]) -> CreatedKey:
    """Make a key for any merchant, from the command line.

    Raises:
        MerchantNotFound, InvalidInput: nothing was made.
    """
    return await _create(services, None, merchant_id=merchant_id, name=name, scopes=read_scopes(scopes))


async def revoke_own_key(services: Services, principal: Principal, key_id: ApiKeyId) -> ApiKey:
    """Revoke a key of the caller's merchant at once; one that is revoked already stays as it is.

    Raises:
        PermissionDenied, ApiKeyNotFound: nothing changed.
    """
    owner = principal.require(Scope.ADMIN)
    await services.admit_mutation(principal)
    key, _ = await services.database.write(
        lambda transaction: revoke_in(transaction, services, principal, _lock(transaction, key_id, owner=owner))
    )
    return key


async def revoke_key(services: Services, key_id: ApiKeyId) -> bool:
    """Revoke any merchant's key at once, from the command line; False when there is none that still works."""

    def unit(transaction: Transaction) -> bool:
        key = merchants.lock_key(transaction, key_id)
        return key is not None and revoke_in(transaction, services, None, key)[1]

    return await services.database.write(unit)


async def rotate_own_key(services: Services, principal: Principal, key_id: ApiKeyId, *, overlap_s: int) -> CreatedKey:
    """Replace a key of the caller's merchant; the old one works ``overlap_s`` longer.

    Raises:
        PermissionDenied, ApiKeyNotFound, InvalidInput: nothing changed.
    """
    owner = principal.require(Scope.ADMIN)
    await services.admit_mutation(principal)
    return await _rotate(services, principal, key_id, overlap_s=overlap_s, owner=owner)


async def rotate_key(services: Services, key_id: ApiKeyId, *, overlap_s: int) -> CreatedKey:
    """Replace any merchant's key, from the command line.

    Raises:
        ApiKeyNotFound, InvalidInput: nothing changed.
    """
    return await _rotate(services, None, key_id, overlap_s=overlap_s, owner=None)


async def list_every_key(services: Services) -> list[ApiKey]:
    """Return the keys of all merchants, for the command line."""
    return await services.database.scan(merchants.keys)


async def list_own_keys(services: Services, principal: Principal, *, after_id: str | None, limit: int) -> list[ApiKey]:
    """Return the keys of the caller's merchant, the newest first.

    Raises:
        PermissionDenied: needs ``admin``.
    """
    merchant_id = principal.require(Scope.ADMIN)
    return await services.database.scan(
        lambda transaction: merchants.list_keys(transaction, merchant_id=merchant_id, after_id=after_id, limit=limit)
    )


async def count_own_keys(services: Services, principal: Principal) -> int:
    merchant_id = principal.require(Scope.ADMIN)
    return await services.database.scan(lambda transaction: merchants.count_keys(transaction, merchant_id=merchant_id))


def add_key(transaction: Transaction, services: Services, principal: Principal | None, draft: KeyDraft) -> ApiKey:
    """Store a new key and write down who made it."""
    key = _insert(transaction, services, draft)
    deed = Deed(
        action=AuditAction.API_KEY_CREATED, subject_id=key.id, detail=f"{key.name}: {', '.join(sorted(key.scopes))}"
    )
    record_in(transaction, services, principal, merchant_id=key.merchant_id, deed=deed)
    return key


def revoke_in(
    transaction: Transaction, services: Services, principal: Principal | None, key: ApiKey
) -> tuple[ApiKey, bool]:
    """Revoke a locked key and write down who did; return it, and whether it worked until now."""
    now = services.now()
    if not key.works(at=now):
        return key, False
    merchants.set_revoked(transaction, key.id, at=now)
    deed = Deed(action=AuditAction.API_KEY_REVOKED, subject_id=key.id, detail=key.name)
    record_in(transaction, services, principal, merchant_id=key.merchant_id, deed=deed)
    return replace(key, revoked_at=now), True


async def _create(
    services: Services, principal: Principal | None, *, merchant_id: MerchantId, name: str, scopes: frozenset[Scope]
) -> CreatedKey:
    check_name(name)
    if merchant_id == BOOTSTRAP_MERCHANT and name == BOOTSTRAP_KEY_NAME:
        raise InvalidInput("name", f"{name!r} is the key of QUITTANCE_BOOTSTRAP_API_KEY; choose another name")
    draft = KeyDraft(merchant_id=merchant_id, name=name, scopes=scopes, secret=new_secret())

    def unit(transaction: Transaction) -> ApiKey:
        if merchants.merchant_by_id(transaction, merchant_id) is None:
            raise MerchantNotFound(merchant_id)
        return add_key(transaction, services, principal, draft)

    return CreatedKey(key=await services.database.write(unit), secret=draft.secret)


async def _rotate(
    services: Services,
    principal: Principal | None,
    key_id: ApiKeyId,
    *,
    overlap_s: int,
    owner: MerchantId | None,
) -> CreatedKey:
    check_overlap(overlap_s)
    secret = new_secret()

    def unit(transaction: Transaction) -> ApiKey:
        old = _lock(transaction, key_id, owner=owner)
        _check_rotatable(old)
        until = services.now() + timedelta(seconds=overlap_s)
        merchants.set_revoked(transaction, old.id, at=until)
        draft = KeyDraft(merchant_id=old.merchant_id, name=old.name, scopes=old.scopes, secret=secret)
        new = _insert(transaction, services, draft)
        deed = Deed(
            action=AuditAction.API_KEY_ROTATED,
            subject_id=old.id,
            detail=f"{old.name}: replaced by {new.id}, works until {until:%Y-%m-%dT%H:%M:%SZ}",
        )
        record_in(transaction, services, principal, merchant_id=old.merchant_id, deed=deed)
        return new

    return CreatedKey(key=await services.database.write(unit), secret=secret)


def _check_rotatable(key: ApiKey) -> None:
    """Refuse a key that was replaced or revoked, and the one that a setting fixes: the next start would undo it."""
    if key.revoked_at is not None:
        raise InvalidInput("id", "this key was rotated or revoked before; rotate its successor, or create a new key")
    if key.merchant_id == BOOTSTRAP_MERCHANT and key.name == BOOTSTRAP_KEY_NAME:
        raise InvalidInput("id", "this key is fixed by QUITTANCE_BOOTSTRAP_API_KEY; change the setting and restart")


def _lock(transaction: Transaction, key_id: ApiKeyId, *, owner: MerchantId | None) -> ApiKey:
    """Return the key, locked; ``owner`` is whose it must be, None for anybody's."""
    key = merchants.lock_key(transaction, key_id)
    if key is None or owner not in {None, key.merchant_id}:
        raise ApiKeyNotFound(key_id)
    return key


def _insert(transaction: Transaction, services: Services, draft: KeyDraft) -> ApiKey:
    key = ApiKey(
        id=ApiKeyId(services.new_id(API_KEY)),
        merchant_id=draft.merchant_id,
        name=draft.name,
        prefix=merchants.prefix_of_key(draft.secret),
        scopes=draft.scopes,
        created_at=services.now(),
        last_used_at=None,
        revoked_at=None,
    )
    merchants.insert_key(transaction, key, key_hash=merchants.hash_key(draft.secret))
    return key
