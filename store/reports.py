"""Settlements as their merchant lists them."""

from typing import Any

from quittance.domain.ids import MerchantId, OptionId, PaymentId, SettlementId
from quittance.domain.money import Asset, Money
from quittance.domain.policy import Disposition
from quittance.store.listing import Listing
from quittance.store.models import SettlementRow, table_of
from quittance.store.settlements import BookedSettlement
from quittance.store.transaction import Transaction, from_us

_SETTLEMENT = table_of(SettlementRow)
_LISTING = Listing(_SETTLEMENT, narrowed_by=[_SETTLEMENT.c.merchant_id])


def list_settlements(
    transaction: Transaction, *, merchant_id: MerchantId, after_id: str | None, limit: int
) -> list[BookedSettlement]:
    """Return the merchant's settlements, the newest first, after the last one seen."""
    rows = _LISTING.page(transaction, {"merchant_id": merchant_id}, after_id=after_id, limit=limit)
    return [_to_domain(row) for row in rows]


def count_settlements(transaction: Transaction, merchant_id: MerchantId) -> int:
    return _LISTING.count(transaction, {"merchant_id": merchant_id})


def _to_domain(row: Any) -> BookedSettlement:
    id_, owner, provider, reference, payment_id, option_id, amount, code, scale, disposition, settled, booked = row
    return BookedSettlement(
        id=SettlementId(id_),
        merchant_id=MerchantId(owner),
        provider=provider,
        reference=reference,
        payment_id=PaymentId(payment_id),
        option_id=OptionId(option_id),
        received=Money(amount, Asset(code, scale)),
        disposition=Disposition(disposition),
        settled_at=from_us(settled),
        booked_at=from_us(booked),
    )
