"""Payment options: the attempts on the rails, and who works on them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, insert, or_, select, update

from quittance.domain.ids import OptionId, PaymentId
from quittance.domain.money import Asset, Money
from quittance.domain.payment import OptionState, PaymentOption
from quittance.store import checks
from quittance.store.models import PaymentOptionRow, table_of
from quittance.store.statement import BatchStatement, Statement, every_column
from quittance.store.transaction import Transaction, from_us, to_us

_OPTION = table_of(PaymentOptionRow)
_UNDECIDED = or_(_OPTION.c.state == OptionState.PENDING.value, _OPTION.c.state == OptionState.UNKNOWN.value)

_INSERT = Statement(lambda _: insert(_OPTION).values(every_column(_OPTION)))
_OF_PAYMENTS = BatchStatement(
    lambda _, keys: (
        select(*_OPTION.c).where(_OPTION.c.payment_id.in_(keys)).order_by(_OPTION.c.created_at_us, _OPTION.c.id)
    )
)
_BY_REFERENCE = Statement(
    lambda _: select(*_OPTION.c).where(
        _OPTION.c.provider == bindparam("provider"), _OPTION.c.reference == bindparam("reference")
    )
)
_CLAIM = Statement(
    lambda _: (
        update(_OPTION)
        .where(
            _OPTION.c.id == bindparam("option_id"),
            _UNDECIDED,
            _OPTION.c.claimed_until_us <= bindparam("now_us"),
        )
        .values(claimed_until_us=bindparam("until_us"))
    )
)
_RELEASE_ALL = Statement(lambda _: update(_OPTION).where(_UNDECIDED).values(claimed_until_us=0))
_SET_STATE = Statement(
    lambda _: (
        update(_OPTION)
        .where(_OPTION.c.id == bindparam("option_id"))
        .values(state=bindparam("state"), claimed_until_us=0)
    )
)
_DECIDE = Statement(
    lambda _: (
        update(_OPTION)
        .where(_OPTION.c.id == bindparam("option_id"), _UNDECIDED)
        .values(state=bindparam("state"), claimed_until_us=0)
    )
)
_OPEN = Statement(
    lambda _: (
        update(_OPTION)
        .where(_OPTION.c.id == bindparam("option_id"), _UNDECIDED)
        .values(
            state=OptionState.OPEN.value,
            payment_request=bindparam("payment_request"),
            expires_at_us=bindparam("expires_at_us"),
            payable_until_us=bindparam("payable_until_us"),
            claimed_until_us=0,
        )
    )
)
_RENEW = Statement(
    lambda _: (
        update(_OPTION)
        .where(_OPTION.c.id == bindparam("option_id"), _OPTION.c.state == OptionState.OPEN.value)
        .values(payment_request=bindparam("payment_request"), payable_until_us=bindparam("payable_until_us"))
    )
)
_LET_GO = Statement(
    lambda _: (
        update(_OPTION)
        .where(
            _OPTION.c.id == bindparam("option_id"),
            _OPTION.c.state != OptionState.SETTLED.value,
            _OPTION.c.state != OptionState.FAILED.value,
        )
        .values(claimed_until_us=0)
    )
)
_CLOSE_SIBLINGS = Statement(
    lambda _: (
        update(_OPTION)
        .where(
            _OPTION.c.payment_id == bindparam("of_payment_id"),
            _OPTION.c.id != bindparam("but_id"),
            _OPTION.c.state == OptionState.OPEN.value,
        )
        .values(state=OptionState.CLOSED.value)
        .returning(*_OPTION.c)
    )
)
_BY_ID = Statement(lambda _: select(*_OPTION.c).where(_OPTION.c.id == bindparam("id")))


def insert_option(
    transaction: Transaction, option: PaymentOption, *, claimed_until: datetime, check_at: datetime
) -> None:
    """Add an attempt that is about to be made by whoever holds the claim."""
    transaction.execute(
        _INSERT,
        {
            "id": option.id,
            "payment_id": option.payment_id,
            "provider": option.provider,
            "state": option.state.value,
            "reference": option.reference,
            "amount_value": option.amount.value,
            "asset_code": option.amount.asset.code,
            "asset_scale": option.amount.asset.scale,
            "payment_request": option.payment_request,
            "created_at_us": to_us(option.created_at),
            "expires_at_us": to_us(option.expires_at),
            "claimed_until_us": to_us(claimed_until),
            "payable_until_us": _us_or_none(option.payable_until),
        },
    )
    checks.plan_check(transaction, option, at=check_at)


def options_of_payments(transaction: Transaction, payment_ids: Sequence[PaymentId]) -> list[list[PaymentOption]]:
    """Return each payment's options, oldest first, one list per id, in order."""
    statement, parameters = _OF_PAYMENTS.sized(payment_ids)
    found: dict[str, list[PaymentOption]] = {payment_id: [] for payment_id in payment_ids}
    for row in transaction.all(statement, parameters):
        found[row[1]].append(_to_domain(row))
    return [found[payment_id] for payment_id in payment_ids]


