"""Facts of this installation that every process must agree on."""

from sqlalchemy import bindparam, select

from quittance.store.models import table_of
from quittance.store.models_operations import InstanceRow
from quittance.store.statement import Statement
from quittance.store.transaction import Transaction

_ROW = table_of(InstanceRow)
_INSERT = Statement(
    lambda d: (
        d.insert(_ROW)
        .values(name=bindparam("name"), value=bindparam("value"))
        .on_conflict_do_nothing(index_elements=["name"])
    )
)
_FIND = Statement(lambda _: select(_ROW.c.value).where(_ROW.c.name == bindparam("name")))


def agree(transaction: Transaction, name: str, value: str) -> str:
    """Store a fact unless it is known, and return the one that is stored."""
    transaction.execute(_INSERT, {"name": name, "value": value})
    row = transaction.first(_FIND, {"name": name})
    return value if row is None else str(row[0])
