"""What a webhook says of an event: the port behind which GraphQL makes it."""

from typing import Protocol

from quittance.domain.event import Event, EventKind
from quittance.domain.ids import MerchantId


class NotConcerned(Exception):
    """The document selects other events than this one."""


class PayloadUnavailable(Exception):
    """It cannot be made just now, through no fault of the document; ``reason`` is the code of what is in the way."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"a payload cannot be made just now: {reason}")
        self.reason = reason


class PayloadRenderer(Protocol):
    """Makes what a merchant is told of an event of its own."""

    def kinds_of(self, document: str) -> frozenset[EventKind]:
        """Return the events that a subscription document can tell of.

        Raises:
            InvalidDocument: it cannot become a payload, and why.
        """
        ...

    async def check(self, document: str, merchant_id: MerchantId) -> None:
        """Refuse what would fail at an event although it fits the schema.

        Raises:
            InvalidDocument: it cannot become a payload of this merchant's, and why.
            PayloadUnavailable: nothing is known of it just now.
        """
        ...

    async def render(self, event: Event, *, document: str | None) -> object:
        """Return the payload's data, as JSON can hold it: what the document selects, or without one our own.

        Raises:
            InvalidDocument: the document does not fit the schema any more.
            NotConcerned: the document selects other events.
            PayloadUnavailable: the same call may succeed later.
        """
        ...
