"""Double entry: what a settlement posts sums to zero, whatever was decided; nothing else is accepted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quittance.domain.ids import MerchantId
from quittance.domain.ledger import Account, AccountKind, Entry, check_balanced, entries_of_settlement
from quittance.domain.money import BTC_MSAT, Asset, msat
from quittance.domain.policy import Decision, Disposition

MERCHANT = MerchantId("mer_1")


def account(owner: str, asset: Asset = BTC_MSAT) -> Account:
    return Account(kind=AccountKind.MERCHANT, owner=owner, asset=asset)


def decision(accepted: int, refundable: int) -> Decision:
    return Decision(
        disposition=Disposition.ACCEPTED, accepted=msat(accepted), refundable=msat(refundable), completes=True
    )


@given(accepted=st.integers(0, 2**62), refundable=st.integers(0, 2**62))
def test_every_split_posts_lines_that_sum_to_zero(accepted: int, refundable: int) -> None:
    entries = entries_of_settlement(
        provider="lnd",
        merchant_id=MERCHANT,
        received=msat(accepted + refundable),
        decision=decision(accepted, refundable),
    )

    assert sum(entry.value for entry in entries) == 0
    assert all(entry.value for entry in entries)
    by_kind = {entry.account.kind: entry.value for entry in entries}
    assert by_kind.get(AccountKind.PROVIDER, 0) == accepted + refundable
    assert by_kind.get(AccountKind.MERCHANT, 0) == -accepted
    assert by_kind.get(AccountKind.REFUNDABLE, 0) == -refundable


def test_money_owed_back_is_the_payers_and_not_the_merchants() -> None:
    entries = entries_of_settlement(
        provider="lnd", merchant_id=MERCHANT, received=msat(150), decision=decision(100, 50)
    )

    assert [(entry.account.id, entry.value) for entry in entries] == [
        ("PROVIDER/lnd/BTC/11", 150),
        ("MERCHANT/mer_1/BTC/11", -100),
        ("REFUNDABLE/mer_1/BTC/11", -50),
    ]


@given(accepted=st.integers(0, 10**9), refundable=st.integers(0, 10**9), off=st.integers(-5, 5).filter(bool))
def test_a_split_that_is_one_unit_off_is_never_posted(accepted: int, refundable: int, off: int) -> None:
    with pytest.raises(ValueError, match="unbalanced"):
        entries_of_settlement(
            provider="lnd",
            merchant_id=MERCHANT,
            received=msat(accepted + refundable + off),
            decision=decision(accepted, refundable),
        )


def test_assets_balance_each_for_itself() -> None:
    euro = Asset("EUR", 2)

    check_balanced([])
    check_balanced(
        [
            Entry(account=account("a"), value=5),
            Entry(account=account("b"), value=-5),
            Entry(account=account("a", euro), value=-7),
            Entry(account=account("b", euro), value=7),
        ]
    )
    with pytest.raises(ValueError, match="unbalanced"):
        check_balanced([Entry(account=account("a"), value=5), Entry(account=account("b", euro), value=-5)])
    with pytest.raises(ValueError, match="unbalanced"):
        check_balanced([Entry(account=account("a", Asset("BTC", 8)), value=5), Entry(account=account("b"), value=-5)])
