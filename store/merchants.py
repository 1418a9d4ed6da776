"""Merchants and their API keys."""

import hashlib
import hmac
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import bindparam, insert, or_, select, update

from quittance.domain.access import ApiKey, Principal, Scope
from quittance.domain.ids import ApiKeyId, MerchantId
from quittance.domain.policy import LatePolicy, Merchant, OverPolicy, SettlementPolicy, UnderPolicy
from quittance.domain.rotation import SecretVersions
from quittance.domain.text import is_storable
from quittance.store.listing import Listing
from quittance.store.models import ApiKeyRow, MerchantRow, table_of
from quittance.store.statement import Statement, every_column
from quittance.store.transaction import Transaction, from_us, from_us_or_none, to_us

_MERCHANT = table_of(MerchantRow)
_KEY = table_of(ApiKeyRow)
PREFIX_LENGTH = 12

_INSERT_MERCHANT = Statement(lambda d: d.insert(_MERCHANT).values(every_column(_MERCHANT)).on_conflict_do_nothing())
_MERCHANT_BY_ID = Statement(lambda _: select(*_MERCHANT.c).where(_MERCHANT.c.id == bindparam("id")))
_LOCK_MERCHANT = Statement(  # new rows may name the merchant meanwhile: its id does not change
    lambda _: select(*_MERCHANT.c).where(_MERCHANT.c.id == bindparam("id")).with_for_update(key_share=True)
)
_UPDATE_MERCHANT = Statement(
    lambda _: (
        update(_MERCHANT)
        .where(_MERCHANT.c.id == bindparam("merchant_id"))
        .values(
            {
                column.name: bindparam(column.name)
                for column in _MERCHANT.c
                if column.name not in {"id", "created_at_us"}
            }
        )
    )
)
_MERCHANT_LISTING = Listing(_MERCHANT)
_MERCHANTS = Statement(lambda _: select(*_MERCHANT.c).order_by(_MERCHANT.c.id))
_INSERT_KEY = Statement(lambda _: insert(_KEY).values(every_column(_KEY)))
_KEY_BY_ID = Statement(lambda _: select(*_KEY.c).where(_KEY.c.id == bindparam("id")))
_KEY_BY_HASH = Statement(
    lambda _: select(*_KEY.c).where(_KEY.c.prefix == bindparam("prefix"), _KEY.c.key_hash == bindparam("key_hash"))
)
_KEYS_BY_PREFIX = Statement(
    lambda _: select(_KEY.c.id, _KEY.c.merchant_id, _KEY.c.name, _KEY.c.key_hash, _KEY.c.scopes).where(
        _KEY.c.prefix == bindparam("prefix"),
        or_(_KEY.c.revoked_at_us.is_(None), _KEY.c.revoked_at_us > bindparam("at_us")),
    )
)
_LOCK_KEY = Statement(lambda _: select(*_KEY.c).where(_KEY.c.id == bindparam("id")).with_for_update())
_KEYS = Statement(lambda _: select(*_KEY.c).order_by(_KEY.c.id))
_KEY_LISTING = Listing(_KEY, narrowed_by=[_KEY.c.merchant_id])
_SET_REVOKED = Statement(
    lambda _: update(_KEY).where(_KEY.c.id == bindparam("key_id")).values(revoked_at_us=bindparam("at_us"))
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


def insert_merchant(transaction: Transaction, merchant: Merchant) -> bool:
    """Add a merchant; False when it is there already, and stays as it is."""
    parameters = _changeable(merchant) | {"id": merchant.id, "created_at_us": to_us(merchant.created_at)}
    return transaction.execute(_INSERT_MERCHANT, parameters) == 1


def update_merchant(transaction: Transaction, merchant: Merchant) -> None:
    """Store everything of a merchant that can change; a policy counts from the next settlement on."""
    transaction.execute(_UPDATE_MERCHANT, _changeable(merchant) | {"merchant_id": merchant.id})


def _changeable(merchant: Merchant) -> dict[str, object]:
    policy, notify_until = merchant.policy, merchant.notify_secret.previous_until
    return {
        "name": merchant.name,
        "default_provider": merchant.default_provider,
        "late_policy": policy.late.value,
        "late_grace_s": policy.late_grace_s,
        "under_policy": policy.under.value,
        "under_tolerance_ppm": policy.under_tolerance_ppm,
        "over_policy": policy.over.value,
        "notify_secret_version": merchant.notify_secret.newest,
        "notify_previous_secret_until_us": None if notify_until is None else to_us(notify_until),
        "unique_correlation_ids": int(merchant.unique_correlation_ids),
    }


def merchant_by_id(transaction: Transaction, merchant_id: MerchantId) -> Merchant | None:
    row = transaction.first(_MERCHANT_BY_ID, {"id": merchant_id}) if is_storable(merchant_id) else None
    return None if row is None else _merchant_to_domain(row)


def lock_merchant(transaction: Transaction, merchant_id: MerchantId) -> Merchant | None:
    """Return the merchant, locked against other changes of it until this unit commits."""
    row = transaction.first(_LOCK_MERCHANT, {"id": merchant_id}) if is_storable(merchant_id) else None
    return None if row is None else _merchant_to_domain(row)


def list_merchants(transaction: Transaction, *, after_id: str | None, limit: int) -> list[Merchant]:
    """Return every merchant, the newest first, after the last one seen."""
    rows = _MERCHANT_LISTING.page(transaction, {}, after_id=after_id, limit=limit)
    return [_merchant_to_domain(row) for row in rows]


def every_merchant(transaction: Transaction) -> list[Merchant]:
    return [_merchant_to_domain(row) for row in transaction.all(_MERCHANTS)]


def count_merchants(transaction: Transaction) -> int:
    return _MERCHANT_LISTING.count(transaction, {})


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


def principal_by_key(transaction: Transaction, key: str, *, at: datetime) -> Principal | None:
    """Return the caller that this key names, compared in constant time; None for a key unknown or revoked by ``at``."""
    if not is_storable(key):
        return None
    presented = hash_key(key)
    found: Principal | None = None
    candidates = transaction.all(_KEYS_BY_PREFIX, {"prefix": _prefix(presented), "at_us": to_us(at)})
    for id_, merchant_id, name, key_hash, scopes in candidates:
        if hmac.compare_digest(bytes(key_hash), presented):
            found = Principal(
                merchant_id=MerchantId(merchant_id), key_id=ApiKeyId(id_), key_name=name, scopes=_scopes(scopes)
            )
    return found


def key_by_id(transaction: Transaction, key_id: ApiKeyId) -> ApiKey | None:
    row = transaction.first(_KEY_BY_ID, {"id": key_id})
    return None if row is None else _key_to_domain(row)


def key_by_secret(transaction: Transaction, secret: str) -> ApiKey | None:
    """Return the key with this secret, one that is revoked too."""
    key_hash = hash_key(secret)
    row = transaction.first(_KEY_BY_HASH, {"prefix": _prefix(key_hash), "key_hash": key_hash})
    return None if row is None else _key_to_domain(row)


def lock_key(transaction: Transaction, key_id: ApiKeyId) -> ApiKey | None:
    """Return the key, locked against other units until this one commits."""
    row = transaction.first(_LOCK_KEY, {"id": key_id}) if is_storable(key_id) else None
    return None if row is None else _key_to_domain(row)


def keys(transaction: Transaction) -> list[ApiKey]:
    return [_key_to_domain(row) for row in transaction.all(_KEYS)]


def list_keys(transaction: Transaction, *, merchant_id: MerchantId, after_id: str | None, limit: int) -> list[ApiKey]:
    """Return the merchant's keys, those that are revoked too, the newest first, after the last one seen."""
    rows = _KEY_LISTING.page(transaction, {"merchant_id": merchant_id}, after_id=after_id, limit=limit)
    return [_key_to_domain(row) for row in rows]


def count_keys(transaction: Transaction, *, merchant_id: MerchantId) -> int:
    return _KEY_LISTING.count(transaction, {"merchant_id": merchant_id})


def set_revoked(transaction: Transaction, key_id: ApiKeyId, *, at: datetime) -> None:
    """Say from when on a key does not work; call it with the key locked."""
    transaction.execute(_SET_REVOKED, {"key_id": key_id, "at_us": to_us(at)})


def touch_keys(transaction: Transaction, key_ids: list[ApiKeyId], *, at: datetime) -> None:
    """Remember that these keys were used."""
    transaction.execute_many(_TOUCH, [{"key_id": key_id, "at_us": to_us(at)} for key_id in key_ids])


@lru_cache(maxsize=64)
def _scopes(stored: str) -> frozenset[Scope]:
    return frozenset(Scope(scope) for scope in stored.split())


def _merchant_to_domain(row: Any) -> Merchant:
    (
        id_, name, default_provider, late, late_grace_s, under, under_ppm, over, created_at_us, version, until_us,
        unique_correlation_ids,
    ) = row  # fmt: skip
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
        notify_secret=SecretVersions(newest=version, previous_until=from_us_or_none(until_us)),
        unique_correlation_ids=bool(unique_correlation_ids),
    )


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
