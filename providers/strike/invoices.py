"""Between Strike's invoices and our facts: what is paid, what is over, and what may be handed to a payer."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final
from uuid import UUID

import structlog

from quittance.domain.bolt11 import Bolt11, MalformedInvoice, decode
from quittance.domain.errors import InvoiceRejected, ProviderMisconfigured
from quittance.domain.ids import Preimage
from quittance.domain.money import BTC_MSAT, Asset, Money
from quittance.providers.base import Invoice, InvoiceStatus
from quittance.providers.lightning import moment, other_network, signer
from quittance.providers.strike.bodies import InvoiceBody, InvoiceQuoteBody
from quittance.providers.strike.money import read

log = structlog.get_logger("quittance.providers")

DESCRIPTION_MAX: Final = 200
_STATUS: Final[Mapping[str, InvoiceStatus]] = {
    "UNPAID": InvoiceStatus.OPEN,
    "PENDING": InvoiceStatus.OPEN,
    "PAID": InvoiceStatus.SETTLED,
    "CANCELLED": InvoiceStatus.CANCELED,
    "REVERSED": InvoiceStatus.CANCELED,
}


def name_of(preimage: Preimage) -> str:
    """Return the correlation id of the invoice that is made from ``preimage``: the text of a UUID.

    Strike draws the preimage of the payment itself; ours only names the invoice, always the same way.
    """
    return str(UUID(bytes=sha256(preimage).digest()[:16], version=4))


def description_of(text: str) -> str:
    """Return as much of a description as Strike takes, cut between characters."""
    return text.encode(errors="replace").decode()[:DESCRIPTION_MAX]


def to_invoice(body: InvoiceBody, *, asset: Asset, provider: str) -> Invoice:
    """Return how Strike holds an invoice. Over- and underpayment is impossible: what was asked is what came.

    A payment that was taken back (REVERSED) takes no money any more and brought none, so it is CANCELED and never
    read as paid. If it was booked as paid before, the comparison with Strike's list shows the difference.

    Raises:
        ProviderMisconfigured: it is of another currency than this rail, or in a state that did not exist.
    """
    if body.state == "REVERSED":
        log.critical("invoice_reversed", provider=provider, invoice=body.invoice_id)
    status = _STATUS.get(body.state)
    if status is None:
        raise ProviderMisconfigured(provider, "Strike reports a state of an invoice that we do not know")
    settled = status is InvoiceStatus.SETTLED
    return Invoice(
        reference=body.own_name or body.invoice_id,
        status=status,
        payment_request=None,
        received=read(body.amount, asset=asset, provider=provider) if settled else None,
        expires_at=None,
        settled_at=settled_at(body) if settled else None,
    )


def settled_at(body: InvoiceBody) -> datetime | None:
    """Return when the last part of the money came; None if Strike does not say."""
    times = [one.completed for one in body.transactions if one.state == "COMPLETED" and one.completed is not None]
    return max(times).astimezone(UTC) if times else None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteTerms:
    """What a quote must ask for: ``amount`` for us, whatever that is in bitcoin for the payer.

    ``network`` is, in words, the one whose invoices begin with ``prefix``; ``description_hash`` is in hex.
    """

    amount: Money
    description_hash: str | None
    prefix: str
    network: str


class OtherNetwork(ProviderMisconfigured):
    """Strike makes invoices for another network than the one that we are set to."""


def verified(quote: InvoiceQuoteBody, *, terms: QuoteTerms, provider: str) -> datetime:
    """Return when a quote ends, once what it gives the payer is signed and asks for exactly what it says.

    Raises:
        ProviderMisconfigured: it is no valid invoice, or one of another network or for another amount.
        InvoiceRejected: it is bound to another text than was asked.
    """
    decoded = _decoded(quote.ln_invoice, provider=provider)
    if decoded.prefix != terms.prefix:
        raise OtherNetwork(provider, other_network(terms.network))
    if read(quote.target_amount, asset=terms.amount.asset, provider=provider) != terms.amount:
        raise ProviderMisconfigured(provider, "Strike quotes another amount than the invoice asks for")
    source = read(quote.source_amount, asset=BTC_MSAT, provider=provider)
    if decoded.amount_msat != source.value or source.value <= 0:
        raise ProviderMisconfigured(provider, "Strike's Lightning invoice asks for another amount than its quote says")
    if terms.amount.asset.code == BTC_MSAT.code and source != terms.amount.rescaled_exactly(BTC_MSAT):
        raise ProviderMisconfigured(provider, "Strike's quote asks for another amount than the invoice")
    if terms.description_hash is not None and decoded.description_hash != terms.description_hash:
        raise InvoiceRejected(provider, "Strike's Lightning invoice is not bound to what was said")
    return min(quote.expiration.astimezone(UTC), moment(decoded.expires_at_s, provider=provider))


def _decoded(text: str, *, provider: str) -> Bolt11:
    try:
        return decode(text, recover=signer)
    except MalformedInvoice as error:
        raise ProviderMisconfigured(provider, f"Strike made a broken Lightning invoice: {error.reason}") from error
