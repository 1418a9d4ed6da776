"""The job runner: claims what is due, runs it beside others, and never lets one lane hold up another."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from quittance.domain.job import Job, JobEnd, JobKind, JobState
from quittance.resolvers.jobs import JobHandler, JobRun, claim_due, end_run, next_due, renew
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
    """Runs jobs in this process. ``wake`` says that something may have fallen due."""

    services: Services
    handlers: Mapping[JobKind, JobHandler]
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    _running: dict[asyncio.Task[None], str] = field(default_factory=dict)
    _lanes: Counter[str] = field(default_factory=Counter)

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
        begun = await self.begin_due()
        if begun and len(self._running) < AT_ONCE:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(await self._pause_s()):
                await self.wake.wait()

    async def begin_due(self) -> int:
        """Claim and begin what is due, as far as there is room; return how many."""
        room = AT_ONCE - len(self._running)
        if room <= 0:
            return 0
        claimed = await claim_due(self.services, lane_max=LANE_AT_ONCE, limit=room, busy=lambda lane: self._lanes[lane])
        for job in claimed:
            task = asyncio.create_task(self._one(job))
            self._running[task] = job.lane
            self._lanes[job.lane] += 1
            task.add_done_callback(self._ended)
        return len(claimed)

    async def idle(self) -> None:
        """Wait until nothing runs in this process."""
        while self._running:
            await asyncio.wait(list(self._running))

    def _ended(self, task: asyncio.Task[None]) -> None:
        lane = self._running.pop(task)
        self._lanes[lane] -= 1
        if not self._lanes[lane]:
            del self._lanes[lane]
        self.wake.set()

    async def _pause_s(self) -> float:
        due = await next_due(self.services)
        if due is None:
            return POLL_S
        return min(POLL_S, max(0.05, (due - self.services.now()).total_seconds()))

    async def _one(self, job: Job) -> None:
        async with self._held(job):
            try:
                run = await self.handlers[job.kind](self.services, job)
            except Exception:
                log.exception("job_crashed", job=job.id, kind=job.kind.value, attempt=job.attempts)
                run = JobRun(end=self._after_crash(job))
            if not await end_run(self.services, job, run):
                log.warning("job_claim_lost", job=job.id, kind=job.kind.value)

    def _after_crash(self, job: Job) -> JobEnd:
        if job.attempts >= CRASHES_MAX:
            return JobEnd(state=JobState.DEAD, error="CRASHED")
        again_at = self.services.now() + timedelta(seconds=CRASH_PAUSE_S * 2 ** (job.attempts - 1))
        return JobEnd(state=JobState.WAITING, error="CRASHED", again_at=again_at)

    @contextlib.asynccontextmanager
    async def _held(self, job: Job) -> AsyncIterator[None]:
        """Renew the claim while the job runs."""

        async def renewing() -> None:
            while True:
                await asyncio.sleep(self.services.rules.job_claim_s / 3)
                await renew(self.services, job)

        task = asyncio.create_task(renewing())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
