"""Arguments that many fields take, described once."""

from typing import Annotated, Any, TypeVar

import strawberry

from quittance.domain.errors import InvalidInput
from quittance.gql.pages import PAGE_MAX

T = TypeVar("T")

First = Annotated[int | None, strawberry.argument(description=f"How many, at most {PAGE_MAX}.")]
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
