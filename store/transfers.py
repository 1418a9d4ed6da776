"""Transfers and their tries. A state moves by compare-and-set; what must happen once is a unique row."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, func, literal_column, or_, select, update

from quittance.domain.errors import IllegalTransition
from quittance.domain.ids import MerchantId, PaymentId, TransferId
from quittance.domain.money import Asset, Money
from quittance.domain.transfer import (
    AttemptState,
    Destination,
    DestinationKind,
    RefundReason,
    Transfer,
    TransferAttempt,
    TransferPurpose,
    TransferState,
    may_move,
)
from quittance.store.by_key import many_by_key, one_by_id
from quittance.store.listing import Listing
from quittance.store.models import table_of
from quittance.store.models_transfers import NOT_ENDED, TransferAttemptRow, TransferRow
from quittance.store.statement import BatchStatement, Statement, every_column
from quittance.store.transaction import Transaction, from_us, from_us_or_none, to_us

_TRANSFER = table_of(TransferRow)
_ATTEMPT = table_of(TransferAttemptRow)
_ENDED = ("state", "failure", "fee_value", "ended_at_us")
_CHANGED = ("state", "state_reason", "fee_value", "attempts", "message", "modified_at_us", "ended_at_us")

_INSERT = Statement(lambda d: d.insert(_TRANSFER).values(every_column(_TRANSFER)).on_conflict_do_nothing())
_BY_IDS = BatchStatement(lambda _, keys: select(*_TRANSFER.c).where(_TRANSFER.c.id.in_(keys)))
_BY_KEY = Statement(
    lambda _: select(*_TRANSFER.c).where(
        _TRANSFER.c.owner_id == bindparam("owner_id"), _TRANSFER.c.idempotency_key == bindparam("idempotency_key")
    )
)
_OPEN = Statement(
    lambda _: (
        select(_TRANSFER.c.id)
        .where(_TRANSFER.c.owner_id == bindparam("owner_id"), literal_column(NOT_ENDED))  # as the index says it
        .limit(bindparam("most"))
    )
)
_COMPARE_AND_SET = Statement(
    lambda _: (
        update(_TRANSFER)
        .where(_TRANSFER.c.id == bindparam("transfer_id"), _TRANSFER.c.state == bindparam("state_before"))
        .values({name: bindparam(name) for name in _CHANGED})
    )
)
_OF_PAYMENTS = BatchStatement(
    lambda _, keys: (
        select(*_TRANSFER.c)
        .where(_TRANSFER.c.payment_id.in_(keys), _TRANSFER.c.purpose == TransferPurpose.REFUND.value)
        .order_by(_TRANSFER.c.id.desc())
    )
)
_LISTING = Listing(_TRANSFER, narrowed_by=[_TRANSFER.c.owner_id, _TRANSFER.c.purpose, _TRANSFER.c.payment_id])

_BEGIN = Statement(lambda d: d.insert(_ATTEMPT).values(every_column(_ATTEMPT)).on_conflict_do_nothing())
_LIVE = Statement(
    lambda _: select(*_ATTEMPT.c).where(
        _ATTEMPT.c.transfer_id == bindparam("transfer_id"), _ATTEMPT.c.state != AttemptState.FAILED.value
    )
)
_not_ended = (
    _ATTEMPT.c.transfer_id == bindparam("of_transfer"),
    _ATTEMPT.c.number == bindparam("of_number"),
    or_(_ATTEMPT.c.state == AttemptState.SENDING.value, _ATTEMPT.c.state == AttemptState.UNKNOWN.value),
)
_END = Statement(lambda _: update(_ATTEMPT).where(*_not_ended).values({name: bindparam(name) for name in _ENDED}))
_FAILED = Statement(
    lambda _: (
        select(_ATTEMPT.c.number)
        .where(
            _ATTEMPT.c.provider == bindparam("provider"),
            _ATTEMPT.c.reference == bindparam("reference"),
            _ATTEMPT.c.state == AttemptState.FAILED.value,
        )
        .limit(1)
    )
)
_NOTE_ASKING = Statement(
    lambda _: (
        update(_ATTEMPT)
        .where(*_not_ended, func.coalesce(_ATTEMPT.c.asked_at_us, -1) == bindparam("asked_before_us"))
        .values(asked_at_us=bindparam("asked_at_us"))
    )
)
_ATTEMPTS = BatchStatement(
    lambda _, keys: (
        select(*_ATTEMPT.c).where(_ATTEMPT.c.transfer_id.in_(keys)).order_by(_ATTEMPT.c.transfer_id, _ATTEMPT.c.number)
    )
)


def insert_transfer(transaction: Transaction, transfer: Transfer) -> bool:
    """Add a transfer; False when its key was used before, or another one pays the same invoice."""
    return transaction.execute(_INSERT, _columns(transfer)) == 1


def transfer_by_key(transaction: Transaction, *, owner_id: str, key: str) -> Transfer | None:
    """Return the transfer that the owner's idempotency key was first used for."""
    row = transaction.first(_BY_KEY, {"owner_id": owner_id, "idempotency_key": key})
    return None if row is None else _to_domain(row)


