"""Arguments that many fields take, described once."""

from typing import Annotated, Any, TypeVar

import strawberry

from quittance.domain.cursor import decode_key
from quittance.domain.errors import InvalidCursor, InvalidInput

T = TypeVar("T")

PAGE_MAX = 100
PAGE_DEFAULT = 25

First = Annotated[int | None, strawberry.argument(description="How many, at most 100.")]
After = Annotated[str | None, strawberry.argument(description="The cursor of the last one seen.")]
Id = Annotated[strawberry.ID, strawberry.argument(description="The id.")]
ClientSecret = Annotated[
    str | None, strawberry.argument(description="The client secret of the payment, for a caller without a key.")
]


def given(value: Any, field: str) -> Any:
    """Return what was said for a field that may be left out; None for what was.

    Raises:
        InvalidInput: null was said.
    """
    if value is None:
        raise InvalidInput(field, f"{field} cannot be null; leave it out to keep it")
    return given_or_null(value)


def given_or_null(value: T | None) -> T | None:
    """Return what was said, None also for what was left out."""
    return None if value is strawberry.UNSET else value


def resumed_after(kind: str, after: str | None) -> str | None:
    """Return the id behind a cursor of this kind of list; None for a list from its start.

    Raises:
        InvalidCursor: the cursor is of another list, or none of ours.
    """
    if after is None:
        return None
    match decode_key(after):
        case (str(named), str(id_)) if named == kind:
            return id_
        case _:
            raise InvalidCursor


def page_size(first: int | None) -> int:
    """Return the page size; null means the default.

    Raises:
        InvalidInput: below 1 or above the limit.
    """
    if first is None:
        return PAGE_DEFAULT
    if not 1 <= first <= PAGE_MAX:
        raise InvalidInput("first", f"first lies between 1 and {PAGE_MAX}")
    return first
