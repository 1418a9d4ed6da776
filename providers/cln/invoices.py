"""Between the node's invoices and our facts."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from quittance.domain.errors import ProviderMisconfigured
from quittance.domain.money import Money, msat
from quittance.providers.base import FeedPosition, Invoice, InvoiceStatus, Settlement
from quittance.providers.cln.rows import InvoiceRow
from quittance.providers.lightning import memo_of, moment

_LABEL: Final = "quittance-"
_STATUS: Final[Mapping[str, InvoiceStatus]] = {
    "unpaid": InvoiceStatus.OPEN,
    "paid": InvoiceStatus.SETTLED,
    "expired": InvoiceStatus.CANCELED,
}


_ESCAPED_BY_NUMBER: Final = {code: " " for code in range(32) if chr(code) not in "\b\t\n\f\r"}


def description_of(text: str) -> str:
    """Return as much of a description as an invoice holds, without what JSON escapes by number: the node refuses it."""
    return memo_of(text.translate(_ESCAPED_BY_NUMBER))


def label_of(reference: str) -> str:
    """Return the name that the node knows an invoice of ours by: the same payment hash is the same name."""
    return _LABEL + reference


def to_invoice(row: InvoiceRow, *, provider: str) -> Invoice:
    """Return how the node holds an invoice; what counts is the status and the millisatoshi that came.

    Raises:
        ProviderMisconfigured: the time of the payment is in no calendar.
    """
    settled = row.paid_at is not None and row.status == "paid"
    return Invoice(
        reference=row.payment_hash,
        status=_STATUS[row.status],
        payment_request=row.bolt11,
        received=_received(row, provider=provider) if settled else None,
        expires_at=_expiry(row),
        settled_at=moment(row.paid_at or 0, provider=provider) if settled else None,
    )


def _expiry(row: InvoiceRow) -> datetime | None:
    """Return when an invoice expires; None if that is in no calendar, as others may have asked for."""
    try:
        return datetime.fromtimestamp(row.expires_at, tz=UTC)
    except (OverflowError, ValueError, OSError):
        return None


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
