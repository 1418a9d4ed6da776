"""One call of Strike's API, as the code behind it sees it, and what it answers."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from starlette.datastructures import QueryParams

from quittance.sandbox.strike.reading import Given, read_id

OK: Final = 200
CREATED: Final = 201
ACCEPTED: Final = 202
NO_CONTENT: Final = 204


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """``operation`` is what faults are bound to; ``host`` is the server as the caller wrote it."""

    operation: str
    given: Given
    query: QueryParams
    path: Mapping[str, str]
    host: str
    idempotency_key: str | None

    def id(self, name: str) -> str:
        """Return an id of the path.

        Raises:
            Refused: it is no UUID.
        """
        return read_id(self.path[name], name=name)

    def created(self, body: Any, *, at: str) -> "Answer":
        """Return the answer to a creation; ``at`` is the path of what was made."""
        return Answer(status=CREATED, body=body, location=f"{self.host}{at}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Without a body nothing is sent."""

    body: Any = None
    status: int = OK
    location: str | None = None


Handler = Callable[[Call], Answer | Awaitable[Answer]]
