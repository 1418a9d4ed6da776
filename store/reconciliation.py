"""Our books as they are compared with a rail's list: by reference, and page by page in the order of a key."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, or_, select
from sqlalchemy.sql.elements import ColumnElement

from quittance.domain.ids import MerchantId, PaymentId
from quittance.domain.money import Asset, Money
from quittance.domain.payment import OptionState
from quittance.store.models import PaymentOptionRow, PaymentRow, SettlementRow, table_of
from quittance.store.statement import BatchStatement, Statement
from quittance.store.transaction import Transaction

_OPTION = table_of(PaymentOptionRow)
_PAYMENT = table_of(PaymentRow)
_SETTLEMENT = table_of(SettlementRow)
_OPTION_OWNED = _OPTION.join(_PAYMENT, _PAYMENT.c.id == _OPTION.c.payment_id)
_BOOKED_ON_RAIL = _SETTLEMENT.c.provider == bindparam("provider")
_OFFERED = (OptionState.OPEN, OptionState.HELD)
_OPEN_ON_RAIL = (
    _OPTION.c.provider == bindparam("provider"),
    or_(*(_OPTION.c.state == state.value for state in _OFFERED)),
)


def _options(*fence: ColumnElement[bool]) -> BatchStatement:
    return BatchStatement(
        lambda _, keys: (
            select(_OPTION.c.reference, _OPTION.c.payment_id, _PAYMENT.c.merchant_id, _OPTION.c.state)
            .select_from(_OPTION_OWNED)
            .where(_OPTION.c.provider == bindparam("provider"), _OPTION.c.reference.in_(keys), *fence)
        )
    )


def _settlements(*fence: ColumnElement[bool]) -> BatchStatement:
    columns = ("reference", "payment_id", "merchant_id", "amount_value", "asset_code", "asset_scale")
    return BatchStatement(
        lambda _, keys: select(*(_SETTLEMENT.c[name] for name in columns)).where(
            _BOOKED_ON_RAIL, _SETTLEMENT.c.reference.in_(keys), *fence
        )
    )


_OPTIONS = {False: _options(), True: _options(_PAYMENT.c.merchant_id == bindparam("merchant_id"))}
_SETTLEMENTS = {False: _settlements(), True: _settlements(_SETTLEMENT.c.merchant_id == bindparam("merchant_id"))}
_BOOKED_AFTER = Statement(
    lambda _: (
        select(_SETTLEMENT.c.reference, _SETTLEMENT.c.reference)
        .where(_BOOKED_ON_RAIL, _SETTLEMENT.c.reference > bindparam("after"))
        .order_by(_SETTLEMENT.c.reference)
        .limit(bindparam("limit"))
    )
)
_BOOKED_OF_ONE_AFTER = Statement(
    lambda _: (
        select(_SETTLEMENT.c.reference, _SETTLEMENT.c.id)
        .where(
            _SETTLEMENT.c.merchant_id == bindparam("merchant_id"),
            _SETTLEMENT.c.id > bindparam("after"),
            _BOOKED_ON_RAIL,
        )
        .order_by(_SETTLEMENT.c.id)
        .limit(bindparam("limit"))
    )
)
_OPEN_AFTER = Statement(
    lambda _: (
        select(_OPTION.c.reference, _OPTION.c.reference)
        .where(*_OPEN_ON_RAIL, _OPTION.c.reference > bindparam("after"))
        .order_by(_OPTION.c.reference)
        .limit(bindparam("limit"))
    )
)
_OPEN_OF_ONE_AFTER = Statement(  # by payment: an option does not say whose it is
    lambda _: (
        select(_OPTION.c.reference, _PAYMENT.c.id, _OPTION.c.id)
        .select_from(_OPTION_OWNED)
        .where(
            _PAYMENT.c.merchant_id == bindparam("merchant_id"),
            _PAYMENT.c.id >= bindparam("after"),
            or_(_PAYMENT.c.id > bindparam("after"), _OPTION.c.id > bindparam("after_option")),
            *_OPEN_ON_RAIL,
        )
        .order_by(_PAYMENT.c.id, _OPTION.c.id)
        .limit(bindparam("limit"))
    )
)

Key = tuple[str, ...]
"""Where a walk goes on; the empty one is its beginning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Which part of our books is compared: what is on one rail, of one merchant or of everybody."""

    provider: str
    merchant_id: MerchantId | None

    @property
    def parameters(self) -> dict[str, object]:
        owner: dict[str, object] = {} if self.merchant_id is None else {"merchant_id": self.merchant_id}
        return owner | {"provider": self.provider}


@dataclass(frozen=True, slots=True, kw_only=True)
class OurSide:
    """What we hold under one reference: whether it is offered now, and what was booked on it."""

    payment_id: PaymentId
    merchant_id: MerchantId
    is_open: bool
    booked: Money | None


def our_side(transaction: Transaction, part: Part, *, references: Sequence[str]) -> dict[str, OurSide]:
    """Return what we hold under each reference; those that are not in this part of our books are left out."""
    owned = part.merchant_id is not None
    options, parameters = _OPTIONS[owned].sized(references)
    found = {
        reference: OurSide(
            payment_id=PaymentId(payment_id),
            merchant_id=MerchantId(merchant_id),
            is_open=state in _OFFERED,
            booked=None,
        )
        for reference, payment_id, merchant_id, state in transaction.all(options, parameters | part.parameters)
    }
    settlements, parameters = _SETTLEMENTS[owned].sized(references)
    for reference, payment_id, merchant_id, value, code, scale in transaction.all(
        settlements, parameters | part.parameters
    ):
        found[reference] = OurSide(
            payment_id=PaymentId(payment_id),
            merchant_id=MerchantId(merchant_id),
            is_open=reference in found and found[reference].is_open,
            booked=Money(value, Asset(code, scale)),
        )
    return found


def references_of_settlements(transaction: Transaction, part: Part, *, after: Key, limit: int) -> tuple[list[str], Key]:
    """Return the references of what is booked, and the key of the last one; without any it is the end."""
    statement = _BOOKED_AFTER if part.merchant_id is None else _BOOKED_OF_ONE_AFTER
    return _references(transaction, statement, part.parameters | {"after": after[0] if after else "", "limit": limit})


def references_of_open_options(
    transaction: Transaction, part: Part, *, after: Key, limit: int
) -> tuple[list[str], Key]:
    """Return the references of what is offered now, likewise."""
    first, *rest = after or ("",)
    parameters = part.parameters | {"after": first, "limit": limit}
    if part.merchant_id is None:
        return _references(transaction, _OPEN_AFTER, parameters)
    return _references(transaction, _OPEN_OF_ONE_AFTER, parameters | {"after_option": rest[0] if rest else ""})


def _references(transaction: Transaction, statement: Statement, parameters: dict[str, Any]) -> tuple[list[str], Key]:
    rows = transaction.all(statement, parameters)
    return [row[0] for row in rows], tuple(rows[-1][1:]) if rows else ()
