"""Between the node's words about payments and our facts: what is final, what failed, and what proves a success."""

from collections.abc import Mapping, Sequence
from typing import Final

from quittance.domain.errors import ProviderMisconfigured
from quittance.domain.money import msat
from quittance.providers.base import SendFailure, SentPayment, SentStatus
from quittance.providers.cln.errors import Fault
from quittance.providers.cln.rows import Paid, PayRow
from quittance.providers.lightning_paying import proved

FAILURE: Final[Mapping[Fault, SendFailure]] = {
    Fault.PAYEE_REFUSED: SendFailure.REFUSED_BY_PAYEE,
    Fault.NO_WAY: SendFailure.NO_ROUTE,
    Fault.NO_FUNDS: SendFailure.INSUFFICIENT_BALANCE,
    Fault.TIMED_OUT: SendFailure.TIMEOUT,
    Fault.GAVE_UP: SendFailure.OTHER,
}


def succeeded(paid: Paid, *, reference: str, provider: str) -> SentPayment:
    """Return a payment that the node says it made.

    Raises:
        ProviderMisconfigured: it does not prove it, or its amounts make no sense.
    """
    if not 0 < paid.amount_msat <= paid.amount_sent_msat:
        raise ProviderMisconfigured(provider, "the node reports a payment of an impossible amount")
    return SentPayment(
        reference=reference,
        status=SentStatus.SUCCEEDED,
        amount=msat(paid.amount_msat),
        fee=msat(paid.amount_sent_msat - paid.amount_msat),
        preimage=proved(paid.payment_preimage, reference=reference, provider=provider),
    )


def failed(reference: str, failure: SendFailure) -> SentPayment:
    return SentPayment(reference=reference, status=SentStatus.FAILED, failure=failure)


def stands(rows: Sequence[PayRow], *, reference: str, provider: str) -> SentPayment:
    """Return how a payment stands of which every try is listed: one that succeeded or is on its way decides.

    Raises:
        ProviderMisconfigured: the rows make no sense.
    """
    if any(row.payment_hash != reference for row in rows):
        raise ProviderMisconfigured(provider, "the node answers with another payment than the one asked for")
    complete = next((row for row in rows if row.status == "complete"), None)
    if complete is not None:
        if complete.amount_msat is None:
            raise ProviderMisconfigured(provider, "the node does not say how much it paid")
        paid = Paid(
            payment_preimage=complete.preimage,
            amount_msat=complete.amount_msat,
            amount_sent_msat=complete.amount_sent_msat,
        )
        return succeeded(paid, reference=reference, provider=provider)
    if any(row.status == "pending" for row in rows):
        return SentPayment(reference=reference, status=SentStatus.IN_FLIGHT)
    if rows:
        return failed(reference, SendFailure.OTHER)
    return SentPayment(reference=reference, status=SentStatus.MISSING)
