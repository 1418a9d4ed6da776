"""Callbacks of providers: stored once per provider and event id. Bodies lie apart, so that lists do not read them."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, delete, insert, select, update

from quittance.domain.callback import CALLBACK_NEXT, Callback, CallbackState
from quittance.domain.errors import IllegalTransition
from quittance.domain.ids import CallbackId, PaymentId
from quittance.store.listing import Listing
from quittance.store.models import table_of
from quittance.store.models_operations import ProviderCallbackBodyRow, ProviderCallbackRow
from quittance.store.statement import BatchStatement, Statement, every_column
from quittance.store.transaction import Transaction, from_us, from_us_or_none, to_us

_CALLBACK = table_of(ProviderCallbackRow)
_BODY = table_of(ProviderCallbackBodyRow)

_INSERT = Statement(
    lambda d: (
        d.insert(_CALLBACK)
        .values(every_column(_CALLBACK))
        .on_conflict_do_nothing(index_elements=["provider", "event_id"])
    )
)
_INSERT_BODY = Statement(lambda _: insert(_BODY).values(every_column(_BODY)))
_BY_ID = Statement(lambda _: select(*_CALLBACK.c).where(_CALLBACK.c.id == bindparam("id")))
_BY_EVENT = Statement(
    lambda _: (
        select(_CALLBACK.c.id, _BODY.c.body)
        .select_from(_CALLBACK.outerjoin(_BODY, _BODY.c.callback_id == _CALLBACK.c.id))
        .where(_CALLBACK.c.provider == bindparam("provider"), _CALLBACK.c.event_id == bindparam("event_id"))
    )
)
_BY_EVENTS = BatchStatement(
    lambda _, keys: select(_CALLBACK.c.event_id, *_CALLBACK.c).where(
        _CALLBACK.c.provider == bindparam("provider"), _CALLBACK.c.event_id.in_(keys)
    )
)
_MOVE = Statement(
    lambda _: (
        update(_CALLBACK)
        .where(_CALLBACK.c.id == bindparam("callback_id"), _CALLBACK.c.state == bindparam("state_before"))
        .values(
            state=bindparam("state"),
            reason=bindparam("reason"),
            payment_id=bindparam("payment_id"),
            processed_at_us=bindparam("processed_at_us"),
        )
    )
)


def _forget(_: object) -> Any:
    oldest = (
        select(_BODY.c.callback_id)
        .where(_BODY.c.callback_id < bindparam("before_id"))
        .order_by(_BODY.c.callback_id)
        .limit(bindparam("limit"))
    )
    return delete(_BODY).where(_BODY.c.callback_id.in_(oldest))


_FORGET_BODIES = Statement(_forget)
_LISTING = Listing(_CALLBACK)


def insert_callback(transaction: Transaction, callback: Callback, *, body: bytes | None) -> bool:
    """Remember a callback and its raw body, if it has one; False, and nothing changed, when its event is known."""
    added = transaction.execute(
        _INSERT,
        {
            "id": callback.id,
            "provider": callback.provider,
            "event_id": callback.event_id,
            "kind": callback.kind,
            "reference": callback.reference,
            "payment_id": callback.payment_id,
            "state": callback.state.value,
            "reason": callback.reason,
            "received_at_us": to_us(callback.received_at),
            "processed_at_us": None if callback.processed_at is None else to_us(callback.processed_at),
        },
    )
    if added and body is not None:
        transaction.execute(_INSERT_BODY, {"callback_id": callback.id, "body": body})
    return added == 1


def body_of_event(transaction: Transaction, *, provider: str, event_id: str) -> bytes | None:
    """Return the body that an event was first told with; None when it is not kept any more."""
    row = transaction.first(_BY_EVENT, {"provider": provider, "event_id": event_id})
    return None if row is None else row[1]


def callback_by_id(transaction: Transaction, callback_id: CallbackId) -> Callback | None:
    row = transaction.first(_BY_ID, {"id": callback_id})
    return None if row is None else _to_domain(row)


def callbacks_of_events(transaction: Transaction, *, provider: str, event_ids: Sequence[str]) -> dict[str, Callback]:
    """Return what is known of a provider's events, by their ids; none for one that was never told."""
    if not event_ids:
        return {}
    statement, parameters = _BY_EVENTS.sized(event_ids)
    rows = transaction.all(statement, {**parameters, "provider": provider})
    return {str(event_id): _to_domain(row) for event_id, *row in rows}


def move_callback(transaction: Transaction, before: Callback, after: Callback) -> bool:
    """Say what became of a callback, by compare-and-set; False when another said it first.

    Raises:
        IllegalTransition: the table does not allow it.
    """
    if after.state is not before.state and after.state not in CALLBACK_NEXT[before.state]:
        raise IllegalTransition(f"{before.id}: {before.state} -> {after.state}")
    moved = transaction.execute(
        _MOVE,
        {
            "callback_id": before.id,
            "state_before": before.state.value,
            "state": after.state.value,
            "reason": after.reason,
            "payment_id": after.payment_id,
            "processed_at_us": None if after.processed_at is None else to_us(after.processed_at),
        },
    )
    return moved == 1


def forget_bodies(transaction: Transaction, *, before_id: CallbackId, limit: int) -> int:
    """Delete the bodies of callbacks that came before this id, the oldest first; return how many."""
    return transaction.execute(_FORGET_BODIES, {"before_id": before_id, "limit": limit})


def list_callbacks(transaction: Transaction, *, after_id: str | None, limit: int) -> Sequence[Callback]:
    """Return every provider's callbacks, the newest first, after the last one seen."""
    return [_to_domain(row) for row in _LISTING.page(transaction, {}, after_id=after_id, limit=limit)]


def count_callbacks(transaction: Transaction) -> int:
    return _LISTING.count(transaction, {})


def _to_domain(row: Any) -> Callback:
    id_, provider, event_id, kind, reference, payment_id, state, reason, received, processed = row
    return Callback(
        id=CallbackId(id_),
        provider=provider,
        event_id=event_id,
        kind=kind,
        reference=reference,
        payment_id=None if payment_id is None else PaymentId(payment_id),
        state=CallbackState(state),
        reason=reason,
        received_at=from_us(received),
        processed_at=from_us_or_none(processed),
    )
