"""Between Strike's payments and our facts: what is final, what failed, and what proves a success."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Final

import structlog

from quittance.domain.errors import ProviderMisconfigured
from quittance.domain.money import BTC_MSAT, BTC_SAT, Money
from quittance.providers.base import SendFailure, SentPayment, SentStatus
from quittance.providers.lightning_paying import proved
from quittance.providers.strike.bodies import PaymentBody, PaymentQuoteBody
from quittance.providers.strike.money import read

log = structlog.get_logger("quittance.providers")

FAILURE: Final[Mapping[str, SendFailure]] = {
    "BALANCE_TOO_LOW": SendFailure.INSUFFICIENT_BALANCE,
    "TOO_MANY_TRANSACTIONS": SendFailure.INSUFFICIENT_BALANCE,  # what the account may spend for now is used up
    "LN_ROUTE_NOT_FOUND": SendFailure.NO_ROUTE,
    "PAYMENT_QUOTE_EXPIRED": SendFailure.TIMEOUT,
}


def cost(quote: PaymentQuoteBody, *, provider: str) -> tuple[Money, Money]:
    """Return what reaches the payee, and what a quote costs besides.

    Raises:
        ProviderMisconfigured: its amounts make no sense together, or are not in bitcoin.
    """
    amount = read(quote.amount, asset=BTC_SAT, provider=provider)
    fee = read(quote.total_amount, asset=BTC_SAT, provider=provider) - amount
    named = fee if quote.total_fee is None else read(quote.total_fee, asset=BTC_SAT, provider=provider)
    if fee.value < 0 or named != fee:
        raise ProviderMisconfigured(provider, "Strike's quote does not add up")
    return amount, fee


def failed(reference: str, failure: SendFailure) -> SentPayment:
    return SentPayment(reference=reference, status=SentStatus.FAILED, failure=failure)


def missing(reference: str) -> SentPayment:
    return SentPayment(reference=reference, status=SentStatus.MISSING)


def stands(payment: PaymentBody, *, reference: str, provider: str) -> SentPayment:
    """Return how a payment stands, by its state alone: PENDING was charged and is not over, FAILED was not charged.

    Strike does not say why one failed. A success without a preimage is as final as any, and says so.

    Raises:
        ProviderMisconfigured: its preimage is another payment's, or its amounts make no sense.
    """
    if payment.state == "PENDING":
        return SentPayment(reference=reference, status=SentStatus.IN_FLIGHT)
    if payment.state == "FAILED":
        return failed(reference, SendFailure.OTHER)
    amount = read(payment.amount, asset=BTC_MSAT, provider=provider)
    fee = read(payment.total_amount, asset=BTC_MSAT, provider=provider) - amount
    if amount.value <= 0 or fee.value < 0:
        raise ProviderMisconfigured(provider, "Strike reports a payment of an impossible amount")
    shown = _shown(payment)
    if shown is None:
        log.warning("payment_without_proof", provider=provider, reference=reference, payment=payment.payment_id)
    return SentPayment(
        reference=reference,
        status=SentStatus.SUCCEEDED,
        amount=amount,
        fee=fee,
        preimage=None if shown is None else proved(shown, reference=reference, provider=provider),
        unproved=shown is None,
    )


def _shown(payment: PaymentBody) -> str | None:
    return None if payment.lightning is None else payment.lightning.pre_image or None


def proves(payment: PaymentBody, *, reference: str) -> bool | None:
    """Tell whether a payment's preimage is the one of ``reference``; None while it shows none."""
    shown = _shown(payment)
    if shown is None:
        return None
    try:
        return sha256(bytes.fromhex(shown)).hexdigest() == reference
    except ValueError:
        return False
