"""Jobs: added by the unit that needs them, claimed by compare-and-set, so that any number of processes may run them."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import and_, bindparam, delete, func, literal, literal_column, select, union_all, update

from quittance.domain.ids import JobId
from quittance.domain.job import OWNER_LENGTH, STORED, Job, JobEnd, JobKind, JobState, RunnableJob
from quittance.store import lanes
from quittance.store.models import table_of
from quittance.store.models_operations import JobLaneRow, JobRow
from quittance.store.statement import BatchStatement, Statement, every_column
from quittance.store.transaction import Transaction, from_us, from_us_or_none, to_us

_JOB = table_of(JobRow)
_LANE = table_of(JobLaneRow)
LANE_MAX = 8  # how many jobs of one lane a look finds


def _alive(table: Any) -> Any:
    return table.c.state != literal_column("'DEAD'")  # as the indexes of what is alive say it


@cache
def _runnable(kinds: frozenset[JobKind]) -> Statement:
    return Statement(lambda _: _heads_of_lanes(sorted(kinds)))


def _heads_of_lanes(kinds: Sequence[JobKind]) -> Any:
    """Walk the lanes that have jobs by skipping from one to the next in their index, and look at the heads of each.

    A look costs by the number of lanes, and by what waits behind an unfinished job of its own order; not by the length
    of queues. Owners take turns, and for each the lanes that answer and those that do not.
    """
    other = _JOB.alias("other")
    lanes = select(func.min(_JOB.c.lane).label("lane")).where(_alive(_JOB)).cte("lanes", recursive=True)
    following = select(func.min(other.c.lane)).where(other.c.lane > lanes.c.lane, _alive(other)).scalar_subquery()
    lanes = lanes.union_all(select(following).where(lanes.c.lane.is_not(None)))
    first = _heads(other, other.c.due_at_us, lanes.c.lane).limit(1).scalar_subquery()
    kind_of_lane = select(other.c.kind).where(other.c.lane == lanes.c.lane, _alive(other)).limit(1).scalar_subquery()
    is_asked_for = kind_of_lane.in_([literal_column(f"'{kind.value}'") for kind in kinds])  # a lane holds one kind
    waiting = _once(select(lanes.c.lane, first.label("due_at_us")).where(is_asked_for), "waiting")
    owner = func.substr(waiting.c.lane, 1, literal_column(str(OWNER_LENGTH)))
    slow = func.coalesce(_LANE.c.slow, 0)
    of_owner = func.row_number().over(partition_by=(owner, slow), order_by=(waiting.c.due_at_us, waiting.c.lane))
    awake = _once(
        select(waiting, slow.label("slow"), of_owner.label("of_owner"))
        .select_from(waiting.outerjoin(_LANE, _LANE.c.lane == waiting.c.lane))
        .where(waiting.c.due_at_us.is_not(None), func.coalesce(_LANE.c.paused_until_us, 0) <= bindparam("now_us")),
        "awake",
    )
    in_order = (awake.c.of_owner, awake.c.due_at_us, awake.c.lane)
    turn = func.row_number().over(partition_by=awake.c.slow, order_by=in_order)
    due = _once(select(awake.c.lane, awake.c.slow, turn.label("turn")).order_by(turn).limit(bindparam("limit")), "due")
    heads = _heads(other, other.c.id, due.c.lane).limit(1)
    each = [
        select(heads.offset(place).scalar_subquery().label("id"), due.c.slow, due.c.turn, literal(place).label("place"))
        for place in range(LANE_MAX)
    ]
    found = union_all(*each).subquery("found")
    return (
        select(*_JOB.c, found.c.slow)
        .select_from(found.join(_JOB, _JOB.c.id == found.c.id))
        .order_by(found.c.place, found.c.turn, found.c.slow.desc())  # which are held to half of the places anyway
        .limit(bindparam("limit"))
    )


def _once(selected: Any, name: str) -> Any:
    """Have the database compute this once: what it inlines, it would compute for each time that it is named."""
    return selected.cte(name).prefix_with("MATERIALIZED")


def _heads(job: Any, wanted: Any, lane: Any) -> Any:
    """Select of one lane what is due and behind no unfinished job of its order, the longest due first."""
    earlier = _JOB.alias("earlier")
    blocked = select(earlier.c.id).where(
        earlier.c.order_key == job.c.order_key, earlier.c.order_place < job.c.order_place, _alive(earlier)
    )
    return (
        select(wanted)
        .where(
            job.c.lane == lane,
            _alive(job),
            job.c.due_at_us <= bindparam("now_us"),
            ~blocked.exists(),
        )
        .order_by(job.c.due_at_us, job.c.id)
    )


_COLUMNS = every_column(_JOB)


def _new(dialect: Any) -> Any:
    """Insert a job; one that is behind others of its order is not due before they are tried again."""
    earlier = _JOB.alias("earlier")
    behind = select(func.max(earlier.c.due_at_us)).where(
        earlier.c.order_key == bindparam("order_key"),
        earlier.c.order_place < bindparam("order_place"),
        earlier.c.state == literal_column("'WAITING'"),
        earlier.c.due_at_us > bindparam("due_at_us"),
    )
    due = func.coalesce(behind.scalar_subquery(), bindparam("due_at_us"))
    return dialect.insert(_JOB).values(_COLUMNS | {"due_at_us": due})


def _planned(dialect: Any) -> Any:
    inserted = dialect.insert(_JOB).values(_COLUMNS)
    return inserted.on_conflict_do_update(
        index_elements=["kind", "subject"],
        set_={
            "state": JobState.WAITING.value,
            "lane": inserted.excluded.lane,
            "due_at_us": inserted.excluded.due_at_us,
            "attempts": 0,
            "fence": _JOB.c.fence + 1,
            "last_error": None,
            "ended_at_us": None,
        },
    )


_ADD = Statement(lambda d: _new(d).on_conflict_do_nothing(index_elements=["kind", "subject"]))
_PLAN = Statement(_planned)
_DROP = Statement(
    lambda _: delete(_JOB).where(_JOB.c.kind == bindparam("of_kind"), _JOB.c.subject == bindparam("about"))
)
_CLAIM = BatchStatement(
    lambda _, keys: (
        update(_JOB)
        .where(_JOB.c.id.in_(keys), _alive(_JOB), _JOB.c.due_at_us <= bindparam("now_us"))
        .values(
            state=JobState.RUNNING.value,
            due_at_us=bindparam("until_us"),
            fence=_JOB.c.fence + 1,
        )
        .returning(*_JOB.c)
    )
)
_HELD = (
    _JOB.c.id == bindparam("job_id"),
    _JOB.c.fence == bindparam("of_fence"),
    _JOB.c.state == JobState.RUNNING.value,
)
_RENEW = Statement(lambda _: update(_JOB).where(*_HELD).values(due_at_us=bindparam("until_us")))
_FINISH = Statement(lambda _: delete(_JOB).where(*_HELD))
_END = Statement(
    lambda _: (
        update(_JOB)
        .where(*_HELD)
        .values(
            state=bindparam("new_state"),
            attempts=bindparam("attempts"),
            due_at_us=bindparam("due_at_us"),
            last_error=bindparam("last_error"),
            ended_at_us=bindparam("ended_at_us"),
        )
    )
)
_PUSH = Statement(
    lambda _: (
        update(_JOB)
        .where(
            _JOB.c.order_key == bindparam("of_order"),
            _JOB.c.order_place > bindparam("behind"),
            _JOB.c.state == literal_column("'WAITING'"),
        )
        .values(due_at_us=bindparam("due_at_us"))
    )
)
_AGAIN = Statement(
    lambda _: (
        update(_JOB)
        .where(_JOB.c.id == bindparam("job_id"), _JOB.c.state != literal_column("'RUNNING'"))
        .values(state=JobState.WAITING.value, due_at_us=bindparam("due_at_us"), attempts=0, ended_at_us=None)
    )
)


def _woken(_: object) -> Any:
    """Said twice: a row that is claimed meanwhile is judged again by the outer condition alone."""

    def sleeps(job: Any) -> Any:
        return and_(job.c.state == literal_column("'WAITING'"), job.c.due_at_us > bindparam("due_at_us"))

    some = _JOB.alias("some")
    chosen = select(some.c.id).where(some.c.lane == bindparam("of_lane"), _alive(some), sleeps(some))
    return (
        update(_JOB)
        .where(_JOB.c.id.in_(chosen.limit(bindparam("limit"))), sleeps(_JOB))
        .values(due_at_us=bindparam("due_at_us"))
    )


_WAKE = Statement(_woken)
_GIVE_BACK = Statement(
    lambda _: update(_JOB).where(*_HELD).values(state=JobState.WAITING.value, due_at_us=bindparam("due_at_us"))
)
_NEXT_DUE = Statement(
    lambda _: select(func.min(_JOB.c.due_at_us)).where(
        _JOB.c.kind == bindparam("kind"), _alive(_JOB), _JOB.c.due_at_us > bindparam("after_us")
    )
)
_NEXT_AWAKE = Statement(
    lambda _: select(func.min(_LANE.c.paused_until_us)).where(
        _LANE.c.paused_until_us > bindparam("after_us"),
        select(_JOB.c.id).where(_JOB.c.lane == _LANE.c.lane, _JOB.c.kind == bindparam("kind"), _alive(_JOB)).exists(),
    )
)
_RELEASE = Statement(
    lambda _: (
        update(_JOB)
        .where(_alive(_JOB), _JOB.c.state == literal_column("'RUNNING'"))
        .values(due_at_us=_JOB.c.created_at_us)
    )
)
_BY_ID = Statement(lambda _: select(*_JOB.c).where(_JOB.c.id == bindparam("id")))
_DEPTHS = Statement(lambda _: select(_JOB.c.kind, _JOB.c.state, func.count()).group_by(_JOB.c.kind, _JOB.c.state))


def _listed(state: JobState) -> Statement:
    return Statement(
        lambda _: (
            select(*_JOB.c)
            .where(_JOB.c.state == literal_column(f"'{state.value}'"))
            .order_by(_JOB.c.due_at_us, _JOB.c.id)
            .limit(bindparam("limit"))
        )
    )


_LISTS = {state: _listed(state) for state in STORED}


def add_job(transaction: Transaction, job: Job) -> bool:
    """Remember a job; False, and nothing changed, when this kind has one about the same subject."""
    return transaction.execute(_ADD, _columns(job)) == 1


def plan_job(transaction: Transaction, job: Job) -> None:
    """Remember a job, or have the one about the same subject run at this time instead, with all its tries.

    Whoever runs it just now has lost the claim by it: what that run comes to is not stored.
    """
    transaction.execute(_PLAN, _columns(job))


def drop_job(transaction: Transaction, kind: JobKind, subject: str) -> None:
    """Forget the job of this kind about ``subject``, if there is one: nothing is left to do."""
    transaction.execute(_DROP, {"of_kind": kind.value, "about": subject})


def runnable_jobs(
    transaction: Transaction, kinds: frozenset[JobKind], *, now: datetime, limit: int
) -> list[RunnableJob]:
    """Return due jobs that nothing holds back, at most LANE_MAX of each lane: each lane's first, then the second.

    Held back are those with an unfinished job of the same order before them, and those whose lane rests.
    """
    found = transaction.all(_runnable(kinds), {"now_us": to_us(now), "limit": limit})
    return [RunnableJob(job=_to_domain(row[:-1]), slow=bool(row[-1])) for row in found]


def claim_jobs(transaction: Transaction, ids: Sequence[JobId], *, now: datetime, until: datetime) -> list[Job]:
    """Claim what is still due of ``ids`` until then, and return it with its new fence and one attempt more.

    The attempt counts once the run ends: one that a killed process began was none.
    """
    if not ids:
        return []
    statement, parameters = _CLAIM.sized(ids)
    rows = transaction.all(statement, parameters | {"now_us": to_us(now), "until_us": to_us(until)})
    return [replace(job, attempts=job.attempts + 1) for job in map(_to_domain, rows)]


def give_back(transaction: Transaction, job: Job, *, at: datetime) -> None:
    """Let another run a claimed job, whose run was broken off; it was no attempt."""
    transaction.execute(_GIVE_BACK, {"job_id": job.id, "of_fence": job.fence, "due_at_us": to_us(at)})


def renew_claim(transaction: Transaction, job: Job, *, until: datetime) -> bool:
    """Hold a claim longer; False when it was lost."""
    return transaction.execute(_RENEW, {"job_id": job.id, "of_fence": job.fence, "until_us": to_us(until)}) == 1


def end_job(transaction: Transaction, job: Job, end: JobEnd, *, at: datetime) -> bool:
    """Say how a claimed run ended; False, and nothing changed, when the claim was lost to another.

    Those behind it in its order are due when it is tried again, or now that it is over.
    """
    held = {"job_id": job.id, "of_fence": job.fence}
    again_at_us = to_us(end.again_at or at)
    if end.state is JobState.DONE:
        ended = transaction.execute(_FINISH, held)
    else:
        over_us = to_us(at) if end.state is JobState.DEAD else None
        change = {"new_state": end.state.value, "due_at_us": again_at_us, "ended_at_us": over_us}
        tried = {"attempts": job.attempts, "last_error": end.error}
        ended = transaction.execute(_END, held | change | tried)
    if ended and end.lane_rests_until is not None:
        lanes.rest_lane(transaction, job.lane, until=end.lane_rests_until)
    if ended and job.order_key is not None:
        behind = {"of_order": job.order_key, "behind": job.order_place, "due_at_us": again_at_us}
        transaction.execute(_PUSH, behind)
    return ended == 1


def run_again(transaction: Transaction, job_id: JobId, *, at: datetime) -> bool:
    """Let a job that waits or is dead run at ``at`` with all its tries; False for one that runs or is unknown."""
    return transaction.execute(_AGAIN, {"job_id": job_id, "due_at_us": to_us(at)}) == 1


def wake_lane(transaction: Transaction, lane: str, *, at: datetime, limit: int) -> int:
    """Let so many jobs of a lane that wait fall due, resting or slow or not; return how many did.

    What they waited for has changed.
    """
    lanes.refresh_lane(transaction, lane)
    return transaction.execute(_WAKE, {"of_lane": lane, "due_at_us": to_us(at), "limit": limit})


def release_claims(transaction: Transaction) -> int:
    """Void every claim; only for a database with a single process, when it starts."""
    return transaction.execute(_RELEASE)


def next_due(transaction: Transaction, kinds: Iterable[JobKind], *, after: datetime) -> datetime | None:
    """Return when the next unfinished job or claim of some kinds falls due, or a lane has rested, after ``after``."""
    asked = [{"kind": kind.value, "after_us": to_us(after)} for kind in kinds]
    rows = [transaction.first(statement, one) for statement in (_NEXT_DUE, _NEXT_AWAKE) for one in asked]
    known = [row[0] for row in rows if row is not None and row[0] is not None]
    return from_us(min(known)) if known else None


def job_by_id(transaction: Transaction, job_id: JobId) -> Job | None:
    row = transaction.first(_BY_ID, {"id": job_id})
    return None if row is None else _to_domain(row)


def queue_depths(transaction: Transaction) -> list[tuple[JobKind, JobState, int]]:
    """Return how many unfinished or dead jobs there are of each kind and state."""
    return [(JobKind(kind), JobState(state), count) for kind, state, count in transaction.all(_DEPTHS)]


def list_jobs(transaction: Transaction, state: JobState, *, limit: int) -> list[Job]:
    """Return jobs in one state, the longest due first."""
    return [_to_domain(row) for row in transaction.all(_LISTS[state], {"limit": limit})]


def _columns(job: Job) -> dict[str, object]:
    return {
        "id": job.id,
        "kind": job.kind.value,
        "subject": job.subject,
        "lane": job.lane,
        "order_key": job.order_key,
        "order_place": job.order_place,
        "state": job.state.value,
        "due_at_us": to_us(job.due_at),
        "attempts": job.attempts,
        "fence": job.fence,
        "last_error": job.last_error,
        "created_at_us": to_us(job.created_at),
        "ended_at_us": None if job.ended_at is None else to_us(job.ended_at),
    }


def _to_domain(row: Any) -> Job:
    id_, kind, subject, lane, order_key, order_place, state, due, attempts, fence, error, created, ended = row
    return Job(
        id=JobId(id_),
        kind=JobKind(kind),
        subject=subject,
        lane=lane,
        order_key=order_key,
        order_place=order_place,
        state=JobState(state),
        due_at=from_us(due),
        attempts=attempts,
        fence=fence,
        last_error=error,
        created_at=from_us(created),
        ended_at=from_us_or_none(ended),
    )
