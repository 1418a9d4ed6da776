"""Pages of connections: what was asked for, and what is shown of what was found."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from quittance.domain.cursor import decode_key
from quittance.domain.errors import InvalidCursor, InvalidInput
from quittance.gql.types.node import PageInfo

PAGE_MAX = 100
PAGE_DEFAULT = 25


class Edge(Protocol):
    """What connections hold: a node, which is their own matter, and where it stands."""

    cursor: str


D = TypeVar("D")
E = TypeVar("E", bound=Edge)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[E]):
    edges: list[E]
    page_info: PageInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class PageAsked:
    """How many were asked for, and behind which cursor."""

    size: int
    after: str | None

    @property
    def limit(self) -> int:
        """How many to look for: one more than is shown tells whether more follow."""
        return self.size + 1

    def after_id(self, kind: str) -> str | None:
        """Return the id behind a cursor of this kind of list; None for a list from its start.

        Raises:
            InvalidCursor: the cursor is of another list, or none of ours.
        """
        if self.after is None:
            return None
        match decode_key(self.after):
            case (str(named), str(id_)) if named == kind:
                return id_
            case _:
                raise InvalidCursor

    def of(self, found: Sequence[D], edge: Callable[[D], E]) -> Page[E]:
        """Return the page that shows what was found, each as its ``edge``."""
        edges = [edge(one) for one in found[: self.size]]
        info = PageInfo(
            has_next_page=len(found) > self.size,
            has_previous_page=self.after is not None,
            start_cursor=edges[0].cursor if edges else None,
            end_cursor=edges[-1].cursor if edges else None,
        )
        return Page(edges=edges, page_info=info)


def asked_page(first: int | None, after: str | None, *, default: int = PAGE_DEFAULT) -> PageAsked:
    """Return what page is asked for; null for the size means the default.

    Raises:
        InvalidInput: the size is below 1 or above the limit.
    """
    size = default if first is None else first
    if not 1 <= size <= PAGE_MAX:
        raise InvalidInput("first", f"first lies between 1 and {PAGE_MAX}")
    return PageAsked(size=size, after=after)


def entry_key(after: str, kind: str) -> tuple[int, str, int]:
    """Return where a line of the ledger stands, from a cursor of this kind of list.

    Raises:
        InvalidCursor: the cursor is of another list, or none of ours.
    """
    match decode_key(after):
        case (str(named), int(posted_at_us), str(transaction_id), int(line)) if named == kind:
            return posted_at_us, transaction_id, line
        case _:
            raise InvalidCursor
