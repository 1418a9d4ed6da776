"""Readers: what they are asked to sign, their accounts, their sessions."""

import hashlib
import hmac
import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from quittance.domain.access import Principal
from quittance.domain.errors import KeyTaken
from quittance.domain.ids import AccountId, SessionId
from quittance.domain.reader import SESSIONS_MAX, Account, Session, username_key
from quittance.domain.text import is_storable
from quittance.store.models import table_of
from quittance.store.models_readers import AccountRow, LoginChallengeRow, ReaderSessionRow
from quittance.store.statement import BatchStatement, Statement, every_column
from quittance.store.transaction import Transaction, from_us, from_us_or_none, to_us

_CHALLENGE = table_of(LoginChallengeRow)
_ACCOUNT = table_of(AccountRow)
_SESSION = table_of(ReaderSessionRow)
_SESSION_COLUMNS = [
    _SESSION.c[name] for name in ("id", "account_id", "created_at_us", "last_used_at_us", "expires_at_us")
]
_PREFIX_LENGTH = 12
EXPIRED_TAKEN = 16  # for each nonce that is made: so they go faster than they come, and no unit is long

_INSERT_CHALLENGE = Statement(lambda _: insert(_CHALLENGE).values(every_column(_CHALLENGE)))
_DELETE_EXPIRED = Statement(
    lambda _: delete(_CHALLENGE).where(
        _CHALLENGE.c.nonce_hash.in_(
            select(_CHALLENGE.c.nonce_hash)
            .where(_CHALLENGE.c.expires_at_us <= bindparam("at_us"))
            .order_by(_CHALLENGE.c.expires_at_us)
            .limit(bindparam("most"))
            .with_for_update(skip_locked=True)  # two units that take the same ones in other orders would wait for ever
            .scalar_subquery()
        )
    )
)
_is_open = (_CHALLENGE.c.nonce_hash == bindparam("nonce_hash"), _CHALLENGE.c.expires_at_us > bindparam("at_us"))
_OPEN_CHALLENGE = Statement(lambda _: select(_CHALLENGE.c.expires_at_us).where(*_is_open))
_USE_CHALLENGE = Statement(lambda _: delete(_CHALLENGE).where(*_is_open))

_INSERT_ACCOUNT = Statement(lambda d: d.insert(_ACCOUNT).values(every_column(_ACCOUNT)).on_conflict_do_nothing())
_ACCOUNT_BY_ID = Statement(lambda _: select(*_ACCOUNT.c).where(_ACCOUNT.c.id == bindparam("id")))
_ACCOUNT_BY_PUBKEY = Statement(
    lambda _: select(*_ACCOUNT.c).where(_ACCOUNT.c.identity_pubkey == bindparam("identity_pubkey"))
)
_ACCOUNT_BY_LNURL_KEY = Statement(lambda _: select(*_ACCOUNT.c).where(_ACCOUNT.c.lnurl_key == bindparam("lnurl_key")))
_NAMED = Statement(lambda _: select(_ACCOUNT.c.id).where(_ACCOUNT.c.username_key == bindparam("username_key")))
_SET_LNURL_KEY = Statement(
    lambda _: update(_ACCOUNT).where(_ACCOUNT.c.id == bindparam("account_id")).values(lnurl_key=bindparam("lnurl_key"))
)
_LOCK_ACCOUNT = Statement(lambda _: select(*_ACCOUNT.c).where(_ACCOUNT.c.id == bindparam("id")).with_for_update())
_SET_PAYING = Statement(
    lambda _: (
        update(_ACCOUNT)
        .where(_ACCOUNT.c.id == bindparam("account_id"))
        .values(
            lightning_address=bindparam("lightning_address"),
            wallet_address=bindparam("wallet_address"),
            payout_from_msat=bindparam("payout_from_msat"),
        )
    )
)

_PAID_BY_THEMSELVES = BatchStatement(
    lambda _, keys: (
        select(_ACCOUNT.c.id)
        .where(_ACCOUNT.c.id.in_(keys), _ACCOUNT.c.payout_from_msat.is_not(None))
        .order_by(_ACCOUNT.c.id)
    )
)

