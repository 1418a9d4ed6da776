"""What a reconciliation may find: differences between a provider, our payments and the ledger."""

from dataclasses import dataclass
from enum import StrEnum

from quittance.domain.ids import MerchantId, PaymentId


class FindingKind(StrEnum):
    """In what way two books differ. FOREIGN_AT_PROVIDER is normal, so it is only counted, never named."""

    SETTLED_AT_PROVIDER_NOT_BOOKED = "SETTLED_AT_PROVIDER_NOT_BOOKED"
    BOOKED_NOT_SETTLED_AT_PROVIDER = "BOOKED_NOT_SETTLED_AT_PROVIDER"
    AMOUNT_DIFFERS = "AMOUNT_DIFFERS"
    OPEN_HERE_MISSING_AT_PROVIDER = "OPEN_HERE_MISSING_AT_PROVIDER"
    FOREIGN_AT_PROVIDER = "FOREIGN_AT_PROVIDER"
    LEDGER_UNBALANCED = "LEDGER_UNBALANCED"
    BALANCE_DRIFT = "BALANCE_DRIFT"
    SETTLEMENT_NOT_IN_LEDGER = "SETTLEMENT_NOT_IN_LEDGER"
    PAYMENT_AND_SETTLEMENTS_DIFFER = "PAYMENT_AND_SETTLEMENTS_DIFFER"
    RESERVATION_DRIFT = "RESERVATION_DRIFT"
    TRANSFER_NOT_IN_LEDGER = "TRANSFER_NOT_IN_LEDGER"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One difference. ``expected`` follows from the other book, ``found`` is what the book in doubt says.

    Amounts are integers of the smallest unit, as text. ``merchant_id`` is whose business it is; None for nobody's
    in particular, which only the operator is told.
    """

    kind: FindingKind
    message: str
    expected: str
    found: str
    merchant_id: MerchantId | None
    provider: str | None = None
    reference: str | None = None
    payment_id: PaymentId | None = None
