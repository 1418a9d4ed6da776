"""Webhooks: where a merchant wants to be told, and what became of each telling."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from urllib.parse import urlsplit
from zlib import crc32

from quittance.domain.event import EventKind
from quittance.domain.ids import DeliveryId, EndpointId, EventId, MerchantId, PaymentId
from quittance.domain.rotation import SecretVersions

TEST_TYPE = "webhook.test"
NOTIFY_LANES = 64
TOLD = frozenset(EventKind) - {
    EventKind.WEBHOOK_DELIVERED,  # else each delivery would cause another
    EventKind.LOGIN_SIGNED,  # no merchant's business
}


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
class Target:
    """Where deliveries go: to an endpoint or, without one, to the ``url`` that a payment brought along."""

    merchant_id: MerchantId
    lane: str
    endpoint_id: EndpointId | None = None
    url: str | None = field(default=None, repr=False)

    def order_key(self, payment_id: PaymentId) -> str:
        """Return what the deliveries of one payment to this target share: they arrive one after the other."""
        return f"{self.endpoint_id or 'notify'}/{payment_id}"


def endpoint_target(merchant_id: MerchantId, endpoint_id: EndpointId) -> Target:
    return Target(merchant_id=merchant_id, lane=f"{merchant_id}/webhook/{endpoint_id}", endpoint_id=endpoint_id)


def notify_target(merchant_id: MerchantId, url: str) -> Target:
    """Return the target of a payment's own address.

    One server's deliveries share a lane, so it delays hardly any other: a merchant has NOTIFY_LANES, whatever it names.
    """
    host = urlsplit(url).hostname or ""
    lane = f"{merchant_id}/notify/{crc32(host.encode()) % NOTIFY_LANES}"
    return Target(merchant_id=merchant_id, lane=lane, url=url)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEndpoint:
    """``failures``: deliveries given up since the last one that arrived. ``document`` shapes the payload.

    With ``ed25519`` a private key signs too, which has the versions of the secret.
    """

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
    ed25519: bool

    @property
    def target(self) -> Target:
        return endpoint_target(self.merchant_id, self.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookDelivery:
    """One event on its way to one target: ``url`` is None exactly where there is an ``endpoint_id``.

    ``event_position`` is None for a test, which is in no log.
    """

    id: DeliveryId
    endpoint_id: EndpointId | None
    url: str | None = field(repr=False)
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

    @property
    def target(self) -> Target:
        if self.endpoint_id is not None:
            return endpoint_target(self.merchant_id, self.endpoint_id)
        if self.url is None:
            raise ValueError(f"delivery {self.id} goes nowhere")
        return notify_target(self.merchant_id, self.url)


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
