"""What runs jobs of some kinds as fast as they come, one step at a time."""

from quittance.domain.job import JobKind
from quittance.resolvers.services import Services
from quittance.workers.jobs import JobRunner
from quittance.workers.work import (
    WEBHOOKS_IN_ALL,
    WEBHOOKS_OF_ONE,
    provider_work,
    transfer_work,
    upvote_work,
    webhook_work,
)


def runner_of(services: Services, *kinds: JobKind, webhooks_per_second: int | None = None) -> JobRunner:
    """Return a runner that leaves jobs of every other kind alone, and holds none back unless a rate is given."""
    work = {
        **webhook_work(per_second=webhooks_per_second),
        **provider_work(per_second=None),
        **transfer_work(),
        **upvote_work(),
    }
    return JobRunner(
        services=services,
        work={kind: work[kind] for kind in kinds},
        at_once=WEBHOOKS_IN_ALL,
        owner_at_once=WEBHOOKS_OF_ONE,
    )
