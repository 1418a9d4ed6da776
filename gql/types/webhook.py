"""Webhooks on the wire: endpoints, deliveries, attempts."""

from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import strawberry

from quittance.domain import endpoint as domain
from quittance.domain.access import Scope
from quittance.domain.endpoint import TOLD, DeliveryCause, DeliveryState, EndpointStatus
from quittance.domain.event import EventKind
from quittance.gql.context import QuittanceInfo
from quittance.gql.types.node import Node, PageInfo
from quittance.resolvers import deliveries, endpoints, signing

if TYPE_CHECKING:
    from quittance.gql.types.payment import Payment

strawberry.enum(EndpointStatus, name="WebhookEndpointStatus", description="Whether an endpoint is told of events.")
strawberry.enum(DeliveryState, name="WebhookDeliveryState", description="What became of a delivery.")
strawberry.enum(DeliveryCause, name="WebhookDeliveryCause", description="Why an event goes out.")


def _told(kind: EventKind, description: str) -> Any:
    return strawberry.enum_value(kind.value, description=f"{description} On the wire `{kind.value}`.")


@strawberry.enum(description="What an endpoint can be told of.")
class WebhookEventType(Enum):
    PAYMENT_SETTLED = _told(EventKind.PAYMENT_SETTLED, "A payment is complete: its money came and is booked.")
    PAYMENT_UPDATED = _told(
        EventKind.PAYMENT_UPDATED,
        "A payment changed in any other way: it was made, can be paid, expired, was canceled, or money came in part.",
    )
    REFUND_UPDATED = _told(EventKind.REFUND_UPDATED, "A refund was begun, left, failed, or its outcome is unknown.")
    PAYOUT_UPDATED = _told(EventKind.PAYOUT_UPDATED, "A payout was begun, left, failed, or its outcome is unknown.")
    ARTICLE_PUBLISHED = _told(EventKind.ARTICLE_PUBLISHED, "An article can be bought from now on.")
    ARTICLE_UPDATED = _told(EventKind.ARTICLE_UPDATED, "An article changed.")
    WEBHOOK_ENDPOINT_DISABLED = _told(
        EventKind.WEBHOOK_ENDPOINT_DISABLED, "Another endpoint was given up, and is told of nothing any more."
    )


assert {kind.value for kind in WebhookEventType} == {kind.value for kind in TOLD}


@strawberry.type(description="Where a merchant is told of events.")
class WebhookEndpoint(Node):
    subject: strawberry.Private[domain.WebhookEndpoint]
    url: str = strawberry.field(description="The address that is called.")
    description: str | None = strawberry.field(description="What it is for.")
    event_types: list[WebhookEventType] = strawberry.field(description="What it is told of.")
    document: str | None = strawberry.field(description="The subscription whose result is the payload; null for ours.")
    status: EndpointStatus = strawberry.field(description="Whether it is told.")
    status_reason: str | None = strawberry.field(description="Why it was given up, as a code.")
    previous_secret_until: datetime | None = strawberry.field(
        description="Until when deliveries are signed with the secret before, too."
    )
    created_at: datetime = strawberry.field(description="When it was made; earlier events are not sent.")
    modified_at: datetime = strawberry.field(description="When it last changed.")

    @strawberry.field(
        description="`whpk_…`: the keys that verify its Ed25519 signatures, the newest first, then the one before it "
        "until the overlap ends; empty when it has none."
    )
    def public_keys(self, info: QuittanceInfo) -> list[str]:
        services = info.context.services
        return signing.public_keys(services, self.subject, at=services.now())

    @strawberry.field(description="How many messages a second it takes at most; null for the server's own limit.")
    async def messages_per_second(self, info: QuittanceInfo) -> int | None:
        return await info.context.loaders.lane_rate.load(self.subject.target.lane)

    @strawberry.field(description="How many deliveries are on their way or wait for another try.")
    async def queue_depth(self, info: QuittanceInfo) -> int:
        if not may_see_deliveries(info, self.subject.merchant_id):
            return 0
        return await info.context.loaders.queue_depth.load(self.subject.id)

    @staticmethod
    def from_domain(subject: domain.WebhookEndpoint) -> "WebhookEndpoint":
        return WebhookEndpoint(
            id=strawberry.ID(subject.id),
            subject=subject,
            url=subject.url,
            description=subject.description,
            event_types=[WebhookEventType(kind.value) for kind in sorted(subject.event_types)],
            document=subject.document,
            status=subject.status,
            status_reason=subject.status_reason,
            previous_secret_until=subject.secret.previous_until,
            created_at=subject.created_at,
            modified_at=subject.modified_at,
        )


