"""Webhook deliveries and their attempts."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, func, insert, literal_column, select, text, update

from quittance.domain.endpoint import (
    DELIVERY_NEXT,
    DeliveryCause,
    DeliveryFilter,
    DeliveryState,
    WebhookAttempt,
    WebhookDelivery,
)
from quittance.domain.errors import IllegalTransition
from quittance.domain.ids import DeliveryId, EndpointId, EventId, MerchantId, PaymentId
from quittance.store.by_key import many_by_key, one_by_id
from quittance.store.listing import Listing, Narrowing
from quittance.store.models import table_of
from quittance.store.models_operations import WebhookAttemptRow, WebhookDeliveryRow
from quittance.store.statement import BatchStatement, Statement, every_column
from quittance.store.transaction import Transaction, from_us, from_us_or_none, to_us

_DELIVERY = table_of(WebhookDeliveryRow)
_ATTEMPT = table_of(WebhookAttemptRow)

_INSERT = Statement(
    lambda d: (
        d.insert(_DELIVERY)
        .values(every_column(_DELIVERY))
        .on_conflict_do_nothing(
            index_elements=["endpoint_id", "event_position"], index_where=text(f"state = '{DeliveryState.PENDING}'")
        )
    )
)
_IS_PENDING = Statement(
    lambda _: select(_DELIVERY.c.id).where(
        _DELIVERY.c.endpoint_id == bindparam("endpoint_id"),
        _DELIVERY.c.event_position == bindparam("event_position"),
        _DELIVERY.c.state == literal_column(f"'{DeliveryState.PENDING}'"),  # as the index of pending ones says it
    )
)
_BY_IDS = BatchStatement(lambda _, keys: select(*_DELIVERY.c).where(_DELIVERY.c.id.in_(keys)))
_OF_PAYMENTS = BatchStatement(
    lambda _, keys: select(*_DELIVERY.c).where(_DELIVERY.c.payment_id.in_(keys)).order_by(_DELIVERY.c.id)
)
_SET_STATE = Statement(
    lambda _: (
        update(_DELIVERY)
        .where(_DELIVERY.c.id == bindparam("delivery_id"), _DELIVERY.c.state == bindparam("state_before"))
        .values(state=bindparam("state"), attempts=bindparam("attempts"), ended_at_us=bindparam("ended_at_us"))
    )
)
_PENDING_OF = BatchStatement(
    lambda _, keys: (
        select(_DELIVERY.c.endpoint_id, func.count())
        .where(_DELIVERY.c.endpoint_id.in_(keys), _DELIVERY.c.state == DeliveryState.PENDING.value)
        .group_by(_DELIVERY.c.endpoint_id)
    )
)
_ADD_ATTEMPT = Statement(lambda _: insert(_ATTEMPT).values(every_column(_ATTEMPT)))
_ATTEMPTS_OF = BatchStatement(
    lambda _, keys: select(*_ATTEMPT.c).where(_ATTEMPT.c.delivery_id.in_(keys)).order_by(_ATTEMPT.c.number)
)


_LISTING = Listing(
    _DELIVERY,
    narrowed_by=[_DELIVERY.c.merchant_id, _DELIVERY.c.endpoint_id, _DELIVERY.c.state, _DELIVERY.c.payment_id],
)


def insert_delivery(transaction: Transaction, delivery: WebhookDelivery) -> bool:
    """Remember a delivery; False, and nothing changed, when one of the same event to the same endpoint is pending."""
    added = transaction.execute(
        _INSERT,
        {
            "id": delivery.id,
            "endpoint_id": delivery.endpoint_id,
            "merchant_id": delivery.merchant_id,
            "event_position": delivery.event_position,
            "event_id": delivery.event_id,
            "event_type": delivery.event_type,
            "payment_id": delivery.payment_id,
            "cause": delivery.cause.value,
            "state": delivery.state.value,
            "attempts": delivery.attempts,
            "created_at_us": to_us(delivery.created_at),
            "ended_at_us": None if delivery.ended_at is None else to_us(delivery.ended_at),
            "url": delivery.url,
        },
    )
    return added == 1


def is_pending(transaction: Transaction, endpoint_id: EndpointId, event_position: int) -> bool:
    """Tell whether an event is on its way to an endpoint."""
    return transaction.first(_IS_PENDING, {"endpoint_id": endpoint_id, "event_position": event_position}) is not None


def deliveries_by_id(transaction: Transaction, ids: Sequence[DeliveryId]) -> list[WebhookDelivery | None]:
    """Return one entry per id, in order."""
    return one_by_id(transaction, _BY_IDS, ids, _to_domain)


def deliveries_of_payments(transaction: Transaction, payment_ids: Sequence[PaymentId]) -> list[list[WebhookDelivery]]:
    """Return each payment's deliveries, the oldest first, one list per id, in order."""

    def entry(row: Any) -> tuple[PaymentId | None, WebhookDelivery]:
        delivery = _to_domain(row)
        return delivery.payment_id, delivery

    return many_by_key(transaction, _OF_PAYMENTS, payment_ids, entry)


