"""Enums of the domain, as the contract names and describes them."""

import strawberry

from quittance.domain.lnurl_pay import InvoiceFlaw
from quittance.domain.payment import OptionState, PaymentPurpose, PaymentStatus

__all__ = ["InvoiceFlaw", "OptionState", "PaymentPurpose", "PaymentStatus"]

strawberry.enum(PaymentStatus, description="Where a payment stands. EXPIRED, CANCELED and ERROR may still complete.")
strawberry.enum(PaymentPurpose, description="What a payment is for.")
strawberry.enum(
    OptionState, name="PaymentOptionState", description="Where one attempt stands. UNKNOWN is being looked up."
)
strawberry.enum(InvoiceFlaw, description="In what an invoice, or what came with it, differs from what was asked for.")
