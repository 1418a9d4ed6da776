"""What we write down of a payment before Strike is asked: Strike tells a payment's id once, and lists none (1.6)."""

from datetime import datetime, timedelta
from hashlib import sha256
from typing import Annotated, Final
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from quittance.domain.errors import ProviderMisconfigured
from quittance.providers.base import SendFailure

NEVER_RAN_AFTER_S: Final = 900.0  # behind an execution, what it began shows among Strike's events
_OWNED: Final = "payment/"
_OPEN: Final = "open/"
Sat = Annotated[int, Field(ge=0, lt=2**63, strict=True)]


class Note(BaseModel):
    """How far the payment of one invoice is.

    ``number`` counts its quotes: a new one is only asked for when the one before can pay nothing any more, or was
    never executed. ``noted_at`` is when the first of them was noted. ``executed_at`` says that an execution was begun
    and its answer is not known, ``lost_at`` when the last such was begun; both are written before the call, and
    ``executions`` counts those calls, so that no two leave the same note. ``payment_id`` is known from the answer.
    ``failure`` is why the last try certainly moved nothing. ``paid_before_at`` is when Strike first said that the
    invoice has been paid.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    number: Annotated[int, Field(ge=1)]
    amount_sat: Sat
    noted_at: AwareDatetime
    quote_id: str | None = None
    fee_sat: Sat | None = None
    valid_until: AwareDatetime | None = None
    executed_at: AwareDatetime | None = None
    lost_at: AwareDatetime | None = None
    executions: Annotated[int, Field(ge=0)] = 0
    paid_before_at: AwareDatetime | None = None
    payment_id: str | None = None
    failure: SendFailure | None = None

    @property
    def text(self) -> str:
        return self.model_dump_json(exclude_none=True)

    @property
    def is_open(self) -> bool:
        """Tell whether an execution was begun of which it is not known what it moved."""
        return self.executed_at is not None

    def begun(self, *, at: datetime) -> "Note":
        """Return this note before an execution, the first or one more of the same quote."""
        first_at = self.executed_at or at
        begins = {"executed_at": first_at, "lost_at": at, "executions": self.executions + 1, "failure": None}
        return self.model_copy(update=begins)

    def refused(self, *, before: "Note") -> "Note":
        """Return this note after one more execution was refused; what went ``before`` it is not known still."""
        return self.model_copy(update={"lost_at": before.lost_at})

    def paid_as(self, payment_id: str) -> "Note":
        return self.failed(None).model_copy(update={"payment_id": payment_id})

    def failed(self, failure: SendFailure | None) -> "Note":
        """Return this note after a try that certainly moved nothing; its quote may still be executed."""
        return self.model_copy(update={"executed_at": None, "lost_at": None, "failure": failure})

    def spent(self, failure: SendFailure, *, at: datetime) -> "Note":
        """Return this note after its quote came to its end without moving anything."""
        return self.failed(failure).model_copy(update={"valid_until": at})

    def is_told(self, *, at: datetime) -> bool:
        """Tell whether Strike's events show by now whatever an execution began whose answer was lost."""
        lost_at = self.lost_at or self.executed_at or self.noted_at
        return at - lost_at >= timedelta(seconds=NEVER_RAN_AFTER_S)

    def is_executable(self, *, at: datetime) -> bool:
        """Tell whether there is a quote that may still pay; whose end is not known, may."""
        ended = self.valid_until is not None and at >= self.valid_until
        return self.quote_id is not None and self.payment_id is None and not ended


def read_note(text: str | None, *, provider: str) -> Note | None:
    """Return a note as it was written.

    Raises:
        ProviderMisconfigured: it is none of ours; nothing may be paid on what we cannot read.
    """
    if text is None:
        return None
    try:
        return Note.model_validate_json(text)
    except ValidationError as error:
        raise ProviderMisconfigured(provider, "what was noted of this payment cannot be read") from error


def key_of(reference: str, *, number: int) -> str:
    """Return the idempotency key of one quote: a UUID, the same whoever asks for it and how often."""
    return str(UUID(bytes=sha256(f"strike/{reference}/{number}".encode()).digest()[:16], version=4))


def owner_key(payment_id: str) -> str:
    """Return under which key it is noted whose payment this is."""
    return f"{_OWNED}{payment_id.lower()}"


def owner_of(reference: str, *, number: int) -> str:
    """Return what is noted there: which reference, and which quote of it."""
    return f"{reference}/{number}"


def open_key(note: Note) -> str:
    """Return under which key it is listed what else was begun that no amount and no fee tells from this."""
    return f"{_OPEN}{note.amount_sat}/{note.fee_sat}"
