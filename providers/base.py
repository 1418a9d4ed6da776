"""Ports: what every rail can do for us, in our own words. Adapters let nothing foreign through."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol, runtime_checkable

from quittance.domain.bolt11 import Bolt11
from quittance.domain.ids import Preimage
from quittance.domain.money import Asset, Money


class InvoiceStatus(StrEnum):
    """What the provider says of one invoice. MISSING: it knows none, or has forgotten it; never read as paid."""

    OPEN = "OPEN"
    HELD = "HELD"
    SETTLED = "SETTLED"
    CANCELED = "CANCELED"
    MISSING = "MISSING"


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceRequest:
    """What to ask the provider for. ``preimage`` is ours, so that a lost answer is found by its hash.

    ``described_by``: the invoice carries the SHA-256 of this text instead of the description.
    """

    amount: Money
    description: str
    expires_in_s: int
    described_by: str | None = None
    preimage: Preimage = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice:
    """An invoice as the provider holds it. ``reference`` is what we called it by: the payment hash, or our own name.

    ``payment_request`` is None where the provider does not tell it again; ``payable_until`` is given where the provider
    takes money on it for a shorter or a longer time than ``expires_at`` says.
    """

    reference: str
    status: InvoiceStatus
    payment_request: str | None
    received: Money | None
    expires_at: datetime | None
    settled_at: datetime | None
    payable_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedPosition:
    """How far a settlement feed was read. ``source`` names the node whose counter ``index`` is."""

    source: str
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """Money that arrived. Delivered at least once; ``position`` is stored in the unit that books it."""

    reference: str
    received: Money
    settled_at: datetime
    position: FeedPosition | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderHealth:
    """``wrong_network``: the rail moves other money than it is set to; no process may start on it."""

    ready: bool
    detail: str
    wrong_network: bool = False


class ReceivingProvider(Protocol):
    """A rail that takes money."""

    @property
    def name(self) -> str: ...

    @property
    def asset(self) -> Asset:
        """The asset and scale that invoices of this rail are made in."""
        ...

    def reference(self, preimage: Preimage) -> str:
        """Return the reference that an invoice made from ``preimage`` will have."""
        ...

    async def create_invoice(self, request: InvoiceRequest) -> Invoice:
        """Make an invoice; the same preimage again returns the first one.

        Raises:
            ProviderUnavailable: the outcome is unknown; look up the reference or repeat with the same preimage.
            InvoiceRejected: nothing was made.
            ProviderMisconfigured: the operator must act.
        """
        ...

    async def lookup_invoice(self, reference: str) -> Invoice:
        """Return what the provider holds; status MISSING when it holds nothing.

        Raises:
            ProviderUnavailable: no answer.
            ProviderMisconfigured: the operator must act.
        """
        ...

    async def cancel_invoice(self, reference: str) -> Invoice:
        """Cancel an open invoice and return how it stands afterwards; a settled one stays settled.

        Raises:
            ProviderUnavailable: the outcome is unknown; look up the reference.
            ProviderMisconfigured: the operator must act.
        """
        ...

    async def health(self) -> ProviderHealth:
        """Tell whether the rail can take money now; never raises."""
        ...


@runtime_checkable
class CountsCoarser(Protocol):
    """A rail that can neither ask for nor pay every amount of its asset."""

    @property
    def asset(self) -> Asset: ...

    @property
    def unit(self) -> Asset:
        """The scale in which its amounts are whole numbers."""
        ...


@runtime_checkable
class HoldsInvoices(Protocol):
    """A rail whose invoices can be held: the payer's money is locked until we take it or give it back."""

    async def create_held_invoice(self, request: InvoiceRequest) -> Invoice:
        """Make an invoice that is not settled when it is paid; as ``create_invoice`` otherwise.

        The provider learns the hash of the preimage alone.
        """
        ...

    async def settle_invoice(self, preimage: Preimage) -> Invoice:
        """Take what a held invoice holds, and return how it stands afterwards; one that is final stays as it is.

        Raises:
            ProviderUnavailable: the outcome is unknown; look up the reference.
            ProviderMisconfigured: the operator must act.
        """
        ...


@runtime_checkable
class Requotes(Protocol):
    """A rail whose invoices stand longer than what their payers pay by."""

    async def requote(self, reference: str) -> Invoice:
        """Return an open invoice with a fresh ``payment_request``, and ``payable_until``; the earlier ones may be paid
        until they lapse. One that is not open is returned as it stands.

        Raises:
            ProviderUnavailable: no answer; repeating it is safe.
            ProviderMisconfigured: the operator must act.
        """
        ...


