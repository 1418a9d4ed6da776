"""The memory of an adapter that pays, in the database."""

from dataclasses import dataclass

from quittance.resolvers.services import Services
from quittance.store import payer_notes


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMemory:
    """What one provider's adapter noted. A note is on disk when ``remember`` returns."""

    services: Services
    provider: str

    async def recall(self, reference: str) -> str | None:
        return await self.services.database.read(
            lambda t: payer_notes.note_of(t, provider=self.provider, reference=reference)
        )

    async def remember(self, reference: str, note: str) -> None:
        at = self.services.now()
        await self.services.database.write(
            lambda t: payer_notes.put_note(t, provider=self.provider, reference=reference, note=note, at=at)
        )
