"""Jobs: claimed once, held while they run, kept in order, and taken over when their claimant dies."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from quittance.domain.job import Job, JobEnd, JobKind, JobState, RunnableJob
from quittance.resolvers import jobs as use_cases
from quittance.resolvers.jobs import (
    JobHandler,
    JobRun,
    JobWork,
    Room,
    claim_due,
    end_run,
    new_job,
    renew,
)
from quittance.resolvers.services import Services
from quittance.sandbox.clock import SandboxClock
from quittance.store import jobs, lanes
from quittance.workers.jobs import JobRunner

KIND = JobKind.WEBHOOK_DELIVERY
LANE_AT_ONCE, CRASHES_MAX, PLACES = 4, 10, 256
DONE = JobRun(end=JobEnd(state=JobState.DONE))


async def add(services: Services, subject: str, *, lane: str = "lane", order: tuple[str, int] | None = None) -> Job:
    job = new_job(services, KIND, subject=subject, lane=lane, order=order, due_at=services.now())
    await services.database.write(lambda t: jobs.add_job(t, job))
    return job


async def done(_: Services, __: Job) -> JobRun:
    return DONE


def work(handler: JobHandler = done, **more: Any) -> dict[JobKind, JobWork]:
    return {KIND: JobWork(handler=handler, lane_at_once=LANE_AT_ONCE, **more)}


def runner(services: Services, work: Mapping[JobKind, JobWork]) -> JobRunner:
    return JobRunner(services=services, work=work, at_once=PLACES, owner_at_once=PLACES)


def busy(services: Services, lane: str, *, count: int = 1, slow: bool = False) -> list[RunnableJob]:
    """Return what a process says of jobs that it runs."""
    job = new_job(services, KIND, subject="running", lane=lane, order=None, due_at=services.now())
    return [RunnableJob(job=job, slow=slow)] * count


async def begin(
    services: Services, *, at_once: int = 100, owner_at_once: int | None = None, running: Sequence[RunnableJob] = ()
) -> list[RunnableJob]:
    room = Room(at_once=at_once, owner_at_once=owner_at_once or at_once, running=running)
    return await claim_due(services, work(), room)


async def claim(services: Services, *, limit: int = 100) -> list[str]:
    return sorted(one.job.subject for one in await begin(services, at_once=limit))


async def state_of(services: Services, job: Job) -> tuple[JobState, int, str | None]:
    found = await services.database.read(lambda t: jobs.job_by_id(t, job.id))
    assert found is not None
    return found.state, found.attempts, found.last_error


async def is_gone(services: Services, job: Job) -> bool:
    return await services.database.read(lambda t: jobs.job_by_id(t, job.id)) is None


async def test_a_job_is_added_once_for_its_subject(services: Services) -> None:
    first = await add(services, "a")
    twin = new_job(services, KIND, subject="a", lane="lane", order=None, due_at=services.now())

    added = await services.database.write(lambda t: jobs.add_job(t, twin))

    assert added is False
    assert await claim(services) == [first.subject]


async def test_a_unit_that_fails_leaves_no_job(services: Services) -> None:
    job = new_job(services, KIND, subject="a", lane="lane", order=None, due_at=services.now())

    def unit(transaction: Any) -> None:
        jobs.add_job(transaction, job)
        raise LookupError

    with pytest.raises(LookupError):
        await services.database.write(unit)

    assert await claim(services) == []


async def test_many_claimants_together_get_each_job_once(services: Services) -> None:
    for number in range(40):
        await add(services, f"{number:02}", lane=f"lane-{number}")

    claimed = await asyncio.gather(*(claim(services) for _ in range(8)))

    assert sorted(subject for one in claimed for subject in one) == [f"{number:02}" for number in range(40)]


async def test_a_claim_that_lapsed_is_anybodys_and_the_slow_claimant_changes_nothing(
    services: Services, clock: SandboxClock
) -> None:
    await add(services, "a")
    (slow,) = await begin(services)
    early = await claim(services)
    clock.advance(services.rules.job_claim_s + 1)
    (quick,) = await begin(services)
    touched: list[str] = []

    late = await end_run(services, slow, replace(DONE, also=lambda _: touched.append("slow")))
    renewed = await renew(services, slow.job)
    ended = await end_run(services, quick, replace(DONE, also=lambda _: touched.append("quick")))

    assert early == []
    assert (late, renewed, ended) == (False, False, True)
    assert touched == ["quick"]
    assert (quick.job.attempts, quick.job.fence) == (1, 2)  # a run that never ended was no attempt
    assert await is_gone(services, quick.job)


async def test_a_claim_that_is_renewed_does_not_lapse(services: Services, clock: SandboxClock) -> None:
    await add(services, "a")
    (one,) = await begin(services)

    for _ in range(4):
        clock.advance(services.rules.job_claim_s - 1)
        assert await renew(services, one.job)

    assert await claim(services) == []
    assert await end_run(services, one, DONE)


async def test_jobs_of_one_order_wait_for_each_other_and_others_do_not(services: Services) -> None:
    await add(services, "third", order=("order", 3))
    first = await add(services, "first", order=("order", 1))
    await add(services, "second", order=("order", 2))
    await add(services, "free")

    begun = await begin(services)
    held = await claim(services)
    await end_run(services, next(one for one in begun if one.job.id == first.id), DONE)

    assert sorted(one.job.subject for one in begun) == ["first", "free"]
    assert held == []
    assert await claim(services) == ["second"]


async def test_a_lane_is_bounded_and_does_not_crowd_out_another(services: Services) -> None:
    for number in range(50):
        await add(services, f"crowd-{number:02}", lane="crowd")
    await add(services, "alone", lane="quiet")

    claimed = await claim(services, limit=10)

    assert len(claimed) == LANE_AT_ONCE + 1
    assert "alone" in claimed


async def test_the_queues_of_full_lanes_hide_no_other(services: Services, clock: SandboxClock) -> None:
    for number in range(40):
        await add(services, f"crowd-{number:02}", lane=f"hanging-{number % 5}")
    clock.advance(1)
    await add(services, "alone", lane="quiet")
    running = [one for number in range(5) for one in busy(services, f"hanging-{number}", count=LANE_AT_ONCE)]

    begun = await begin(services, at_once=5 * LANE_AT_ONCE + 1, running=running)

    assert [one.job.subject for one in begun] == ["alone"]


async def test_a_lane_that_rests_begins_nothing_until_then(services: Services, clock: SandboxClock) -> None:
    await add(services, "a", lane="tired")
    await add(services, "b", lane="awake")
    until = services.now() + timedelta(hours=1)
    await services.database.write(lambda t: lanes.rest_lane(t, "tired", until=until))

    early = await claim(services)
    clock.advance(3_601)
    later = await claim(services)

    assert early == ["b"]
    assert later == ["a", "b"]  # the claim on b lapsed meanwhile


async def test_a_rest_is_never_shortened_by_another_answer(services: Services, clock: SandboxClock) -> None:
    await add(services, "a", lane="tired")
    for hours in (2, 1):
        until = services.now() + timedelta(hours=hours)
        await services.database.write(partial(lanes.rest_lane, lane="tired", until=until))

    clock.advance(5_400)
    early = await claim(services)
    clock.advance(3_600)

    assert early == []
    assert await claim(services) == ["a"]


async def test_claims_of_a_process_that_is_known_to_be_dead_are_anybodys_at_once(services: Services) -> None:
    await add(services, "a")
    claimed = await claim(services)
    held = await claim(services)

    await services.database.write(jobs.release_claims)

    assert (claimed, held) == (["a"], [])
    assert await claim(services) == ["a"]


async def test_what_waits_for_another_of_its_order_is_due_when_that_is_tried_again(
    services: Services, clock: SandboxClock
) -> None:
    await add(services, "first", order=("order", 1))
    (first,) = await begin(services)
    await add(services, "second", order=("order", 2))
    again_at = services.now() + timedelta(hours=2)
    await end_run(services, first, JobRun(end=JobEnd(state=JobState.WAITING, again_at=again_at)))
    await add(services, "third", order=("order", 3))

    waiting = await use_cases.list_jobs(services, JobState.WAITING)
    clock.advance(2 * 3_600)
    (first,) = await begin(services)
    await end_run(services, first, DONE)

    assert [job.due_at for job in waiting] == [again_at] * 3
    assert first.job.subject == "first"
    freed = await use_cases.list_jobs(services, JobState.WAITING)
    assert [again_at < job.due_at <= services.now() for job in freed] == [True, True]
    assert await claim(services) == ["second"]


async def test_a_job_that_is_planned_anew_takes_the_claim_from_the_run_that_was_at_it(services: Services) -> None:
    job = await add(services, "a")
    (overtaken,) = await begin(services)

    await services.database.write(lambda t: jobs.plan_job(t, replace(job, due_at=services.now() + timedelta(hours=1))))

    assert await end_run(services, overtaken, DONE) is False
    assert await state_of(services, job) == (JobState.WAITING, 0, None)
    assert await claim(services) == []


async def test_a_kind_that_this_process_does_not_run_is_left_to_others(services: Services) -> None:
    await add(services, "a")

    assert await claim_due(services, {}, Room(at_once=10, owner_at_once=10)) == []
    assert await claim(services) == ["a"]


async def test_runs_that_a_killed_process_began_use_no_try_up(services: Services, clock: SandboxClock) -> None:
    await add(services, "a")
    for _ in range(2 * CRASHES_MAX):
        assert len(await begin(services)) == 1
        clock.advance(services.rules.job_claim_s + 1)

    (last,) = await begin(services)

    assert (last.job.attempts, last.job.fence) == (1, 2 * CRASHES_MAX + 1)
