"""The fields of webhooks: parts of the query and mutation roots."""

from typing import Annotated

import strawberry

from quittance.domain.cursor import decode_position, encode_key
from quittance.domain.endpoint import DeliveryFilter
from quittance.domain.errors import InvalidCursor, InvalidInput
from quittance.domain.event import EventKind
from quittance.domain.ids import DeliveryId, EndpointId, PaymentId
from quittance.gql.arguments import After, First, Id, given, given_or_null
from quittance.gql.context import QuittanceInfo
from quittance.gql.errors import (
    ForbiddenAddressError,
    InvalidDocumentError,
    InvalidInputError,
    PermissionDeniedError,
    RateLimitedError,
    WebhookDeliveryNotFoundError,
    WebhookEndpointNotFoundError,
)
from quittance.gql.pages import asked_page
from quittance.gql.types.webhook import (
    CreateWebhookEndpointInput,
    UpdateWebhookEndpointInput,
    WebhookDelivery,
    WebhookDeliveryConnection,
    WebhookDeliveryEdge,
    WebhookDeliveryFilter,
    WebhookEndpoint,
    WebhookEndpointConnection,
    WebhookEndpointEdge,
    WebhookEventType,
    may_see_deliveries,
)
from quittance.resolvers import deliveries, endpoints, notify
from quittance.resolvers.endpoints import EndpointChange, EndpointDraft

_OVERLAP_S_DEFAULT = 86_400

EndpointIdArgument = Annotated[strawberry.ID, strawberry.argument(description="The endpoint.")]
OverlapArgument = Annotated[
    int | None,
    strawberry.argument(description="How long the old secret signs too: 0 to 30 days; a day unless said."),
]


@strawberry.type(description="The endpoint, with the secret that its deliveries are signed with.")
class CreateWebhookEndpointSuccess:
    endpoint: WebhookEndpoint = strawberry.field(description="The new endpoint.")
    secret: str = strawberry.field(description="`whsec_…`: shown this once. Receivers verify signatures with it.")


@strawberry.type(description="The endpoint as it is now.")
class UpdateWebhookEndpointSuccess:
    endpoint: WebhookEndpoint = strawberry.field(description="The changed endpoint.")


@strawberry.type(description="The endpoint that was taken away.")
class DeleteWebhookEndpointSuccess:
    endpoint: WebhookEndpoint = strawberry.field(description="The endpoint; its history can still be listed.")


@strawberry.type(description="The endpoint, with its new secret.")
class RotateWebhookSecretSuccess:
    endpoint: WebhookEndpoint = strawberry.field(description="The endpoint.")
    secret: str = strawberry.field(description="The new secret, shown this once.")


@strawberry.type(description="The new secret of what is sent to the `notifyUrl` of payments.")
class RotateNotifySecretSuccess:
    secret: str = strawberry.field(description="`whsec_…`: shown this once. Receivers verify signatures with it.")


@strawberry.type(description="The delivery that was planned.")
class SendTestWebhookSuccess:
    delivery: WebhookDelivery = strawberry.field(description="The test on its way.")


@strawberry.type(description="The delivery, on its way again.")
class RedeliverWebhookSuccess:
    delivery: WebhookDelivery = strawberry.field(description="The delivery, with the same event id.")


@strawberry.type(description="How much is sent again.")
class ReplayWebhooksSuccess:
    count: int = strawberry.field(description="How many events go out.")
    already_pending: int = strawberry.field(
        description="How many were on their way to this endpoint already; they go out once, not twice."
    )


@strawberry.type(description="What would be sent.")
class DryRunWebhookSuccess:
    body: str = strawberry.field(
        description="The exact body, of the newest event that the endpoint wants; else a test."
    )


