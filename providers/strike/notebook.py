"""What a payer knows of its payments: read, and only changed while it still is what was read."""

from typing import Final

import structlog

from quittance.providers.base import PaymentMemory
from quittance.providers.lightning import NodeUnavailable
from quittance.providers.strike.errors import NotAsked
from quittance.providers.strike.notes import Note, open_key, owner_key, read_note

log = structlog.get_logger("quittance.providers")

OVERTAKEN: Final = "another process pays this invoice"
_OWNED: Final = "the payment that Strike shows is another's"
_CROWDED: Final = "too many payments of the same amount are begun at once; nothing was executed"
_LIST_TRIES: Final = 10
_OPEN_MAX: Final = 100


class Notebook:
    """The notes of one account. Every change is a compare-and-set; who comes second changes nothing."""

    def __init__(self, memory: PaymentMemory, *, provider: str) -> None:
        self._memory = memory
        self._provider = provider

    async def read(self, reference: str) -> Note | None:
        """Return what is noted of a payment.

        Raises:
            ProviderMisconfigured: it cannot be read.
        """
        return read_note(await self._memory.recall(reference), provider=self._provider)

    async def change(self, reference: str, before: Note | None, after: Note) -> Note:
        """Note ``after`` instead of ``before``, and return it.

        Raises:
            ProviderUnavailable: another process has noted something else; nothing was changed.
        """
        text = await self._memory.recall(reference)
        if read_note(text, provider=self._provider) != before:
            raise NodeUnavailable(self._provider, OVERTAKEN)
        if not await self._memory.remember(reference, after.text, instead_of=text):
            raise NodeUnavailable(self._provider, OVERTAKEN)
        return after

    async def is_free(self, payment_id: str, *, owner: str) -> bool:
        """Tell whether a payment is not known to be another's."""
        return await self._memory.recall(owner_key(payment_id)) in {None, owner}

    async def claim(self, payment_id: str, *, owner: str, is_proved: bool) -> None:
        """Note whose a payment is. Only a proof takes one from another who had guessed.

        Raises:
            ProviderUnavailable: it is another's.
        """
        key = owner_key(payment_id)
        if await self._memory.remember(key, owner, instead_of=None):
            return
        holder = await self._memory.recall(key)
        if holder == owner:
            return
        if not is_proved:
            raise NodeUnavailable(self._provider, _OWNED)
        log.error("payment_was_taken_for_another", provider=self._provider, payment=payment_id, owner=holder)
        if not await self._memory.remember(key, owner, instead_of=holder):
            raise NodeUnavailable(self._provider, OVERTAKEN)

    async def list_open(self, reference: str, note: Note) -> None:
        """List a payment that is noted as begun beside those that no amount and no fee tells from it.

        It is noted first: what is listed and not noted as begun has ended, and is taken off the list.

        Raises:
            NotAsked: the list is too long, or never stands still.
        """
        for _ in range(_LIST_TRIES):
            text = await self._memory.recall(open_key(note))
            beside = await self._still_open(text, note, without=reference)
            if len(beside) >= _OPEN_MAX:
                break
            if await self._memory.remember(open_key(note), " ".join([*beside, reference]), instead_of=text):
                return
        raise NotAsked(self._provider, _CROWDED)

    async def is_alone(self, reference: str, note: Note) -> bool:
        """Tell whether no other payment of this amount and fee is begun and not known to have ended."""
        text = await self._memory.recall(open_key(note))
        return not await self._still_open(text, note, without=reference)

    async def _still_open(self, text: str | None, note: Note, *, without: str) -> list[str]:
        found = []
        for reference in dict.fromkeys((text or "").split()):
            other = None if reference == without else await self.read(reference)
            if other is not None and other.is_open and open_key(other) == open_key(note):
                found.append(reference)
        return found
