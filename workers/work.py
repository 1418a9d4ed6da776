"""What is done for each kind of job, and how much of it at once."""

from collections.abc import Mapping

from quittance.domain.job import JobKind
from quittance.resolvers.attempts import abandon, deliver
from quittance.resolvers.callbacks import abandon_callback, process_callback
from quittance.resolvers.jobs import JobWork
from quittance.resolvers.reconciliation import check_option

CRASHES_MAX = 10
WEBHOOKS_AT_ONCE = 4  # to one endpoint, from one process
LOOKUPS_AT_ONCE = 8
LOOKUPS_PER_SECOND = 50  # the feed tells of almost everything first: ten thousand open invoices must not busy the node


def all_work(
    *, webhooks_per_second: int | None, lookups_per_second: int | None = LOOKUPS_PER_SECOND
) -> Mapping[JobKind, JobWork]:
    """Return how each kind is run. The rates are of one endpoint and of one provider; None does not limit them.

    A delivery is given up in the end, and its merchant sees it. Where money may be, we never stop asking.
    """
    return {
        JobKind.WEBHOOK_DELIVERY: JobWork(
            handler=deliver,
            lane_at_once=WEBHOOKS_AT_ONCE,
            lane_per_second=webhooks_per_second,
            crashes_max=CRASHES_MAX,
            abandon=abandon,
        ),
        JobKind.PROVIDER_CHECK: JobWork(
            handler=check_option, lane_at_once=LOOKUPS_AT_ONCE, lane_per_second=lookups_per_second
        ),
        JobKind.PROVIDER_CALLBACK: JobWork(
            handler=process_callback,
            lane_at_once=LOOKUPS_AT_ONCE,
            lane_per_second=lookups_per_second,
            crashes_max=CRASHES_MAX,
            abandon=abandon_callback,
        ),
    }
