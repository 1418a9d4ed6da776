"""Merchants and their API keys."""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import bindparam, insert, select, update

from quittance.domain.access import Principal, Scope
from quittance.domain.ids import ApiKeyId, MerchantId
from quittance.domain.policy import LatePolicy, Merchant, OverPolicy, SettlementPolicy, UnderPolicy
from quittance.domain.text import is_storable
from quittance.store.models import ApiKeyRow, MerchantRow, table_of
from quittance.store.statement import Statement
from quittance.store.transaction import Transaction, from_us, from_us_or_none, to_us

_MERCHANT = table_of(MerchantRow)
_KEY = table_of(ApiKeyRow)
PREFIX_LENGTH = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """What is known of a key; the key itself is not."""

    id: ApiKeyId
    merchant_id: MerchantId
    name: str
    prefix: str
    scopes: frozenset[Scope]
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


_INSERT_MERCHANT = Statement(
    lambda d: (
        d.insert(_MERCHANT)
        .values({column.name: bindparam(column.name) for column in _MERCHANT.c})
        .on_conflict_do_nothing()
    )
)
_MERCHANT_BY_ID = Statement(lambda _: select(*_MERCHANT.c).where(_MERCHANT.c.id == bindparam("id")))
_SET_POLICY = Statement(
    lambda _: (
        update(_MERCHANT)
        .where(_MERCHANT.c.id == bindparam("merchant_id"))
        .values(
            {
                name: bindparam(name)
                for name in ("late_policy", "late_grace_s", "under_policy", "under_tolerance_ppm", "over_policy")
            }
        )
    )
)
_INSERT_KEY = Statement(lambda _: insert(_KEY).values({column.name: bindparam(column.name) for column in _KEY.c}))
_KEYS_BY_PREFIX = Statement(
    lambda _: select(_KEY.c.id, _KEY.c.merchant_id, _KEY.c.name, _KEY.c.key_hash, _KEY.c.scopes).where(
        _KEY.c.prefix == bindparam("prefix"), _KEY.c.revoked_at_us.is_(None)
    )
)
_KEY_BY_ID = Statement(lambda _: select(*_KEY.c).where(_KEY.c.id == bindparam("id")))
_KEYS = Statement(lambda _: select(*_KEY.c).order_by(_KEY.c.id))
_REVOKE = Statement(
    lambda _: (
        update(_KEY)
        .where(_KEY.c.id == bindparam("key_id"), _KEY.c.revoked_at_us.is_(None))
        .values(revoked_at_us=bindparam("at_us"))
    )
)
_TOUCH = Statement(
    lambda _: update(_KEY).where(_KEY.c.id == bindparam("key_id")).values(last_used_at_us=bindparam("at_us"))
)


def hash_key(key: str) -> bytes:
    """Return what is stored of a key: those we make have 256 bits of entropy, so a plain SHA-256 is enough."""
    return hashlib.sha256(key.encode()).digest()


def prefix_of_key(key: str) -> str:
    """Return what a key is looked up and listed by: the first digits of its hash, which tell nothing of the key."""
    return _prefix(hash_key(key))


def _prefix(key_hash: bytes) -> str:
    return key_hash.hex()[:PREFIX_LENGTH]


def insert_merchant(transaction: Transaction, merchant: Merchant) -> None:
    """Add a merchant; one that is there already stays as it is."""
    transaction.execute(
        _INSERT_MERCHANT,
        _policy_columns(merchant.policy)
        | {
            "id": merchant.id,
            "name": merchant.name,
            "default_provider": merchant.default_provider,
            "created_at_us": to_us(merchant.created_at),
        },
    )


def set_policy(transaction: Transaction, merchant_id: MerchantId, policy: SettlementPolicy) -> bool:
    """Change what is done with money that does not come as asked, from the next settlement on."""
    return transaction.execute(_SET_POLICY, _policy_columns(policy) | {"merchant_id": merchant_id}) == 1


def _policy_columns(policy: SettlementPolicy) -> dict[str, object]:
    return {
        "late_policy": policy.late.value,
        "late_grace_s": policy.late_grace_s,
        "under_policy": policy.under.value,
        "under_tolerance_ppm": policy.under_tolerance_ppm,
        "over_policy": policy.over.value,
    }


def merchant_by_id(transaction: Transaction, merchant_id: MerchantId) -> Merchant | None:
    row = transaction.first(_MERCHANT_BY_ID, {"id": merchant_id})
    if row is None:
        return None
    id_, name, default_provider, late, late_grace_s, under, under_ppm, over, created_at_us = row
    return Merchant(
        id=MerchantId(id_),
        name=name,
        default_provider=default_provider,
        policy=SettlementPolicy(
            late=LatePolicy(late),
            late_grace_s=late_grace_s,
            under=UnderPolicy(under),
            under_tolerance_ppm=under_ppm,
            over=OverPolicy(over),
        ),
        created_at=from_us(created_at_us),
    )


def insert_key(transaction: Transaction, key: ApiKey, *, key_hash: bytes) -> None:
    transaction.execute(
        _INSERT_KEY,
        {
            "id": key.id,
            "merchant_id": key.merchant_id,
            "name": key.name,
            "prefix": key.prefix,
            "key_hash": key_hash,
            "scopes": " ".join(sorted(key.scopes)),
            "created_at_us": to_us(key.created_at),
            "last_used_at_us": None,
            "revoked_at_us": None,
        },
    )


def principal_by_key(transaction: Transaction, key: str) -> Principal | None:
    """Return the caller that this key names, compared in constant time; None for an unknown or revoked key."""
    if not is_storable(key):
        return None
    presented = hash_key(key)
    found: Principal | None = None
    for id_, merchant_id, name, key_hash, scopes in transaction.all(_KEYS_BY_PREFIX, {"prefix": _prefix(presented)}):
        if hmac.compare_digest(bytes(key_hash), presented):
            found = Principal(
                merchant_id=MerchantId(merchant_id), key_id=ApiKeyId(id_), key_name=name, scopes=_scopes(scopes)
            )
    return found


def key_by_id(transaction: Transaction, key_id: ApiKeyId) -> ApiKey | None:
    row = transaction.first(_KEY_BY_ID, {"id": key_id})
    return None if row is None else _key_to_domain(row)


def keys(transaction: Transaction) -> list[ApiKey]:
    return [_key_to_domain(row) for row in transaction.all(_KEYS)]


def revoke_key(transaction: Transaction, key_id: ApiKeyId, *, at: datetime) -> bool:
    """Revoke a key; False when there is none, or it was revoked before."""
    return transaction.execute(_REVOKE, {"key_id": key_id, "at_us": to_us(at)}) == 1


def touch_keys(transaction: Transaction, key_ids: list[ApiKeyId], *, at: datetime) -> None:
    """Remember that these keys were used."""
    transaction.execute_many(_TOUCH, [{"key_id": key_id, "at_us": to_us(at)} for key_id in key_ids])


@lru_cache(maxsize=64)
def _scopes(stored: str) -> frozenset[Scope]:
    return frozenset(Scope(scope) for scope in stored.split())


def _key_to_domain(row: Any) -> ApiKey:
    id_, merchant_id, name, prefix, _, scopes, created_at_us, last_used_at_us, revoked_at_us = row
    return ApiKey(
        id=ApiKeyId(id_),
        merchant_id=MerchantId(merchant_id),
        name=name,
        prefix=prefix,
        scopes=_scopes(scopes),
        created_at=from_us(created_at_us),
        last_used_at=from_us_or_none(last_used_at_us),
        revoked_at=from_us_or_none(revoked_at_us),
    )
