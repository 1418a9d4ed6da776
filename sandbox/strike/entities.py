"""What a Strike account knows. Entities never change; a new one takes the place of the old.

``key`` is a second name by which an entity is found.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from quittance.sandbox.strike.money import Money, Rate


class InvoiceState(StrEnum):
    UNPAID = "UNPAID"
    PENDING = "PENDING"
    PAID = "PAID"
    CANCELLED = "CANCELLED"


class State(StrEnum):
    """How a receive, a payment or an exchange stands."""

    NEW = "NEW"
    PENDING = "PENDING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


class Rail(StrEnum):
    LIGHTNING = "LIGHTNING"
    ONCHAIN = "ONCHAIN"
    P2P = "P2P"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A customer of Strike, and what can be spent at once, in whole units of each currency."""

    id: str
    created: datetime
    handle: str
    description: str
    default_currency: str
    invoiceable: tuple[str, ...]
    available: dict[str, Decimal]

    @property
    def key(self) -> str | None:
        return self.handle


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice:
    """``received`` is when the money came, ``completed`` when it was credited; ``due`` when a pending one will be."""

    id: str
    created: datetime
    amount: Money
    issuer_id: str
    receiver_id: str
    correlation_id: str | None
    description: str | None
    state: InvoiceState = InvoiceState.UNPAID
    quote_ids: tuple[str, ...] = ()
    transaction_id: str | None = None
    received: datetime | None = None
    completed: datetime | None = None
    due: datetime | None = None

    @property
    def key(self) -> str | None:
        return self.correlation_id


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceQuote:
    """A BOLT11 invoice by which an invoice can be paid, at one price, for some time."""

    id: str
    created: datetime
    invoice_id: str
    payment_hash: str
    bolt11: str
    description: str | None
    expires: datetime
    expires_in_s: int
    source: Money
    target: Money
    rate: Rate

    @property
    def key(self) -> str | None:
        return self.payment_hash


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiveRequest:
    """A BOLT11 invoice by which the account can be paid; without an amount the payer says how much."""

    id: str
    created: datetime
    payment_hash: str
    bolt11: str
    requested: Money | None
    btc_amount: Decimal | None
    description: str | None
    description_hash: str | None
    target_currency: str | None
    expires: datetime

    @property
    def key(self) -> str | None:
        return self.payment_hash


@dataclass(frozen=True, slots=True, kw_only=True)
class Receive:
    """Money that came for a receive request. One of another customer of Strike shows no hash and no preimage."""

    id: str
    created: datetime
    request_id: str
    rail: Rail
    state: State
    received: Money
    payment_hash: str
    preimage: str
    payer_id: str | None
    credited: Money | None = None
    rate: Rate | None = None
    completed: datetime | None = None
    due: datetime | None = None

    @property
    def key(self) -> str | None:
        return self.payment_hash


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentQuote:
    """What a payment would cost. ``amount``, ``fee`` and ``total`` are in the currency that pays.

    ``msat`` is what is sent, ``bolt11`` or ``address`` is where to; ``duration_min`` is how long a chain takes.
    """

    id: str
    created: datetime
    idempotency_key: str | None
    valid_until: datetime
    amount: Money
    fee: Money
    total: Money
    rate: Rate | None
    msat: int
    description: str | None = None
    bolt11: str | None = None
    payment_hash: str | None = None
    address: str | None = None
    duration_min: int | None = None

    @property
    def key(self) -> str | None:
        return self.idempotency_key


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """A quote that was executed. ``held`` ones wait for a fault to let them go; ``due`` is when a chain confirms."""

    id: str
    created: datetime
    quote_id: str
    state: State
    held: bool = False
    due: datetime | None = None
    completed: datetime | None = None
    preimage: str | None = None
    transaction_id: str | None = None

    @property
    def key(self) -> str | None:
        return self.quote_id


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeQuote:
    """``source`` leaves the account and ``target`` comes; the fee is in the currency that is sold."""

    id: str
    created: datetime
    idempotency_key: str | None
    valid_until: datetime
    source: Money
    target: Money
    fee: Money
    rate: Rate
    state: State = State.NEW
    completed: datetime | None = None

    @property
    def key(self) -> str | None:
        return self.idempotency_key


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """Where events are sent. A deleted one is no longer shown, nor sent to."""

    id: str
    created: datetime
    url: str
    version: str
    secret: str
    enabled: bool
    event_types: tuple[str, ...]
    deleted: bool = False

    @property
    def key(self) -> str | None:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What happened to an entity. ``changes`` names members of it, never how they stand now."""

    id: str
    created: datetime
    type: str
    entity_id: str
    changes: tuple[str, ...] = ()
    receive_id: str | None = None

    @property
    def key(self) -> str | None:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """An event on its way to one subscription. ``due`` is the next attempt; None once there is none."""

    id: str
    created: datetime
    event_id: str
    subscription_id: str
    due: datetime | None
    attempts: int = 0
    delivered: bool = False

    @property
    def key(self) -> str | None:
        return None


Entity = (
    Holder
    | Invoice
    | InvoiceQuote
    | ReceiveRequest
    | Receive
    | PaymentQuote
    | Payment
    | ExchangeQuote
    | Subscription
    | Event
    | Delivery
)
KINDS: tuple[type[Entity], ...] = (
    Holder,
    Invoice,
    InvoiceQuote,
    ReceiveRequest,
    Receive,
    PaymentQuote,
    Payment,
    ExchangeQuote,
    Subscription,
    Event,
    Delivery,
)
