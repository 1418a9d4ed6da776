"""Upvotes are split so that nothing is lost and nobody gets more than another."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quittance.domain.ids import AccountId, MerchantId
from quittance.domain.ledger import AccountKind, entries_of_settlement, entries_of_shares
from quittance.domain.money import BTC_MSAT, Money, msat
from quittance.domain.policy import Decision, Disposition
from quittance.domain.split import split_equally

AMOUNTS = st.integers(0, 2**63 - 1)
MERCHANT = MerchantId("mer_" + "0" * 32)


@given(AMOUNTS, st.integers(0, 10**6))
def test_shares_and_remainder_are_exactly_what_was_split(total: int, sharers: int) -> None:
    split = split_equally(msat(total), sharers=sharers)

    assert split.shared.value + split.remainder.value == total
    assert split.shared.value == split.sharers * split.share.value
    assert split.share.asset == split.remainder.asset == BTC_MSAT
    assert split.remainder.value >= 0


@given(AMOUNTS, st.integers(1, 10**6))
def test_everybody_gets_the_most_that_all_can_have(total: int, sharers: int) -> None:
    split = split_equally(msat(total), sharers=sharers)

    if total >= sharers:
        assert split.sharers == sharers
        assert 0 <= split.remainder.value < sharers
        assert split.share.value * sharers <= total < (split.share.value + 1) * sharers
    else:
        assert (split.sharers, split.share.value, split.remainder.value) == (0, 0, total)


@pytest.mark.parametrize(
    ("total", "sharers", "expected"),
    [
        (1_000_000, 0, (0, 0, 1_000_000)),
        (1_000_000, 1, (1, 1_000_000, 0)),
        (1_000_000, 3, (3, 333_333, 1)),
        (1_000_000, 7, (7, 142_857, 1)),
        (1_000_000, 999_999, (999_999, 1, 1)),
        (1_000_000, 1_000_001, (0, 0, 1_000_000)),
        (0, 5, (0, 0, 0)),
    ],
)
def test_some_splits(total: int, sharers: int, expected: tuple[int, int, int]) -> None:
    split = split_equally(msat(total), sharers=sharers)

    assert (split.sharers, split.share.value, split.remainder.value) == expected


@pytest.mark.parametrize(("total", "sharers"), [(-1, 1), (1, -1)])
def test_what_is_below_zero_is_a_bug(total: int, sharers: int) -> None:
    with pytest.raises(ValueError, match="cannot be split"):
        split_equally(Money(total, BTC_MSAT), sharers=sharers)


@given(st.integers(1, 10**9), st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 500))
def test_what_is_set_aside_balances_whatever_came_before(now: int, before: int, refundable: int, sharers: int) -> None:
    split = split_equally(msat(now + before), sharers=sharers)
    decision = Decision(
        disposition=Disposition.ACCEPTED, accepted=msat(now), refundable=msat(refundable), completes=True
    )

    entries = entries_of_settlement(
        provider="lnd",
        merchant_id=MERCHANT,
        received=msat(now + refundable),
        decision=decision,
        shared=split.shared.value,
    )

    values = {entry.account.kind: entry.value for entry in entries}
    assert sum(values.values()) == 0
    assert values.get(AccountKind.SPLIT, 0) == -split.shared.value
    assert values.get(AccountKind.MERCHANT, 0) == before - split.remainder.value
    assert values.get(AccountKind.REFUNDABLE, 0) == -refundable
    assert values[AccountKind.PROVIDER] == now + refundable


@given(st.integers(1, 10**9), st.sets(st.text("0123456789abcdef", min_size=32, max_size=32), min_size=1, max_size=50))
def test_shares_are_taken_from_what_was_set_aside(share: int, readers: set[str]) -> None:
    account_ids = [AccountId(f"acc_{reader}") for reader in sorted(readers)]

    entries = entries_of_shares(merchant_id=MERCHANT, share=msat(share), account_ids=account_ids)

    given_to = {entry.account.owner: entry.value for entry in entries if entry.account.kind is AccountKind.READER}
    assert given_to == dict.fromkeys(account_ids, -share)
    assert [(one.account.owner, one.value) for one in entries if one.account.kind is AccountKind.SPLIT] == [
        (MERCHANT, share * len(readers))
    ]