@strawberry.type(description="One try to deliver.")
class WebhookAttempt:
    number: int = strawberry.field(description="Which try, counted from 1.")
    begun_at: datetime = strawberry.field(description="When it began.")
    took_ms: float = strawberry.field(description="How long it took, in milliseconds.")
    status_code: int | None = strawberry.field(description="What the receiver answered; null when no answer came.")
    error: str | None = strawberry.field(description="Why no answer came.")


@strawberry.type(description="One event on its way to an endpoint, or to the `notifyUrl` of its payment.")
class WebhookDelivery(Node):
    subject: strawberry.Private[domain.WebhookDelivery]
    event_id: strawberry.ID = strawberry.field(description="The event's id, which is the `webhook-id` header.")
    event_type: str = strawberry.field(description="What happened, such as payment.settled.")
    cause: DeliveryCause = strawberry.field(description="Why it goes out.")
    state: DeliveryState = strawberry.field(description="What became of it.")
    url: str | None = strawberry.field(description="The `notifyUrl` that it goes to; null when it goes to an endpoint.")
    created_at: datetime = strawberry.field(description="When it was planned.")
    ended_at: datetime | None = strawberry.field(description="When it arrived or was given up.")

    @strawberry.field(description="Where it goes; null when it goes to the `notifyUrl` of its payment.")
    def endpoint(self, info: QuittanceInfo) -> WebhookEndpoint | None:
        if self.subject.endpoint_id is None:
            return None
        return info.context.loaders.endpoint.then(
            self.subject.endpoint_id, lambda found: None if found is None else WebhookEndpoint.from_domain(found)
        )

    @strawberry.field(description="The payment that it is about.")
    def payment(
        self, info: QuittanceInfo
    ) -> Annotated["Payment", strawberry.lazy("quittance.gql.types.payment")] | None:
        from quittance.gql.types.payment import Payment  # noqa: PLC0415 - the two types name each other

        if self.subject.payment_id is None:
            return None
        return info.context.loaders.payment.then(
            self.subject.payment_id, lambda found: None if found is None else Payment.from_domain(found)
        )

    @strawberry.field(description="Every try so far.")
    def attempts(self, info: QuittanceInfo) -> list[WebhookAttempt]:
        return info.context.loaders.attempts.then(
            self.subject.id,
            lambda found: [
                WebhookAttempt(
                    number=one.number,
                    begun_at=one.begun_at,
                    took_ms=one.took_us / 1000,
                    status_code=one.status_code,
                    error=one.error,
                )
                for one in found
            ],
        )

    @staticmethod
    def from_domain(subject: domain.WebhookDelivery) -> "WebhookDelivery":
        return WebhookDelivery(
            id=strawberry.ID(subject.id),
            subject=subject,
            event_id=strawberry.ID(subject.event_id),
            event_type=subject.event_type,
            cause=subject.cause,
            state=subject.state,
            url=subject.url,
            created_at=subject.created_at,
            ended_at=subject.ended_at,
        )


@strawberry.type(description="An endpoint in a page.")
class WebhookEndpointEdge:
    cursor: str = strawberry.field(description="Where this endpoint stands in the list.")
    node: WebhookEndpoint = strawberry.field(description="The endpoint.")