def transfers_by_id(transaction: Transaction, ids: Sequence[TransferId]) -> list[Transfer | None]:
    """Return one entry per id, in order: the contract of a dataloader."""
    return one_by_id(transaction, _BY_IDS, ids, _to_domain)


def change_transfer(transaction: Transaction, before: Transfer, after: Transfer) -> bool:
    """Store what may change of a transfer, if its state is still the one of ``before``.

    Raises:
        IllegalTransition: the table does not allow the move; a bug.
    """
    if not may_move(before.state, after.state):
        raise IllegalTransition(f"{before.id}: {before.state} -> {after.state}")
    columns = _columns(after)
    changed = {name: columns[name] for name in _CHANGED}
    return (
        transaction.execute(_COMPARE_AND_SET, changed | {"transfer_id": before.id, "state_before": before.state.value})
        == 1
    )


def list_transfers(
    transaction: Transaction,
    purpose: TransferPurpose,
    *,
    owner_id: str,
    after_id: str | None,
    limit: int,
) -> list[Transfer]:
    """Return an owner's transfers, the newest first."""
    narrowed = {"owner_id": owner_id, "purpose": purpose.value, "payment_id": None}
    return [_to_domain(row) for row in _LISTING.page(transaction, narrowed, after_id=after_id, limit=limit)]


def transfers_of_payments(transaction: Transaction, payment_ids: Sequence[PaymentId]) -> list[list[Transfer]]:
    """Return the refunds of each payment, the newest first: the contract of a dataloader."""
    return many_by_key(transaction, _OF_PAYMENTS, payment_ids, lambda row: (row[4], _to_domain(row)))


def count_transfers(
    transaction: Transaction,
    purpose: TransferPurpose,
    *,
    owner_id: str | None = None,
    payment_id: PaymentId | None = None,
) -> int:
    return _LISTING.count(transaction, {"owner_id": owner_id, "purpose": purpose.value, "payment_id": payment_id})


def count_open(transaction: Transaction, owner_id: str, *, most: int) -> int:
    """Return how many transfers of an owner have not ended, counted up to ``most``."""
    return len(transaction.all(_OPEN, {"owner_id": owner_id, "most": most}))


def begin_attempt(transaction: Transaction, attempt: TransferAttempt) -> bool:
    """Write a try down; False when the transfer has a live one, or its reference is paid for another transfer."""
    return transaction.execute(_BEGIN, _attempt_columns(attempt)) == 1


def live_attempt(transaction: Transaction, transfer_id: TransferId) -> TransferAttempt | None:
    """Return the try whose end is not known, or that succeeded."""
    row = transaction.first(_LIVE, {"transfer_id": transfer_id})
    return None if row is None else _to_attempt(row)


def has_failed(transaction: Transaction, provider: str, reference: str) -> bool:
    """Tell whether a try with this reference failed before."""
    return transaction.first(_FAILED, {"provider": provider, "reference": reference}) is not None


def note_asking(transaction: Transaction, attempt: TransferAttempt, *, at: datetime) -> bool:
    """Write down that the rail is asked now, before it is; False when somebody else did so meanwhile."""
    before_us = -1 if attempt.asked_at is None else to_us(attempt.asked_at)
    return (
        transaction.execute(_NOTE_ASKING, _which(attempt) | {"asked_before_us": before_us, "asked_at_us": to_us(at)})
        == 1
    )


def end_attempt(transaction: Transaction, attempt: TransferAttempt, ended: TransferAttempt) -> bool:
    """Store how a try ended, or that its outcome is unknown; False when its end was known before."""
    columns = _attempt_columns(ended)
    return transaction.execute(_END, _which(attempt) | {name: columns[name] for name in _ENDED}) == 1


def attempts_of(transaction: Transaction, transfer_ids: Sequence[TransferId]) -> list[list[TransferAttempt]]:
    """Return the tries of each transfer, the oldest first: the contract of a dataloader."""
    return many_by_key(transaction, _ATTEMPTS, transfer_ids, lambda row: (row[0], _to_attempt(row)))


def _which(attempt: TransferAttempt) -> dict[str, object]:
    return {"of_transfer": attempt.transfer_id, "of_number": attempt.number}