_INSERT_SESSION = Statement(lambda _: insert(_SESSION).values(every_column(_SESSION)))
_SESSIONS_BY_PREFIX = Statement(
    lambda _: select(_SESSION.c.id, _SESSION.c.account_id, _SESSION.c.token_hash).where(
        _SESSION.c.prefix == bindparam("prefix"), _SESSION.c.expires_at_us > bindparam("at_us")
    )
)
_of_account = (_SESSION.c.id == bindparam("session_id"), _SESSION.c.account_id == bindparam("account_id"))
_WORKS = Statement(lambda _: select(_SESSION.c.id).where(*_of_account, _SESSION.c.expires_at_us > bindparam("at_us")))
_SESSIONS = Statement(
    lambda _: (
        select(*_SESSION_COLUMNS)
        .where(_SESSION.c.account_id == bindparam("account_id"), _SESSION.c.expires_at_us > bindparam("at_us"))
        .order_by(_SESSION.c.id.desc())
        .limit(SESSIONS_MAX)
    )
)
_EVERY_SESSION = Statement(
    lambda _: (
        select(_SESSION.c.id, _SESSION.c.expires_at_us)
        .where(_SESSION.c.account_id == bindparam("account_id"))
        .order_by(_SESSION.c.id.desc())
    )
)
_END_SESSION = Statement(lambda _: delete(_SESSION).where(*_of_account).returning(*_SESSION_COLUMNS))
_TOUCH = Statement(
    lambda _: update(_SESSION).where(_SESSION.c.id == bindparam("key_id")).values(last_used_at_us=bindparam("at_us"))
)


def insert_challenge(transaction: Transaction, nonce: str, *, expires_at: datetime, at: datetime) -> None:
    """Remember a nonce, and forget some of those that expired."""
    transaction.execute(_DELETE_EXPIRED, {"at_us": to_us(at), "most": EXPIRED_TAKEN})
    transaction.execute(_INSERT_CHALLENGE, {"nonce_hash": _hash(nonce), "expires_at_us": to_us(expires_at)})


def is_open(transaction: Transaction, nonce: str, *, at: datetime) -> bool:
    """Tell whether a nonce was made here, is not used and not expired."""
    return is_storable(nonce) and transaction.first(_OPEN_CHALLENGE, _challenge(nonce, at)) is not None


def use_challenge(transaction: Transaction, nonce: str, *, at: datetime) -> bool:
    """Use a nonce up; of all who try, however close together, one gets True."""
    return is_storable(nonce) and transaction.execute(_USE_CHALLENGE, _challenge(nonce, at)) == 1


def insert_account(transaction: Transaction, account: Account) -> bool:
    """Add an account; False when its key or its name has one already."""
    parameters = {
        "id": account.id,
        "username": account.username,
        "username_key": username_key(account.username),
        "identity_pubkey": account.identity_pubkey,
        "lightning_address": account.lightning_address,
        "wallet_address": account.wallet_address,
        "payout_from_msat": account.payout_from_msat,
        "created_at_us": to_us(account.created_at),
        "lnurl_key": account.lnurl_key,
    }
    return transaction.execute(_INSERT_ACCOUNT, parameters) == 1


def account_by_id(transaction: Transaction, account_id: AccountId) -> Account | None:
    row = transaction.first(_ACCOUNT_BY_ID, {"id": account_id})
    return None if row is None else _account_to_domain(row)


def account_by_pubkey(transaction: Transaction, identity_pubkey: str) -> Account | None:
    row = transaction.first(_ACCOUNT_BY_PUBKEY, {"identity_pubkey": identity_pubkey})
    return None if row is None else _account_to_domain(row)


def account_by_lnurl_key(transaction: Transaction, lnurl_key: str) -> Account | None:
    row = transaction.first(_ACCOUNT_BY_LNURL_KEY, {"lnurl_key": lnurl_key})
    return None if row is None else _account_to_domain(row)


def is_named(transaction: Transaction, username: str) -> bool:
    """Tell whether an account has this name, or one that counts as the same."""
    return transaction.first(_NAMED, {"username_key": username_key(username)}) is not None


def lock_account(transaction: Transaction, account_id: AccountId) -> Account:
    """Return the account, locked against other units until this one commits; none is ever deleted."""
    row = transaction.first(_LOCK_ACCOUNT, {"id": account_id})
    if row is None:
        raise RuntimeError(f"the account {account_id} is gone")
    return _account_to_domain(row)


def set_paying(transaction: Transaction, account: Account) -> None:
    """Store where and when an account is paid; call it with the account locked."""
    transaction.execute(
        _SET_PAYING,
        {
            "account_id": account.id,
            "lightning_address": account.lightning_address,
            "wallet_address": account.wallet_address,
            "payout_from_msat": account.payout_from_msat,
        },
    )


def paid_by_themselves(transaction: Transaction, account_ids: Sequence[AccountId]) -> list[AccountId]:
    """Return those of these accounts that want their balance paid out by itself."""
    sized, parameters = _PAID_BY_THEMSELVES.sized(account_ids)
    return [AccountId(row[0]) for row in transaction.all(sized, parameters)]


