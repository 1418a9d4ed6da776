"""What holds for every Lightning node that pays: what is read before it begins, and what proves that it paid."""

from hashlib import sha256
from typing import Final

import structlog

from quittance.domain.bolt11 import Bolt11, MalformedInvoice, decode
from quittance.domain.errors import ProviderMisconfigured, SendRefused
from quittance.domain.ids import Preimage
from quittance.domain.money import Asset, Money
from quittance.providers.base import SendRequest
from quittance.providers.lightning import signer

log = structlog.get_logger("quittance.providers")

NOT_SEEN: Final = "the node has not begun yet, and still may"


def read_payable(payment_request: str, *, provider: str, prefix: str, network: str) -> Bolt11:
    """Return what an invoice says, its signature verified. ``network`` is that of ``prefix``, in words.

    Raises:
        MalformedInvoice: it is none.
        SendRefused: it is not for that network.
    """
    invoice = decode(payment_request, recover=signer)
    if invoice.prefix != prefix:
        raise SendRefused(provider, f"the invoice is for another network than {network}")
    return invoice


def read_order(request: SendRequest, *, provider: str, prefix: str, network: str, asset: Asset) -> Bolt11:
    """Read an invoice before the node sees it; ``prefix`` and ``network`` as for :func:`read_payable`.

    Raises:
        SendRefused: it is none, not for our network, or its amount and the given one do not go together.
    """
    try:
        invoice = read_payable(request.payment_request, provider=provider, prefix=prefix, network=network)
    except MalformedInvoice as error:
        raise SendRefused(provider, f"the invoice is broken: {error.reason}") from error
    if invoice.amount_msat is not None and request.amount is not None:
        raise SendRefused(provider, "the invoice names an amount, and another was given")
    if invoice.amount_msat is None:
        if request.amount is None:
            raise SendRefused(provider, "the invoice names no amount, and none was given")
        positive(request.amount, provider=provider, asset=asset)
    return invoice


def positive(amount: Money, *, provider: str, asset: Asset) -> int:
    """Return what to pay, in the smallest unit of ``asset``.

    Raises:
        SendRefused: that is nothing, or less.
    """
    value = amount.rescaled_exactly(asset).value
    if value <= 0:
        raise SendRefused(provider, "an amount to pay is positive")
    return value


def fee_cap(fee_max: Money, *, asset: Asset) -> int:
    """Return what a payment may cost besides, in the smallest unit of ``asset``; of zero, only free routes are left."""
    value = fee_max.rescaled_exactly(asset).value
    if value < 0:
        raise ValueError("a fee cap is never negative")
    return value


def proved(preimage: str, *, reference: str, provider: str) -> Preimage:
    """Return what proves a payment: the hex text's hash is the reference.

    Raises:
        ProviderMisconfigured: it does not prove it, so the outcome is not known.
    """
    try:
        proof = bytes.fromhex(preimage)
    except ValueError:
        proof = b""
    if sha256(proof).hexdigest() != reference:
        log.critical("payment_without_proof", provider=provider, reference=reference)
        raise ProviderMisconfigured(provider, "the node says that it paid, and its preimage does not prove it")
    return Preimage(proof)
