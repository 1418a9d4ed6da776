"""What becomes of money: every combination of policies, and a split that always sums to what came."""

from datetime import timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quittance.domain.money import msat
from quittance.domain.policy import (
    Decision,
    Disposition,
    LatePolicy,
    OverPolicy,
    SettlementPolicy,
    UnderPolicy,
    decide,
)

GRACE = timedelta(seconds=300)
policies = st.builds(
    SettlementPolicy,
    late=st.sampled_from(LatePolicy),
    late_grace_s=st.integers(0, 10_000),
    under=st.sampled_from(UnderPolicy),
    under_tolerance_ppm=st.integers(0, 1_000_000),
    over=st.sampled_from(OverPolicy),
)
late = st.none() | st.timedeltas(min_value=timedelta(0)) | st.just(timedelta.max)
amounts = st.integers(0, 10**15)


def decided(
    policy: SettlementPolicy,
    received: int,
    *,
    asked: int = 100_000,
    before: int = 0,
    complete: bool = False,
    late_by: timedelta | None = None,
) -> Decision:
    return decide(
        policy,
        asked=msat(asked),
        before=msat(before),
        received=msat(received),
        complete=complete,
        late_by=late_by,
    )


def split(decision: Decision) -> tuple[Disposition, int, int, bool]:
    return decision.disposition, decision.accepted.value, decision.refundable.value, decision.completes


@given(
    policy=policies,
    asked=st.integers(1, 10**15),
    before=amounts,
    received=amounts,
    complete=st.booleans(),
    late_by=late,
)
def test_a_split_sums_to_what_came_and_has_no_negative_part(
    policy: SettlementPolicy, asked: int, before: int, received: int, complete: bool, late_by: timedelta | None
) -> None:
    decision = decided(policy, received, asked=asked, before=before, complete=complete, late_by=late_by)

    assert decision.accepted.value + decision.refundable.value == received
    assert decision.accepted.value >= 0
    assert decision.refundable.value >= 0
    if complete:
        assert decision.completes is False
    if decision.completes:
        wanted = asked - asked * policy.under_tolerance_ppm // 1_000_000
        assert before + decision.accepted.value >= min(wanted, before + received)
        assert before + received >= wanted


@pytest.mark.parametrize(("late_policy", "under", "over"), list(product(LatePolicy, UnderPolicy, OverPolicy)))
def test_exactly_what_was_asked_in_time_is_accepted_under_every_policy(
    late_policy: LatePolicy, under: UnderPolicy, over: OverPolicy
) -> None:
    policy = SettlementPolicy(late=late_policy, under=under, over=over)

    assert split(decided(policy, 100_000)) == (Disposition.ACCEPTED, 100_000, 0, True)


@pytest.mark.parametrize(("late_policy", "under", "over"), list(product(LatePolicy, UnderPolicy, OverPolicy)))
def test_more_less_late_and_again_follow_the_policy(
    late_policy: LatePolicy, under: UnderPolicy, over: OverPolicy
) -> None:
    policy = SettlementPolicy(late=late_policy, under=under, over=over)

    more = split(decided(policy, 150_000))
    less = split(decided(policy, 60_000))
    late_money = split(decided(policy, 100_000, late_by=GRACE + timedelta(seconds=1)))
    canceled = split(decided(policy, 100_000, late_by=timedelta.max))
    again = split(decided(policy, 100_000, complete=True))

    assert more == (
        (Disposition.ACCEPTED_EXCESS_REFUNDABLE, 100_000, 50_000, True)
        if over is OverPolicy.REFUND
        else (Disposition.ACCEPTED, 150_000, 0, True)
    )
    assert less == (
        (Disposition.UNDERPAID_REFUNDABLE, 0, 60_000, False)
        if under is UnderPolicy.REFUND
        else (Disposition.PARTIAL, 60_000, 0, False)
    )
    assert late_money == canceled
    assert late_money == (
        (Disposition.LATE_REFUNDABLE, 0, 100_000, False)
        if late_policy is LatePolicy.REFUND
        else (Disposition.ACCEPTED, 100_000, 0, True)
    )
    assert again == (
        (Disposition.SURPLUS_REFUNDABLE, 0, 100_000, False)
        if over is OverPolicy.REFUND
        else (Disposition.SURPLUS, 100_000, 0, False)
    )


@pytest.mark.parametrize(("late_by", "completes"), [(None, True), (timedelta(0), True), (GRACE, True)])
def test_money_within_the_grace_is_in_time(late_by: timedelta | None, completes: bool) -> None:
    policy = SettlementPolicy(late=LatePolicy.REFUND, late_grace_s=300)

    assert decided(policy, 100_000, late_by=late_by).completes is completes
    assert decided(policy, 100_000, late_by=GRACE + timedelta(microseconds=1)).completes is False


@pytest.mark.parametrize(
    ("received", "completes"), [(99_000, True), (98_999, False), (100_000, True), (99_999, True), (0, False)]
)
def test_a_tolerance_forgives_exactly_its_share(received: int, completes: bool) -> None:
    policy = SettlementPolicy(under_tolerance_ppm=10_000)

    assert decided(policy, received).completes is completes


def test_parts_complete_once_they_sum_to_the_price() -> None:
    policy = SettlementPolicy(under=UnderPolicy.WAIT, over=OverPolicy.REFUND)

    first = decided(policy, 60_000)
    second = decided(policy, 60_000, before=60_000)

    assert split(first) == (Disposition.PARTIAL, 60_000, 0, False)
    assert split(second) == (Disposition.ACCEPTED_EXCESS_REFUNDABLE, 40_000, 20_000, True)
