"""The states of a payment: every pair against the table, and every walk through it."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quittance.domain.errors import IllegalTransition
from quittance.domain.ids import MerchantId, PaymentId
from quittance.domain.money import msat
from quittance.domain.payment import Payment, PaymentPurpose, PaymentStatus, may_advance, sources_of

NOW = datetime(2026, 1, 2, tzinfo=UTC)
LATER = NOW + timedelta(seconds=1)
ALLOWED = {
    ("PENDING_INVOICE", "PENDING_PAYMENT"),
    ("PENDING_INVOICE", "ERROR"),
    ("PENDING_INVOICE", "CANCELED"),
    ("PENDING_PAYMENT", "HELD"),
    ("PENDING_PAYMENT", "COMPLETE"),
    ("PENDING_PAYMENT", "EXPIRED"),
    ("PENDING_PAYMENT", "CANCELED"),
    ("PENDING_PAYMENT", "ERROR"),
    ("HELD", "COMPLETE"),
    ("HELD", "CANCELED"),
    ("HELD", "EXPIRED"),
    ("HELD", "ERROR"),
    ("EXPIRED", "COMPLETE"),
    ("EXPIRED", "PENDING_INVOICE"),
    ("CANCELED", "COMPLETE"),
    ("CANCELED", "PENDING_INVOICE"),
    ("ERROR", "PENDING_INVOICE"),
    ("ERROR", "COMPLETE"),
}
PAIRS = [(source, to) for source in PaymentStatus for to in PaymentStatus]


def payment(status: PaymentStatus) -> Payment:
    return Payment(
        id=PaymentId("pay_1"),
        merchant_id=MerchantId("mer_1"),
        viewer="mer_1",
        status=status,
        status_reason=None,
        purpose=PaymentPurpose.ORDER,
        provider="lnd",
        amount=msat(1_000),
        received=None,
        article_id=None,
        description=None,
        correlation_id=None,
        refund_address=None,
        expires_in_s=60,
        created_at=NOW,
        modified_at=NOW,
        expires_at=None,
        settled_at=None,
    )


@pytest.mark.parametrize(("source", "to"), PAIRS)
def test_every_pair_of_states_does_what_the_table_says(source: PaymentStatus, to: PaymentStatus) -> None:
    before = payment(source)

    if source is to:
        assert before.advance(to, at=LATER) is before
        assert may_advance(source, to)
    elif (source.value, to.value) in ALLOWED:
        after = before.advance(to, at=LATER)
        assert (after.status, after.modified_at) == (to, LATER)
        assert (after.id, after.amount, after.created_at) == (before.id, before.amount, before.created_at)
        assert may_advance(source, to)
        assert source in sources_of(to)
    else:
        with pytest.raises(IllegalTransition, match=f"pay_1: {source} -> {to}"):
            before.advance(to, at=LATER)
        assert not may_advance(source, to)
        assert source not in sources_of(to)


def test_money_can_complete_a_payment_from_everywhere_but_before_its_invoice() -> None:
    assert sources_of(PaymentStatus.COMPLETE) == set(PaymentStatus) - {
        PaymentStatus.COMPLETE,
        PaymentStatus.PENDING_INVOICE,
    }


@given(st.lists(st.sampled_from(PaymentStatus), max_size=20))
def test_no_walk_leads_out_of_complete_or_around_the_table(wishes: list[PaymentStatus]) -> None:
    walked = payment(PaymentStatus.PENDING_INVOICE)
    completed = False

    for wish in wishes:
        before = walked
        try:
            walked = walked.advance(wish, at=LATER)
        except IllegalTransition:
            assert walked is before
        completed = completed or walked.status is PaymentStatus.COMPLETE
        assert before.status is walked.status or (before.status.value, walked.status.value) in ALLOWED

    assert (walked.status is PaymentStatus.COMPLETE) is completed
