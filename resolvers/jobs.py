"""Jobs: asked for in the unit of the change they follow from, run by whoever claims them first."""

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from quittance.domain.endpoint import DeliveryState
from quittance.domain.errors import InvalidInput
from quittance.domain.ids import JOB, DeliveryId, JobId
from quittance.domain.job import Job, JobEnd, JobKind, JobState, RunnableJob, owner_of
from quittance.resolvers.services import Services
from quittance.store import deliveries, jobs, lanes
from quittance.store.jobs import LANE_MAX
from quittance.store.transaction import Transaction

LIST_MAX = 1_000
WAKE_JOBS = 500  # the loop runs a unit in one go on SQLite


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRun:
    """What a run came to: how the job ended, and what is stored in the same unit, if the claim still holds."""

    end: JobEnd
    also: Callable[[Transaction], None] = lambda _: None


JobHandler = Callable[[Services, Job], Awaitable[JobRun | None]]
Abandon = Callable[[Services, Job, Transaction], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobWork:
    """How jobs of one kind are run. A handler answers None where its own units planned the job anew, or dropped it.

    Of one lane no more than ``lane_at_once`` run at once in a process, and ``lane_per_second`` begin in all of them,
    where that is not None. After ``crashes_max`` crashes a job is dead, and ``abandon`` settles what it was about in
    the unit that says so; where that is None it is tried for ever.
    """

    handler: JobHandler
    lane_at_once: int
    lane_per_second: int | None = None
    crashes_max: int | None = None
    abandon: Abandon | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.lane_at_once <= LANE_MAX:
            raise ValueError(f"of one lane 1 to {LANE_MAX} jobs run at once")


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What a process still takes on of some kinds: ``at_once`` in all, and a share of that for each owner of lanes.

    ``running`` is what runs. Half of all, and half of each share, is as much as lanes that do not answer may take.
    """

    at_once: int
    owner_at_once: int
    running: Sequence[RunnableJob] = ()

    @property
    def free(self) -> int:
        return self.at_once - len(self.running)


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
        due_at=due_at,
        created_at=services.now(),
    )


async def claim_due(services: Services, work: Mapping[JobKind, JobWork], room: Room) -> list[RunnableJob]:
    """Claim due jobs as far as there is room: for them, for their owners and in their lanes.

    A lane that does not answer has one place; it gets its others back when it does.
    """
    if room.free <= 0 or not work:
        return []
    now, kinds = services.now(), frozenset(work)
    found = await services.database.scan(lambda t: jobs.runnable_jobs(t, kinds, now=now, limit=room.at_once))
    chosen = {one.job.id: one for one in _chosen(found, work, room)}
    if not chosen:
        return []
    until = now + timedelta(seconds=services.rules.job_claim_s)

    def unit(transaction: Transaction) -> list[Job]:
        claimed = jobs.claim_jobs(transaction, list(chosen), now=now, until=until)
        for per_second, begun in _paces(claimed, work).items():
            lanes.pace_lanes(transaction, begun, per_second=per_second, now=now)
        return claimed

    return [replace(chosen[job.id], job=job) for job in await services.database.write(unit)]


def _chosen(found: Sequence[RunnableJob], work: Mapping[JobKind, JobWork], room: Room) -> Iterator[RunnableJob]:
    places = _Places(work=work, room=room)
    for one in found:
        if places.has_one_for(one):
            places.take(one)
            yield one


class _Places:
    """How many places are taken, by whom."""

    def __init__(self, *, work: Mapping[JobKind, JobWork], room: Room) -> None:
        self._work = work
        self._room = room
        self._lanes: Counter[str] = Counter()
        self._owners: Counter[tuple[str, bool]] = Counter()
        self._slow: Counter[bool] = Counter()
        for one in room.running:
            self.take(one)

    def take(self, one: RunnableJob) -> None:
        self._lanes[one.job.lane] += 1
        self._owners[owner_of(one.job.lane), one.slow] += 1
        self._slow[one.slow] += 1

    def has_one_for(self, one: RunnableJob) -> bool:
        room, owner = self._room, owner_of(one.job.lane)
        of_owner = self._owners[owner, True] + self._owners[owner, False]
        if self._slow.total() >= room.at_once or of_owner >= room.owner_at_once:
            return False
        if not one.slow:
            return self._lanes[one.job.lane] < self._work[one.job.kind].lane_at_once
        half = self._slow[True] < room.at_once // 2 and self._owners[owner, True] < room.owner_at_once // 2
        return half and self._lanes[one.job.lane] == 0


def _paces(claimed: Sequence[Job], work: Mapping[JobKind, JobWork]) -> dict[int, Counter[str]]:
    """Return how many jobs of which lanes began, by how many of such a lane may in a second."""
    begun: dict[int, Counter[str]] = {}
    for job in claimed:
        per_second = work[job.kind].lane_per_second
        if per_second is not None:
            begun.setdefault(per_second, Counter())[job.lane] += 1
    return begun


async def end_run(services: Services, ran: RunnableJob, run: JobRun) -> bool:
    """Store what a run came to; False when the claim was lost meanwhile, and then nothing is stored."""

    def unit(transaction: Transaction) -> bool:
        ended = jobs.end_job(transaction, ran.job, run.end, at=services.now())
        if ended:
            run.also(transaction)
        if ended and run.end.lane_answers is ran.slow:  # it answers although it was slow, or the other way round
            lanes.mark_lane(transaction, ran.job.lane, slow=not ran.slow)
        return ended

    return await services.database.write(unit)


async def renew(services: Services, job: Job) -> bool:
    """Hold a claim for as long again; False when it was lost."""
    until = services.now() + timedelta(seconds=services.rules.job_claim_s)
    return await services.database.write(lambda transaction: jobs.renew_claim(transaction, job, until=until))


async def give_back(services: Services, held: Sequence[Job]) -> None:
    """Let others run at once what was claimed and broken off; what ended, or was lost, stays as it is."""

    def unit(transaction: Transaction) -> None:
        for job in held:
            jobs.give_back(transaction, job, at=services.now())

    if held:
        await services.database.write(unit)


async def wake_lane(services: Services, lane: str) -> None:
    """Let every job of a lane that waits fall due: a unit for some of them, then one for some more."""
    at = services.now()
    while await services.database.write(lambda t: jobs.wake_lane(t, lane, at=at, limit=WAKE_JOBS)):
        pass


async def next_due(services: Services, kinds: Collection[JobKind], *, after: datetime) -> datetime | None:
    return await services.database.scan(lambda transaction: jobs.next_due(transaction, kinds, after=after))


async def list_jobs(services: Services, state: JobState, *, limit: int = LIST_MAX) -> list[Job]:
    """Return jobs in one state, the longest due first."""
    return await services.database.scan(lambda transaction: jobs.list_jobs(transaction, state, limit=limit))


async def queue_depths(services: Services) -> list[tuple[JobKind, JobState, int]]:
    return await services.database.scan(jobs.queue_depths)


async def retry_job(services: Services, job_id: JobId) -> bool:
    """Let a job run now, with all its tries; False when it runs already or there is none.

    Raises:
        InvalidInput: it is of a delivery that has ended, so a run would do nothing, and the job would be gone.
    """

    def unit(transaction: Transaction) -> bool:
        job = jobs.job_by_id(transaction, job_id)
        if job is not None and job.kind is JobKind.WEBHOOK_DELIVERY:
            _check_on_its_way(transaction, DeliveryId(job.subject))
        return jobs.run_again(transaction, job_id, at=services.now())

    return await services.database.write(unit)


def _check_on_its_way(transaction: Transaction, delivery_id: DeliveryId) -> None:
    delivery = deliveries.deliveries_by_id(transaction, [delivery_id])[0]
    if delivery is not None and delivery.state is not DeliveryState.PENDING:
        again = f'redeliverWebhook(deliveryId: "{delivery_id}")'
        raise InvalidInput("jobId", f"its delivery is {delivery.state}; the mutation {again} sends it again")