def _columns(transfer: Transfer) -> dict[str, object]:
    return {
        "id": transfer.id,
        "purpose": transfer.purpose.value,
        "owner_id": transfer.owner_id,
        "merchant_id": transfer.merchant_id,
        "payment_id": transfer.payment_id,
        "provider": transfer.provider,
        "state": transfer.state.value,
        "state_reason": transfer.state_reason,
        "amount_value": transfer.amount.value,
        "fee_max_value": transfer.fee_max.value,
        "from_refundable_value": transfer.from_refundable.value,
        "fee_from_amount": int(transfer.fee_from_amount),
        "fee_value": None if transfer.fee is None else transfer.fee.value,
        "asset_code": transfer.amount.asset.code,
        "asset_scale": transfer.amount.asset.scale,
        "destination_kind": transfer.destination.kind.value,
        "destination": transfer.destination.text,
        "payment_hash": transfer.destination.payment_hash,
        "comment": transfer.comment,
        "reason": None if transfer.reason is None else transfer.reason.value,
        "idempotency_key": transfer.idempotency_key,
        "fingerprint": transfer.fingerprint,
        "attempts": transfer.attempts,
        "message": transfer.message,
        "created_at_us": to_us(transfer.created_at),
        "modified_at_us": to_us(transfer.modified_at),
        "ended_at_us": None if transfer.ended_at is None else to_us(transfer.ended_at),
    }


def _attempt_columns(attempt: TransferAttempt) -> dict[str, object]:
    return {
        "transfer_id": attempt.transfer_id,
        "number": attempt.number,
        "provider": attempt.provider,
        "reference": attempt.reference,
        "payment_request": attempt.payment_request,
        "expires_at_us": None if attempt.expires_at is None else to_us(attempt.expires_at),
        "state": attempt.state.value,
        "failure": attempt.failure,
        "fee_value": None if attempt.fee is None else attempt.fee.value,
        "asset_code": attempt.asset.code,
        "asset_scale": attempt.asset.scale,
        "success_action": attempt.success_action,
        "begun_at_us": to_us(attempt.begun_at),
        "asked_at_us": None if attempt.asked_at is None else to_us(attempt.asked_at),
        "ended_at_us": None if attempt.ended_at is None else to_us(attempt.ended_at),
    }


def _to_domain(row: Any) -> Transfer:
    found = dict(zip(_TRANSFER.c.keys(), row, strict=True))
    asset = Asset(found["asset_code"], found["asset_scale"])
    return Transfer(
        id=TransferId(found["id"]),
        purpose=TransferPurpose(found["purpose"]),
        owner_id=found["owner_id"],
        merchant_id=MerchantId(found["merchant_id"]),
        payment_id=None if found["payment_id"] is None else PaymentId(found["payment_id"]),
        provider=found["provider"],
        state=TransferState(found["state"]),
        state_reason=found["state_reason"],
        amount=Money(found["amount_value"], asset),
        fee_max=Money(found["fee_max_value"], asset),
        from_refundable=Money(found["from_refundable_value"], asset),
        fee_from_amount=bool(found["fee_from_amount"]),
        fee=None if found["fee_value"] is None else Money(found["fee_value"], asset),
        destination=Destination(
            kind=DestinationKind(found["destination_kind"]),
            text=found["destination"],
            payment_hash=found["payment_hash"],
        ),
        comment=found["comment"],
        reason=None if found["reason"] is None else RefundReason(found["reason"]),
        idempotency_key=found["idempotency_key"],
        fingerprint=bytes(found["fingerprint"]),
        attempts=found["attempts"],
        message=found["message"],
        created_at=from_us(found["created_at_us"]),
        modified_at=from_us(found["modified_at_us"]),
        ended_at=from_us_or_none(found["ended_at_us"]),
    )


def _to_attempt(row: Any) -> TransferAttempt:
    found = dict(zip(_ATTEMPT.c.keys(), row, strict=True))
    asset = Asset(found["asset_code"], found["asset_scale"])
    return TransferAttempt(
        transfer_id=TransferId(found["transfer_id"]),
        number=found["number"],
        provider=found["provider"],
        reference=found["reference"],
        payment_request=found["payment_request"],
        expires_at=from_us_or_none(found["expires_at_us"]),
        state=AttemptState(found["state"]),
        failure=found["failure"],
        asset=asset,
        fee=None if found["fee_value"] is None else Money(found["fee_value"], asset),
        success_action=found["success_action"],
        begun_at=from_us(found["begun_at_us"]),
        asked_at=from_us_or_none(found["asked_at_us"]),
        ended_at=from_us_or_none(found["ended_at_us"]),
    )