def move_delivery(
    transaction: Transaction, before: WebhookDelivery, state: DeliveryState, *, attempts: int, ended_at: datetime | None
) -> bool:
    """Move a delivery by compare-and-set; False when another moved it first.

    Raises:
        IllegalTransition: the table does not allow it.
    """
    if state is not before.state and state not in DELIVERY_NEXT[before.state]:
        raise IllegalTransition(f"{before.id}: {before.state} -> {state}")
    moved = transaction.execute(
        _SET_STATE,
        {
            "delivery_id": before.id,
            "state_before": before.state.value,
            "state": state.value,
            "attempts": attempts,
            "ended_at_us": None if ended_at is None else to_us(ended_at),
        },
    )
    return moved == 1


def add_attempt(transaction: Transaction, attempt: WebhookAttempt) -> None:
    transaction.execute(
        _ADD_ATTEMPT,
        {
            "delivery_id": attempt.delivery_id,
            "number": attempt.number,
            "begun_at_us": to_us(attempt.begun_at),
            "took_us": attempt.took_us,
            "status_code": attempt.status_code,
            "error": attempt.error,
        },
    )


def attempts_of_deliveries(transaction: Transaction, ids: Sequence[DeliveryId]) -> list[list[WebhookAttempt]]:
    """Return each delivery's attempts in order, one list per id."""
    return many_by_key(transaction, _ATTEMPTS_OF, ids, _to_attempt)


def pending_counts(transaction: Transaction, ids: Sequence[EndpointId]) -> list[int]:
    """Return how many deliveries to each endpoint did not end, one number per id."""
    statement, parameters = _PENDING_OF.sized(ids)
    found: dict[str, int] = dict(transaction.all(statement, parameters))
    return [found.get(id_, 0) for id_ in ids]


def list_deliveries(
    transaction: Transaction, *, merchant_id: MerchantId, narrowed: DeliveryFilter, after_id: str | None, limit: int
) -> list[WebhookDelivery]:
    """Return the merchant's deliveries, the newest first, after the last one seen."""
    rows = _LISTING.page(transaction, _narrowing(narrowed, merchant_id), after_id=after_id, limit=limit)
    return [_to_domain(row) for row in rows]


def count_deliveries(transaction: Transaction, *, merchant_id: MerchantId, narrowed: DeliveryFilter) -> int:
    return _LISTING.count(transaction, _narrowing(narrowed, merchant_id))


def _narrowing(narrowed: DeliveryFilter, merchant_id: MerchantId) -> Narrowing:
    return {
        "merchant_id": merchant_id,
        "endpoint_id": narrowed.endpoint_id,
        "state": narrowed.state and narrowed.state.value,
        "payment_id": narrowed.payment_id,
    }


def _to_attempt(row: Any) -> tuple[str, WebhookAttempt]:
    delivery_id, number, begun, took_us, status_code, error = row
    return delivery_id, WebhookAttempt(
        delivery_id=DeliveryId(delivery_id),
        number=number,
        begun_at=from_us(begun),
        took_us=took_us,
        status_code=status_code,
        error=error,
    )


def _to_domain(row: Any) -> WebhookDelivery:
    (
        id_, endpoint_id, merchant_id, position, event_id, event_type, payment_id, cause, state, attempts, created,
        ended, url,
    ) = row  # fmt: skip
    return WebhookDelivery(
        id=DeliveryId(id_),
        endpoint_id=None if endpoint_id is None else EndpointId(endpoint_id),
        url=url,
        merchant_id=MerchantId(merchant_id),
        event_position=position,
        event_id=EventId(event_id),
        event_type=event_type,
        payment_id=None if payment_id is None else PaymentId(payment_id),
        cause=DeliveryCause(cause),
        state=DeliveryState(state),
        attempts=attempts,
        created_at=from_us(created),
        ended_at=from_us_or_none(ended),
    )
