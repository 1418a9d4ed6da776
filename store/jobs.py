"""Jobs: added by the unit that needs them, claimed by compare-and-set, so that any number of processes may run them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, func, or_, select, update

from quittance.domain.ids import JobId
from quittance.domain.job import Job, JobEnd, JobKind, JobState
from quittance.store.models import JobLaneRow, JobRow, table_of
from quittance.store.statement import BatchStatement, Statement
from quittance.store.transaction import Transaction, from_us, from_us_or_none, to_us

_JOB = table_of(JobRow)
_LANE = table_of(JobLaneRow)
_ALIVE = (JobState.WAITING.value, JobState.RUNNING.value)


def _alive(table: Any) -> Any:
    return or_(*(table.c.state == state for state in _ALIVE))


def _runnable(_: object) -> Any:
    earlier = _JOB.alias("earlier")
    blocked = (
        select(earlier.c.id)
        .where(earlier.c.order_key == _JOB.c.order_key, earlier.c.order_place < _JOB.c.order_place, _alive(earlier))
        .exists()
    )
    resting = select(_LANE.c.lane).where(_LANE.c.lane == _JOB.c.lane, _LANE.c.paused_until_us > bindparam("now_us"))
    place = func.row_number().over(partition_by=_JOB.c.lane, order_by=(_JOB.c.due_at_us, _JOB.c.id))
    due = (
        select(*_JOB.c, place.label("place"))
        .where(_alive(_JOB), _JOB.c.due_at_us <= bindparam("now_us"), ~blocked, ~resting.exists())
        .subquery()
    )
    return (
        select(*[due.c[column.name] for column in _JOB.c])
        .where(due.c.place <= bindparam("lane_max"))
        .order_by(due.c.place, due.c.due_at_us, due.c.id)
        .limit(bindparam("limit"))
    )


_ADD = Statement(
    lambda d: (
        d.insert(_JOB)
        .values({column.name: bindparam(column.name) for column in _JOB.c})
        .on_conflict_do_nothing(index_elements=["kind", "subject"])
    )
)
_RUNNABLE = Statement(_runnable)
_CLAIM = BatchStatement(
    lambda _, keys: (
        update(_JOB)
        .where(_JOB.c.id.in_(keys), _alive(_JOB), _JOB.c.due_at_us <= bindparam("now_us"))
        .values(
            state=JobState.RUNNING.value,
            due_at_us=bindparam("until_us"),
            attempts=_JOB.c.attempts + 1,
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
_END = Statement(
    lambda _: (
        update(_JOB)
        .where(*_HELD)
        .values(
            state=bindparam("new_state"),
            due_at_us=bindparam("due_at_us"),
            last_error=bindparam("last_error"),
            ended_at_us=bindparam("ended_at_us"),
        )
    )
)
_AGAIN = Statement(
    lambda _: (
        update(_JOB)
        .where(_JOB.c.id == bindparam("job_id"), ~(_JOB.c.state == JobState.RUNNING.value))
        .values(state=JobState.WAITING.value, due_at_us=bindparam("due_at_us"), attempts=0, ended_at_us=None)
    )
)
_WAKE = Statement(
    lambda _: (
        update(_JOB)
        .where(_JOB.c.lane == bindparam("of_lane"), _JOB.c.state == JobState.WAITING.value)
        .values(due_at_us=bindparam("due_at_us"))
    )
)
_BY_SUBJECT = Statement(
    lambda _: select(_JOB.c.id).where(_JOB.c.kind == bindparam("kind"), _JOB.c.subject == bindparam("subject"))
)
_NEXT_DUE = Statement(
    lambda _: select(func.min(_JOB.c.due_at_us)).where(_alive(_JOB), _JOB.c.due_at_us > bindparam("after_us"))
)
_REST = Statement(
    lambda d: (
        inserted := d.insert(_LANE).values(lane=bindparam("lane"), paused_until_us=bindparam("until_us"))
    ).on_conflict_do_update(
        index_elements=["lane"],
        set_={"paused_until_us": inserted.excluded.paused_until_us},
        where=_LANE.c.paused_until_us < inserted.excluded.paused_until_us,
    )
)
_REST_NO_MORE = Statement(lambda _: delete(_LANE).where(_LANE.c.lane == bindparam("lane")))
_RELEASE = Statement(
    lambda _: update(_JOB).where(_JOB.c.state == JobState.RUNNING.value).values(due_at_us=_JOB.c.created_at_us)
)
_BY_ID = Statement(lambda _: select(*_JOB.c).where(_JOB.c.id == bindparam("id")))
_DEPTHS = Statement(
    lambda _: (
        select(_JOB.c.kind, _JOB.c.state, func.count())
        .where(~(_JOB.c.state == JobState.DONE.value))
        .group_by(_JOB.c.kind, _JOB.c.state)
    )
)
_LIST = Statement(
    lambda _: (
        select(*_JOB.c)
        .where(_JOB.c.state == bindparam("state"))
        .order_by(_JOB.c.due_at_us, _JOB.c.id)
        .limit(bindparam("limit"))
    )
)


def add_job(transaction: Transaction, job: Job) -> bool:
    """Remember a job; False, and nothing changed, when this kind has one about the same subject."""
    return transaction.execute(_ADD, _columns(job)) == 1


def runnable_jobs(transaction: Transaction, *, now: datetime, lane_max: int, limit: int) -> list[Job]:
    """Return due jobs that nothing holds back, at most ``lane_max`` of each lane: each lane's first, then the second.

    Held back are those with an unfinished job of the same order before them, and those whose lane rests.
    """
    parameters: dict[str, object] = {"now_us": to_us(now), "lane_max": lane_max, "limit": limit}
    return [_to_domain(row) for row in transaction.all(_RUNNABLE, parameters)]


def claim_jobs(transaction: Transaction, ids: Sequence[JobId], *, now: datetime, until: datetime) -> list[Job]:
    """Claim what is still due of ``ids`` until then, and return it with its new fence and one attempt more."""
    if not ids:
        return []
    statement, parameters = _CLAIM.sized(ids)
    rows = transaction.all(statement, parameters | {"now_us": to_us(now), "until_us": to_us(until)})
    return [_to_domain(row) for row in rows]


def renew_claim(transaction: Transaction, job: Job, *, until: datetime) -> bool:
    """Hold a claim longer; False when it was lost."""
    return transaction.execute(_RENEW, {"job_id": job.id, "of_fence": job.fence, "until_us": to_us(until)}) == 1


def end_job(transaction: Transaction, job: Job, end: JobEnd, *, at: datetime) -> bool:
    """Say how a claimed run ended; False, and nothing changed, when the claim was lost to another."""
    over = end.state is not JobState.WAITING
    ended = transaction.execute(
        _END,
        {
            "job_id": job.id,
            "of_fence": job.fence,
            "new_state": end.state.value,
            "due_at_us": to_us(end.again_at or job.due_at),
            "last_error": end.error,
            "ended_at_us": to_us(at) if over else None,
        },
    )
    if ended and end.lane_rests_until is not None:
        rest_lane(transaction, job.lane, until=end.lane_rests_until)
    return ended == 1


def rest_lane(transaction: Transaction, lane: str, *, until: datetime) -> None:
    """Begin no job of a lane before ``until``, nor before a later time that was said already."""
    transaction.execute(_REST, {"lane": lane, "until_us": to_us(until)})


def run_again(transaction: Transaction, job_id: JobId, *, at: datetime) -> bool:
    """Let a job that waits, is dead or done run at ``at`` with all its tries; False for one that runs or is unknown."""
    return transaction.execute(_AGAIN, {"job_id": job_id, "due_at_us": to_us(at)}) == 1


def run_subject_again(transaction: Transaction, kind: JobKind, subject: str, *, at: datetime) -> bool:
    """Let the job of this kind about ``subject`` run again, as :func:`run_again`."""
    row = transaction.first(_BY_SUBJECT, {"kind": kind.value, "subject": subject})
    return row is not None and run_again(transaction, JobId(row[0]), at=at)


def wake_lane(transaction: Transaction, lane: str, *, at: datetime) -> None:
    """Let every job of a lane that waits fall due, resting or not: what it waited for has changed."""
    transaction.execute(_WAKE, {"of_lane": lane, "due_at_us": to_us(at)})
    transaction.execute(_REST_NO_MORE, {"lane": lane})


def release_claims(transaction: Transaction) -> int:
    """Void every claim; only for a database with a single process, when it starts."""
    return transaction.execute(_RELEASE)


def next_due(transaction: Transaction, *, after: datetime) -> datetime | None:
    """Return when the next unfinished job, or claim, falls due after ``after``."""
    row = transaction.first(_NEXT_DUE, {"after_us": to_us(after)})
    return None if row is None else from_us_or_none(row[0])


def job_by_id(transaction: Transaction, job_id: JobId) -> Job | None:
    row = transaction.first(_BY_ID, {"id": job_id})
    return None if row is None else _to_domain(row)


def queue_depths(transaction: Transaction) -> list[tuple[JobKind, JobState, int]]:
    """Return how many unfinished or dead jobs there are of each kind and state."""
    return [(JobKind(kind), JobState(state), count) for kind, state, count in transaction.all(_DEPTHS)]


def list_jobs(transaction: Transaction, state: JobState, *, limit: int) -> list[Job]:
    """Return jobs in one state, the longest due first."""
    return [_to_domain(row) for row in transaction.all(_LIST, {"state": state.value, "limit": limit})]


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
