"""The port of providers that tell us something of their own accord: a hint where to look, never a fact."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable


class CallbackRefused(Exception):
    """A callback that does not prove where it comes from, or says nothing that can be read.

    ``reason`` is for our logs, never for the sender.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"the callback is refused: {reason}")
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderCallback:
    """What a provider told us: a hint where to look, never a fact to be booked.

    ``event_id`` is the provider's own, the same each time it tells of the same thing; ``kind`` is its type as the
    provider writes it. ``reference`` names the invoice that it is about, or ``entity`` does, which is the provider's
    own name for it, to be told to ``NamesEntities``; both are None where it is about none, or the type is not one we
    know.
    """

    event_id: str
    kind: str
    reference: str | None
    entity: str | None = None


class ReadsCallbacks(Protocol):
    """Knows how one provider signs and writes its callbacks."""

    def read_callback(self, *, headers: Mapping[str, str], body: bytes, at: datetime) -> ProviderCallback:
        """Return what a request says, after its signature over the raw ``body`` was compared in constant time.

        Only what is signed may be returned. ``at`` is now, for those whose signature covers a time. Names of
        ``headers`` come in any case.

        Raises:
            CallbackRefused: anything else, whatever the request holds.
        """
        ...


@runtime_checkable
class NamesEntities(Protocol):
    """A rail that tells of an invoice by a name of its own."""

    async def reference_of(self, *, kind: str, entity_id: str) -> str | None:
        """Return what we call the invoice that a callback of this ``kind`` tells of; None where it is none of ours.

        Raises:
            ProviderUnavailable: no answer.
            ProviderMisconfigured: the operator must act.
        """
        ...
