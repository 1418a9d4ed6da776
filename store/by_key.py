"""What belongs to each of many keys, in the order of the keys: the contract of a dataloader, with one statement."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from quittance.domain.text import is_storable
from quittance.store.statement import BatchStatement
from quittance.store.transaction import Transaction

K = TypeVar("K", bound=str)
D = TypeVar("D")


def one_by_id(
    transaction: Transaction, statement: BatchStatement, ids: Sequence[K], to_domain: Callable[[Any], D]
) -> list[D | None]:
    """Return one entry per id; a row begins with its id. What no column can hold is not there."""
    known = [id_ for id_ in ids if is_storable(id_)]
    if not known:
        return [None] * len(ids)
    sized, parameters = statement.sized(known)
    found = {row[0]: to_domain(row) for row in transaction.all(sized, parameters)}
    return [found.get(id_) for id_ in ids]


def many_by_key(
    transaction: Transaction, statement: BatchStatement, keys: Sequence[K], to_entry: Callable[[Any], tuple[Any, D]]
) -> list[list[D]]:
    """Return one list per key, in the order of the rows; ``to_entry`` says which key a row belongs to."""
    sized, parameters = statement.sized(keys)
    found: dict[Any, list[D]] = {key: [] for key in keys}
    for row in transaction.all(sized, parameters):
        key, value = to_entry(row)
        found[key].append(value)
    return [found[key] for key in keys]
