"""Webhooks of providers, and what happened there, on the wire."""

from datetime import datetime

import strawberry

from quittance.gql.types.callback import ProviderCallback
from quittance.providers.subscriptions import EventDelivery
from quittance.resolvers.provider_events import KnownEvent
from quittance.resolvers.provider_webhooks import ManagedWebhook

strawberry.enum(
    EventDelivery,
    name="ProviderEventDelivery",
    description="Whether the provider could tell somebody of an event. UNKNOWN: it does not say, or nobody is told.",
)


@strawberry.type(description="A webhook at a provider: an address that it tells of what happens there.")
class ProviderWebhook:
    id: strawberry.ID = strawberry.field(description="The provider's own id of it.")
    provider: str = strawberry.field(description="The rail it belongs to.")
    url: str = strawberry.field(description="The address that is told.")
    event_types: list[str] = strawberry.field(description="Of what, in the provider's words.")
    enabled: bool = strawberry.field(description="Whether the provider tells it anything.")
    created_at: datetime = strawberry.field(description="When it was set up at the provider.")
    is_ours: bool = strawberry.field(
        description="Whether we made its secret. One that somebody else set up is ours once its address is subscribed."
    )
    secret_rotated_at: datetime | None = strawberry.field(
        description="When the provider last took a new secret; null for the first."
    )
    previous_secret_until: datetime | None = strawberry.field(
        description="Until when the secret before is accepted too; null when it is not, or a rotation is under way."
    )
    is_rotating: bool = strawberry.field(
        description="Whether the provider has not confirmed the new secret yet. Both are accepted until it does: "
        "rotate again to go on."
    )

    @staticmethod
    def from_domain(subject: ManagedWebhook, *, provider: str) -> "ProviderWebhook":
        held, own = subject.subscription, subject.own
        return ProviderWebhook(
            id=strawberry.ID(held.id),
            provider=provider,
            url=held.url,
            event_types=list(held.kinds),
            enabled=held.enabled,
            created_at=held.created_at,
            is_ours=own is not None,
            secret_rotated_at=None if own is None else own.rotated_at,
            previous_secret_until=None if own is None else own.previous_until,
            is_rotating=own is not None and own.is_rotating,
        )


@strawberry.type(description="Something that happened at a provider, whether or not it could tell us.")
class ProviderEvent:
    id: strawberry.ID = strawberry.field(description="The provider's own id of it: `eventId` of its callback.")
    type: str = strawberry.field(description="What happened, in the provider's words.")
    entity: str | None = strawberry.field(description="The provider's own id of what it happened to.")
    created_at: datetime = strawberry.field(description="When it happened.")
    delivery: EventDelivery = strawberry.field(description="Whether the provider could tell somebody of it.")
    callback: ProviderCallback | None = strawberry.field(
        description="What we know of it; null where it never reached us."
    )

    @staticmethod
    def from_domain(subject: KnownEvent) -> "ProviderEvent":
        event, callback = subject.event, subject.callback
        return ProviderEvent(
            id=strawberry.ID(event.event_id),
            type=event.kind,
            entity=event.entity,
            created_at=event.created_at,
            delivery=event.delivery,
            callback=None if callback is None else ProviderCallback.from_domain(callback),
        )


@strawberry.input(description="Where a provider is to tell us, and of what.")
class SubscribeProviderWebhookInput:
    provider: str = strawberry.field(description="The rail.")
    url: str | None = strawberry.field(
        default=None, description="The address: our `/callbacks/{provider}` unless another leads there."
    )
    event_types: list[str] | None = strawberry.field(
        default=None, description="Of what, in the provider's words; all that we can use unless it is said."
    )


@strawberry.input(description="What to change of a webhook; what is left out stays as it is.")
class UpdateProviderWebhookInput:
    provider: str = strawberry.field(description="The rail.")
    id: strawberry.ID = strawberry.field(description="The provider's id of the webhook.")
    url: str | None = strawberry.field(default=strawberry.UNSET, description="Another address.")
    event_types: list[str] | None = strawberry.field(default=strawberry.UNSET, description="Other types.")
    enabled: bool | None = strawberry.field(default=strawberry.UNSET, description="Whether it is told anything.")
