"""Refunds and payouts on the wire."""

from collections.abc import Awaitable, Callable
from datetime import datetime

import strawberry

from quittance.domain import transfer
from quittance.domain.cursor import encode_key
from quittance.gql.arguments import After, First
from quittance.gql.context import QuittanceInfo
from quittance.gql.pages import PAGE_DEFAULT, PageAsked, asked_page
from quittance.gql.types.money import AmountInput, Money
from quittance.gql.types.node import Node, PageInfo
from quittance.gql.types.payment import Payment
from quittance.resolvers import payouts

REFUND_LIST, PAYOUT_LIST = "refund", "payout"
strawberry.enum(
    transfer.TransferState,
    name="TransferStatus",
    description="Where money on its way out stands. PENDING: set aside, nothing was sent. SENDING: the rail was asked. "
    "UNKNOWN: its answer was lost, and it is looked up until it is known. SUCCEEDED and FAILED are final.",
)
strawberry.enum(
    transfer.AttemptState,
    name="TransferAttemptState",
    description="Where one try stands; SENDING and UNKNOWN may still move money.",
)
strawberry.enum(
    transfer.RefundReason,
    name="RefundReason",
    description="Why money goes back: REQUESTED by the merchant, CLAIMED by the payer, the others by the policy.",
)
strawberry.enum(
    transfer.DestinationKind,
    name="DestinationKind",
    description="INVOICE: BOLT11. ADDRESS: a Lightning Address. LNURL: LNURL-pay. NODE: keysend to a node's key.",
)


@strawberry.type(description="One try to send money, written down before the rail was asked.")
class TransferAttempt:
    number: int = strawberry.field(description="Which try it was, from 1.")
    provider: str = strawberry.field(description="The rail.")
    state: transfer.AttemptState = strawberry.field(description="Where it stands.")
    payment_hash: str = strawberry.field(description="The payment hash in hex, by which the rail knows it.")
    payment_request: str | None = strawberry.field(description="The invoice that was paid; null for keysend.")
    failure: str | None = strawberry.field(description="Why it failed, as a code.")
    begun_at: datetime = strawberry.field(description="When it was written down.")
    ended_at: datetime | None = strawberry.field(description="When its end was known.")

    @staticmethod
    def from_domain(subject: transfer.TransferAttempt) -> "TransferAttempt":
        return TransferAttempt(
            number=subject.number,
            provider=subject.provider,
            state=subject.state,
            payment_hash=subject.reference,
            payment_request=subject.payment_request,
            failure=subject.failure,
            begun_at=subject.begun_at,
            ended_at=subject.ended_at,
        )


@strawberry.interface(description="Money on its way out: set aside first, sent at most once, looked up until known.")
class Transfer:
    subject: strawberry.Private[transfer.Transfer]
    status: transfer.TransferState = strawberry.field(description="Where it stands.")
    status_reason: str | None = strawberry.field(description="Why it failed or waits, as a code.")
    provider: str = strawberry.field(description="The rail that pays.")
    amount: Money = strawberry.field(description="What arrives.")
    fee_max: Money = strawberry.field(description="The most that the way may cost besides; set aside with the amount.")
    fee: Money | None = strawberry.field(description="What the way cost; null until it succeeded.")
    destination_kind: transfer.DestinationKind = strawberry.field(description="Of which kind the destination is.")
    destination: str = strawberry.field(description="Who is paid.")
    comment: str | None = strawberry.field(description="What the payee is told, if their address takes comments.")
    message: str | None = strawberry.field(description="What the payee wants shown after they were paid (LUD-09).")
    created_at: datetime = strawberry.field(description="When it was asked for.")
    modified_at: datetime = strawberry.field(description="When it last changed.")
    ended_at: datetime | None = strawberry.field(description="When it succeeded or failed.")

    @strawberry.field(description="Every try, the oldest first.")
    def attempts(self, info: QuittanceInfo) -> list[TransferAttempt]:
        return info.context.loaders.transfer_attempts.then(
            self.subject.id, lambda found: [TransferAttempt.from_domain(one) for one in found]
        )


@strawberry.type(description="Money of a payment that goes back to its payer.")
class Refund(Node, Transfer):
    reason: transfer.RefundReason = strawberry.field(description="Why it goes back.")

    @strawberry.field(description="The payment whose money it is.")
    def payment(self, info: QuittanceInfo) -> Payment | None:
        if self.subject.payment_id is None:
            return None
        return info.context.loaders.payment.then(
            self.subject.payment_id, lambda found: None if found is None else Payment.from_domain(found)
        )

    @staticmethod
    def from_domain(subject: transfer.Transfer) -> "Refund":
        return Refund(reason=subject.reason or transfer.RefundReason.REQUESTED, **_members(subject))  # type: ignore[arg-type]


@strawberry.type(description="Money of a reader's or a merchant's balance that is sent to them.")
class Payout(Node, Transfer):
    @staticmethod
    def from_domain(subject: transfer.Transfer) -> "Payout":
        return Payout(**_members(subject))  # type: ignore[arg-type]


