"""The job runner: claims what is due, runs it beside others, and never lets one lane hold up another."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

import structlog

from quittance.domain.job import CRASHED, Job, JobEnd, JobKind, JobState
from quittance.resolvers.jobs import Abandon, JobHandler, JobRun, claim_due, end_run, next_due, renew
from quittance.resolvers.services import Services
from quittance.workers.loop import for_ever

log = structlog.get_logger("quittance.workers.jobs")

AT_ONCE = 256
LANE_AT_ONCE = 4
POLL_S = 1.0
CRASHES_MAX = 10
CRASH_PAUSE_S = 30.0


@dataclass(slots=True)
class JobRunner:
    """Runs jobs in this process. ``wake`` says that something may have fallen due.

    ``abandon`` settles what a job was about, in the unit that ends it, when it crashed at its last try.
    """

    services: Services
    handlers: Mapping[JobKind, JobHandler]
    abandon: Mapping[JobKind, Abandon] = field(default_factory=dict)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    _running: dict[asyncio.Task[None], str] = field(default_factory=dict)  # and the lane of each

    async def run(self) -> None:
        """Run for ever; on the way out, what runs is canceled and its claims lapse."""
        try:
            await for_ever("jobs", self._turn)
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    async def _turn(self) -> None:
        self.wake.clear()
        looked_at = self.services.now()
        begun = await self.begin_due()
        if begun and len(self._running) < AT_ONCE:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(await self._pause_s(looked_at)):
                await self.wake.wait()

    async def begin_due(self) -> int:
        """Claim and begin what is due, as far as there is room; return how many."""
        running = Counter(self._running.values())
        claimed = await claim_due(self.services, lane_max=LANE_AT_ONCE, at_once=AT_ONCE, running=running)
        for job in claimed:
            task = asyncio.create_task(self._one(job))
            self._running[task] = job.lane
            task.add_done_callback(self._ended)
        return len(claimed)

    async def idle(self) -> None:
        """Wait until nothing runs in this process."""
        while self._running:
            await asyncio.wait(list(self._running))

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self.wake.set()

    async def _pause_s(self, looked_at: datetime) -> float:
        """Return how long nothing falls due; what was due before and is held back waits for a wake, or the poll."""
        due = await next_due(self.services, after=looked_at)
        if due is None:
            return POLL_S
        return min(POLL_S, max(0.0, (due - self.services.now()).total_seconds()))

    async def _one(self, job: Job) -> None:
        try:
            async with self._held(job):
                if not await end_run(self.services, job, await self._run(job)):
                    log.warning("job_claim_lost", job=job.id, kind=job.kind.value)
        except Exception:
            log.exception("job_not_ended", job=job.id, kind=job.kind.value)  # the claim lapses, and it runs again

    async def _run(self, job: Job) -> JobRun:
        try:
            return await self.handlers[job.kind](self.services, job)
        except Exception:
            log.exception("job_crashed", job=job.id, kind=job.kind.value, attempt=job.attempts)
            return self._after_crash(job)

    def _after_crash(self, job: Job) -> JobRun:
        if job.attempts < CRASHES_MAX:
            again_at = self.services.now() + timedelta(seconds=CRASH_PAUSE_S * 2 ** (job.attempts - 1))
            return JobRun(end=JobEnd(state=JobState.WAITING, error=CRASHED, again_at=again_at))
        end = JobEnd(state=JobState.DEAD, error=CRASHED)
        abandon = self.abandon.get(job.kind)
        return JobRun(end=end) if abandon is None else JobRun(end=end, also=partial(abandon, self.services, job))

    @contextlib.asynccontextmanager
    async def _held(self, job: Job) -> AsyncIterator[None]:
        """Renew the claim while the job runs."""

        async def later() -> None:
            await asyncio.sleep(self.services.rules.job_claim_s / 3)
            await renew(self.services, job)

        task = asyncio.create_task(for_ever("jobs/claim", later))
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
