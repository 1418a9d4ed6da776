"""What holds for every Lightning node, whatever it speaks: how invoices are read, verified and described."""

from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

from coincurve import PublicKey

from quittance.domain.bolt11 import DESCRIPTION_BYTES_MAX, Bolt11, MalformedInvoice, decode
from quittance.domain.errors import InvoiceRejected, ProviderMisconfigured, ProviderUnavailable
from quittance.domain.money import Asset
from quittance.providers.base import Invoice, InvoiceRequest, InvoiceStatus

_PREIMAGE_BYTES: Final = 32


class NodeUnavailable(ProviderUnavailable):
    """No answer; ``reason`` tells the operator why, as far as it shows."""

    def __init__(self, provider: str, reason: str) -> None:
        super().__init__(provider)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What an invoice must ask for. ``network`` is, in words, the one whose invoices begin with ``prefix``.

    ``description_hash`` is given, in hex, for an invoice that is bound to a text, and for no other.
    """

    reference: str
    amount_msat: int
    description_hash: str | None
    prefix: str
    network: str


def memo_of(description: str) -> str:
    """Return as much of a description as an invoice holds, cut between characters."""
    return description.encode(errors="replace")[:DESCRIPTION_BYTES_MAX].decode(errors="ignore")


def asked_amount(request: InvoiceRequest, *, provider: str, asset: Asset) -> int:
    """Return what an invoice is to ask for, in the smallest unit of ``asset``.

    Raises:
        InvoiceRejected: nothing or less is asked for; a node would let the payer choose.
    """
    if len(request.preimage) != _PREIMAGE_BYTES:
        raise ValueError("a preimage has 32 bytes")
    amount = request.amount.rescaled_exactly(asset).value
    if amount <= 0:
        raise InvoiceRejected(provider, "an invoice asks for a positive amount")
    return amount


def description_hash(request: InvoiceRequest) -> str | None:
    """Return the hash that the invoice carries instead of a description, in hex."""
    return None if request.described_by is None else sha256(request.described_by.encode()).hexdigest()


def read_payment_request(text: str, *, provider: str) -> Bolt11:
    """Read and verify an invoice that the node made.

    Raises:
        ProviderMisconfigured: it is no valid invoice.
    """
    try:
        return decode(text, recover=signer)
    except MalformedInvoice as error:
        raise ProviderMisconfigured(provider, f"the node made a broken invoice: {error.reason}") from error


def verified(payment_request: str, *, terms: Terms, provider: str) -> Invoice:
    """Return a new invoice, once it asks for this payment on our network, for this amount and for what was said.

    Raises:
        ProviderMisconfigured: it is no valid invoice, or one of another network or for another payment.
        InvoiceRejected: it asks for another amount, or is bound to something else, under the same preimage.
    """
    decoded = read_payment_request(payment_request, provider=provider)
    if decoded.prefix != terms.prefix:
        raise ProviderMisconfigured(provider, other_network(terms.network))
    if decoded.payment_hash != terms.reference:
        raise ProviderMisconfigured(provider, "the node made an invoice with another payment hash")
    if decoded.amount_msat != terms.amount_msat:
        raise InvoiceRejected(provider, "the node holds an invoice for another amount under this preimage")
    if decoded.description_hash != terms.description_hash:
        raise InvoiceRejected(provider, "the node holds an invoice for something else under this preimage")
    return Invoice(
        reference=terms.reference,
        status=InvoiceStatus.OPEN,
        payment_request=payment_request,
        received=None,
        expires_at=moment(decoded.expires_at_s, provider=provider),
        settled_at=None,
    )


def other_network(network: str) -> str:
    """Say that the node's invoices are not of the network that we are set to."""
    return f"the node makes invoices for another network than {network}"


def missing(reference: str) -> Invoice:
    """Return an invoice that the node does not hold, or no longer."""
    return Invoice(
        reference=reference,
        status=InvoiceStatus.MISSING,
        payment_request=None,
        received=None,
        expires_at=None,
        settled_at=None,
    )


def moment(seconds: int, *, provider: str) -> datetime:
    """Return a node's time.

    Raises:
        ProviderMisconfigured: it is in no calendar.
    """
    try:
        return datetime.fromtimestamp(seconds, tz=UTC)
    except (OverflowError, ValueError, OSError) as error:
        raise ProviderMisconfigured(provider, "the node reports a time that is in no calendar") from error


def signer(digest: bytes, signature: bytes) -> bytes:
    """Return the compressed key that made a signature of 65 bytes: R, S and the recovery id.

    Raises:
        ValueError: no key made it.
    """
    try:
        return PublicKey.from_signature_and_message(signature, digest, hasher=None).format(compressed=True)
    except Exception as error:  # the binding raises bare Exception for a signature that it cannot recover
        raise ValueError("no key made this signature") from error
