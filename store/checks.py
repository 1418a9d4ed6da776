"""When a provider is asked about an attempt: a job each, until nothing can change any more."""

from datetime import datetime

from quittance.domain.ids import JOB, OPTION, JobId
from quittance.domain.job import Job, JobKind
from quittance.domain.payment import OptionState, PaymentOption
from quittance.store import jobs
from quittance.store.transaction import Transaction


def plan_check(transaction: Transaction, option: PaymentOption, *, at: datetime | None) -> None:
    """Have the provider asked about an attempt at this time instead of any other; None: never again.

    An attempt that is UNKNOWN is not asked about behind all that are merely still open.
    """
    if at is None:
        jobs.drop_job(transaction, JobKind.PROVIDER_CHECK, option.id)
        return
    jobs.plan_job(
        transaction,
        Job(
            id=JobId(JOB + option.id.removeprefix(OPTION)),
            kind=JobKind.PROVIDER_CHECK,
            subject=option.id,
            lane=f"provider/{option.provider}{'/unknown' if option.state is OptionState.UNKNOWN else ''}",
            due_at=at,
            created_at=option.created_at,
        ),
    )
