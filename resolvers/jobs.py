"""Jobs: asked for in the unit of the change they follow from, run by whoever claims them first."""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from quittance.domain.ids import JOB, JobId
from quittance.domain.job import Job, JobEnd, JobKind, JobState
from quittance.resolvers.services import Services
from quittance.store import jobs
from quittance.store.transaction import Transaction

LIST_MAX = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRun:
    """What a run came to: how the job ended, and what is stored in the same unit, if the claim still holds."""

    end: JobEnd
    also: Callable[[Transaction], None] = lambda _: None


JobHandler = Callable[[Services, Job], Awaitable[JobRun]]
Abandon = Callable[[Services, Job, Transaction], None]


def new_job(
    services: Services, kind: JobKind, *, subject: str, lane: str, order: tuple[str, int] | None, due_at: datetime
) -> Job:
    """Return a job to be added by the caller's unit; ``order`` says behind which others it waits, and its place."""
    order_key, order_place = order or (None, 0)
    return Job(
        id=JobId(services.new_id(JOB)),
        kind=kind,
        subject=subject,
        lane=lane,
        order_key=order_key,
        order_place=order_place,
        state=JobState.WAITING,
        due_at=due_at,
        attempts=0,
        fence=0,
        last_error=None,
        created_at=services.now(),
        ended_at=None,
    )


async def claim_due(services: Services, *, lane_max: int, at_once: int, running: Mapping[str, int]) -> list[Job]:
    """Claim due jobs until ``at_once`` run in this process, ``lane_max`` of each lane; ``running`` counts them now.

    Among ``at_once`` candidates no more belong to full lanes than run already, so full lanes hide nobody from the room.
    """
    room = at_once - sum(running.values())
    if room <= 0:
        return []
    now = services.now()
    found = await services.database.scan(
        lambda transaction: jobs.runnable_jobs(transaction, now=now, lane_max=lane_max, limit=at_once)
    )
    taken = Counter(running)
    chosen: list[JobId] = []
    for job in sorted(found, key=lambda job: running.get(job.lane, 0)):
        if len(chosen) < room and taken[job.lane] < lane_max:
            taken[job.lane] += 1
            chosen.append(job.id)
    if not chosen:
        return []
    until = now + timedelta(seconds=services.rules.job_claim_s)
    return await services.database.write(lambda transaction: jobs.claim_jobs(transaction, chosen, now=now, until=until))


async def end_run(services: Services, job: Job, run: JobRun) -> bool:
    """Store what a run came to; False when the claim was lost meanwhile, and then nothing is stored."""

    def unit(transaction: Transaction) -> bool:
        ended = jobs.end_job(transaction, job, run.end, at=services.now())
        if ended:
            run.also(transaction)
        return ended

    return await services.database.write(unit)


async def renew(services: Services, job: Job) -> bool:
    """Hold a claim for as long again; False when it was lost."""
    until = services.now() + timedelta(seconds=services.rules.job_claim_s)
    return await services.database.write(lambda transaction: jobs.renew_claim(transaction, job, until=until))


async def next_due(services: Services, *, after: datetime) -> datetime | None:
    return await services.database.scan(lambda transaction: jobs.next_due(transaction, after=after))


async def list_jobs(services: Services, state: JobState, *, limit: int = LIST_MAX) -> list[Job]:
    """Return jobs in one state, the longest due first."""
    return await services.database.scan(lambda transaction: jobs.list_jobs(transaction, state, limit=limit))


async def queue_depths(services: Services) -> list[tuple[JobKind, JobState, int]]:
    return await services.database.scan(jobs.queue_depths)


async def retry_job(services: Services, job_id: JobId) -> bool:
    """Let a job run now, with all its tries; False when it runs already or there is none."""
    return await services.database.write(lambda transaction: jobs.run_again(transaction, job_id, at=services.now()))
