"""Between the node's messages and our facts."""

from collections.abc import Mapping
from typing import Final

from quittance.domain.errors import ProviderMisconfigured
from quittance.domain.money import Asset, Money
from quittance.providers.base import FeedPosition, Invoice, InvoiceStatus, Settlement
from quittance.providers.lightning import moment
from quittance.providers.lnd._proto import lnrpc_pb2

_STATUS: Final[Mapping[int, InvoiceStatus]] = {
    lnrpc_pb2.Invoice.OPEN: InvoiceStatus.OPEN,
    lnrpc_pb2.Invoice.SETTLED: InvoiceStatus.SETTLED,
    lnrpc_pb2.Invoice.CANCELED: InvoiceStatus.CANCELED,
    lnrpc_pb2.Invoice.ACCEPTED: InvoiceStatus.HELD,
}
assert _STATUS.keys() == set(lnrpc_pb2.Invoice.InvoiceState.values())


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