CreateWebhookEndpointResult = Annotated[
    CreateWebhookEndpointSuccess
    | PermissionDeniedError
    | InvalidInputError
    | InvalidDocumentError
    | ForbiddenAddressError
    | RateLimitedError,
    strawberry.union("CreateWebhookEndpointResult", description="What `createWebhookEndpoint` gives."),
]
UpdateWebhookEndpointResult = Annotated[
    UpdateWebhookEndpointSuccess
    | PermissionDeniedError
    | WebhookEndpointNotFoundError
    | InvalidInputError
    | InvalidDocumentError
    | ForbiddenAddressError
    | RateLimitedError,
    strawberry.union("UpdateWebhookEndpointResult", description="What `updateWebhookEndpoint` gives."),
]
DeleteWebhookEndpointResult = Annotated[
    DeleteWebhookEndpointSuccess | PermissionDeniedError | WebhookEndpointNotFoundError | RateLimitedError,
    strawberry.union("DeleteWebhookEndpointResult", description="What `deleteWebhookEndpoint` gives."),
]
RotateWebhookSecretResult = Annotated[
    RotateWebhookSecretSuccess
    | PermissionDeniedError
    | WebhookEndpointNotFoundError
    | InvalidInputError
    | RateLimitedError,
    strawberry.union("RotateWebhookSecretResult", description="What `rotateWebhookSecret` gives."),
]
RotateNotifySecretResult = Annotated[
    RotateNotifySecretSuccess | PermissionDeniedError | InvalidInputError | RateLimitedError,
    strawberry.union("RotateNotifySecretResult", description="What `rotateNotifySecret` gives."),
]
SendTestWebhookResult = Annotated[
    SendTestWebhookSuccess
    | PermissionDeniedError
    | WebhookEndpointNotFoundError
    | InvalidInputError
    | RateLimitedError,
    strawberry.union("SendTestWebhookResult", description="What `sendTestWebhook` gives."),
]
RedeliverWebhookResult = Annotated[
    RedeliverWebhookSuccess
    | PermissionDeniedError
    | WebhookDeliveryNotFoundError
    | InvalidInputError
    | RateLimitedError,
    strawberry.union("RedeliverWebhookResult", description="What `redeliverWebhook` gives."),
]
ReplayWebhooksResult = Annotated[
    ReplayWebhooksSuccess | PermissionDeniedError | WebhookEndpointNotFoundError | InvalidInputError | RateLimitedError,
    strawberry.union("ReplayWebhooksResult", description="What `replayWebhooks` gives."),
]
DryRunWebhookResult = Annotated[
    DryRunWebhookSuccess
    | PermissionDeniedError
    | WebhookEndpointNotFoundError
    | InvalidDocumentError
    | RateLimitedError,
    strawberry.union("DryRunWebhookResult", description="What `dryRunWebhook` gives."),
]


@strawberry.type(description="Queries about webhooks.")
class WebhookQueries:
    @strawberry.field(description="The merchant's webhook endpoints, the newest first; needs an admin key.")
    async def webhook_endpoints(
        self, info: QuittanceInfo, first: First = None, after: After = None
    ) -> WebhookEndpointConnection:
        asked = asked_page(first, after)
        found = await endpoints.list_endpoints(
            info.context.services, info.context.principal, after_id=asked.after_id("endpoint"), limit=asked.limit
        )
        page = asked.of(
            found,
            lambda one: WebhookEndpointEdge(
                cursor=encode_key("endpoint", one.id), node=WebhookEndpoint.from_domain(one)
            ),
        )
        return WebhookEndpointConnection(edges=page.edges, page_info=page.page_info)

    @strawberry.field(description="The merchant's webhook deliveries, the newest first; needs an admin key.")
    async def webhook_deliveries(
        self,
        info: QuittanceInfo,
        first: First = None,
        after: After = None,
        filter: Annotated[  # noqa: A002
            WebhookDeliveryFilter | None, strawberry.argument(description="What to narrow the list to.")
        ] = None,
    ) -> WebhookDeliveryConnection:
        narrowed = _narrowed(filter)
        return await delivery_page(info, narrowed, first=first, after=after)