def set_lnurl_key(transaction: Transaction, account: Account) -> None:
    """Store the wallet's key of an account; call it with the account locked, and let the error end the unit.

    Raises:
        KeyTaken: another account has the key, though perhaps only since this unit looked.
    """
    try:
        transaction.execute(_SET_LNURL_KEY, {"account_id": account.id, "lnurl_key": account.lnurl_key})
    except (IntegrityError, sqlite3.IntegrityError) as error:
        raise KeyTaken from error


def insert_session(transaction: Transaction, session: Session, *, token: str) -> None:
    """Add a session, and end those of the account that expired or are more than it may have, the oldest first.

    Call it with the account locked.
    """
    at_us = to_us(session.created_at)
    others = transaction.all(_EVERY_SESSION, {"account_id": session.account_id})
    ended = [
        id_
        for place, (id_, expires_at_us) in enumerate(others, start=1)
        if place >= SESSIONS_MAX or expires_at_us <= at_us
    ]
    for id_ in sorted(ended):  # in the order in which they are touched, so that neither waits for the other
        end_session(transaction, SessionId(id_), account_id=session.account_id)
    token_hash = _hash(token)
    transaction.execute(
        _INSERT_SESSION,
        {
            "id": session.id,
            "account_id": session.account_id,
            "prefix": token_hash.hex()[:_PREFIX_LENGTH],
            "token_hash": token_hash,
            "created_at_us": at_us,
            "last_used_at_us": None,
            "expires_at_us": to_us(session.expires_at),
        },
    )


def principal_by_token(transaction: Transaction, token: str, *, at: datetime) -> Principal | None:
    """Return the reader that this token names, compared in constant time; None for one unknown, ended or expired."""
    if not is_storable(token):
        return None
    presented = _hash(token)
    asked = {"prefix": presented.hex()[:_PREFIX_LENGTH], "at_us": to_us(at)}
    for id_, account_id, token_hash in transaction.all(_SESSIONS_BY_PREFIX, asked):
        if hmac.compare_digest(bytes(token_hash), presented):
            return Principal(account_id=AccountId(account_id), session_id=SessionId(id_))
    return None


def session_works(transaction: Transaction, session_id: SessionId, *, account_id: AccountId, at: datetime) -> bool:
    asked = {"session_id": session_id, "account_id": account_id, "at_us": to_us(at)}
    return transaction.first(_WORKS, asked) is not None


def sessions_of(transaction: Transaction, account_id: AccountId, *, at: datetime) -> list[Session]:
    """Return the sessions that work, the newest first."""
    rows = transaction.all(_SESSIONS, {"account_id": account_id, "at_us": to_us(at)})
    return [_session_to_domain(row) for row in rows]


def end_session(transaction: Transaction, session_id: SessionId, *, account_id: AccountId) -> Session | None:
    """End a session of this account and return it as it was; None when there is none."""
    if not is_storable(session_id):
        return None
    row = transaction.first(_END_SESSION, {"session_id": session_id, "account_id": account_id})
    return None if row is None else _session_to_domain(row)


def touch_sessions(transaction: Transaction, session_ids: Sequence[SessionId], *, at: datetime) -> None:
    """Remember that these sessions were used."""
    transaction.execute_many(_TOUCH, [{"key_id": session_id, "at_us": to_us(at)} for session_id in session_ids])


def _hash(secret: str) -> bytes:
    """Return what is stored of a nonce or token: they have 256 bits of entropy, so a plain SHA-256 is enough."""
    return hashlib.sha256(secret.encode()).digest()


def _challenge(nonce: str, at: datetime) -> dict[str, object]:
    return {"nonce_hash": _hash(nonce), "at_us": to_us(at)}


def _account_to_domain(row: Any) -> Account:
    id_, username, _, identity_pubkey, lightning_address, wallet_address, created_at_us, lnurl_key, payout_from_msat = (
        row
    )
    return Account(
        id=AccountId(id_),
        username=username,
        identity_pubkey=identity_pubkey,
        lnurl_key=lnurl_key,
        lightning_address=lightning_address,
        wallet_address=wallet_address,
        payout_from_msat=payout_from_msat,
        created_at=from_us(created_at_us),
    )


def _session_to_domain(row: Any) -> Session:
    id_, account_id, created_at_us, last_used_at_us, expires_at_us = row
    return Session(
        id=SessionId(id_),
        account_id=AccountId(account_id),
        created_at=from_us(created_at_us),
        last_used_at=from_us_or_none(last_used_at_us),
        expires_at=from_us(expires_at_us),
    )
