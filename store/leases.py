"""Leases: one holder for each loop that must not run twice."""

from datetime import datetime

from sqlalchemy import bindparam, or_, update

from quittance.store.models import table_of
from quittance.store.models_operations import LeaseRow
from quittance.store.statement import Statement, every_column
from quittance.store.transaction import Transaction, to_us

_LEASE = table_of(LeaseRow)


def _take(d: object) -> object:
    statement = d.insert(_LEASE).values(every_column(_LEASE))  # type: ignore[attr-defined]
    excluded = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=["name"],
        set_={"holder": excluded.holder, "fence": _LEASE.c.fence + 1, "until_us": excluded.until_us},
        where=or_(_LEASE.c.until_us <= bindparam("now_us"), _LEASE.c.holder == excluded.holder),
    )


_TAKE = Statement(_take)  # type: ignore[arg-type]
_RELEASE = Statement(
    lambda _: (
        update(_LEASE)
        .where(_LEASE.c.name == bindparam("lease_name"), _LEASE.c.holder == bindparam("by"))
        .values(until_us=0)
    )
)


_RELEASE_ALL = Statement(lambda _: update(_LEASE).values(until_us=0))


def take_lease(transaction: Transaction, name: str, *, holder: str, now: datetime, until: datetime) -> bool:
    """Take or renew the lease; False while another holds it."""
    parameters: dict[str, object] = {
        "name": name,
        "holder": holder,
        "fence": 1,
        "until_us": to_us(until),
        "now_us": to_us(now),
    }
    return transaction.execute(_TAKE, parameters) == 1


def release_all(transaction: Transaction) -> int:
    """Void every lease; only for a database with a single process, when it starts."""
    return transaction.execute(_RELEASE_ALL)


def release_lease(transaction: Transaction, name: str, *, holder: str) -> None:
    """Give the lease back, so that another need not wait for it to lapse."""
    transaction.execute(_RELEASE, {"lease_name": name, "by": holder})