async def webhook_endpoint(info: QuittanceInfo, endpoint_id: EndpointId) -> WebhookEndpoint | None:
    """Return an endpoint that is there and the caller's."""
    found = await info.context.loaders.endpoint.load(endpoint_id)
    if found is None or found.deleted_at is not None or not may_see_deliveries(info, found.merchant_id):
        return None
    return WebhookEndpoint.from_domain(found)


async def webhook_delivery(info: QuittanceInfo, delivery_id: DeliveryId) -> WebhookDelivery | None:
    """Return a delivery of the caller's."""
    found = await info.context.loaders.delivery.load(delivery_id)
    if found is None or not may_see_deliveries(info, found.merchant_id):
        return None
    return WebhookDelivery.from_domain(found)


async def delivery_page(
    info: QuittanceInfo, narrowed: DeliveryFilter, *, first: int | None, after: str | None
) -> WebhookDeliveryConnection:
    """Return a page of what this caller may see of its deliveries."""
    asked = asked_page(first, after)
    found = await deliveries.list_deliveries(
        info.context.services,
        info.context.principal,
        narrowed,
        after_id=asked.after_id("delivery"),
        limit=asked.limit,
    )
    page = asked.of(
        found,
        lambda one: WebhookDeliveryEdge(cursor=encode_key("delivery", one.id), node=WebhookDelivery.from_domain(one)),
    )
    return WebhookDeliveryConnection(narrowed=narrowed, edges=page.edges, page_info=page.page_info)


