"""The memory of an adapter that pays, in the database."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from quittance.store import payer_notes
from quittance.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMemory:
    """What one provider's adapter noted. A note is on disk when ``remember`` returns True."""

    database: Database
    now: Callable[[], datetime]
    provider: str

    async def recall(self, reference: str) -> str | None:
        return await self.database.read(lambda t: payer_notes.note_of(t, provider=self.provider, reference=reference))

    async def remember(self, reference: str, note: str, *, instead_of: str | None) -> bool:
        fresh = payer_notes.PayerNote(provider=self.provider, reference=reference, note=note, noted_at=self.now())
        return await self.database.write(lambda t: payer_notes.put_note(t, fresh, instead_of=instead_of))
