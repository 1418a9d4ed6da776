"""When a provider is asked about an attempt again: seldom where a feed tells, more often where none does."""

from datetime import datetime, timedelta

from quittance.domain.payment import OptionState, Payment, PaymentOption
from quittance.resolvers.services import PaymentRules

CHECK_PAUSE_MAX = timedelta(hours=1)
RENEW_BEFORE = timedelta(seconds=3)  # another invoice is there before the one that a payer looks at has lapsed
HOLD_AGE_PER_CHECK = 20  # an invoice whose money will be held is asked about this many times while its age doubles


def next_check(rules: PaymentRules, *, now: datetime, option: PaymentOption, payment: Payment) -> datetime:
    """Return when the provider is asked again: at twice the age each time, and always at expiry.

    Feeds do not tell that money is held, nor that it went back: there the provider is asked more often, and what was
    ordered for it is repeated until the provider has done it.
    """
    interval = timedelta(seconds=rules.reconcile_interval_s)
    if option.state is OptionState.HELD and payment.hold_order is not None:
        return now + interval
    held_until = payment.hold_expires_at if option.state is OptionState.HELD else None
    ends_at = held_until or option.expires_at
    if now >= ends_at:  # a node cancels what lapsed within seconds: look soon, then ever less often
        pause = min(CHECK_PAUSE_MAX, max(timedelta(seconds=1), (now - ends_at) / 2))
        return now + pause if now >= option.over_at else min(now + pause, option.over_at)
    if option.payable_until is not None:
        ends_at = min(ends_at, max(now + timedelta(seconds=1), option.payable_until - RENEW_BEFORE))
    age = now - option.created_at
    if held_until is not None:
        pause = interval
    elif payment.hold:
        pause = min(interval, max(timedelta(seconds=rules.hold_check_s), age / HOLD_AGE_PER_CHECK))
    else:
        pause = max(interval, age)
    return min(now + pause, ends_at)
