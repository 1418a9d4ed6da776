"""Subscriptions: the event log, live, resumable by cursor without a gap or a duplicate."""

from collections.abc import AsyncIterable
from datetime import datetime
from typing import Annotated, TypeVar

import strawberry

from quittance.domain.access import Scope
from quittance.domain.cursor import decode_position, encode_position
from quittance.domain.errors import DeliveryNotFound, InvalidCursor, PaymentNotFound, Unauthenticated
from quittance.domain.event import Event, EventKind, EventSelector
from quittance.domain.ids import ArticleId, DeliveryId, PaymentId, TransferId
from quittance.domain.outgoing_errors import TransferNotFound
from quittance.domain.transfer import Transfer
from quittance.gql.arguments import ClientSecret
from quittance.gql.context import QuittanceInfo
from quittance.gql.lnurl_logins import LnurlLoginSubscription
from quittance.gql.rates import RateSubscription
from quittance.gql.streams import EventStream
from quittance.gql.types.article import Article
from quittance.gql.types.payment import Payment
from quittance.gql.types.transfer import Payout, Refund
from quittance.gql.types.webhook import WebhookDelivery
from quittance.resolvers import payments
from quittance.resolvers.articles import may_list
from quittance.resolvers.events import newest
from quittance.resolvers.payouts import owner_of_payouts

After = Annotated[
    str | None,
    strawberry.argument(
        description="The cursor of the last event seen: what was missed is sent first, then live ones."
    ),
]
PaymentIdArgument = Annotated[strawberry.ID | None, strawberry.argument(description="Only this payment.")]

SETTLED = frozenset({EventKind.PAYMENT_SETTLED})
UPDATED = frozenset({EventKind.PAYMENT_SETTLED, EventKind.PAYMENT_UPDATED})
PUBLISHED = frozenset({EventKind.ARTICLE_PUBLISHED})
REFUNDED = frozenset({EventKind.REFUND_UPDATED})
PAID_OUT = frozenset({EventKind.PAYOUT_UPDATED})
DELIVERED = frozenset({EventKind.WEBHOOK_DELIVERED})


@strawberry.interface(description="Something that happened, in the order of the log.")
class LogEvent:
    subject: strawberry.Private[Event]
    event_id: strawberry.ID = strawberry.field(description="The id, the same wherever this event is told.")
    cursor: str = strawberry.field(description="Pass it as `after` to resume behind this event.")
    occurred_at: datetime = strawberry.field(description="When it was booked.")


@strawberry.type(description="A payment is complete: its money arrived and is booked.")
class PaymentSettled(LogEvent):
    @strawberry.field(description="The payment, as it stands now.")
    async def payment(self, info: QuittanceInfo) -> Payment:
        return await _payment(info, self.subject)


@strawberry.type(description="A payment changed.")
class PaymentUpdated(LogEvent):
    @strawberry.field(description="The payment, as it stands now.")
    async def payment(self, info: QuittanceInfo) -> Payment:
        return await _payment(info, self.subject)


@strawberry.type(description="An article can be bought from now on.")
class ArticlePublished(LogEvent):
    @strawberry.field(description="The article, as it stands now; null once it is hidden.")
    async def article(self, info: QuittanceInfo) -> Article | None:
        found = await info.context.loaders.article.load(self.subject.article_id or ArticleId(""))
        if found is None or not may_list(info.context.principal, found):
            return None
        return Article.from_domain(found)


@strawberry.type(description="A refund changed.")
class RefundUpdated(LogEvent):
    @strawberry.field(description="The refund, as it stands now.")
    async def refund(self, info: QuittanceInfo) -> Refund:
        return Refund.from_domain(await _transfer(info, self.subject))


@strawberry.type(description="A payout changed.")
class PayoutUpdated(LogEvent):
    @strawberry.field(description="The payout, as it stands now.")
    async def payout(self, info: QuittanceInfo) -> Payout:
        return Payout.from_domain(await _transfer(info, self.subject))


@strawberry.type(description="A delivery arrived or was given up.")
class WebhookDelivered(LogEvent):
    @strawberry.field(description="The delivery.")
    async def delivery(self, info: QuittanceInfo) -> WebhookDelivery:
        delivery_id = DeliveryId((self.subject.subject_id or "").rpartition("/")[2])
        found = await info.context.loaders.delivery.load(delivery_id)
        if found is None:
            raise DeliveryNotFound(delivery_id)
        return WebhookDelivery.from_domain(found)


E = TypeVar("E", bound=LogEvent)


async def _payment(info: QuittanceInfo, subject: Event) -> Payment:
    found = await info.context.loaders.payment.load(subject.payment_id or PaymentId(""))
    if found is None:
        raise PaymentNotFound(subject.payment_id or "")
    return Payment.from_domain(found)


async def _transfer(info: QuittanceInfo, subject: Event) -> Transfer:
    transfer_id = TransferId((subject.subject_id or "").rpartition("/")[2])
    found = await info.context.loaders.transfer.load(transfer_id)
    if found is None:
        raise TransferNotFound(transfer_id)
    return found


