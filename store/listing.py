"""Lists with an id: a page of them, the newest first, and how many there are."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Table, bindparam, func, select

from quittance.domain.text import is_storable
from quittance.store.statement import Statement
from quittance.store.transaction import Transaction

Narrowing = Mapping[str, str | None]


class Listing:
    """One table's list; ``within`` always holds.

    A call narrows the list to columns of ``narrowed_by`` and the text that each must equal; None leaves a column open.
    Each combination that is asked for is compiled once.
    """

    def __init__(
        self,
        table: Table,
        *,
        narrowed_by: Sequence[ColumnElement[Any]] = (),
        within: Sequence[ColumnElement[bool]] = (),
    ) -> None:
        self._table = table
        self._columns = {str(column.key): column for column in narrowed_by}
        self._within = tuple(within)
        self._pages: dict[tuple[str, ...], Statement] = {}
        self._counts: dict[tuple[str, ...], Statement] = {}

    def page(self, transaction: Transaction, narrowed: Narrowing, *, after_id: str | None, limit: int) -> list[Any]:
        """Return rows of the table, the newest first, after the last one seen."""
        said = _said(narrowed)
        if said is None:
            return []
        resumed = {} if after_id is None else {"after_id": after_id}
        asked = (*said, *resumed)
        if asked not in self._pages:
            self._pages[asked] = self._page(list(said), resumed=after_id is not None)
        return transaction.all(self._pages[asked], {**said, **resumed, "limit": limit})

    def count(self, transaction: Transaction, narrowed: Narrowing) -> int:
        said = _said(narrowed)
        if said is None:
            return 0
        asked = tuple(said)
        if asked not in self._counts:
            counted = select(func.count()).select_from(self._table).where(*self._fence(asked))
            self._counts[asked] = Statement(lambda _: counted)
        return int(transaction.all(self._counts[asked], said)[0][0])

    def _page(self, names: Sequence[str], *, resumed: bool) -> Statement:
        table = self._table
        earlier = [table.c.id < bindparam("after_id")] if resumed else []
        page = (
            select(*table.c).where(*self._fence(names), *earlier).order_by(table.c.id.desc()).limit(bindparam("limit"))
        )
        return Statement(lambda _: page)

    def _fence(self, names: Sequence[str]) -> list[ColumnElement[bool]]:
        return [*self._within, *(self._columns[name] == bindparam(name) for name in names)]


def _said(narrowed: Narrowing) -> dict[str, object] | None:
    """Return what the list is narrowed to; None where a text is one that no column holds, so nothing matches."""
    said = {name: text for name, text in narrowed.items() if text is not None}
    return dict(said) if all(is_storable(text) for text in said.values()) else None
