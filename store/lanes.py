"""Lanes: what holds back the jobs that call one place, whichever process runs them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, bindparam, case, func, select, update

from quittance.store.models import table_of
from quittance.store.models_operations import JobLaneRow
from quittance.store.statement import BatchStatement, Statement
from quittance.store.transaction import Transaction, to_us

_LANE = table_of(JobLaneRow)
_US = 1_000_000
_NEW = {"lane": bindparam("lane"), "paused_until_us": 0, "slow": 0, "per_second": None}

_REST = Statement(
    lambda d: (
        inserted := d.insert(_LANE).values(_NEW | {"paused_until_us": bindparam("until_us")})
    ).on_conflict_do_update(
        index_elements=["lane"],
        set_={"paused_until_us": inserted.excluded.paused_until_us},
        where=_LANE.c.paused_until_us < inserted.excluded.paused_until_us,
    )
)
_MARK = Statement(
    lambda d: (inserted := d.insert(_LANE).values(_NEW | {"slow": bindparam("slow")})).on_conflict_do_update(
        index_elements=["lane"], set_={"slow": inserted.excluded.slow}
    )
)
_LIMIT = Statement(
    lambda d: (
        inserted := d.insert(_LANE).values(_NEW | {"per_second": bindparam("per_second")})
    ).on_conflict_do_update(index_elements=["lane"], set_={"per_second": inserted.excluded.per_second})
)


def _paced(dialect: Any) -> Any:
    """Let a lane rest as long as the begun jobs may take, on top of what it rests already."""
    inserted = dialect.insert(_LANE).values(_NEW | {"paused_until_us": bindparam("rested_us")})
    now = bindparam("now_us", type_=BigInteger)
    resting = case((_LANE.c.paused_until_us > now, _LANE.c.paused_until_us), else_=now)
    said = bindparam("begun_us", type_=BigInteger) // _LANE.c.per_second
    return inserted.on_conflict_do_update(
        index_elements=["lane"],
        set_={"paused_until_us": resting + func.coalesce(said, inserted.excluded.paused_until_us - now)},
    )


_PACE = Statement(_paced)
_RATES = BatchStatement(lambda _, keys: select(_LANE.c.lane, _LANE.c.per_second).where(_LANE.c.lane.in_(keys)))
_REFRESH = Statement(
    lambda _: update(_LANE).where(_LANE.c.lane == bindparam("of_lane")).values(paused_until_us=0, slow=0)
)


def rest_lane(transaction: Transaction, lane: str, *, until: datetime) -> None:
    """Begin no job of a lane before ``until``, nor before a later time that was said already."""
    transaction.execute(_REST, {"lane": lane, "until_us": to_us(until)})


def mark_lane(transaction: Transaction, lane: str, *, slow: bool) -> None:
    """Say whether what the jobs of a lane call answers at all."""
    transaction.execute(_MARK, {"lane": lane, "slow": int(slow)})


def limit_lane(transaction: Transaction, lane: str, *, per_second: int | None) -> None:
    """Say how many jobs of a lane may begin in a second; None leaves it to what holds for all of its kind."""
    transaction.execute(_LIMIT, {"lane": lane, "per_second": per_second})


def rates(transaction: Transaction, names: Sequence[str]) -> list[int | None]:
    """Return what :func:`limit_lane` said of each lane, in order."""
    statement, parameters = _RATES.sized(names)
    found: dict[str, int | None] = dict(transaction.all(statement, parameters))
    return [found.get(name) for name in names]


def pace_lanes(transaction: Transaction, begun: Mapping[str, int], *, per_second: int, now: datetime) -> None:
    """Let lanes of which jobs were begun rest for as long as so many may take; ``per_second`` unless a lane says so."""
    now_us = to_us(now)
    transaction.execute_many(
        _PACE,
        [
            {"lane": lane, "now_us": now_us, "begun_us": count * _US, "rested_us": now_us + count * _US // per_second}
            for lane, count in begun.items()
        ],
    )


def refresh_lane(transaction: Transaction, lane: str) -> None:
    """Forget that a lane rests, or is slow."""
    transaction.execute(_REFRESH, {"of_lane": lane})
