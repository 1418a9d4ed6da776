"""Use cases for commands: on the database and nothing else, or with the rails."""

import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

from quittance.domain.ids import EVENT, new_id
from quittance.resolvers.merchants import ensure_first_merchant
from quittance.resolvers.services import Services
from quittance.sandbox.clock import SandboxClock
from quittance.server.limiter import MinuteLimiter
from quittance.server.runtime import open_runtime, telling_of_the_database
from quittance.server.secret_key import load_deriver
from quittance.server.settings import Settings
from quittance.store.database import open_database
from quittance.store.migrate import upgrade_from_loop

T = TypeVar("T")


async def with_services(settings: Settings, use_case: Callable[[Services], Awaitable[T]]) -> T:
    """Run one use case on the migrated database; no rail is connected. A running server takes turns with us."""
    with telling_of_the_database():
        await upgrade_from_loop(settings.database_url)
    now = _clock(settings)
    database = open_database(
        settings.database_url, now=now, new_event_id=lambda: new_id(EVENT, at=now(), entropy=os.urandom(10))
    )
    try:
        return await use_case(
            Services(
                database=database,
                rails={},
                default_provider=settings.default_rail,
                rates=None,
                now=now,
                derive=load_deriver(settings),
                limiter=MinuteLimiter({}),
                public_url=settings.base_url,
            )
        )
    finally:
        await database.close()


async def with_runtime(settings: Settings, use_case: Callable[[Services], Awaitable[T]]) -> T:
    """Run one use case with the rails too, as the operator: there is a first merchant, whose log tells of it."""
    with telling_of_the_database():
        await upgrade_from_loop(settings.database_url)
    async with open_runtime(settings, loops=False) as runtime:
        await ensure_first_merchant(runtime.services, name=settings.merchant_name)
        return await use_case(runtime.services)


def _clock(settings: Settings) -> Callable[[], datetime]:
    if settings.sandbox:
        return SandboxClock(settings.state_dir / "sandbox" / "clock.json").now
    return lambda: datetime.now(UTC)
