"""What a provider told us of its own accord, and what became of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from quittance.domain.ids import CallbackId, PaymentId

TEXT_MAX = 255  # characters of an event id, a type or a reference
BODY_KEPT_DAYS = 30  # longer than any provider tells of the same thing again
TRIES_MAX = 30
PAUSE_S_MIN = 1.0
PAUSE_S_MAX = 300.0


class CallbackState(StrEnum):
    """RECEIVED waits for the provider to be asked; IGNORED is about nothing of ours; FAILED got no answer in time."""

    RECEIVED = "RECEIVED"
    PROCESSED = "PROCESSED"
    IGNORED = "IGNORED"
    FAILED = "FAILED"


CALLBACK_NEXT: Mapping[CallbackState, frozenset[CallbackState]] = {
    CallbackState.RECEIVED: frozenset({CallbackState.PROCESSED, CallbackState.IGNORED, CallbackState.FAILED}),
    CallbackState.FAILED: frozenset({CallbackState.PROCESSED, CallbackState.IGNORED}),  # its job may be run again
    CallbackState.PROCESSED: frozenset(),
    CallbackState.IGNORED: frozenset(),
}
assert CALLBACK_NEXT.keys() == set(CallbackState)


class CallbackReason(StrEnum):
    """Why a callback was ignored."""

    NO_REFERENCE = "NO_REFERENCE"
    UNKNOWN_REFERENCE = "UNKNOWN_REFERENCE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Callback:
    """One callback, stored once for its provider and event id. ``reason`` says why it is not PROCESSED, as a code."""

    id: CallbackId
    provider: str
    event_id: str
    kind: str
    reference: str | None
    payment_id: PaymentId | None
    state: CallbackState
    reason: str | None
    received_at: datetime
    processed_at: datetime | None


def pause_s(tries: int) -> float | None:
    """Return how long to wait after so many tries without an answer, in seconds; None after the last.

    All of them take about two hours. What is left then is found by who asks the provider anyway.
    """
    if tries >= TRIES_MAX:
        return None
    return min(PAUSE_S_MAX, PAUSE_S_MIN * 2.0 ** max(0, tries - 1))
