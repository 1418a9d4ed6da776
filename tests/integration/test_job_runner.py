"""The runner of jobs: it survives what a handler does, holds its claims, loses them with grace, and gives them back."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.integration.test_jobs import (
    CRASHES_MAX,
    DONE,
    KIND,
    add,
    claim,
    is_gone,
    runner,
    state_of,
    work,
)

from quittance.domain.ids import JobId
from quittance.domain.job import Job, JobState, RunnableJob
from quittance.resolvers import jobs as use_cases
from quittance.resolvers.jobs import JobRun, claim_due, renew, retry_job
from quittance.resolvers.services import Services
from quittance.sandbox.clock import SandboxClock
from quittance.store import jobs, lanes
from quittance.workers.jobs import JobRunner


async def test_what_is_due_but_held_back_is_not_asked_for_in_haste(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add(services, "a", lane="tired")
    until = services.now() + timedelta(hours=1)
    await services.database.write(lambda t: lanes.rest_lane(t, "tired", until=until))
    looks = 0

    async def counting(*args: Any, **more: Any) -> list[RunnableJob]:
        nonlocal looks
        looks += 1
        return await claim_due(*args, **more)

    monkeypatch.setattr("quittance.workers.jobs.claim_due", counting)
    with suppress(TimeoutError):
        async with asyncio.timeout(0.8):
            await runner(services, {}).run()

    assert looks == 1


class Crashed(Exception):
    """What a handler dies of."""


@pytest.fixture
def crashing(services: Services) -> JobRunner:
    async def handler(_: Services, job: Job) -> JobRun:
        raise Crashed(job.subject)

    return runner(services, work(handler, crashes_max=CRASHES_MAX))


async def test_a_job_that_crashes_is_tried_again_later_and_is_dead_in_the_end(
    services: Services, crashing: JobRunner, clock: SandboxClock
) -> None:
    job = await add(services, "a")
    tries = 0
    while await crashing.begin_due():
        await crashing.idle()
        tries += 1
        again_at_once = await crashing.begin_due()
        assert again_at_once == 0
        clock.advance(48 * 3_600)

    assert tries == CRASHES_MAX
    assert await state_of(services, job) == (JobState.DEAD, CRASHES_MAX, "CRASHED")
    assert [one.id for one in await use_cases.list_jobs(services, JobState.DEAD)] == [job.id]
    assert await use_cases.queue_depths(services) == [(KIND, JobState.DEAD, 1)]


async def test_a_dead_job_runs_again_when_a_person_says_so(
    services: Services, crashing: JobRunner, clock: SandboxClock
) -> None:
    job = await add(services, "a")
    for _ in range(CRASHES_MAX):
        await crashing.begin_due()
        await crashing.idle()
        clock.advance(48 * 3_600)

    retried = await retry_job(services, job.id)
    unknown = await retry_job(services, JobId("job_unknown"))
    claimed = await claim(services)
    while_it_runs = await retry_job(services, job.id)

    assert (retried, unknown, while_it_runs) == (True, False, False)
    assert claimed == ["a"]


async def test_a_runner_that_is_stopped_leaves_its_jobs_to_the_next(services: Services, clock: SandboxClock) -> None:
    job = await add(services, "a")
    begun = asyncio.Event()

    async def hanging(_: Services, __: Job) -> JobRun:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    running = asyncio.create_task(runner(services, work(hanging)).run())
    await begun.wait()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    left = await state_of(services, job)
    clock.advance(services.rules.job_claim_s + 1)
    next_one = runner(services, work())
    await next_one.begin_due()
    await next_one.idle()

    assert left == (JobState.WAITING, 0, None)
    assert await is_gone(services, job)


async def test_a_claim_that_was_not_renewed_once_is_renewed_all_the_same(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await add(services, "a")
    renewed = asyncio.Event()
    failures = [OSError("the database is away")]

    async def flaky(of: Services, held: Job) -> bool:
        if failures:
            raise failures.pop()
        still = await renew(of, held)
        renewed.set()
        return still

    async def slow(_: Services, __: Job) -> JobRun:
        await renewed.wait()
        return DONE

    monkeypatch.setattr("quittance.workers.jobs.renew", flaky)
    hasty = replace(services, rules=replace(services.rules, job_claim_s=1))
    running = runner(hasty, work(slow))
    await running.begin_due()
    async with asyncio.timeout(20):
        await running.idle()

    assert not failures
    assert await is_gone(services, job)


async def test_a_run_that_has_lost_its_claim_is_broken_off(services: Services) -> None:
    job = await add(services, "a")
    begun, broken_off = asyncio.Event(), asyncio.Event()

    async def hanging(_: Services, __: Job) -> JobRun:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            broken_off.set()
        raise AssertionError

    running = runner(replace(services, rules=replace(services.rules, job_claim_s=1)), work(hanging))
    await running.begin_due()
    await begun.wait()
    await services.database.write(lambda t: jobs.plan_job(t, replace(job, due_at=services.now() + timedelta(hours=1))))

    with capture_logs() as logs:
        async with asyncio.timeout(20):
            await running.idle()

    assert broken_off.is_set()
    assert [line["event"] for line in logs] == ["job_claim_lost"]
    assert await state_of(services, job) == (JobState.WAITING, 0, None)


async def test_a_run_that_cannot_be_ended_counts_as_a_crash(services: Services, clock: SandboxClock) -> None:
    job = await add(services, "a")

    def broken(_: Any) -> None:
        raise Crashed

    async def handler(_: Services, __: Job) -> JobRun:
        return replace(DONE, also=broken)

    running = runner(services, work(handler))
    await running.begin_due()
    await running.idle()

    assert await state_of(services, job) == (JobState.WAITING, 1, "CRASHED")


async def test_a_stop_in_the_middle_of_a_claim_gives_back_what_was_claimed(services: Services) -> None:
    job = await add(services, "a")
    claiming = asyncio.Event()

    class Slow:
        def __getattr__(self, name: str) -> Any:
            return getattr(services.database, name)

        async def write(self, unit: Any) -> Any:
            claiming.set()
            written = await services.database.write(unit)
            await asyncio.sleep(0.1)
            return written

    running = asyncio.create_task(runner(replace(services, database=Slow()), work()).run())
    await claiming.wait()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running

    assert await state_of(services, job) == (JobState.WAITING, 0, None)
