"""What a background job costs beside what it does: remembered, claimed, run and forgotten."""

import asyncio
import gc
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.plan import Plan
from benchmarks.report import Report, middle
from quittance.domain.ids import EVENT, new_id
from quittance.domain.job import Job, JobEnd, JobKind, JobState
from quittance.domain.secrets import SecretDeriver
from quittance.resolvers.jobs import JobRun, JobWork, new_job
from quittance.resolvers.services import Services
from quittance.server.app import tune_interpreter
from quittance.store import jobs
from quittance.store.database import open_database
from quittance.store.migrate import upgrade
from quittance.store.transaction import Transaction
from quittance.workers.jobs import JobRunner

_KIND = JobKind.WEBHOOK_DELIVERY
_AT_ONCE = 256
_LANES = 64
_MERCHANT = "mer_00000000000000000000000000000000"
_LANE_AT_ONCE = 4
_MS_MAX = 0.1
_DONE = JobRun(end=JobEnd(state=JobState.DONE))


async def measure(plan: Plan, report: Report) -> None:
    services = await _services(plan.home / "jobs")
    work = {_KIND: JobWork(handler=_nothing, lane_at_once=_LANE_AT_ONCE)}
    runner = JobRunner(services=services, work=work, at_once=_AT_ONCE, owner_at_once=_AT_ONCE)
    serial: list[tuple[float, float]] = []
    grouped: list[tuple[float, float]] = []
    with _tuned():
        for some in (_one_by_one, _together):
            await _cost(some, runner, seconds=plan.warm_s / 2)
        for _ in range(plan.rounds):
            serial.append(await _cost(_one_by_one, runner, seconds=plan.seconds / 2))
            grouped.append(await _cost(_together, runner, seconds=plan.seconds / 2))
    await services.database.close()
    for name, rounds in (("serial", serial), ("grouped", grouped)):
        cpu_ms, wall_ms = middle([cpu for cpu, _ in rounds]), middle([wall for _, wall in rounds])
        counted = name == "grouped"
        report.add(
            f"a job, {name}", f"{cpu_ms:.3f} ms CPU, {wall_ms:.3f} ms, {1000 / wall_ms:,.0f}/s",
            ratio=f"{cpu_ms:.3f} ms", goal=f"<= {_MS_MAX} ms" if counted else "",
            reached=cpu_ms <= _MS_MAX if counted else None,
        )  # fmt: skip


@contextmanager
def _tuned() -> Iterator[None]:
    """Tune this process as a server is, as long as it stands in for one."""
    thresholds, interval_s = gc.get_threshold(), sys.getswitchinterval()
    tune_interpreter()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)
    sys.setswitchinterval(interval_s)


class _Unlimited:
    async def hit(self, budget: str, label: str) -> None:
        del budget, label


async def _services(home: Path) -> Services:
    await asyncio.to_thread(home.mkdir)
    url = f"sqlite:///{home / 'quittance.db'}"
    await asyncio.to_thread(upgrade, url)

    def now() -> datetime:
        return datetime.now(UTC)

    database = open_database(url, now=now, new_event_id=lambda: new_id(EVENT, at=now(), entropy=os.urandom(10)))
    return Services(
        database=database,
        rails={},
        default_provider="none",
        rates=None,
        now=now,
        derive=SecretDeriver(bytes(32)),
        limiter=_Unlimited(),
        public_url="http://localhost",
    )


async def _nothing(_services: Services, _job: Job) -> JobRun:
    return _DONE


async def _cost(
    some: Callable[[JobRunner, int], Awaitable[int]], runner: JobRunner, *, seconds: float
) -> tuple[float, float]:
    """Return the processor time and the time of one job, in milliseconds."""
    begun_s, cpu_s = time.perf_counter(), time.process_time()
    done = 0
    while (took_s := time.perf_counter() - begun_s) < seconds or not done:
        done += await some(runner, done)
    return (time.process_time() - cpu_s) / done * 1000, took_s / done * 1000


async def _one_by_one(runner: JobRunner, number: int) -> int:
    await _add(runner.services, [number])
    await runner.begin_due()
    await runner.idle()
    return 1


async def _together(runner: JobRunner, number: int) -> int:
    """Add as many as run at once by one unit, as the fan-out does; what they come to shares commits, as under load."""
    await _add(runner.services, range(number, number + _AT_ONCE))
    while await runner.begin_due():
        await runner.idle()
    return _AT_ONCE


async def _add(services: Services, numbers: Iterable[int]) -> None:
    def unit(transaction: Transaction) -> None:
        for number in numbers:
            lane = f"{_MERCHANT}/webhook/{number % _LANES}"
            job = new_job(services, _KIND, subject=f"{number}", lane=lane, order=None, due_at=services.now())
            jobs.add_job(transaction, job)

    await services.database.write(unit)
