"""The job runner: claims what is due, runs it beside others, and never lets one lane hold up another."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

import structlog

from quittance.domain.job import CRASHED, Job, JobEnd, JobKind, JobState, RunnableJob
from quittance.resolvers.jobs import JobRun, JobWork, Room, claim_due, end_run, give_back, next_due, renew
from quittance.resolvers.services import Services
from quittance.workers.loop import for_ever

log = structlog.get_logger("quittance.workers.jobs")

POLL_S = 1.0
GATHER_S = 0.005  # what ends meanwhile is made up for together: a look costs more than a place that stays empty so long
CRASH_PAUSE_S = 30.0
CRASH_PAUSE_S_MAX = 6 * 3_600.0


@dataclass(slots=True, kw_only=True)
class JobRunner:
    """Runs jobs of some kinds in this process. ``wake`` says that something may have fallen due.

    ``owner_at_once`` is how many of ``at_once`` one merchant's may be.
    """

    services: Services
    work: Mapping[JobKind, JobWork]
    at_once: int
    owner_at_once: int
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    _running: dict[asyncio.Task[None], RunnableJob] = field(default_factory=dict)

    async def run(self) -> None:
        """Run for ever; on the way out, what runs is canceled and given back."""
        try:
            await for_ever("jobs", self._turn)
        finally:
            broken_off = dict(self._running)
            for task in broken_off:
                task.cancel()
            await asyncio.gather(*broken_off, return_exceptions=True)
            await give_back(self.services, [one.job for one in broken_off.values()])

    async def _turn(self) -> None:
        self.wake.clear()
        looked_at = self.services.now()
        begun = await self.begin_due()
        if begun and len(self._running) < self.at_once:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(await self._pause_s(looked_at)):
                await self.wake.wait()
        await asyncio.sleep(GATHER_S)

    async def begin_due(self) -> int:
        """Claim and begin what is due, as far as there is room; return how many."""
        room = Room(at_once=self.at_once, owner_at_once=self.owner_at_once, running=list(self._running.values()))
        claiming = asyncio.ensure_future(claim_due(self.services, self.work, room))
        try:
            claimed = await asyncio.shield(claiming)
        except asyncio.CancelledError:
            self._begin(await claiming)  # to be given back with what runs
            raise
        self._begin(claimed)
        return len(claimed)

    def _begin(self, claimed: Sequence[RunnableJob]) -> None:
        for one in claimed:
            task = asyncio.create_task(self._one(one))
            self._running[task] = one
            task.add_done_callback(self._ended)

    async def idle(self) -> None:
        """Wait until nothing runs in this process."""
        while self._running:
            await asyncio.wait(list(self._running))

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self.wake.set()

    async def _pause_s(self, looked_at: datetime) -> float:
        """Return how long nothing falls due; what was due before and is held back waits for a wake, or the poll."""
        if len(self._running) >= self.at_once:
            return POLL_S
        due = await next_due(self.services, self.work, after=looked_at)
        if due is None:
            return POLL_S
        return min(POLL_S, max(0.0, (due - self.services.now()).total_seconds()))

    async def _one(self, ran: RunnableJob) -> None:
        job = ran.job
        try:
            async with self._held(job):
                await self._end(ran, await self._run(job))
        except ClaimLost:
            log.warning("job_claim_lost", job=job.id, kind=job.kind.value)
        except Exception:
            log.exception("job_not_ended", job=job.id, kind=job.kind.value)
            await self._crashed(ran)

    async def _crashed(self, ran: RunnableJob) -> None:
        """Let a run that could not be ended as it should count as a crash; where that cannot be stored, it lapses."""
        try:
            await end_run(self.services, ran, self._after_crash(ran.job))
        except Exception:
            log.exception("job_not_ended", job=ran.job.id, kind=ran.job.kind.value)

    async def _end(self, ran: RunnableJob, run: JobRun | None) -> None:
        if run is not None and not await end_run(self.services, ran, run):
            raise ClaimLost

    async def _run(self, job: Job) -> JobRun | None:
        try:
            return await self.work[job.kind].handler(self.services, job)
        except Exception:
            log.exception("job_crashed", job=job.id, kind=job.kind.value, attempt=job.attempts)
            return self._after_crash(job)

    def _after_crash(self, job: Job) -> JobRun:
        work = self.work[job.kind]
        if work.crashes_max is None or job.attempts < work.crashes_max:
            pause_s = min(CRASH_PAUSE_S * 2 ** min(job.attempts - 1, 16), CRASH_PAUSE_S_MAX)
            again_at = self.services.now() + timedelta(seconds=pause_s)
            return JobRun(end=JobEnd(state=JobState.WAITING, error=CRASHED, again_at=again_at))
        end = JobEnd(state=JobState.DEAD, error=CRASHED)
        if work.abandon is None:
            return JobRun(end=end)
        return JobRun(end=end, also=partial(work.abandon, self.services, job))

    @contextlib.asynccontextmanager
    async def _held(self, job: Job) -> AsyncIterator[None]:
        """Renew the claim while the job runs.

        Raises:
            ClaimLost: it was not renewed in time, or the job was planned anew; what ran is broken off.
        """
        held, loop = asyncio.timeout(None), asyncio.get_running_loop()
        third_s = self.services.rules.job_claim_s / 3
        renewing: list[asyncio.Task[None]] = []

        async def once() -> None:
            if not await renew(self.services, job):
                held.reschedule(0)
            await asyncio.sleep(third_s)

        def begin() -> None:
            renewing.append(asyncio.create_task(for_ever("jobs/claim", once)))

        waiting = loop.call_later(third_s, begin)  # most jobs have ended by then, and need no task
        try:
            async with held:
                yield
        except TimeoutError:
            if held.expired():
                raise ClaimLost from None
            raise
        finally:
            waiting.cancel()
            for task in renewing:
                task.cancel()
            await asyncio.gather(*renewing, return_exceptions=True)


class ClaimLost(Exception):
    """Somebody else runs the job now, or will."""
