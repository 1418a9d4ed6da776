"""What a unit of work sees: statements, time, identifiers, and the event log it appends to."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from quittance.domain.event import EventKind
from quittance.domain.ids import AccountId, ArticleId, MerchantId, PaymentId
from quittance.store.statement import Parameters, Statement

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NOTHING: Parameters = {}


def to_us(moment: datetime) -> int:
    """Return microseconds since 1970, exactly."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def from_us(value: int) -> datetime:
    """Return the aware UTC moment."""
    return _EPOCH + timedelta(microseconds=value)


def from_us_or_none(value: int | None) -> datetime | None:
    return None if value is None else from_us(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventDraft:
    """A change to be appended to the log when the unit commits."""

    kind: EventKind
    merchant_id: MerchantId
    payment_id: PaymentId | None = None
    article_id: ArticleId | None = None
    status: str | None = None
    subject_id: str | None = None
    account_id: AccountId | None = None


class Transaction(ABC):
    """One business change or one read. Runs synchronously; the database decides on which thread."""

    def __init__(self) -> None:
        self.drafts: list[EventDraft] = []

    @abstractmethod
    def all(self, statement: Statement, parameters: Parameters = _NOTHING) -> list[Any]:
        """Return every row as a tuple."""

    @abstractmethod
    def execute(self, statement: Statement, parameters: Parameters = _NOTHING) -> int:
        """Return how many rows were changed."""

    @abstractmethod
    def execute_many(self, statement: Statement, parameters: list[Parameters]) -> None:
        """Run one statement once for each set of parameters."""

    def first(self, statement: Statement, parameters: Parameters = _NOTHING) -> Any | None:
        """Return the first row, or None."""
        rows = self.all(statement, parameters)
        return rows[0] if rows else None

    def emit(self, draft: EventDraft) -> None:
        """Append an event when, and only when, this unit commits."""
        self.drafts.append(draft)


T = TypeVar("T")
Unit = Callable[[Transaction], T]
AppendEvents = Callable[[Transaction], int | None]
