"""A payment, its options, and the only ways their states may move."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from quittance.domain.bolt11 import payment_hash_in
from quittance.domain.errors import IllegalTransition
from quittance.domain.ids import AccountId, ArticleId, MerchantId, OptionId, PaymentId
from quittance.domain.money import Money
from quittance.domain.rate import CombinedRate


class PaymentStatus(StrEnum):
    PENDING_INVOICE = "PENDING_INVOICE"
    PENDING_PAYMENT = "PENDING_PAYMENT"
    HELD = "HELD"
    COMPLETE = "COMPLETE"
    EXPIRED = "EXPIRED"
    CANCELED = "CANCELED"
    ERROR = "ERROR"


class PaymentPurpose(StrEnum):
    VIEW = "VIEW"
    UPVOTE = "UPVOTE"
    ORDER = "ORDER"
    OFFER = "OFFER"
    RESOURCE = "RESOURCE"


_NEXT: Mapping[PaymentStatus, frozenset[PaymentStatus]] = {
    PaymentStatus.PENDING_INVOICE: frozenset(
        {PaymentStatus.PENDING_PAYMENT, PaymentStatus.ERROR, PaymentStatus.CANCELED}
    ),
    PaymentStatus.PENDING_PAYMENT: frozenset(
        {
            PaymentStatus.HELD,
            PaymentStatus.COMPLETE,
            PaymentStatus.EXPIRED,
            PaymentStatus.CANCELED,
            PaymentStatus.ERROR,
        }
    ),
    PaymentStatus.HELD: frozenset(
        {PaymentStatus.COMPLETE, PaymentStatus.CANCELED, PaymentStatus.EXPIRED, PaymentStatus.ERROR}
    ),
    # money that comes late still counts; an expired payment may get another invoice
    PaymentStatus.EXPIRED: frozenset({PaymentStatus.COMPLETE, PaymentStatus.PENDING_INVOICE}),
    # a reader has one view payment of an article: were a canceled one dead, nobody could sell it to them again
    PaymentStatus.CANCELED: frozenset({PaymentStatus.COMPLETE, PaymentStatus.PENDING_INVOICE}),
    PaymentStatus.ERROR: frozenset({PaymentStatus.PENDING_INVOICE, PaymentStatus.COMPLETE}),
    PaymentStatus.COMPLETE: frozenset(),
}
assert _NEXT.keys() == set(PaymentStatus)


def may_advance(status: PaymentStatus, to: PaymentStatus) -> bool:
    """Tell whether the table allows this move; staying is always allowed."""
    return to is status or to in _NEXT[status]


def sources_of(to: PaymentStatus) -> frozenset[PaymentStatus]:
    """Return every status from which ``to`` can be reached in one step."""
    return frozenset(status for status, following in _NEXT.items() if to in following)


class OptionState(StrEnum):
    """One attempt on one rail. UNKNOWN means that the provider's answer was lost and must be looked up."""

    PENDING = "PENDING"
    OPEN = "OPEN"
    HELD = "HELD"
    SETTLED = "SETTLED"
    CLOSED = "CLOSED"
    FAILED = "FAILED"
    UNKNOWN = "UNKNOWN"


class NoticeFormat(StrEnum):
    """What is written to a payment's own address. LNPAY: the one notice that an LNPay shop reads, once it is paid."""

    EVENTS = "EVENTS"
    LNPAY = "LNPAY"


class HoldOrder(StrEnum):
    """What is to become of held money. EXPIRE is our own order, when nobody gave one in time."""

    CAPTURE = "CAPTURE"
    RELEASE = "RELEASE"
    EXPIRE = "EXPIRE"


HASH_DIGITS = 64
UNDECIDED = frozenset({OptionState.PENDING, OptionState.UNKNOWN})


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentOption:
    """One way to pay one payment: an invoice, an address, a challenge on one rail.

    ``payable_until`` is given where that is not ``expires_at``: until then the provider takes money on
    ``payment_request``, whose time may be shorter (another one is made) or longer (money then comes late).
    """

    id: OptionId
    payment_id: PaymentId
    provider: str
    state: OptionState
    reference: str
    amount: Money
    payment_request: str | None
    created_at: datetime
    expires_at: datetime
    payable_until: datetime | None = None

    @property
    def payment_hash(self) -> str | None:
        """The hash that the payer's money is locked to, in hex. Most providers know an invoice by it."""
        if len(self.reference) == HASH_DIGITS:
            return self.reference
        return None if self.payment_request is None else payment_hash_in(self.payment_request)

    @property
    def over_at(self) -> datetime:
        """When neither we nor the provider expect money on it any more."""
        return self.expires_at if self.payable_until is None else max(self.expires_at, self.payable_until)


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """Money asked for, and perhaps received. ``viewer`` is the principal whose access it buys.

    ``notify_url`` is told of its events besides the merchant's endpoints, in the form of ``notify_format``, and may
    hold the merchant's own tokens.
    With ``hold``, money that comes is not ours before it is captured; ``hold_expires_at`` is when we give it back by
    ourselves, unless ``hold_order`` says before what is to become of it; both mean nothing in any status but HELD.
    ``fiat_amount`` is the price in the national currency that it was said in, and ``rate`` what turned it into
    ``amount``; a rail that takes the currency itself needs none.
    ``described_by`` is the text whose hash its invoices carry instead of the description: what a payer was offered.
    """

    id: PaymentId
    merchant_id: MerchantId
    viewer: str
    status: PaymentStatus
    status_reason: str | None
    purpose: PaymentPurpose
    provider: str
    amount: Money
    received: Money | None
    article_id: ArticleId | None
    description: str | None
    correlation_id: str | None
    refund_address: str | None
    expires_in_s: int
    created_at: datetime
    modified_at: datetime
    expires_at: datetime | None
    settled_at: datetime | None
    notify_url: str | None = field(default=None, repr=False)
    hold: bool = False
    hold_expires_at: datetime | None = None
    hold_order: HoldOrder | None = None
    described_by: str | None = None
    fiat_amount: Money | None = None
    rate: CombinedRate | None = None
    notify_format: NoticeFormat = NoticeFormat.EVENTS

    @property
    def account_id(self) -> AccountId | None:
        """The reader whom it buys for; None for what a merchant made and for what was bought anonymously."""
        return None if self.viewer in {self.merchant_id, self.id} else AccountId(self.viewer)

    def advance(self, to: PaymentStatus, *, at: datetime) -> "Payment":
        """Return this payment in status ``to``; the same status again is a no-op.

        Raises:
            IllegalTransition: the table does not allow it.
        """
        if to is self.status:
            return self
        if not may_advance(self.status, to):
            raise IllegalTransition(f"{self.id}: {self.status} -> {to}")
        return replace(self, status=to, modified_at=at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A payment and its attempts, the oldest first, as one commit left them."""

    payment: Payment
    options: Sequence[PaymentOption]

    @property
    def undecided(self) -> list[PaymentOption]:
        return [option for option in self.options if option.state in UNDECIDED]


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentFilter:
    """What a list of payments is narrowed to; None leaves a dimension open."""

    status: PaymentStatus | None = None
    article_id: ArticleId | None = None
    correlation_id: str | None = None
