"""Between the node's messages and our facts."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from coincurve import PublicKey

from quittance.domain.bolt11 import DESCRIPTION_BYTES_MAX, Bolt11, MalformedInvoice, decode
from quittance.domain.errors import ProviderMisconfigured
from quittance.domain.money import Asset, Money
from quittance.providers.base import FeedPosition, Invoice, InvoiceStatus, Settlement
from quittance.providers.lnd._proto import lnrpc_pb2

_STATUS: Final[Mapping[int, InvoiceStatus]] = {
    lnrpc_pb2.Invoice.OPEN: InvoiceStatus.OPEN,
    lnrpc_pb2.Invoice.SETTLED: InvoiceStatus.SETTLED,
    lnrpc_pb2.Invoice.CANCELED: InvoiceStatus.CANCELED,
    lnrpc_pb2.Invoice.ACCEPTED: InvoiceStatus.HELD,
}
assert _STATUS.keys() == set(lnrpc_pb2.Invoice.InvoiceState.values())


def memo_of(description: str) -> str:
    """Return as much of a description as an invoice holds, cut between characters."""
    return description.encode(errors="replace")[:DESCRIPTION_BYTES_MAX].decode(errors="ignore")


def read_payment_request(text: str, *, provider: str) -> Bolt11:
    """Read and verify an invoice that the node made.

    Raises:
        ProviderMisconfigured: it is no valid invoice.
    """
    try:
        return decode(text, recover=signer)
    except MalformedInvoice as error:
        raise ProviderMisconfigured(provider, f"the node made a broken invoice: {error.reason}") from error


def to_invoice(message: lnrpc_pb2.Invoice, *, provider: str, asset: Asset) -> Invoice:
    """Return how the node holds an invoice; what counts is the state and the thousandths that came.

    Raises:
        ProviderMisconfigured: the message makes no sense.
    """
    status = _STATUS.get(message.state)
    if status is None:
        raise ProviderMisconfigured(provider, f"the node reports the unknown invoice state {message.state}")
    settled = status is InvoiceStatus.SETTLED
    return Invoice(
        reference=message.r_hash.hex(),
        status=status,
        payment_request=message.payment_request or None,
        received=Money(message.amt_paid_msat, asset) if settled else None,
        expires_at=moment(message.creation_date + message.expiry, provider=provider),
        settled_at=moment(message.settle_date, provider=provider) if settled else None,
    )


def to_settlement(
    message: lnrpc_pb2.Invoice, *, provider: str, asset: Asset, position: FeedPosition | None
) -> Settlement:
    return Settlement(
        reference=message.r_hash.hex(),
        received=Money(message.amt_paid_msat, asset),
        settled_at=moment(message.settle_date, provider=provider),
        position=position,
    )


def is_settled(message: lnrpc_pb2.Invoice) -> bool:
    return message.state == lnrpc_pb2.Invoice.SETTLED


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
    try:
        return datetime.fromtimestamp(seconds, tz=UTC)
    except (OverflowError, ValueError, OSError) as error:
        raise ProviderMisconfigured(provider, "the node reports a time that is in no calendar") from error


def signer(digest: bytes, signature: bytes) -> bytes:
    return PublicKey.from_signature_and_message(signature, digest, hasher=None).format()
