"""Money on its way out, as rules: what may follow what, what the way may cost, and what the ledger says of it."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quittance.domain.ids import MerchantId, PaymentId, TransferId
from quittance.domain.ledger import AccountKind, Entry
from quittance.domain.money import msat
from quittance.domain.transfer import (
    FINAL,
    Destination,
    DestinationKind,
    FeeRule,
    Transfer,
    TransferPurpose,
    TransferState,
    entries_of_release,
    entries_of_reservation,
    entries_of_sending,
    fee_max_of,
    may_move,
    most_payable,
    refundable_left,
    taken_left,
)

_AT = datetime(2026, 11, 25, tzinfo=UTC)
MERCHANT = "mer_" + "0" * 32
READER = "acc_" + "1" * 32
RULE = FeeRule()
amounts = st.integers(min_value=1, max_value=10**14)


def transfer(
    *, amount: int, fee_max: int, from_refundable: int = 0, from_amount: bool = False, owner: str = MERCHANT
) -> Transfer:
    return Transfer(
        id=TransferId("rfd_" + "2" * 32),
        purpose=TransferPurpose.REFUND if owner == MERCHANT else TransferPurpose.PAYOUT,
        owner_id=owner,
        merchant_id=MerchantId(MERCHANT),
        payment_id=PaymentId("pay_" + "3" * 32) if owner == MERCHANT else None,
        provider="lnd",
        state=TransferState.PENDING,
        state_reason=None,
        amount=msat(amount),
        fee_max=msat(fee_max),
        from_refundable=msat(from_refundable),
        fee_from_amount=from_amount,
        fee=None,
        destination=Destination(kind=DestinationKind.ADDRESS, text="bob@example.com"),
        comment=None,
        reason=None,
        idempotency_key="k",
        fingerprint=b"",
        attempts=0,
        message=None,
        created_at=_AT,
        modified_at=_AT,
        ended_at=None,
    )


@st.composite
def transfers(draw: st.DrawFn) -> Transfer:
    amount, fee_max = draw(amounts), draw(st.integers(min_value=0, max_value=10**9))
    owner = draw(st.sampled_from([MERCHANT, READER]))
    from_amount = owner == MERCHANT and draw(st.booleans())
    most_owed = amount + fee_max if from_amount else amount
    owed = draw(st.integers(min_value=0, max_value=most_owed)) if owner == MERCHANT else 0
    return transfer(amount=amount, fee_max=fee_max, from_refundable=owed, from_amount=from_amount, owner=owner)


def by_kind(*groups: Sequence[Entry]) -> dict[AccountKind, int]:
    sums: dict[AccountKind, int] = defaultdict(int)
    for group in groups:
        assert sum(entry.value for entry in group) == 0
        for entry in group:
            sums[entry.account.kind] += entry.value
    return {kind: value for kind, value in sums.items() if value}


@pytest.mark.parametrize("state", TransferState)
def test_what_has_ended_never_moves_again(state: TransferState) -> None:
    following = {to for to in TransferState if may_move(state, to)}

    assert (following == {state}) is (state in FINAL)
    assert {TransferState.SUCCEEDED, TransferState.FAILED} == FINAL


def test_an_outcome_that_nobody_knows_may_become_any() -> None:
    assert all(may_move(TransferState.UNKNOWN, to) for to in TransferState)
    assert not may_move(TransferState.PENDING, TransferState.SUCCEEDED)


@given(amounts)
def test_the_fee_cap_is_never_below_its_share_nor_a_millisatoshi_above(amount: int) -> None:
    cap = fee_max_of(amount, RULE)

    assert cap >= RULE.msat_min
    assert cap * 1_000_000 >= amount * RULE.ppm
    assert cap == RULE.msat_min or (cap - 1) * 1_000_000 < amount * RULE.ppm


@given(st.integers(min_value=0, max_value=10**14), st.integers(min_value=0, max_value=500_000), amounts)
def test_the_most_that_can_be_paid_fits_with_its_cap_and_one_more_does_not(held: int, ppm: int, least: int) -> None:
    rule = FeeRule(ppm=ppm, msat_min=least)
    most = most_payable(held, rule)

    if most > 0:
        assert most + fee_max_of(most, rule) <= held
    assert max(most, 0) + 1 + fee_max_of(max(most, 0) + 1, rule) > held


@given(transfers())
def test_what_failed_leaves_nothing_behind(one: Transfer) -> None:
    assert by_kind(entries_of_reservation(one), entries_of_release(one)) == {}


@given(transfers(), st.data())
def test_what_left_costs_what_the_rail_took_and_the_rest_goes_back_to_who_gave_it(
    one: Transfer, data: st.DataObject
) -> None:
    fee = data.draw(st.integers(min_value=0, max_value=one.fee_max.value))

    sums = by_kind(entries_of_reservation(one), entries_of_sending(one, sent=one.amount, fee=msat(fee)))

    own = AccountKind.READER if one.owner_id == READER else AccountKind.MERCHANT
    left = refundable_left(one, sent=one.amount, fee=msat(fee))
    assert sums.get(AccountKind.RESERVED, 0) == 0
    assert -sums[AccountKind.PROVIDER] == one.amount.value + fee
    assert sums.get(AccountKind.REFUNDABLE, 0) == one.from_refundable.value - left
    assert sums.get(own, 0) == one.amount.value + fee - (one.from_refundable.value - left)
    assert sums.get(own, 0) >= 0


def test_a_rail_that_charges_more_than_it_was_allowed_is_booked_as_it_charged() -> None:
    one = transfer(amount=1_000, fee_max=10)

    sums = by_kind(entries_of_reservation(one), entries_of_sending(one, sent=msat(1_000), fee=msat(25)))

    assert sums == {AccountKind.PROVIDER: -1_025, AccountKind.MERCHANT: 1_025}


@given(transfers(), st.data())
def test_a_refund_uses_up_of_its_payment_what_arrives_and_the_way_only_where_the_payer_bears_it(
    one: Transfer, data: st.DataObject
) -> None:
    fee = data.draw(st.integers(min_value=0, max_value=one.fee_max.value))
    left = taken_left(one, sent=one.amount, fee=msat(fee))

    assert one.taken_from_payment.value - left == one.amount.value + (fee if one.fee_from_amount else 0)
    assert refundable_left(one, sent=one.amount, fee=msat(fee)) <= left or not one.fee_from_amount
    assert replace(one, fee_from_amount=False).taken_from_payment == one.amount