class PaymentMemory(Protocol):
    """What an adapter must know about an outgoing payment after a crash."""

    async def recall(self, reference: str) -> str | None:
        """Return what was remembered last of a payment, or None."""
        ...

    async def remember(self, reference: str, note: str, *, instead_of: str | None) -> bool:
        """Store a note before this returns, if what is remembered still is ``instead_of``; None: if nothing is.

        Return False if it is something else: another process was faster, and nothing was stored.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SendRequest:
    """An invoice to pay. ``amount`` is given for an invoice that names none, and for no other."""

    payment_request: str
    amount: Money | None
    fee_max: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysendRequest:
    """Money for a node that made no invoice. ``destination`` is its public key in hex; ``preimage`` is ours."""

    destination: str
    amount: Money
    fee_max: Money
    preimage: Preimage = field(repr=False)


class SentStatus(StrEnum):
    """How an outgoing payment stands at the provider.

    SUCCEEDED and FAILED are final. MISSING: it was never begun. All else may still move money.
    """

    IN_FLIGHT = "IN_FLIGHT"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    MISSING = "MISSING"


class SendFailure(StrEnum):
    """Why a payment failed. After the first three another try may succeed."""

    NO_ROUTE = "NO_ROUTE"
    TIMEOUT = "TIMEOUT"
    INSUFFICIENT_BALANCE = "INSUFFICIENT_BALANCE"
    REFUSED_BY_PAYEE = "REFUSED_BY_PAYEE"
    CANCELED = "CANCELED"
    OTHER = "OTHER"


@dataclass(frozen=True, slots=True, kw_only=True)
class SentPayment:
    """An outgoing payment as the provider holds it. ``reference`` is the payment hash in lower-case hex.

    A success has ``amount`` (what the payee got), ``fee`` (what it cost besides) and the ``preimage``, which was
    checked against the hash; a failure has ``failure``. ``unproved``: a custodian says that it paid, and shows no
    preimage. Its word is all there will ever be: the success is final, and nothing may be sent again.
    """

    reference: str
    status: SentStatus
    amount: Money | None = None
    fee: Money | None = None
    preimage: Preimage | None = field(default=None, repr=False)
    failure: SendFailure | None = None
    unproved: bool = False


@runtime_checkable
class SendingProvider(Protocol):
    """A rail that pays. What it was asked once it never pays twice: a reference is paid at most once."""

    @property
    def name(self) -> str: ...

    @property
    def asset(self) -> Asset:
        """The asset and scale that this rail pays in."""
        ...

    def read_invoice(self, payment_request: str) -> Bolt11:
        """Return what an invoice says, its signature verified.

        Raises:
            MalformedInvoice: it is none.
            SendRefused: it is not for the network that this rail pays on.
        """
        ...

    async def send(self, request: SendRequest) -> SentPayment:
        """Pay an invoice, and return how that stands when it is final, or when we waited long enough.

        An invoice that is being paid or was paid before is not paid again: the answer says how that stands.

        Raises:
            ProviderUnavailable: the outcome is unknown; look up the reference, and do not send again before that.
            SendRefused: the provider did not begin, and nothing moved.
            ProviderMisconfigured: likewise, and the operator must act.
        """
        ...

    async def lookup_sent(self, reference: str) -> SentPayment:
        """Return how a payment stands now; status MISSING when the provider never began it.

        Raises:
            ProviderUnavailable: no answer.
            ProviderMisconfigured: the operator must act; the outcome stays unknown.
        """
        ...


@runtime_checkable
class SendsKeysend(Protocol):
    """A rail that pays a node without an invoice."""

    async def keysend(self, request: KeysendRequest) -> SentPayment:
        """Pay a node; the same preimage again pays nothing. As ``SendingProvider.send`` otherwise."""
        ...


@runtime_checkable
class TellsOfPaying(Protocol):
    """A rail that can be asked whether it may pay, without paying."""

    async def paying_health(self) -> ProviderHealth:
        """Tell whether the rail may pay now; never raises."""
        ...


class SettlementFeed(Protocol):
    """A rail that reports settlements as they happen."""

    def settlements(self, *, resume: FeedPosition | None) -> AsyncIterator[Settlement | FeedPosition]:
        """Yield what settled after ``resume``, then what settles from now on, until the connection ends.

        A bare :class:`FeedPosition` says that everything up to it was yielded; it replaces the stored one even
        when it is lower (the node's counter began again, or another node answers).

        Raises:
            ProviderUnavailable: the connection broke; call again with the last stored position.
            ProviderMisconfigured: the operator must act.
        """
        ...


class OutgoingFailed(Exception):
    """The call did not give an answer; whether the other side acted on it is not known. ``reason`` is stable."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the call failed: {reason}")
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingAnswer:
    """``body_excerpt`` is the whole body if ``is_whole``, else its first bytes; ``headers`` has retry-after alone."""

    status_code: int
    headers: Mapping[str, str]
    body_excerpt: bytes
    is_whole: bool
    took_s: float


class Outgoing(Protocol):
    """The one way to call an address that somebody gave us."""

    def check(self, url: str) -> None:
        """Accept the form of an address; what its name leads to is checked by each call.

        Raises:
            ForbiddenAddress: it may not be called, and what to give instead.
        """
        ...

    async def get(self, url: str, *, headers: Mapping[str, str], body_bytes_max: int | None = None) -> OutgoingAnswer:
        """Fetch what stands at an address. A redirect is not followed: its status is the answer.

        ``body_bytes_max`` is how much of it is wanted; a body that is longer is cut.

        Raises:
            ForbiddenAddress: no connection was made.
            OutgoingFailed: no answer, or not in time.
        """
        ...

    async def post(self, url: str, *, body: bytes, headers: Mapping[str, str]) -> OutgoingAnswer:
        """Send ``body`` once. A redirect is not followed: its status is the answer.

        Raises:
            ForbiddenAddress: no connection was made.
            OutgoingFailed: no answer, or not in time.
        """
        ...


@runtime_checkable
class ListsInvoices(Protocol):
    """A rail that can name all its invoices, so that its books can be compared with ours."""

    def invoices(self) -> AsyncIterator[Invoice]:
        """Yield every invoice that the provider holds, ours or not, the oldest first; read in pages.

        One that is made meanwhile may be left out.

        Raises:
            ProviderUnavailable: no answer; what was yielded before is not the whole list.
            ProviderMisconfigured: the operator must act; likewise.
        """
        ...