@strawberry.type(description="Everything that can be watched.")
class Subscription(LnurlLoginSubscription, RateSubscription):
    @strawberry.subscription(
        description="Payments as they complete: the merchant's, the reader's, or a client secret's."
    )
    async def payment_settled(
        self,
        info: QuittanceInfo,
        payment_id: PaymentIdArgument = None,
        client_secret: ClientSecret = None,
        article_id: Annotated[strawberry.ID | None, strawberry.argument(description="Only for this article.")] = None,
        after: After = None,
    ) -> AsyncIterable[PaymentSettled]:
        selector = await _selector_of_payments(info, SETTLED, payment_id, client_secret, article_id)
        return await _stream(info, selector, after, PaymentSettled)

    @strawberry.subscription(description="Every change of a payment, settlement included: of the same ones.")
    async def payment_updated(
        self,
        info: QuittanceInfo,
        payment_id: PaymentIdArgument = None,
        client_secret: ClientSecret = None,
        after: After = None,
    ) -> AsyncIterable[PaymentUpdated]:
        selector = await _selector_of_payments(info, UPDATED, payment_id, client_secret, None)
        return await _stream(info, selector, after, PaymentUpdated)

    @strawberry.subscription(description="Articles as they are published.")
    async def article_published(self, info: QuittanceInfo, after: After = None) -> AsyncIterable[ArticlePublished]:
        return await _stream(info, EventSelector(kinds=PUBLISHED), after, ArticlePublished)

    @strawberry.subscription(description="Every change of a refund: of the merchant's payments, or of one of them.")
    async def refund_updated(
        self,
        info: QuittanceInfo,
        payment_id: PaymentIdArgument = None,
        client_secret: ClientSecret = None,
        after: After = None,
    ) -> AsyncIterable[RefundUpdated]:
        selector = await _selector(info, REFUNDED, payment_id, client_secret, None)
        about = EventSelector(kinds=REFUNDED, merchant_id=selector.merchant_id, subject_id=selector.payment_id)
        return await _stream(info, about, after, RefundUpdated)

    @strawberry.subscription(description="Every change of the caller's payouts: a reader's, or the merchant's.")
    async def payout_updated(self, info: QuittanceInfo, after: After = None) -> AsyncIterable[PayoutUpdated]:
        owner = owner_of_payouts(info.context.principal, Scope.PAYMENTS_READ)
        selector = EventSelector(kinds=PAID_OUT, merchant_id=owner.merchant_id, subject_id=owner.id)
        return await _stream(info, selector, after, PayoutUpdated)

    @strawberry.subscription(description="Deliveries as they arrive or are given up; needs an admin key.")
    async def webhook_delivered(
        self,
        info: QuittanceInfo,
        endpoint_id: Annotated[strawberry.ID | None, strawberry.argument(description="Only to this endpoint.")] = None,
        after: After = None,
    ) -> AsyncIterable[WebhookDelivered]:
        merchant_id = info.context.principal.require(Scope.ADMIN)
        selector = EventSelector(kinds=DELIVERED, merchant_id=merchant_id, subject_id=endpoint_id)
        return await _stream(info, selector, after, WebhookDelivered)


async def _selector_of_payments(
    info: QuittanceInfo,
    kinds: frozenset[EventKind],
    payment_id: str | None,
    client_secret: str | None,
    article_id: str | None,
) -> EventSelector:
    """Return which payments this caller may watch; a reader who names none, all that buy for them.

    Raises:
        as for ``_selector``.
    """
    account_id = info.context.principal.account_id
    if account_id is None or payment_id is not None or client_secret is not None:
        return await _selector(info, kinds, payment_id, client_secret, article_id)
    article = None if article_id is None else ArticleId(article_id)
    return EventSelector(kinds=kinds, account_id=account_id, article_id=article)


async def _selector(
    info: QuittanceInfo,
    kinds: frozenset[EventKind],
    payment_id: str | None,
    client_secret: str | None,
    article_id: str | None,
) -> EventSelector:
    """Return what this caller may watch.

    Raises:
        Unauthenticated: a forged client secret.
        PermissionDenied: neither a key that may read payments nor a client secret.
        PaymentNotFound: no such payment for this caller.
    """
    principal = info.context.principal
    services = info.context.services
    wanted = payment_id
    if wanted is None and client_secret is not None:
        wanted = services.derive.payment_opened_by(client_secret)
        if wanted is None:
            raise Unauthenticated
    wanted = principal.payment_id if wanted is None else wanted
    article = None if article_id is None else ArticleId(article_id)
    if wanted is None:
        return EventSelector(kinds=kinds, merchant_id=principal.require(Scope.PAYMENTS_READ), article_id=article)
    found = await payments.find_payment(services, principal, PaymentId(wanted), client_secret)
    if found is None:
        raise PaymentNotFound(wanted)
    return EventSelector(kinds=kinds, merchant_id=found.merchant_id, payment_id=found.id, article_id=article)


async def _stream(info: QuittanceInfo, selector: EventSelector, after: str | None, kind: type[E]) -> EventStream[E]:
    """Return the stream behind ``after``.

    Raises:
        InvalidCursor: it is none of ours, or ahead of the log: the database is older than the client (a restored
            backup, another server), and waiting would hide what is booked from now on.
    """

    def to_type(event: Event) -> E:
        return kind(
            subject=event,
            event_id=strawberry.ID(event.id),
            cursor=encode_position(event.position),
            occurred_at=event.occurred_at,
        )

    position = None if after is None else decode_position(after)
    source = info.context.events
    if position is not None and position > source.head and position > await newest(info.context.services):
        raise InvalidCursor
    return EventStream(source=source, selector=selector, after=position, to_type=to_type)
