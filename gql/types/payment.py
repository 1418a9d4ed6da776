"""Payments on the wire."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import strawberry

from quittance.domain import event, money, payment
from quittance.domain.cursor import decode_position, encode_position
from quittance.domain.endpoint import DeliveryFilter, DeliveryState, WebhookDelivery
from quittance.domain.event import EventKind
from quittance.gql.arguments import After, First
from quittance.gql.context import QuittanceInfo
from quittance.gql.pages import asked_page
from quittance.gql.types.article import Article, opens_article
from quittance.gql.types.enums import OptionState, PaymentPurpose, PaymentStatus
from quittance.gql.types.money import AmountInput, Money
from quittance.gql.types.node import Node, PageInfo
from quittance.gql.types.qr import QrFormat, qr_data_uri
from quittance.gql.types.rate import Rate
from quittance.gql.types.upvote import Upvote
from quittance.gql.types.webhook import may_see_deliveries
from quittance.resolvers.payments import may_act

if TYPE_CHECKING:
    from quittance.gql.types.transfer import RefundConnection
    from quittance.gql.types.webhook import WebhookDeliveryConnection

EVENTS_DEFAULT = 20


@strawberry.enum(
    description="Whether a payment's settlement has reached its merchant's endpoints and its own `notifyUrl`: NONE is "
    "to be told, one is PENDING, one was given up (FAILED), or all have taken it (DELIVERED)."
)
class PaymentDeliveryStatus(StrEnum):
    NONE = "NONE"
    PENDING = "PENDING"
    DELIVERED = "DELIVERED"
    FAILED = "FAILED"


@strawberry.interface(description="One way to pay a payment, on one rail.")
class PaymentOption:
    id: strawberry.ID = strawberry.field(description="The option's id.")
    provider: str = strawberry.field(description="The rail.")
    state: OptionState = strawberry.field(description="Where this attempt stands.")
    amount: Money = strawberry.field(description="What is asked on this rail.")
    expires_at: datetime = strawberry.field(description="Until when it can be paid.")


@strawberry.type(description="A Lightning invoice.")
class LightningOption(PaymentOption):
    payment_request: str | None = strawberry.field(description="The BOLT11 invoice; null until the node has made it.")
    payment_hash: str | None = strawberry.field(
        description="The payment hash in hex; null until it is known, which some rails tell in the invoice alone."
    )

    @staticmethod
    def from_domain(option: payment.PaymentOption) -> "LightningOption":
        return LightningOption(
            id=strawberry.ID(option.id),
            provider=option.provider,
            state=option.state,
            amount=Money.from_domain(option.amount),
            expires_at=option.expires_at,
            payment_request=option.payment_request,
            payment_hash=option.payment_hash,
        )


@strawberry.type(description="Something that happened to a payment.")
class PaymentEvent:
    event_id: strawberry.ID = strawberry.field(description="The id, the same in subscriptions and notices.")
    cursor: str = strawberry.field(description="Where the event stands in the log: pass it as `after` to resume.")
    type: str = strawberry.field(description="What happened, such as payment.settled.")
    status: PaymentStatus = strawberry.field(description="The status the payment came to.")
    occurred_at: datetime = strawberry.field(description="When it was booked.")

    @staticmethod
    def from_domain(subject: event.Event) -> "PaymentEvent":
        return PaymentEvent(
            event_id=strawberry.ID(subject.id),
            cursor=encode_position(subject.position),
            type=subject.kind.value,
            status=PaymentStatus(subject.status or ""),
            occurred_at=subject.occurred_at,
        )


@strawberry.type(description="An event in a page.")
class PaymentEventEdge:
    cursor: str = strawberry.field(description="Where this event stands in the log.")
    node: PaymentEvent = strawberry.field(description="The event.")


@strawberry.type(description="A page of a payment's events.")
class PaymentEventConnection:
    edges: list[PaymentEventEdge] = strawberry.field(description="The events of this page, the oldest first.")
    page_info: PageInfo = strawberry.field(description="Where this page begins and ends.")
    total_count: int = strawberry.field(description="How many events the payment has.")


@strawberry.type(description="Money asked for, and perhaps received.")
class Payment(Node):
    subject: strawberry.Private[payment.Payment]
    status: PaymentStatus = strawberry.field(description="Where it stands.")
    status_reason: str | None = strawberry.field(description="Why it was canceled or failed, as a code.")
    purpose: PaymentPurpose = strawberry.field(description="What it is for.")
    provider: str = strawberry.field(description="The rail it was first asked on.")
    amount: Money = strawberry.field(description="What was asked.")
    received: Money | None = strawberry.field(description="What came in so far, over all options; null before.")
    fiat_amount: Money | None = strawberry.field(description="The price in a national currency, if asked in one.")
    rate: Rate | None = strawberry.field(
        description="The rate that turned `fiatAmount` into `amount`, once, when it was asked for; null without one."
    )
    description: str | None = strawberry.field(description="What the payer is shown.")
    correlation_id: str | None = strawberry.field(description="The merchant's own reference.")
    refund_address: str | None = strawberry.field(description="Where money that must go back is sent.")
    created_at: datetime = strawberry.field(description="When it was asked for.")
    modified_at: datetime = strawberry.field(description="When it last changed.")
    expires_at: datetime | None = strawberry.field(description="Until when it can be paid in time.")
    settled_at: datetime | None = strawberry.field(description="When the money arrived, by the rail's own clock.")
    hold: bool = strawberry.field(description="Whether money that comes is held until it is captured or released.")

    @strawberry.field(description="What it pays for; its `content` is readable once the payment is complete.")
    def article(self, info: QuittanceInfo) -> Article | None:
        if self.subject.article_id is None:
            return None
        opened = opens_article(self.subject)
        return info.context.loaders.article.then(
            self.subject.article_id, lambda found: None if found is None else Article.from_domain(found, opened=opened)
        )

    @strawberry.field(
        description="When a payment that is HELD is released by itself, unless it is captured before. The rail may "
        "give the money back earlier. Null in every other status."
    )
    def hold_expires_at(self) -> datetime | None:
        return self.subject.hold_expires_at if self.subject.status is PaymentStatus.HELD else None

    @strawberry.field(description="Every way to pay it, the oldest first.")
    def options(self, info: QuittanceInfo) -> list[PaymentOption]:
        return info.context.loaders.options.then(
            self.subject.id, lambda found: [LightningOption.from_domain(option) for option in found]
        )

    @strawberry.field(description="The newest BOLT11 invoice.")
    def payment_request(self, info: QuittanceInfo) -> str | None:
        return info.context.loaders.options.then(
            self.subject.id, lambda found: found[-1].payment_request if found else None
        )

    @strawberry.field(description="How it is shared out, for an upvote that is complete; null for others.")
    def upvote(self, info: QuittanceInfo) -> Upvote | None:
        return info.context.loaders.upvote.then(
            self.subject.id, lambda found: None if found is None else Upvote.from_domain(found)
        )

    @strawberry.field(description="The newest invoice's payment hash, in hex.")
    def payment_hash(self, info: QuittanceInfo) -> str | None:
        return info.context.loaders.options.then(
            self.subject.id, lambda found: found[-1].payment_hash if found else None
        )

    @strawberry.field(description="The newest invoice as a QR code: a data: URI.")
    async def qr_code(
        self,
        info: QuittanceInfo,
        format: Annotated[QrFormat | None, strawberry.argument(description="How to draw it.")] = QrFormat.SVG,  # noqa: A002
    ) -> str | None:
        found = await info.context.loaders.options.load(self.subject.id)
        if not found or found[-1].payment_request is None:
            return None
        return await asyncio.to_thread(qr_data_uri, found[-1].payment_request, format or QrFormat.SVG)

    @strawberry.field(description="Where an interactive wallet approves; null for Lightning.")
    def redirect_url(self) -> str | None:
        return None

    @strawberry.field(
        description="A page that a person can pay on. It carries the client secret: treat it as one. For webhooks, and "
        "keys without `payments:write`, it lacks the secret, and opens nothing."
    )
    def checkout_url(self, info: QuittanceInfo) -> str:
        services = info.context.services
        opens = may_act(info.context.principal)
        secret = services.derive.client_secret(self.subject.id) if opens else None
        return services.checkout_url(self.subject.id, client_secret=secret)

    @strawberry.field(description="What happened to it, the oldest first.")
    def events(
        self,
        info: QuittanceInfo,
        first: First = EVENTS_DEFAULT,
        after: After = None,
    ) -> PaymentEventConnection:
        asked = asked_page(first, after, default=EVENTS_DEFAULT)
        position = 0 if after is None else decode_position(after)

        def connection(every: list[event.Event]) -> PaymentEventConnection:
            nodes = [PaymentEvent.from_domain(found) for found in every if found.position > position]
            page = asked.of(nodes, lambda node: PaymentEventEdge(cursor=node.cursor, node=node))
            return PaymentEventConnection(edges=page.edges, page_info=page.page_info, total_count=len(every))

        return info.context.loaders.events.then(self.subject.id, connection)

    @strawberry.field(description="What is owed back to the payer, and not on its way: `claimRefund` has it sent.")
    def refundable(self, info: QuittanceInfo) -> Money:
        return info.context.loaders.refund_total.then(self.subject.id, lambda total: self._of(total.refundable))

    @strawberry.field(description="What was given back, or is on its way.")
    def refunded(self, info: QuittanceInfo) -> Money:
        return info.context.loaders.refund_total.then(self.subject.id, lambda total: self._of(total.refunded))

    @strawberry.field(description="Its refunds, the newest first.")
    def refunds(
        self, info: QuittanceInfo, first: First = EVENTS_DEFAULT, after: After = None
    ) -> Annotated["RefundConnection", strawberry.lazy("quittance.gql.types.transfer")]:
        from quittance.gql.types.transfer import refund_page  # noqa: PLC0415 - the two types name each other

        asked = asked_page(first, after, default=EVENTS_DEFAULT)
        return info.context.loaders.refunds_of.then(self.subject.id, lambda found: refund_page(found, asked))

    def _of(self, value: int) -> Money:
        return Money.from_domain(money.Money(value, self.subject.amount.asset))

    @strawberry.field(description="Where its events go besides the merchant's endpoints; null to all but the merchant.")
    def notify_url(self, info: QuittanceInfo) -> str | None:
        own = info.context.principal.merchant_id == self.subject.merchant_id
        return self.subject.notify_url if own else None

    @strawberry.field(description="How the merchant was told of it; empty for everybody but an admin key.")
    async def deliveries(
        self,
        info: QuittanceInfo,
        first: First = None,
        after: After = None,
    ) -> Annotated["WebhookDeliveryConnection", strawberry.lazy("quittance.gql.types.webhook")]:
        from quittance.gql.webhooks import delivery_page  # noqa: PLC0415 - the two types name each other

        return await delivery_page(info, DeliveryFilter(payment_id=self.subject.id), first=first, after=after)

    @strawberry.field(
        description="Whether the merchant's endpoints, and its `notifyUrl`, have been told that it settled."
    )
    def delivery_status(self, info: QuittanceInfo) -> PaymentDeliveryStatus:
        if not may_see_deliveries(info, self.subject.merchant_id):
            return PaymentDeliveryStatus.NONE
        return info.context.loaders.deliveries_of.then(self.subject.id, _status_of)

    @staticmethod
    def from_domain(subject: payment.Payment) -> "Payment":
        return Payment(
            id=strawberry.ID(subject.id),
            subject=subject,
            status=subject.status,
            status_reason=subject.status_reason,
            purpose=subject.purpose,
            provider=subject.provider,
            amount=Money.from_domain(subject.amount),
            received=None if subject.received is None else Money.from_domain(subject.received),
            fiat_amount=None if subject.fiat_amount is None else Money.from_domain(subject.fiat_amount),
            rate=None if subject.rate is None else Rate.from_domain(subject.rate),
            description=subject.description,
            correlation_id=subject.correlation_id,
            refund_address=subject.refund_address,
            created_at=subject.created_at,
            modified_at=subject.modified_at,
            expires_at=subject.expires_at,
            settled_at=subject.settled_at,
            hold=subject.hold,
        )


def _status_of(told: list[WebhookDelivery]) -> PaymentDeliveryStatus:
    """Return how the settlement was told: pending or failed anywhere counts for more than delivered elsewhere."""
    states = {one.state for one in told if one.event_type == EventKind.PAYMENT_SETTLED.value}
    for state in (DeliveryState.PENDING, DeliveryState.FAILED, DeliveryState.DELIVERED):
        if state in states:
            return PaymentDeliveryStatus[state.name]
    return PaymentDeliveryStatus.NONE


@strawberry.type(description="A payment in a page.")
class PaymentEdge:
    cursor: str = strawberry.field(description="Where this payment stands in the list.")
    node: Payment = strawberry.field(description="The payment.")


@strawberry.type(description="A page of payments.")
class PaymentConnection:
    count: strawberry.Private[Callable[[], Awaitable[int]]]
    edges: list[PaymentEdge] = strawberry.field(description="The payments of this page, the newest first.")
    page_info: PageInfo = strawberry.field(description="Where this page begins and ends.")

    @strawberry.field(description="How many payments the whole list has.")
    async def total_count(self) -> int:
        return await self.count()


@strawberry.input(description="What a list of payments is narrowed to.")
class PaymentFilter:
    status: PaymentStatus | None = strawberry.field(default=None, description="Only payments in this status.")
    article_id: strawberry.ID | None = strawberry.field(default=None, description="Only payments for this article.")
    correlation_id: str | None = strawberry.field(default=None, description="Only payments with this reference.")


@strawberry.input(description="What to ask money for.")
class GenerateInvoiceInput:
    article_id: strawberry.ID | None = strawberry.field(
        default=None, description="Price and purpose come from this article."
    )
    purpose: PaymentPurpose | None = strawberry.field(
        default=None, description="VIEW for an article unless UPVOTE is asked; ORDER without one."
    )
    amount: AmountInput | None = strawberry.field(default=None, description="Required without an article.")
    provider: str | None = strawberry.field(default=None, description="The merchant's default rail unless said.")
    also_accept: list[str] | None = strawberry.field(
        default=None, description="Further rails to offer the same price on; they must take its asset."
    )
    description: str | None = strawberry.field(default=None, description="What the payer is shown.")
    correlation_id: str | None = strawberry.field(
        default=None,
        description="The merchant's own reference; with `uniqueCorrelationIds` of the merchant, no other payment's.",
    )
    refund_address: str | None = strawberry.field(
        default=None,
        description="Where money that must go back is sent: a Lightning Address, an LNURL, a BOLT11 invoice, or a "
        "node's key. It is tried before anything is made: its owner must take the price.",
    )
    expires_in: int | None = strawberry.field(default=None, description="Seconds until the invoice lapses.")
    idempotency_key: str | None = strawberry.field(
        default=None, description="Same key and same input: the same payment again. Another input: an error."
    )
    notify_url: str | None = strawberry.field(
        default=None,
        description="An https address that this payment's events are sent to besides the merchant's endpoints, signed "
        "with the secret that `rotateNotifySecret` gives.",
    )
    hold: bool | None = strawberry.field(
        default=None,
        description="Do not take the money when it comes, but hold it: `capturePayment` takes it, `releasePayment` "
        "gives it back. Nothing is delivered before it is taken. Only on providers with the capability HOLD.",
    )
