"""Webhooks: where a merchant wants to be told, and what became of each telling."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from quittance.domain.event import EventKind
from quittance.domain.ids import DeliveryId, EndpointId, EventId, MerchantId, PaymentId
from quittance.domain.rotation import SecretVersions

TEST_TYPE = "webhook.test"
TOLD = frozenset(EventKind) - {EventKind.WEBHOOK_DELIVERED}  # else each delivery would cause another


class EndpointStatus(StrEnum):
    """DISABLED by its merchant; FAILED when too many deliveries in a row were given up, or the receiver said 410."""

    ENABLED = "ENABLED"
    DISABLED = "DISABLED"
    FAILED = "FAILED"


class DeliveryState(StrEnum):
    """PENDING until it arrived, was given up, or its endpoint was taken away."""

    PENDING = "PENDING"
    DELIVERED = "DELIVERED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"


DELIVERY_NEXT: Mapping[DeliveryState, frozenset[DeliveryState]] = {
    DeliveryState.PENDING: frozenset({DeliveryState.DELIVERED, DeliveryState.FAILED, DeliveryState.CANCELED}),
    DeliveryState.DELIVERED: frozenset(),
    DeliveryState.FAILED: frozenset({DeliveryState.PENDING}),  # redelivered by hand
    DeliveryState.CANCELED: frozenset({DeliveryState.PENDING}),
}
assert DELIVERY_NEXT.keys() == set(DeliveryState)


class DeliveryCause(StrEnum):
    """Why an event goes out: because it happened, as a test, or once more because its merchant asked."""

    EVENT = "EVENT"
    TEST = "TEST"
    REPLAY = "REPLAY"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEndpoint:
    """``failures``: deliveries given up since the last one that arrived. ``document`` shapes the payload."""

    id: EndpointId
    merchant_id: MerchantId
    url: str
    description: str | None
    event_types: frozenset[EventKind]
    document: str | None
    status: EndpointStatus
    status_reason: str | None
    secret: SecretVersions
    failures: int
    created_at: datetime
    modified_at: datetime
    deleted_at: datetime | None

    @property
    def lane(self) -> str:
        return f"webhook/{self.id}"

    def wants(self, kind: EventKind) -> bool:
        return self.status is EndpointStatus.ENABLED and self.deleted_at is None and kind in self.event_types


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookDelivery:
    """One event on its way to one endpoint. ``event_position`` is None for a test, which is in no log."""

    id: DeliveryId
    endpoint_id: EndpointId
    merchant_id: MerchantId
    event_position: int | None
    event_id: EventId
    event_type: str
    payment_id: PaymentId | None
    cause: DeliveryCause
    state: DeliveryState
    attempts: int
    created_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookAttempt:
    """One try. ``status_code`` is None when no answer came, and ``error`` says why."""

    delivery_id: DeliveryId
    number: int
    begun_at: datetime
    took_us: int
    status_code: int | None
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryFilter:
    """What a list of deliveries is narrowed to; None leaves a dimension open."""

    endpoint_id: EndpointId | None = None
    state: DeliveryState | None = None
    payment_id: PaymentId | None = None