@strawberry.type(description="Mutations of webhooks.")
class WebhookMutations:
    @strawberry.mutation(description="Be told of events at an address, signed as Standard Webhooks asks.")
    async def create_webhook_endpoint(
        self,
        info: QuittanceInfo,
        input: Annotated[CreateWebhookEndpointInput, strawberry.argument(description="Where, and of what.")],  # noqa: A002
    ) -> CreateWebhookEndpointResult | None:
        draft = EndpointDraft(
            url=input.url,
            event_types=_kinds(input.event_types),
            document=input.document,
            description=input.description,
            ed25519=bool(input.ed25519),
            messages_per_second=input.messages_per_second,
        )
        made = await endpoints.create_endpoint(info.context.services, info.context.principal, draft)
        return CreateWebhookEndpointSuccess(endpoint=WebhookEndpoint.from_domain(made.endpoint), secret=made.secret)

    @strawberry.mutation(description="Change an endpoint; what is left out stays as it is.")
    async def update_webhook_endpoint(
        self,
        info: QuittanceInfo,
        input: Annotated[UpdateWebhookEndpointInput, strawberry.argument(description="What to change.")],  # noqa: A002
    ) -> UpdateWebhookEndpointResult | None:
        changed = await endpoints.update_endpoint(
            info.context.services, info.context.principal, EndpointId(input.id), _change(input)
        )
        return UpdateWebhookEndpointSuccess(endpoint=WebhookEndpoint.from_domain(changed))

    @strawberry.mutation(description="Take an endpoint away; what was on its way to it is canceled.")
    async def delete_webhook_endpoint(self, info: QuittanceInfo, id: Id) -> DeleteWebhookEndpointResult | None:  # noqa: A002
        gone = await endpoints.delete_endpoint(info.context.services, info.context.principal, EndpointId(id))
        return DeleteWebhookEndpointSuccess(endpoint=WebhookEndpoint.from_domain(gone))

    @strawberry.mutation(description="Give an endpoint a new secret; both sign for as long as they overlap.")
    async def rotate_webhook_secret(
        self,
        info: QuittanceInfo,
        id: Id,  # noqa: A002
        overlap_seconds: OverlapArgument = _OVERLAP_S_DEFAULT,
    ) -> RotateWebhookSecretResult | None:
        overlap_s = _OVERLAP_S_DEFAULT if overlap_seconds is None else overlap_seconds
        made = await endpoints.rotate_secret(
            info.context.services, info.context.principal, EndpointId(id), overlap_s=overlap_s
        )
        return RotateWebhookSecretSuccess(endpoint=WebhookEndpoint.from_domain(made.endpoint), secret=made.secret)

    @strawberry.mutation(
        description="Give the merchant a new secret for the `notifyUrl` of its payments: the first call shows the "
        "first one, later calls let both sign for as long as they overlap. For admin keys."
    )
    async def rotate_notify_secret(
        self,
        info: QuittanceInfo,
        overlap_seconds: OverlapArgument = _OVERLAP_S_DEFAULT,
    ) -> RotateNotifySecretResult | None:
        overlap_s = _OVERLAP_S_DEFAULT if overlap_seconds is None else overlap_seconds
        secret = await notify.rotate_notify_secret(info.context.services, info.context.principal, overlap_s=overlap_s)
        return RotateNotifySecretSuccess(secret=secret)

    @strawberry.mutation(description="Send an endpoint a `webhook.test`, now.")
    async def send_test_webhook(
        self, info: QuittanceInfo, endpoint_id: EndpointIdArgument
    ) -> SendTestWebhookResult | None:
        sent = await deliveries.send_test(info.context.services, info.context.principal, EndpointId(endpoint_id))
        return SendTestWebhookSuccess(delivery=WebhookDelivery.from_domain(sent))

    @strawberry.mutation(description="Show what an endpoint would be sent; nothing is sent.")
    async def dry_run_webhook(self, info: QuittanceInfo, endpoint_id: EndpointIdArgument) -> DryRunWebhookResult | None:
        body = await deliveries.dry_run(info.context.services, info.context.principal, EndpointId(endpoint_id))
        return DryRunWebhookSuccess(body=body.decode())

    @strawberry.mutation(description="Send a delivery that failed or was canceled again, with the same id.")
    async def redeliver_webhook(
        self,
        info: QuittanceInfo,
        delivery_id: Annotated[strawberry.ID, strawberry.argument(description="The delivery.")],
    ) -> RedeliverWebhookResult | None:
        again = await deliveries.redeliver(info.context.services, info.context.principal, DeliveryId(delivery_id))
        return RedeliverWebhookSuccess(delivery=WebhookDelivery.from_domain(again))

    @strawberry.mutation(
        description="Send an endpoint every event behind a cursor again, with the same ids; what is on its way to it "
        "already is not sent beside."
    )
    async def replay_webhooks(
        self,
        info: QuittanceInfo,
        endpoint_id: EndpointIdArgument,
        after: Annotated[str, strawberry.argument(description="The cursor of the last event not to be sent.")],
    ) -> ReplayWebhooksResult | None:
        try:
            position = decode_position(after)
        except InvalidCursor as error:
            raise InvalidInput("after", error.message) from error
        replayed = await deliveries.replay(
            info.context.services, info.context.principal, EndpointId(endpoint_id), after=position
        )
        return ReplayWebhooksSuccess(count=replayed.sent, already_pending=replayed.already_pending)


def _kinds(said: list[WebhookEventType] | None) -> list[EventKind] | None:
    return None if said is None else [EventKind(kind.value) for kind in said]


def _change(said: UpdateWebhookEndpointInput) -> EndpointChange:
    return EndpointChange(
        url=given(said.url, "url"),
        event_types=_kinds(given(said.event_types, "eventTypes")),
        document=given_or_null(said.document),
        clear_document=said.document is None,
        description=given_or_null(said.description),
        clear_description=said.description is None,
        enabled=given(said.enabled, "enabled"),
        ed25519=given(said.ed25519, "ed25519"),
        messages_per_second=given_or_null(said.messages_per_second),
        clear_messages_per_second=said.messages_per_second is None,
    )


def _narrowed(said: WebhookDeliveryFilter | None) -> DeliveryFilter:
    if said is None:
        return DeliveryFilter()
    return DeliveryFilter(
        endpoint_id=None if said.endpoint_id is None else EndpointId(said.endpoint_id),
        state=said.state,
        payment_id=None if said.payment_id is None else PaymentId(said.payment_id),
    )
