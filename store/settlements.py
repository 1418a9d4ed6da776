"""Settlements: money that arrived, booked once per provider and reference; and how far each feed is booked."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, case, func, select

from quittance.domain.ids import MerchantId, OptionId, PaymentId, SettlementId
from quittance.domain.money import Money
from quittance.domain.policy import Disposition
from quittance.domain.transfer import TransferPurpose, TransferState
from quittance.store.models import FeedPositionRow, SettlementRow, table_of
from quittance.store.models_transfers import TransferRow
from quittance.store.statement import Statement, every_column
from quittance.store.transaction import Transaction, to_us

_SETTLEMENT = table_of(SettlementRow)
_FEED = table_of(FeedPositionRow)
_TRANSFER = table_of(TransferRow)

_INSERT = Statement(
    lambda d: (
        d.insert(_SETTLEMENT)
        .values(every_column(_SETTLEMENT))
        .on_conflict_do_nothing(index_elements=["provider", "reference"])
    )
)
_DISPOSITION = Statement(
    lambda _: select(_SETTLEMENT.c.payment_id, _SETTLEMENT.c.disposition).where(_SETTLEMENT.c.id == bindparam("id"))
)
_WAY = func.coalesce(_TRANSFER.c.fee_value, _TRANSFER.c.fee_max_value) * _TRANSFER.c.fee_from_amount
_OF_THEIRS = (  # what was kept before, and went back, or was used up on its way
    _TRANSFER.c.amount_value + _WAY - _TRANSFER.c.from_refundable_value
)
_GONE_BACK = (
    select(func.coalesce(func.sum(case((_OF_THEIRS > 0, _OF_THEIRS), else_=0)), 0))
    .where(
        _TRANSFER.c.payment_id == bindparam("payment_id"),
        _TRANSFER.c.purpose == TransferPurpose.REFUND.value,
        _TRANSFER.c.state != TransferState.FAILED.value,
    )
    .scalar_subquery()
)
_SUM = Statement(
    lambda _: select(func.coalesce(func.sum(_SETTLEMENT.c.amount_value), 0) - _GONE_BACK).where(
        _SETTLEMENT.c.payment_id == bindparam("payment_id"),
        _SETTLEMENT.c.disposition == Disposition.PARTIAL.value,
    )
)
_POSITION = Statement(
    lambda _: select(_FEED.c.source, _FEED.c.feed_index).where(_FEED.c.provider == bindparam("provider"))
)


def _store_position(d: object, *, only_forward: bool) -> object:
    statement = d.insert(_FEED).values(every_column(_FEED))  # type: ignore[attr-defined]
    excluded = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=["provider"],
        set_={"source": excluded.source, "feed_index": excluded.feed_index, "updated_at_us": excluded.updated_at_us},
        where=((_FEED.c.source == excluded.source) & (_FEED.c.feed_index < excluded.feed_index))
        if only_forward
        else None,
    )


_MOVE = Statement(
    lambda d: (put := d.insert(_FEED).values(every_column(_FEED))).on_conflict_do_update(
        index_elements=["provider"],
        set_={"feed_index": put.excluded.feed_index, "updated_at_us": put.excluded.updated_at_us},
        where=_FEED.c.feed_index <= bindparam("after"),
    )
)
_ADVANCE = Statement(lambda d: _store_position(d, only_forward=True))  # type: ignore[arg-type,return-value]
_REPLACE = Statement(lambda d: _store_position(d, only_forward=False))  # type: ignore[arg-type,return-value]


@dataclass(frozen=True, slots=True, kw_only=True)
class BookedSettlement:
    """Money that arrived, and what was done with it. ``provider`` and ``reference`` name it once and for all."""

    id: SettlementId
    merchant_id: MerchantId
    provider: str
    reference: str
    payment_id: PaymentId
    option_id: OptionId
    received: Money
    disposition: Disposition
    settled_at: datetime
    booked_at: datetime


def insert_settlement(transaction: Transaction, settlement: BookedSettlement) -> bool:
    """Book money that arrived; False when this reference was booked before, and then nothing may follow."""
    added = transaction.execute(
        _INSERT,
        {
            "id": settlement.id,
            "merchant_id": settlement.merchant_id,
            "provider": settlement.provider,
            "reference": settlement.reference,
            "payment_id": settlement.payment_id,
            "option_id": settlement.option_id,
            "amount_value": settlement.received.value,
            "asset_code": settlement.received.asset.code,
            "asset_scale": settlement.received.asset.scale,
            "disposition": settlement.disposition.value,
            "settled_at_us": to_us(settlement.settled_at),
            "booked_at_us": to_us(settlement.booked_at),
        },
    )
    return added == 1


def disposition_of(transaction: Transaction, settlement_id: SettlementId) -> tuple[PaymentId, Disposition]:
    """Return of which payment money came, and what was done with it.

    Raises:
        RuntimeError: nothing was booked by this id; a bug.
    """
    row = transaction.first(_DISPOSITION, {"id": settlement_id})
    if row is None:
        raise RuntimeError(f"there is no settlement {settlement_id}")
    return PaymentId(row[0]), Disposition(row[1])


def partial_value(transaction: Transaction, payment_id: PaymentId) -> int:
    """Return what was accepted in part so far and did not go back, in the payment's smallest unit.

    Only of use for a payment that is not complete: what came when it became so is not among the parts.
    """
    row = transaction.first(_SUM, {"payment_id": payment_id})
    return max(0, int(row[0])) if row else 0


def feed_position(transaction: Transaction, provider: str) -> tuple[str, int] | None:
    """Return the node and the index up to which its feed is booked."""
    row = transaction.first(_POSITION, {"provider": provider})
    return None if row is None else (row[0], row[1])


def advance_feed(transaction: Transaction, *, provider: str, source: str, index: int, at: datetime) -> None:
    """Move the position forward on the same node; a lower index or another node changes nothing."""
    transaction.execute(
        _ADVANCE, {"provider": provider, "source": source, "feed_index": index, "updated_at_us": to_us(at)}
    )


def replace_feed(transaction: Transaction, *, provider: str, source: str, index: int, at: datetime) -> None:
    """Set the position after a backfill, even to a lower index or another node."""
    transaction.execute(
        _REPLACE, {"provider": provider, "source": source, "feed_index": index, "updated_at_us": to_us(at)}
    )


def move_feed(transaction: Transaction, *, provider: str, after: int, index: int, at: datetime) -> bool:
    """Move a position on from ``after`` or before, by compare-and-set; False when it lies further already."""
    row = {"provider": provider, "source": provider, "feed_index": index, "updated_at_us": to_us(at)}
    return transaction.execute(_MOVE, row | {"after": after}) == 1
