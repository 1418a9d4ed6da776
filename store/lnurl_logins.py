"""Logins by wallet that have begun: made by a browser, signed by a wallet once, finished by that browser once."""

import hashlib
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, insert, select, update

from quittance.domain.ids import AccountId, LoginId
from quittance.domain.lnurl_login import LnurlLogin, LoginAction, NewLnurlLogin
from quittance.domain.text import is_storable
from quittance.store.models import table_of
from quittance.store.models_readers import LnurlLoginRow
from quittance.store.statement import Statement, every_column
from quittance.store.transaction import Transaction, from_us, to_us

_LOGIN = table_of(LnurlLoginRow)
_COLUMNS = [
    _LOGIN.c[name] for name in ("id", "action", "username", "account_id", "lnurl_key", "expires_at_us")
]  # without the hashes
EXPIRED_TAKEN = 16  # for each login that begins: so they go faster than they come, and no unit is long

_of_challenge = (_LOGIN.c.k1_hash == bindparam("k1_hash"), _LOGIN.c.expires_at_us > bindparam("at_us"))
_of_secret = (_LOGIN.c.secret_hash == bindparam("secret_hash"), _LOGIN.c.expires_at_us > bindparam("at_us"))

_INSERT = Statement(lambda _: insert(_LOGIN).values(every_column(_LOGIN)))
_DELETE_EXPIRED = Statement(
    lambda _: delete(_LOGIN).where(
        _LOGIN.c.id.in_(
            select(_LOGIN.c.id)
            .where(_LOGIN.c.expires_at_us <= bindparam("at_us"))
            .order_by(_LOGIN.c.expires_at_us)
            .limit(bindparam("most"))
            .with_for_update(skip_locked=True)  # two units that take the same ones in other orders would wait for ever
            .scalar_subquery()
        )
    )
)
_SIGN = Statement(
    lambda _: (
        update(_LOGIN)
        .where(*_of_challenge, _LOGIN.c.lnurl_key.is_(None))
        .values(lnurl_key=bindparam("key"))
        .returning(*_COLUMNS)
    )
)
_VOID = Statement(
    lambda _: delete(_LOGIN).where(
        *_of_challenge, _LOGIN.c.action == LoginAction.LINK.value, _LOGIN.c.lnurl_key != bindparam("key")
    )
)
_BY_CHALLENGE = Statement(lambda _: select(*_COLUMNS).where(*_of_challenge))
_BY_SECRET = Statement(lambda _: select(*_COLUMNS).where(*_of_secret))
_TAKE = Statement(lambda _: delete(_LOGIN).where(*_of_secret, _LOGIN.c.lnurl_key.is_not(None)).returning(*_COLUMNS))


def insert_login(transaction: Transaction, new: NewLnurlLogin, *, at: datetime) -> None:
    """Remember a login, and forget some of those that expired."""
    login = new.login
    transaction.execute(_DELETE_EXPIRED, {"at_us": to_us(at), "most": EXPIRED_TAKEN})
    transaction.execute(
        _INSERT,
        {
            "id": login.id,
            "k1_hash": _hash(new.challenge),
            "secret_hash": _hash(new.secret.encode()),
            "action": login.action.value,
            "username": login.username,
            "account_id": login.account_id,
            "lnurl_key": None,
            "expires_at_us": to_us(login.expires_at),
        },
    )


def login_by_challenge(transaction: Transaction, challenge: bytes, *, at: datetime) -> LnurlLogin | None:
    """Return the login that a wallet may sign or has signed; None for one unknown, finished or expired."""
    row = transaction.first(_BY_CHALLENGE, {"k1_hash": _hash(challenge), "at_us": to_us(at)})
    return None if row is None else _to_domain(row)


def sign_login(transaction: Transaction, challenge: bytes, *, key: str, at: datetime) -> LnurlLogin | None:
    """Note whose key signed a challenge; of all that sign one, however close together, the first gets the login."""
    row = transaction.first(_SIGN, {"k1_hash": _hash(challenge), "key": key, "at_us": to_us(at)})
    return None if row is None else _to_domain(row)


def void_link(transaction: Transaction, challenge: bytes, *, key: str, at: datetime) -> None:
    """Forget a challenge that was to link a key, and was signed by another one than this."""
    transaction.execute(_VOID, {"k1_hash": _hash(challenge), "key": key, "at_us": to_us(at)})


def login_by_secret(transaction: Transaction, secret: str, *, at: datetime) -> LnurlLogin | None:
    """Return the login of a browser; None for a secret that is unknown, was used or has expired."""
    row = transaction.first(_BY_SECRET, _asked(secret, at)) if is_storable(secret) else None
    return None if row is None else _to_domain(row)


def take_login(transaction: Transaction, secret: str, *, at: datetime) -> LnurlLogin | None:
    """Use up a login that was signed; of all who try, however close together, one gets it."""
    row = transaction.first(_TAKE, _asked(secret, at)) if is_storable(secret) else None
    return None if row is None else _to_domain(row)


def _asked(secret: str, at: datetime) -> dict[str, object]:
    return {"secret_hash": _hash(secret.encode()), "at_us": to_us(at)}


def _hash(secret: bytes) -> bytes:
    """Return what is stored of a challenge or secret: they have 256 bits of entropy, so a plain SHA-256 is enough."""
    return hashlib.sha256(secret).digest()


def _to_domain(row: Any) -> LnurlLogin:
    id_, action, username, account_id, key, expires_at_us = row
    return LnurlLogin(
        id=LoginId(id_),
        action=LoginAction(action),
        username=username,
        account_id=None if account_id is None else AccountId(account_id),
        key=key,
        expires_at=from_us(expires_at_us),
    )
