"""What we write down of a payment before Strike is asked: Strike tells a payment's id once, and lists none (1.6)."""

from datetime import datetime
from hashlib import sha256
from typing import Annotated, Final
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from quittance.domain.errors import ProviderMisconfigured
from quittance.providers.base import SendFailure

_OWNED: Final = "payment/"
Sat = Annotated[int, Field(ge=0, lt=2**63, strict=True)]


class Note(BaseModel):
    """How far the payment of one invoice is.

    ``number`` counts its quotes: a new one is only asked for when the one before can pay nothing any more, or was
    never executed. ``executed_at`` says that an execution was begun and its answer is not known; it is written before
    the call. ``payment_id`` is known from the answer. ``failure`` is why the last try certainly moved nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    number: Annotated[int, Field(ge=1)]
    amount_sat: Sat
    noted_at: AwareDatetime
    quote_id: str | None = None
    fee_sat: Sat | None = None
    valid_until: AwareDatetime | None = None
    executed_at: AwareDatetime | None = None
    payment_id: str | None = None
    failure: SendFailure | None = None

    @property
    def text(self) -> str:
        return self.model_dump_json(exclude_none=True)

    def failed(self, failure: SendFailure | None) -> "Note":
        """Return this note after a try that certainly moved nothing; its quote may still be executed."""
        return self.model_copy(update={"executed_at": None, "failure": failure})

    def spent(self, failure: SendFailure, *, at: datetime) -> "Note":
        """Return this note after its quote came to its end without moving anything."""
        return self.failed(failure).model_copy(update={"valid_until": at})

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