@strawberry.type(description="A page of endpoints.")
class WebhookEndpointConnection:
    edges: list[WebhookEndpointEdge] = strawberry.field(description="The endpoints of this page, the newest first.")
    page_info: PageInfo = strawberry.field(description="Where this page begins and ends.")

    @strawberry.field(description="How many endpoints the merchant has.")
    async def total_count(self, info: QuittanceInfo) -> int:
        return await endpoints.count_endpoints(info.context.services, info.context.principal)


@strawberry.type(description="A delivery in a page.")
class WebhookDeliveryEdge:
    cursor: str = strawberry.field(description="Where this delivery stands in the list.")
    node: WebhookDelivery = strawberry.field(description="The delivery.")


@strawberry.type(description="A page of deliveries.")
class WebhookDeliveryConnection:
    narrowed: strawberry.Private[domain.DeliveryFilter]
    edges: list[WebhookDeliveryEdge] = strawberry.field(description="The deliveries of this page, the newest first.")
    page_info: PageInfo = strawberry.field(description="Where this page begins and ends.")

    @strawberry.field(description="How many deliveries the whole list has.")
    async def total_count(self, info: QuittanceInfo) -> int:
        return await deliveries.count_deliveries(info.context.services, info.context.principal, self.narrowed)


@strawberry.input(description="What a list of deliveries is narrowed to.")
class WebhookDeliveryFilter:
    endpoint_id: strawberry.ID | None = strawberry.field(default=None, description="Only to this endpoint.")
    state: DeliveryState | None = strawberry.field(default=None, description="Only in this state.")
    payment_id: strawberry.ID | None = strawberry.field(default=None, description="Only about this payment.")


@strawberry.input(description="Where to be told, and of what.")
class CreateWebhookEndpointInput:
    url: str = strawberry.field(
        description="An https address; private networks are refused unless a setting opens them."
    )
    event_types: list[WebhookEventType] | None = strawberry.field(
        default=None, description="What to be told of; all that can be told unless said."
    )
    document: str | None = strawberry.field(
        default=None, description="A subscription without variables; its result becomes the payload's `data`."
    )
    description: str | None = strawberry.field(default=None, description="What the endpoint is for.")
    ed25519: bool | None = strawberry.field(
        default=None,
        description="Whether deliveries carry Ed25519 signatures (`v1a`) too, which `publicKeys` verify; false unless "
        "said.",
    )
    messages_per_second: int | None = strawberry.field(
        default=None, description="How many messages a second it takes at most; the server's own limit unless said."
    )


@strawberry.input(description="What to change of an endpoint; what is left out stays as it is.")
class UpdateWebhookEndpointInput:
    id: strawberry.ID = strawberry.field(description="The endpoint.")
    url: str | None = strawberry.field(default=strawberry.UNSET, description="Another address.")
    event_types: list[WebhookEventType] | None = strawberry.field(
        default=strawberry.UNSET, description="What to be told of from now on."
    )
    document: str | None = strawberry.field(
        default=strawberry.UNSET, description="Another subscription; null for our own payload."
    )
    description: str | None = strawberry.field(default=strawberry.UNSET, description="Another text; null for none.")
    enabled: bool | None = strawberry.field(
        default=strawberry.UNSET, description="Whether to be told; true also revives one that was given up."
    )
    ed25519: bool | None = strawberry.field(
        default=strawberry.UNSET, description="Whether deliveries carry Ed25519 signatures (`v1a`) too."
    )
    messages_per_second: int | None = strawberry.field(
        default=strawberry.UNSET, description="Another rate; null for the server's own limit."
    )


def may_see_deliveries(info: QuittanceInfo, merchant_id: str) -> bool:
    """Tell whether this caller may see how a merchant is told."""
    principal = info.context.principal
    return principal.merchant_id == merchant_id and principal.allows(Scope.ADMIN)
