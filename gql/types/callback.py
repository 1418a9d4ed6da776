"""Callbacks of providers on the wire."""

from datetime import datetime

import strawberry

from quittance.domain import callback as domain
from quittance.domain.callback import CallbackState
from quittance.domain.cursor import encode_key
from quittance.gql.context import QuittanceInfo
from quittance.gql.types.node import PageInfo
from quittance.gql.types.payment import Payment
from quittance.resolvers import callbacks, payments

strawberry.enum(
    CallbackState,
    name="ProviderCallbackState",
    description="What became of a callback. RECEIVED: the provider is yet to be asked. PROCESSED: it was asked, and "
    "what it said is booked. IGNORED: about nothing of ours. FAILED: it did not answer; the reconciler goes on.",
)


@strawberry.type(description="Something a provider told us of its own accord: a hint where to look, never believed.")
class ProviderCallback:
    subject: strawberry.Private[domain.Callback]
    id: strawberry.ID = strawberry.field(description="The callback's id.")
    provider: str = strawberry.field(description="The rail it came from.")
    event_id: str = strawberry.field(description="The provider's own id of it; the same id twice is told once.")
    type: str = strawberry.field(description="What it says it is about, in the provider's words.")
    reference: str | None = strawberry.field(
        description="The invoice it names, as the rail does; null where its type is not known or it names none."
    )
    state: CallbackState = strawberry.field(description="What became of it.")
    reason: str | None = strawberry.field(description="Why it is not PROCESSED, as a code.")
    received_at: datetime = strawberry.field(description="When it came.")
    processed_at: datetime | None = strawberry.field(description="When it came to its state; null while RECEIVED.")
    payment_id: strawberry.ID | None = strawberry.field(
        description="The payment that it turned out to be about, whichever merchant's."
    )

    @strawberry.field(description="That payment, if it is the caller's own merchant's.")
    def payment(self, info: QuittanceInfo) -> Payment | None:
        if self.subject.payment_id is None:
            return None
        context = info.context
        return context.loaders.payment.then(
            self.subject.payment_id,
            lambda found: (
                None
                if found is None or not payments.may_see(context.services, context.principal, found, None)
                else Payment.from_domain(found)
            ),
        )

    @staticmethod
    def from_domain(subject: domain.Callback) -> "ProviderCallback":
        return ProviderCallback(
            subject=subject,
            id=strawberry.ID(subject.id),
            provider=subject.provider,
            event_id=subject.event_id,
            type=subject.kind,
            reference=subject.reference,
            state=subject.state,
            reason=subject.reason,
            received_at=subject.received_at,
            processed_at=subject.processed_at,
            payment_id=None if subject.payment_id is None else strawberry.ID(subject.payment_id),
        )


@strawberry.type(description="A callback in a page.")
class ProviderCallbackEdge:
    cursor: str = strawberry.field(description="Where this callback stands in the list.")
    node: ProviderCallback = strawberry.field(description="The callback.")

    @staticmethod
    def from_domain(subject: domain.Callback) -> "ProviderCallbackEdge":
        return ProviderCallbackEdge(
            cursor=encode_key("callback", subject.id), node=ProviderCallback.from_domain(subject)
        )


@strawberry.type(description="A page of callbacks.")
class ProviderCallbackConnection:
    edges: list[ProviderCallbackEdge] = strawberry.field(description="The callbacks of this page, the newest first.")
    page_info: PageInfo = strawberry.field(description="Where this page begins and ends.")

    @strawberry.field(description="How many callbacks came in all.")
    async def total_count(self, info: QuittanceInfo) -> int:
        return await callbacks.count_callbacks(info.context.services, info.context.principal)
