"""Lanes: none is called more often than it may be, and those that do not answer leave room to those that do."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import func, select
from tests.integration.test_jobs import KIND, LANE_AT_ONCE, PLACES, add, begin, busy, claim, done, runner, work

from quittance.domain.endpoint import NOTIFY_LANES, endpoint_target, notify_target
from quittance.domain.ids import EndpointId, MerchantId
from quittance.domain.job import Job, JobEnd, JobKind, JobState, owner_of
from quittance.resolvers.jobs import WAKE_JOBS, JobRun, Room, claim_due, end_run, list_jobs, new_job, wake_lane
from quittance.resolvers.services import Services
from quittance.sandbox.clock import SandboxClock
from quittance.store import jobs, lanes
from quittance.store.statement import Statement
from quittance.store.transaction import Transaction
from quittance.workers.work import runners

EMPTY = Room(at_once=100, owner_at_once=100)


@dataclass
class Moment:
    """A time that stands still until it is moved."""

    at: datetime

    def __call__(self) -> datetime:
        return self.at

    def advance(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@pytest.fixture
def moment(clock: SandboxClock) -> Moment:
    return Moment(clock.now())


@pytest.fixture
def services(services: Services, moment: Moment) -> Services:
    return replace(services, now=moment)


async def begun_in(services: Services, moment: Moment, *, seconds: int, per_second: int) -> int:
    """Return how many jobs two processes together begin meanwhile, each looking twenty times a second."""
    count = 0
    for _ in range(seconds * 20):
        for _ in range(2):
            ran = await claim_due(services, work(lane_per_second=per_second), EMPTY)
            count += len(ran)
            for one in ran:
                await end_run(services, one, JobRun(end=JobEnd(state=JobState.DONE)))
        moment.advance(0.05)
    return count


async def test_a_lane_begins_no_more_jobs_in_a_second_than_it_may(services: Services, moment: Moment) -> None:
    for number in range(100):
        await add(services, f"{number:03}", lane="busy")
    await add(services, "alone", lane="quiet")

    count = await begun_in(services, moment, seconds=5, per_second=10)

    assert 50 <= count - 1 <= 50 + LANE_AT_ONCE  # the quiet lane's own came too


async def test_a_lane_may_have_a_rate_of_its_own(services: Services, moment: Moment) -> None:
    for number in range(100):
        await add(services, f"{number:03}", lane="slower")
    await services.database.write(lambda t: lanes.limit_lane(t, "slower", per_second=4))

    count = await begun_in(services, moment, seconds=5, per_second=1_000)

    assert 20 <= count <= 20 + LANE_AT_ONCE


async def test_a_runner_wakes_when_a_lane_has_rested(services: Services, moment: Moment) -> None:
    for number in range(LANE_AT_ONCE + 1):
        await add(services, f"{number}", lane="busy")
    await claim_due(services, work(lane_per_second=LANE_AT_ONCE), EMPTY)

    due = await services.database.read(lambda t: jobs.next_due(t, [KIND], after=services.now()))

    assert due == services.now() + timedelta(seconds=1)


async def test_a_lane_that_does_not_answer_has_one_place_until_it_does(services: Services, moment: Moment) -> None:
    for number in range(10):
        await add(services, f"{number}", lane="silent")
    first = (await begin(services))[0]
    again_at = services.now()
    silent = JobRun(end=JobEnd(state=JobState.WAITING, again_at=again_at, lane_answers=False))
    await end_run(services, first, silent)
    moment.advance(services.rules.job_claim_s + 1)

    (tried,) = await begin(services)
    nobody = await begin(services, running=busy(services, "silent", slow=True))
    await end_run(services, tried, JobRun(end=JobEnd(state=JobState.DONE, lane_answers=True)))
    recovered = await begin(services)

    assert tried.slow
    assert nobody == []
    assert [one.slow for one in recovered] == [False] * LANE_AT_ONCE


async def test_lanes_that_do_not_answer_take_half_the_places_at_most(services: Services, moment: Moment) -> None:
    for number in range(30):
        await add(services, f"silent-{number:02}", lane=f"silent-{number:02}")
    for one in await begin(services):
        again = JobEnd(state=JobState.WAITING, again_at=services.now(), lane_answers=False)
        await end_run(services, one, JobRun(end=again))
    moment.advance(1)
    for number in range(8):
        await add(services, f"lively-{number}", lane=f"lively-{number}")

    begun = await begin(services, at_once=10)
    more = await begin(services, at_once=20, running=begun)

    assert sorted(one.slow for one in begun) == [False] * 5 + [True] * 5
    assert sorted(one.slow for one in more) == [False] * 3 + [True] * 5


async def test_hanging_jobs_of_many_lanes_do_not_keep_others_from_running(services: Services) -> None:
    hanging = PLACES + 10
    for number in range(hanging):
        await add(services, f"hanging-{number:03}", lane=f"hanging-{number:03}")

    def mark_all(transaction: Any) -> None:
        for number in range(hanging):
            lanes.mark_lane(transaction, f"hanging-{number:03}", slow=True)

    await services.database.write(mark_all)
    finished: list[str] = []
    first, release = asyncio.Event(), asyncio.Event()

    async def handler(of: Services, job: Job) -> JobRun:
        if job.lane.startswith("hanging"):
            await release.wait()
        finished.append(job.subject)
        first.set()
        return await done(of, job)

    running = runner(services, work(handler))
    while await running.begin_due():
        pass
    await add(services, "alone", lane="quiet")
    await running.begin_due()
    async with asyncio.timeout(10):
        await first.wait()
    release.set()
    await running.idle()

    assert finished[0] == "alone"
    assert len(finished) == 1 + PLACES // 2


async def test_a_look_reads_the_heads_of_the_lanes_and_not_their_queues(services: Services) -> None:
    """On SQLite, where the plan does not hang on statistics: every table is searched in an index, or made here."""
    if services.database.dialect != "sqlite":
        pytest.skip("PostgreSQL chooses its plans by statistics")
    sql, values = jobs._runnable(frozenset({KIND})).sqlite({"now_us": 0, "limit": 100})

    class Explained:
        def sqlite(self, _: object) -> tuple[str, Any]:
            return f"EXPLAIN QUERY PLAN {sql}", values

    plan = [row[3] for row in await services.database.scan(lambda t: t.all(Explained()))]  # type: ignore[arg-type]

    assert [line for line in plan if line.startswith("SCAN") and "job" in line.split()[1:2]] == []
    assert sum("ix_job_lane_due_at_us_id" in line for line in plan) >= 3


async def test_a_rate_that_is_forgotten_leaves_what_the_lane_knows(services: Services) -> None:
    for number in range(5):
        await add(services, f"{number}", lane="one")
    await services.database.write(lambda t: lanes.limit_lane(t, "one", per_second=2))
    await services.database.write(lambda t: lanes.mark_lane(t, "one", slow=True))

    await services.database.write(lambda t: lanes.refresh_lane(t, "one"))

    assert [one.slow for one in await begin(services)] == [False] * LANE_AT_ONCE


async def test_one_owner_takes_its_share_of_the_places_and_hides_nobody(services: Services, moment: Moment) -> None:
    many, few = f"mer_{1:032x}", f"mer_{2:032x}"
    for number in range(40):
        await add(services, f"many-{number:02}", lane=f"{many}/{number:02}")
    moment.advance(1)
    for number in range(3):
        await add(services, f"few-{number}", lane=f"{few}/{number}")

    begun = await begin(services, at_once=10, owner_at_once=5)
    full = await begin(services, at_once=20, owner_at_once=5, running=begun)

    assert Counter(owner_of(one.job.lane) for one in begun) == {many: 5, few: 3}
    assert full == []


async def test_an_owner_keeps_half_of_its_share_for_lanes_that_answer(services: Services, moment: Moment) -> None:
    owner = f"mer_{1:032x}"
    running = [one for number in range(2) for one in busy(services, f"{owner}/slow-{number}", slow=True)]
    for number in range(5):
        await add(services, f"slow-{number}", lane=f"{owner}/more-{number}")
        await services.database.write(partial(lanes.mark_lane, lane=f"{owner}/more-{number}", slow=True))
    await add(services, "quick", lane=f"{owner}/quick")

    begun = await begin(services, at_once=100, owner_at_once=4, running=running)

    assert [one.job.subject for one in begun] == ["quick"]


async def test_what_tells_merchants_asks_providers_and_pays_has_places_of_its_own(services: Services) -> None:
    every = [kind for runner in runners(services, webhooks_per_second=50) for kind in runner.work]

    assert sorted(every) == sorted(JobKind)


async def test_a_long_queue_is_woken_in_several_units(services: Services, moment: Moment) -> None:
    later, count = services.now() + timedelta(hours=1), 2 * WAKE_JOBS + 1

    def add_all(transaction: Transaction) -> None:
        for number in range(count):
            job = new_job(services, KIND, subject=f"{number}", lane="asleep", order=None, due_at=later)
            jobs.add_job(transaction, job)

    await services.database.write(add_all)
    woken: list[int] = []

    class Counting:
        def __getattr__(self, name: str) -> Any:
            return getattr(services.database, name)

        async def write(self, unit: Any) -> Any:
            woken.append(await services.database.write(unit))
            return woken[-1]

    await wake_lane(replace(services, database=Counting()), "asleep")

    assert woken == [WAKE_JOBS, WAKE_JOBS, 1, 0]
    assert {job.due_at for job in await list_jobs(services, JobState.WAITING, limit=count)} == {services.now()}


def test_whatever_a_merchant_names_its_payments_have_a_bounded_number_of_lanes() -> None:
    merchant = MerchantId(f"mer_{1:032x}")
    spellings = ["https://h.example/a", "https://H.example:8443/b", "https://h.example:443/", "https://u@h.example/"]

    assert len({notify_target(merchant, url).lane for url in spellings}) == 1
    assert len({notify_target(merchant, f"https://h{number}.example/").lane for number in range(5_000)}) == NOTIFY_LANES
    assert {owner_of(notify_target(merchant, url).lane) for url in spellings} == {merchant}
    assert owner_of(endpoint_target(merchant, EndpointId("whe_1")).lane) == merchant


async def test_a_slow_lane_gets_its_turn_however_much_is_asked_of_those_that_answer(
    services: Services, moment: Moment
) -> None:
    await add(services, "slow", lane="slow")
    await services.database.write(partial(lanes.mark_lane, lane="slow", slow=True))
    for number in range(40):
        await add(services, f"quick-{number:02}", lane=f"quick-{number:02}")
    running = [one for number in range(7) for one in busy(services, f"busy-{number}")]

    (begun,) = await begin(services, at_once=8, running=running)

    assert begun.job.subject == "slow"


async def test_what_rests_in_another_kind_of_lane_wakes_nobody(services: Services, moment: Moment) -> None:
    await add(services, "a", lane="busy")
    await services.database.write(lambda t: lanes.rest_lane(t, "busy", until=services.now() + timedelta(seconds=1)))
    at = services.now()

    mine = await services.database.read(lambda t: jobs.next_due(t, [KIND], after=at))
    others = await services.database.read(lambda t: jobs.next_due(t, [JobKind.PROVIDER_CHECK], after=at))

    assert (mine, others) == (at + timedelta(seconds=1), None)


async def test_waking_a_lane_leaves_alone_what_is_claimed_meanwhile(
    services: Services, new_services: Callable[[], Services]
) -> None:
    """On PostgreSQL, where the row that a claim holds is judged again once that commits."""
    if services.database.dialect != "postgresql":
        pytest.skip("SQLite has one writer")
    job = await add(services, "a", lane="lane")
    later = services.now() + timedelta(seconds=5)
    await services.database.write(lambda t: jobs.plan_job(t, replace(job, due_at=later)))
    held, release = threading.Event(), threading.Event()

    def claim_slowly(transaction: Transaction) -> list[Job]:
        until = later + timedelta(minutes=1)
        claimed = jobs.claim_jobs(transaction, [job.id], now=later, until=until)
        held.set()
        transaction.all(Statement(lambda _: select(func.pg_sleep(1.0))))
        release.set()
        return claimed

    claiming = asyncio.create_task(services.database.write(claim_slowly))
    await asyncio.to_thread(held.wait, 10)
    await wake_lane(replace(services, database=new_services().database), "lane")
    (claimed,) = await claiming

    assert release.is_set()  # the wake waited for the claim
    assert (claimed.state, await claim(services)) == (JobState.RUNNING, [])