def option_by_reference(transaction: Transaction, *, provider: str, reference: str) -> PaymentOption | None:
    row = transaction.first(_BY_REFERENCE, {"provider": provider, "reference": reference})
    return None if row is None else _to_domain(row)


def claim_option(transaction: Transaction, option_id: OptionId, *, now: datetime, until: datetime) -> bool:
    """Take an undecided attempt over, if nobody works on it."""
    parameters = {"option_id": option_id, "now_us": to_us(now), "until_us": to_us(until)}
    return transaction.execute(_CLAIM, parameters) == 1


def release_claims(transaction: Transaction) -> int:
    """Void every claim; only for a database with a single process, when it starts."""
    return transaction.execute(_RELEASE_ALL)


def open_option(transaction: Transaction, opened: PaymentOption, *, check_at: datetime | None) -> bool:
    """Remember the invoice of an undecided attempt; False when somebody decided it first.

    With ``check_at`` None the provider is asked next when that was planned already.
    """
    parameters = {
        "option_id": opened.id,
        "payment_request": opened.payment_request,
        "expires_at_us": to_us(opened.expires_at),
        "payable_until_us": _us_or_none(opened.payable_until),
    }
    if transaction.execute(_OPEN, parameters) != 1:
        return False
    if check_at is not None:
        checks.plan_check(transaction, opened, at=check_at)
    return True


def renew_option(transaction: Transaction, renewed: PaymentOption) -> bool:
    """Hand out another invoice on an attempt that is still open; False when it no longer is."""
    parameters = {
        "option_id": renewed.id,
        "payment_request": renewed.payment_request,
        "payable_until_us": _us_or_none(renewed.payable_until),
    }
    return transaction.execute(_RENEW, parameters) == 1


def decide_option(
    transaction: Transaction, option: PaymentOption, state: OptionState, *, check_at: datetime | None
) -> bool:
    """Say what became of an undecided attempt; False, and nothing changed, when somebody decided it first."""
    if transaction.execute(_DECIDE, {"option_id": option.id, "state": state.value}) != 1:
        return False
    checks.plan_check(transaction, replace(option, state=state), at=check_at)
    return True


def set_option_state(
    transaction: Transaction, option: PaymentOption, state: OptionState, *, check_at: datetime | None
) -> None:
    """Move an attempt; with ``check_at`` None the provider is never asked about it again."""
    transaction.execute(_SET_STATE, {"option_id": option.id, "state": state.value})
    checks.plan_check(transaction, replace(option, state=state), at=check_at)


def check_option_at(transaction: Transaction, option: PaymentOption, check_at: datetime) -> None:
    """Say when the provider is asked about this attempt next, and let others work on it; an ended one stays ended."""
    if transaction.execute(_LET_GO, {"option_id": option.id}) == 1:
        checks.plan_check(transaction, option, at=check_at)


def close_other_options(transaction: Transaction, payment_id: PaymentId, *, but: OptionId, check_at: datetime) -> None:
    """Close the open options that a settlement left over; they are checked until no money can come on them."""
    for row in transaction.all(_CLOSE_SIBLINGS, {"of_payment_id": payment_id, "but_id": but}):
        checks.plan_check(transaction, _to_domain(row), at=check_at)


def option_by_id(transaction: Transaction, option_id: OptionId) -> PaymentOption | None:
    row = transaction.first(_BY_ID, {"id": option_id})
    return None if row is None else _to_domain(row)


def _to_domain(row: Any) -> PaymentOption:
    id_, payment_id, provider, state, reference, amount, code, scale, request, created, expires, _, payable = row
    return PaymentOption(
        id=OptionId(id_),
        payment_id=PaymentId(payment_id),
        provider=provider,
        state=OptionState(state),
        reference=reference,
        amount=Money(amount, Asset(code, scale)),
        payment_request=request,
        created_at=from_us(created),
        expires_at=from_us(expires),
        payable_until=None if payable is None else from_us(payable),
    )


def _us_or_none(at: datetime | None) -> int | None:
    return None if at is None else to_us(at)
