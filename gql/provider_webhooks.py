"""The fields of providers' webhooks: parts of the query and mutation roots, for admin keys of the first merchant."""

from datetime import datetime
from typing import Annotated

import strawberry

from quittance.gql.arguments import First, Id, given
from quittance.gql.context import QuittanceInfo
from quittance.gql.errors import (
    CannotManageWebhooksError,
    InvalidInputError,
    PermissionDeniedError,
    ProviderMisconfiguredError,
    ProviderUnavailableError,
    ProviderWebhookNotFoundError,
    ProviderWebhookRejectedError,
    RateLimitedError,
)
from quittance.gql.pages import PAGE_DEFAULT, asked_page
from quittance.gql.types.provider_webhook import (
    ProviderEvent,
    ProviderWebhook,
    SubscribeProviderWebhookInput,
    UpdateProviderWebhookInput,
)
from quittance.providers.subscriptions import SubscriptionChange
from quittance.resolvers import provider_events, provider_webhooks
from quittance.resolvers.provider_webhooks import OVERLAP_S_DEFAULT

ProviderArgument = Annotated[str, strawberry.argument(description="The rail.")]
SinceArgument = Annotated[
    datetime | None, strawberry.argument(description="From when on; ten days ago unless it is said.")
]


@strawberry.type(description="The webhook as it is now.")
class SubscribeProviderWebhookSuccess:
    webhook: ProviderWebhook = strawberry.field(description="The one webhook of its address.")


@strawberry.type(description="The webhook as it is now.")
class UpdateProviderWebhookSuccess:
    webhook: ProviderWebhook = strawberry.field(description="The changed webhook.")


@strawberry.type(description="The webhook is gone.")
class UnsubscribeProviderWebhookSuccess:
    id: strawberry.ID = strawberry.field(description="The id of the webhook that was taken away.")


@strawberry.type(description="The webhook has a new secret.")
class RotateProviderWebhookSecretSuccess:
    webhook: ProviderWebhook = strawberry.field(description="The webhook; nobody is shown its secret.")


@strawberry.type(description="What was taken in.")
class CatchUpProviderEventsSuccess:
    since: datetime = strawberry.field(description="From when on the provider was asked.")
    seen: int = strawberry.field(description="How many events there were, of the types that we can use.")
    stored: int = strawberry.field(description="How many of them were new to us, and are worked on now.")
    goes_on_at: datetime | None = strawberry.field(
        description="Null when all were read. Else there are more: ask again with this as `since`."
    )


SubscribeProviderWebhookResult = Annotated[
    SubscribeProviderWebhookSuccess
    | PermissionDeniedError
    | CannotManageWebhooksError
    | ProviderWebhookRejectedError
    | ProviderWebhookNotFoundError
    | ProviderUnavailableError
    | ProviderMisconfiguredError
    | InvalidInputError
    | RateLimitedError,
    strawberry.union("SubscribeProviderWebhookResult", description="What `subscribeProviderWebhook` gives."),
]
UpdateProviderWebhookResult = Annotated[
    UpdateProviderWebhookSuccess
    | PermissionDeniedError
    | CannotManageWebhooksError
    | ProviderWebhookRejectedError
    | ProviderWebhookNotFoundError
    | ProviderUnavailableError
    | ProviderMisconfiguredError
    | InvalidInputError
    | RateLimitedError,
    strawberry.union("UpdateProviderWebhookResult", description="What `updateProviderWebhook` gives."),
]
UnsubscribeProviderWebhookResult = Annotated[
    UnsubscribeProviderWebhookSuccess
    | PermissionDeniedError
    | CannotManageWebhooksError
    | ProviderWebhookRejectedError
    | ProviderWebhookNotFoundError
    | ProviderUnavailableError
    | ProviderMisconfiguredError
    | RateLimitedError,
    strawberry.union("UnsubscribeProviderWebhookResult", description="What `unsubscribeProviderWebhook` gives."),
]
RotateProviderWebhookSecretResult = Annotated[
    RotateProviderWebhookSecretSuccess
    | PermissionDeniedError
    | CannotManageWebhooksError
    | ProviderWebhookRejectedError
    | ProviderWebhookNotFoundError
    | ProviderUnavailableError
    | ProviderMisconfiguredError
    | InvalidInputError
    | RateLimitedError,
    strawberry.union("RotateProviderWebhookSecretResult", description="What `rotateProviderWebhookSecret` gives."),
]
CatchUpProviderEventsResult = Annotated[
    CatchUpProviderEventsSuccess
    | PermissionDeniedError
    | CannotManageWebhooksError
    | ProviderUnavailableError
    | ProviderMisconfiguredError
    | InvalidInputError
    | RateLimitedError,
    strawberry.union("CatchUpProviderEventsResult", description="What `catchUpProviderEvents` gives."),
]


