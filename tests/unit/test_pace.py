"""When a provider is asked about an attempt again."""

from datetime import UTC, datetime, timedelta

import pytest

from quittance.domain.ids import MerchantId, OptionId, PaymentId
from quittance.domain.money import msat
from quittance.domain.payment import OptionState, Payment, PaymentOption, PaymentPurpose, PaymentStatus
from quittance.resolvers.pace import next_check
from quittance.resolvers.services import PaymentRules

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
EXPIRES_S = 86_400
HELD_UNTIL_S = 7_200


def at(seconds: float) -> datetime:
    return BEGIN + timedelta(seconds=seconds)


def payment(*, hold: bool) -> Payment:
    return Payment(
        id=PaymentId("pay_1"),
        merchant_id=MerchantId("mer_1"),
        viewer="mer_1",
        status=PaymentStatus.PENDING_PAYMENT,
        status_reason=None,
        purpose=PaymentPurpose.ORDER,
        provider="lnd",
        amount=msat(1),
        received=None,
        article_id=None,
        description=None,
        correlation_id=None,
        refund_address=None,
        expires_in_s=EXPIRES_S,
        created_at=BEGIN,
        modified_at=BEGIN,
        expires_at=at(EXPIRES_S),
        settled_at=None,
        hold=hold,
        hold_expires_at=at(HELD_UNTIL_S) if hold else None,
    )


def attempt(state: OptionState) -> PaymentOption:
    return PaymentOption(
        id=OptionId("opt_1"),
        payment_id=PaymentId("pay_1"),
        provider="lnd",
        state=state,
        reference="00" * 32,
        amount=msat(1),
        payment_request=None,
        created_at=BEGIN,
        expires_at=at(EXPIRES_S),
    )


@pytest.mark.parametrize(
    ("hold", "state", "age_s", "next_s"),
    [
        (False, OptionState.OPEN, 0, 60),
        (False, OptionState.OPEN, 600, 1_200),
        (False, OptionState.OPEN, 80_000, EXPIRES_S),
        (True, OptionState.PENDING, 0, 5),
        (True, OptionState.OPEN, 0, 5),
        (True, OptionState.OPEN, 100, 105),
        (True, OptionState.OPEN, 600, 630),
        (True, OptionState.OPEN, 3_600, 3_660),
        (True, OptionState.OPEN, EXPIRES_S - 2, EXPIRES_S),
        (True, OptionState.OPEN, EXPIRES_S, EXPIRES_S + 1),
        (True, OptionState.HELD, 600, 660),
        (True, OptionState.HELD, HELD_UNTIL_S - 30, HELD_UNTIL_S),
        (True, OptionState.HELD, HELD_UNTIL_S, HELD_UNTIL_S + 1),
        (True, OptionState.HELD, HELD_UNTIL_S + 100, HELD_UNTIL_S + 150),
    ],
)
def test_a_provider_is_asked_more_often_where_no_feed_tells(
    hold: bool, state: OptionState, age_s: int, next_s: int
) -> None:
    found = next_check(PaymentRules(), now=at(age_s), option=attempt(state), payment=payment(hold=hold))

    assert found == at(next_s)