def _members(subject: transfer.Transfer) -> dict[str, object]:
    return {
        "id": strawberry.ID(subject.id),
        "subject": subject,
        "status": subject.state,
        "status_reason": subject.state_reason,
        "provider": subject.provider,
        "amount": Money.from_domain(subject.amount),
        "fee_max": Money.from_domain(subject.fee_max),
        "fee": None if subject.fee is None else Money.from_domain(subject.fee),
        "destination_kind": subject.destination.kind,
        "destination": subject.destination.text,
        "comment": subject.comment,
        "message": subject.message,
        "created_at": subject.created_at,
        "modified_at": subject.modified_at,
        "ended_at": subject.ended_at,
    }


@strawberry.type(description="A refund in a page.")
class RefundEdge:
    cursor: str = strawberry.field(description="Where this refund stands in the list.")
    node: Refund = strawberry.field(description="The refund.")


@strawberry.type(description="A page of refunds.")
class RefundConnection:
    count: strawberry.Private[Callable[[], Awaitable[int]]]
    edges: list[RefundEdge] = strawberry.field(description="The refunds of this page, the newest first.")
    page_info: PageInfo = strawberry.field(description="Where this page begins and ends.")

    @strawberry.field(description="How many refunds the whole list has.")
    async def total_count(self) -> int:
        return await self.count()


@strawberry.type(description="A payout in a page.")
class PayoutEdge:
    cursor: str = strawberry.field(description="Where this payout stands in the list.")
    node: Payout = strawberry.field(description="The payout.")


@strawberry.type(description="A page of payouts.")
class PayoutConnection:
    count: strawberry.Private[Callable[[], Awaitable[int]]]
    edges: list[PayoutEdge] = strawberry.field(description="The payouts of this page, the newest first.")
    page_info: PageInfo = strawberry.field(description="Where this page begins and ends.")

    @strawberry.field(description="How many payouts the whole list has.")
    async def total_count(self) -> int:
        return await self.count()


def refund_page(found: list[transfer.Transfer], asked: PageAsked) -> RefundConnection:
    """Return a page of all refunds of a payment."""
    after_id = asked.after_id(REFUND_LIST)
    later = [one for one in found if after_id is None or one.id < after_id]
    page = asked.of(later, lambda one: RefundEdge(cursor=encode_key(REFUND_LIST, one.id), node=Refund.from_domain(one)))

    async def count() -> int:
        return len(found)

    return RefundConnection(count=count, edges=page.edges, page_info=page.page_info)


async def payout_page(info: QuittanceInfo, owner_id: str, *, first: First, after: After) -> PayoutConnection:
    """Return a page of an owner's payouts."""
    asked = asked_page(first, after, default=PAGE_DEFAULT)
    services = info.context.services
    found = await payouts.list_payouts(services, owner_id, after_id=asked.after_id(PAYOUT_LIST), limit=asked.limit)
    page = asked.of(found, lambda one: PayoutEdge(cursor=encode_key(PAYOUT_LIST, one.id), node=Payout.from_domain(one)))
    return PayoutConnection(
        count=lambda: payouts.count_payouts(services, owner_id), edges=page.edges, page_info=page.page_info
    )


_DESTINATION = "A Lightning Address, a BOLT11 invoice, an LNURL, or a node's public key for keysend."
_KEY = "The same key and the same input: the same transfer again, never a second one. Another input: an error."


@strawberry.input(description="What of a payment is to go back.")
class RefundPaymentInput:
    payment_id: strawberry.ID = strawberry.field(description="The payment.")
    idempotency_key: str = strawberry.field(description=_KEY)
    amount: AmountInput | None = strawberry.field(default=None, description="Everything that is left unless said.")
    destination: str | None = strawberry.field(
        default=None, description=f"{_DESTINATION} The payment's refund address unless said."
    )
    fee_from_amount: bool = strawberry.field(
        default=False, description="Whether the way is paid out of the amount, so that less arrives."
    )
    comment: str | None = strawberry.field(default=None, description="What the payer is told, if they take comments.")


@strawberry.input(description="Where a payer wants what is owed back to them.")
class ClaimRefundInput:
    payment_id: strawberry.ID = strawberry.field(description="The payment.")
    idempotency_key: str = strawberry.field(description=_KEY)
    client_secret: str | None = strawberry.field(
        default=None, description="The payment's client secret, for a payer without an account."
    )
    destination: str | None = strawberry.field(
        default=None, description=f"{_DESTINATION} The payment's refund address unless said."
    )


@strawberry.input(description="What is to be paid out, and where to.")
class RequestPayoutInput:
    idempotency_key: str = strawberry.field(description=_KEY)
    amount: AmountInput | None = strawberry.field(
        default=None, description="Everything that the balance covers, with its fee cap, unless said."
    )
    destination: str | None = strawberry.field(
        default=None, description=f"{_DESTINATION} The account's Lightning Address unless said."
    )
    fee_max: AmountInput | None = strawberry.field(
        default=None, description="The most that the way may cost on top of the amount; a share of it unless said."
    )
    provider: str | None = strawberry.field(default=None, description="The rail; the server's default unless said.")
    comment: str | None = strawberry.field(default=None, description="What the payee is told, if they take comments.")
