"""The event log, as far as callers may ask about it."""

from quittance.resolvers.services import Services
from quittance.store.events import newest_position


async def newest(services: Services) -> int:
    """Return the position of the newest event."""
    return await services.database.read(newest_position)
