"""Withdrawals by a code: found by what is stored of their secret, and used by whoever holds the lock of their row."""

import hashlib
from datetime import timedelta
from typing import Any

from sqlalchemy import bindparam, delete, func, insert, select, update

from quittance.domain.ids import MerchantId, TransferId, WithdrawalId
from quittance.domain.text import is_storable
from quittance.domain.withdrawal import NewWithdrawal, Withdrawal
from quittance.store.models import table_of
from quittance.store.models_withdrawals import WithdrawalRow
from quittance.store.statement import Statement, every_column
from quittance.store.transaction import Transaction, from_us, to_us

_WITHDRAWAL = table_of(WithdrawalRow)
_COLUMNS = [column for column in _WITHDRAWAL.c if column.name != "k1_hash"]
FORGOTTEN_AFTER = timedelta(days=1)  # of the end of one that nobody used: until then its owner can see that it expired
FORGOTTEN_AT_ONCE = 16  # for each withdrawal that begins: so they go faster than they come, and no unit is long

_of_secret = _WITHDRAWAL.c.k1_hash == bindparam("k1_hash")

_INSERT = Statement(lambda _: insert(_WITHDRAWAL).values(every_column(_WITHDRAWAL)))
_FORGET = Statement(
    lambda _: delete(_WITHDRAWAL).where(
        _WITHDRAWAL.c.id.in_(
            select(_WITHDRAWAL.c.id)
            .where(_WITHDRAWAL.c.payout_id.is_(None), _WITHDRAWAL.c.expires_at_us <= bindparam("ended_us"))
            .order_by(_WITHDRAWAL.c.expires_at_us)
            .limit(bindparam("most"))
            .with_for_update(skip_locked=True)  # two units that take the same ones in other orders would wait for ever
            .scalar_subquery()
        )
    )
)
_BY_ID = Statement(lambda _: select(*_COLUMNS).where(_WITHDRAWAL.c.id == bindparam("id")))
_BY_SECRET = Statement(lambda _: select(*_COLUMNS).where(_of_secret))
_LOCK = Statement(lambda _: select(*_COLUMNS).where(_of_secret).with_for_update())
_USE = Statement(
    lambda _: (
        update(_WITHDRAWAL)
        .where(
            _WITHDRAWAL.c.id == bindparam("of_id"),
            func.coalesce(_WITHDRAWAL.c.payout_id, "") == bindparam("payout_before"),
        )
        .values(payout_id=bindparam("payout_id"))
    )
)


def insert_withdrawal(transaction: Transaction, new: NewWithdrawal) -> None:
    """Remember a withdrawal, and forget some of those that ended unused."""
    one = new.withdrawal
    ended_us = to_us(one.created_at - FORGOTTEN_AFTER)
    transaction.execute(_FORGET, {"ended_us": ended_us, "most": FORGOTTEN_AT_ONCE})
    transaction.execute(
        _INSERT,
        {
            "id": one.id,
            "k1_hash": _hash(new.secret),
            "owner_id": one.owner_id,
            "merchant_id": one.merchant_id,
            "provider": one.provider,
            "amount_msat_max": one.amount_msat_max,
            "payout_id": one.payout_id,
            "created_at_us": to_us(one.created_at),
            "expires_at_us": to_us(one.expires_at),
        },
    )


def withdrawal_by_id(transaction: Transaction, withdrawal_id: WithdrawalId) -> Withdrawal | None:
    row = transaction.first(_BY_ID, {"id": withdrawal_id}) if is_storable(withdrawal_id) else None
    return None if row is None else _to_domain(row)


def withdrawal_by_secret(transaction: Transaction, secret: bytes) -> Withdrawal | None:
    """Return the withdrawal that a code is of, whether or not it can still be used."""
    row = transaction.first(_BY_SECRET, {"k1_hash": _hash(secret)})
    return None if row is None else _to_domain(row)


def lock_withdrawal(transaction: Transaction, secret: bytes) -> Withdrawal | None:
    """Return it as it is, locked against other units until this one commits."""
    row = transaction.first(_LOCK, {"k1_hash": _hash(secret)})
    return None if row is None else _to_domain(row)


def use_withdrawal(transaction: Transaction, before: Withdrawal, payout_id: TransferId) -> bool:
    """Name the payout that was begun; False when another one was named since ``before``."""
    which = {"of_id": before.id, "payout_before": before.payout_id or ""}
    return transaction.execute(_USE, which | {"payout_id": payout_id}) == 1


def _hash(secret: bytes) -> bytes:
    """Return what is stored of a secret: it has 256 bits of entropy, so a plain SHA-256 is enough."""
    return hashlib.sha256(secret).digest()


def _to_domain(row: Any) -> Withdrawal:
    id_, owner_id, merchant_id, provider, amount_msat_max, payout_id, created_at_us, expires_at_us = row
    return Withdrawal(
        id=WithdrawalId(id_),
        owner_id=owner_id,
        merchant_id=MerchantId(merchant_id),
        provider=provider,
        amount_msat_max=amount_msat_max,
        payout_id=None if payout_id is None else TransferId(payout_id),
        created_at=from_us(created_at_us),
        expires_at=from_us(expires_at_us),
    )
