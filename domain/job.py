"""Something that must happen later: stored with the change that asks for it, and run at least once."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from quittance.domain.ids import JobId

CRASHED = "CRASHED"  # what a job is said to have failed with when its handler did


class JobKind(StrEnum):
    WEBHOOK_DELIVERY = "webhook.delivery"
    PROVIDER_CHECK = "provider.check"
    PROVIDER_CALLBACK = "provider.callback"
    TRANSFER = "transfer"
    POLICY_REFUND = "refund.policy"
    AUTOMATIC_PAYOUT = "payout.automatic"
    UPVOTE_SPLIT = "upvote.split"


class JobState(StrEnum):
    """RUNNING lasts until ``due_at``: a claim that was not renewed by then is anybody's. DEAD waits for a person."""

    WAITING = "WAITING"
    RUNNING = "RUNNING"
    DONE = "DONE"
    DEAD = "DEAD"


OWNER_LENGTH = 36  # of a merchant's id


def owner_of(lane: str) -> str:
    """Return whose places the jobs of a lane take: the merchant that its name begins with, or the lane itself."""
    return lane[:OWNER_LENGTH]


STORED = frozenset(JobState) - {JobState.DONE}  # what is done needs no row any more


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """``subject`` is what the job is about, once a kind; jobs of one ``order_key`` run one after the
    other, by ``order_place``.

    ``lane`` bounds how many run at once; ``fence`` tells the newest claim from one that was too slow. ``attempts``
    counts the runs that ended; while one runs, it too.
    """

    id: JobId
    kind: JobKind
    subject: str
    lane: str
    order_key: str | None = None
    order_place: int = 0
    state: JobState = JobState.WAITING
    due_at: datetime
    attempts: int = 0
    fence: int = 0
    last_error: str | None = None
    created_at: datetime
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnableJob:
    """A job that may begin; ``slow``: what its lane calls did not answer when it was last tried."""

    job: Job
    slow: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnd:
    """How one run ended. With ``again_at`` the job waits until then; ``lane_rests_until`` makes its lane wait too.

    ``lane_answers`` says whether what the lane calls answered, where the run found out.
    """

    state: JobState
    error: str | None = None
    again_at: datetime | None = None
    lane_rests_until: datetime | None = None
    lane_answers: bool | None = None

    def __post_init__(self) -> None:
        if (self.state is JobState.WAITING) is (self.again_at is None):
            raise ValueError("a job that waits says until when, and no other does")
        if self.state is JobState.RUNNING:
            raise ValueError("a run that ended is not running")
