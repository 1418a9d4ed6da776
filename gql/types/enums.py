"""Enums of the domain, as the contract names and describes them."""

import strawberry

from quittance.domain.lnurl_pay import InvoiceFlaw
from quittance.domain.payment import OptionState, PaymentPurpose, PaymentStatus
from quittance.domain.rate import RateFlaw

__all__ = ["InvoiceFlaw", "OptionState", "PaymentPurpose", "PaymentStatus", "RateFlaw"]

strawberry.enum(PaymentStatus, description="Where a payment stands. EXPIRED, CANCELED and ERROR may still complete.")
strawberry.enum(PaymentPurpose, description="What a payment is for.")
strawberry.enum(
    OptionState, name="PaymentOptionState", description="Where one attempt stands. UNKNOWN is being looked up."
)
strawberry.enum(InvoiceFlaw, description="In what an invoice, or what came with it, differs from what was asked for.")
strawberry.enum(
    RateFlaw,
    description="Why there is no rate. UNKNOWN_PAIR: no source quotes it. TOO_MANY_PAIRS: others are asked for. "
    "NO_ANSWER, NO_PRICE, STALE: what the sources say, or do not. TOO_FEW_SOURCES: of those that can be believed. "
    "SOURCES_DISAGREE: they are too far apart. JUMPED: too far from the last one that was believed.",
)