@strawberry.type(description="Queries about webhooks of providers.")
class ProviderWebhookQueries:
    @strawberry.field(
        description="Every webhook of the account at a provider, ours or not, the oldest first; the provider is asked. "
        "For admin keys of the first merchant."
    )
    async def provider_webhooks(self, info: QuittanceInfo, provider: ProviderArgument) -> list[ProviderWebhook]:
        found = await provider_webhooks.list_webhooks(info.context.services, info.context.principal, provider=provider)
        return [ProviderWebhook.from_domain(one, provider=provider) for one in found]

    @strawberry.field(
        description="What happened at a provider, the oldest first, and whether it reached us; the provider is asked. "
        "For admin keys of the first merchant."
    )
    async def provider_events(
        self,
        info: QuittanceInfo,
        provider: ProviderArgument,
        since: SinceArgument = None,
        undelivered_only: Annotated[
            bool | None, strawberry.argument(description="Leave out what the provider could deliver.")
        ] = None,
        first: First = PAGE_DEFAULT,
    ) -> list[ProviderEvent]:
        found = await provider_events.list_events(
            info.context.services,
            info.context.principal,
            provider=provider,
            since=since,
            undelivered_only=bool(undelivered_only),
            limit=asked_page(first, None).size,
        )
        return [ProviderEvent.from_domain(one) for one in found]


@strawberry.type(description="Mutations of webhooks of providers.")
class ProviderWebhookMutations:
    @strawberry.mutation(
        description="Have a provider tell us of what happens there. One webhook stands for one address: asking again "
        "brings it to what is asked, and adds none. Its secret is made here and shown to nobody."
    )
    async def subscribe_provider_webhook(
        self,
        info: QuittanceInfo,
        input: Annotated[SubscribeProviderWebhookInput, strawberry.argument(description="Where, and of what.")],  # noqa: A002
    ) -> SubscribeProviderWebhookResult | None:
        made = await provider_webhooks.subscribe(
            info.context.services,
            info.context.principal,
            provider=input.provider,
            url=input.url,
            kinds=input.event_types,
        )
        return SubscribeProviderWebhookSuccess(webhook=ProviderWebhook.from_domain(made, provider=input.provider))

    @strawberry.mutation(description="Change a webhook at a provider; what is left out stays as it is.")
    async def update_provider_webhook(
        self,
        info: QuittanceInfo,
        input: Annotated[UpdateProviderWebhookInput, strawberry.argument(description="What to change.")],  # noqa: A002
    ) -> UpdateProviderWebhookResult | None:
        changed = await provider_webhooks.update(
            info.context.services,
            info.context.principal,
            provider=input.provider,
            webhook_id=input.id,
            change=_change(input),
        )
        return UpdateProviderWebhookSuccess(webhook=ProviderWebhook.from_domain(changed, provider=input.provider))

    @strawberry.mutation(
        description="Take a webhook away at a provider, whoever set it up; its secret proves nothing from then on."
    )
    async def unsubscribe_provider_webhook(
        self,
        info: QuittanceInfo,
        provider: ProviderArgument,
        id: Id,  # noqa: A002
    ) -> UnsubscribeProviderWebhookResult | None:
        await provider_webhooks.unsubscribe(
            info.context.services, info.context.principal, provider=provider, webhook_id=id
        )
        return UnsubscribeProviderWebhookSuccess(id=id)

    @strawberry.mutation(
        description="Give a webhook of ours a new secret. Both are accepted until the provider has answered, and for "
        "the overlap from then on. After a lost answer ask again: it goes on with the same secret."
    )
    async def rotate_provider_webhook_secret(
        self,
        info: QuittanceInfo,
        provider: ProviderArgument,
        id: Id,  # noqa: A002
        overlap_seconds: Annotated[
            int | None,
            strawberry.argument(
                description="How long the old secret is accepted once the provider has the new one: 0 to 30 days; a "
                "day unless said."
            ),
        ] = OVERLAP_S_DEFAULT,
    ) -> RotateProviderWebhookSecretResult | None:
        rotated = await provider_webhooks.rotate_secret(
            info.context.services,
            info.context.principal,
            provider=provider,
            webhook_id=id,
            overlap_s=OVERLAP_S_DEFAULT if overlap_seconds is None else overlap_seconds,
        )
        return RotateProviderWebhookSecretSuccess(webhook=ProviderWebhook.from_domain(rotated, provider=provider))

    @strawberry.mutation(
        description="Take in what happened at a provider since then, as if it had told us: each event once, whichever "
        "way it comes, and what the provider says of it is booked. For after a downtime; safe at any time."
    )
    async def catch_up_provider_events(
        self, info: QuittanceInfo, provider: ProviderArgument, since: SinceArgument = None
    ) -> CatchUpProviderEventsResult | None:
        caught = await provider_events.catch_up(
            info.context.services, info.context.principal, provider=provider, since=since
        )
        return CatchUpProviderEventsSuccess(
            since=caught.since, seen=caught.seen, stored=caught.stored, goes_on_at=caught.goes_on_at
        )


def _change(said: UpdateProviderWebhookInput) -> SubscriptionChange:
    kinds = given(said.event_types, "eventTypes")
    return SubscriptionChange(
        url=given(said.url, "url"),
        kinds=None if kinds is None else tuple(dict.fromkeys(kinds)),
        enabled=given(said.enabled, "enabled"),
    )
