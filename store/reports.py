"""Settlements as their merchant lists them."""

from typing import Any

from sqlalchemy import bindparam, func, select

from quittance.domain.ids import MerchantId, OptionId, PaymentId, SettlementId
from quittance.domain.money import Asset, Money
from quittance.domain.policy import Disposition
from quittance.store.models import PaymentRow, SettlementRow, table_of
from quittance.store.settlements import BookedSettlement
from quittance.store.statement import Statement
from quittance.store.transaction import Transaction, from_us

_SETTLEMENT = table_of(SettlementRow)
_PAYMENT = table_of(PaymentRow)
_OWNED = _SETTLEMENT.join(_PAYMENT, _PAYMENT.c.id == _SETTLEMENT.c.payment_id)
_OF_MERCHANT = _PAYMENT.c.merchant_id == bindparam("merchant_id")


def _page(*, resumed: bool) -> Statement:
    fence = [_OF_MERCHANT, _SETTLEMENT.c.id < bindparam("after_id")] if resumed else [_OF_MERCHANT]
    return Statement(
        lambda _: (
            select(*_SETTLEMENT.c)
            .select_from(_OWNED)
            .where(*fence)
            .order_by(_SETTLEMENT.c.id.desc())
            .limit(bindparam("limit"))
        )
    )


_PAGES = {resumed: _page(resumed=resumed) for resumed in (False, True)}
_COUNT = Statement(lambda _: select(func.count()).select_from(_OWNED).where(_OF_MERCHANT))


def list_settlements(
    transaction: Transaction, *, merchant_id: MerchantId, after_id: str | None, limit: int
) -> list[BookedSettlement]:
    """Return the merchant's settlements, the newest first, after the last one seen."""
    parameters: dict[str, object] = {"merchant_id": merchant_id, "limit": limit}
    if after_id is not None:
        parameters["after_id"] = after_id
    return [_to_domain(row) for row in transaction.all(_PAGES[after_id is not None], parameters)]


def count_settlements(transaction: Transaction, merchant_id: MerchantId) -> int:
    row = transaction.first(_COUNT, {"merchant_id": merchant_id})
    return int(row[0]) if row else 0


def _to_domain(row: Any) -> BookedSettlement:
    (id_, provider, reference, payment_id, option_id, amount, code, scale, disposition, settled, booked) = row
    return BookedSettlement(
        id=SettlementId(id_),
        provider=provider,
        reference=reference,
        payment_id=PaymentId(payment_id),
        option_id=OptionId(option_id),
        received=Money(amount, Asset(code, scale)),
        disposition=Disposition(disposition),
        settled_at=from_us(settled),
        booked_at=from_us(booked),
    )
