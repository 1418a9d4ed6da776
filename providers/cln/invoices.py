"""Between the node's invoices and our facts."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from quittance.domain.errors import ProviderMisconfigured
from quittance.domain.money import Money, msat
from quittance.providers.base import FeedPosition, Invoice, InvoiceStatus, Settlement
from quittance.providers.cln.rows import InvoiceRow
from quittance.providers.lightning import moment

_LABEL: Final = "quittance-"
_STATUS: Final[Mapping[str, InvoiceStatus]] = {
    "unpaid": InvoiceStatus.OPEN,
    "paid": InvoiceStatus.SETTLED,
    "expired": InvoiceStatus.CANCELED,
}


def label_of(reference: str) -> str:
    """Return the name that the node knows an invoice of ours by: the same payment hash is the same name."""
    return _LABEL + reference


def to_invoice(row: InvoiceRow, *, provider: str) -> Invoice:
    """Return how the node holds an invoice; what counts is the status and the millisatoshi that came.

    Raises:
        ProviderMisconfigured: a time is in no calendar.
    """
    settled = row.paid_at is not None and row.status == "paid"
    return Invoice(
        reference=row.payment_hash,
        status=_STATUS[row.status],
        payment_request=row.bolt11,
        received=_received(row, provider=provider) if settled else None,
        expires_at=moment(row.expires_at, provider=provider),
        settled_at=moment(row.paid_at or 0, provider=provider) if settled else None,
    )


def canceled(invoice: Invoice) -> Invoice:
    """Return an open invoice as it stands after the node has let go of it: nobody can pay it any more."""
    return replace(invoice, status=InvoiceStatus.CANCELED)


def to_settlement(row: InvoiceRow, *, provider: str, position: FeedPosition | None) -> Settlement:
    """Return the money that a paid invoice brought."""
    return Settlement(
        reference=row.payment_hash,
        received=_received(row, provider=provider),
        settled_at=moment(row.paid_at or 0, provider=provider),
        position=position,
    )


def _received(row: InvoiceRow, *, provider: str) -> Money:
    if row.amount_received_msat is None:
        raise ProviderMisconfigured(provider, "the node does not say how much was paid")
    return msat(row.amount_received_msat)
