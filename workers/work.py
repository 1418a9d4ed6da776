"""What is done for each kind of job, and how much of it at once."""

from collections.abc import Mapping, Sequence

from quittance.domain.job import JobKind
from quittance.resolvers.attempts import abandon, deliver
from quittance.resolvers.automatic_payouts import pay_automatically
from quittance.resolvers.callbacks import abandon_callback, process_callback
from quittance.resolvers.jobs import JobWork
from quittance.resolvers.policy_refunds import refund_by_policy
from quittance.resolvers.reconciliation import check_option
from quittance.resolvers.sending import advance_transfer
from quittance.resolvers.services import Services
from quittance.resolvers.upvotes import share_out
from quittance.workers.jobs import JobRunner

CRASHES_MAX = 10
WEBHOOKS_AT_ONCE = 4  # to one endpoint, from one process
LOOKUPS_AT_ONCE = 8
LOOKUPS_PER_SECOND = 200  # the feed tells of almost everything first: ten thousand open invoices must not busy the node
WEBHOOKS_IN_ALL, WEBHOOKS_OF_ONE = 256, 128  # of one merchant
LOOKUPS_IN_ALL = 32
TRANSFERS_AT_ONCE = 8  # of one merchant or reader, from one process
TRANSFERS_IN_ALL, TRANSFERS_OF_ONE = 64, 16
SPLITS_AT_ONCE = 1  # of one merchant: two would wait for its account


def webhook_work(*, per_second: int | None) -> Mapping[JobKind, JobWork]:
    """Return how deliveries are run, with a rate for each endpoint. They are given up in the end, and seen."""
    return {
        JobKind.WEBHOOK_DELIVERY: JobWork(
            handler=deliver,
            lane_at_once=WEBHOOKS_AT_ONCE,
            lane_per_second=per_second,
            crashes_max=CRASHES_MAX,
            abandon=abandon,
        )
    }


def provider_work(*, per_second: int | None = LOOKUPS_PER_SECOND) -> Mapping[JobKind, JobWork]:
    """Return how providers are asked, with a rate for each. Where money may be, we never stop asking."""
    return {
        JobKind.PROVIDER_CHECK: JobWork(handler=check_option, lane_at_once=LOOKUPS_AT_ONCE, lane_per_second=per_second),
        JobKind.PROVIDER_CALLBACK: JobWork(
            handler=process_callback,
            lane_at_once=LOOKUPS_AT_ONCE,
            lane_per_second=per_second,
            crashes_max=CRASHES_MAX,
            abandon=abandon_callback,
        ),
    }


def transfer_work() -> Mapping[JobKind, JobWork]:
    """Return how money is sent, several of one owner's at once. What may be on its way is never given up."""
    return {
        JobKind.TRANSFER: JobWork(handler=advance_transfer, lane_at_once=TRANSFERS_AT_ONCE),
        JobKind.POLICY_REFUND: JobWork(handler=refund_by_policy, lane_at_once=1),
        JobKind.AUTOMATIC_PAYOUT: JobWork(handler=pay_automatically, lane_at_once=1),
    }


def upvote_work() -> Mapping[JobKind, JobWork]:
    """Return how upvotes are shared out: money waits for it, so we never stop trying."""
    return {JobKind.UPVOTE_SPLIT: JobWork(handler=share_out, lane_at_once=SPLITS_AT_ONCE)}


def runners(services: Services, *, webhooks_per_second: int) -> Sequence[JobRunner]:
    """Return what tells merchants, what asks providers and books, and what pays: each has places of its own."""
    telling = JobRunner(
        services=services,
        work=webhook_work(per_second=webhooks_per_second),
        at_once=WEBHOOKS_IN_ALL,
        owner_at_once=WEBHOOKS_OF_ONE,
    )
    asking = JobRunner(
        services=services,
        work={**provider_work(), **upvote_work()},
        at_once=LOOKUPS_IN_ALL,
        owner_at_once=LOOKUPS_IN_ALL,
    )
    paying = JobRunner(
        services=services, work=transfer_work(), at_once=TRANSFERS_IN_ALL, owner_at_once=TRANSFERS_OF_ONE
    )
    return telling, asking, paying
