"""The fan-out: follows the event log and makes a delivery of each event for each endpoint that wants it."""

import asyncio
import contextlib
from dataclasses import dataclass, field

from quittance.resolvers.deliveries import fan_out, position_told
from quittance.resolvers.services import Services
from quittance.workers.loop import for_ever, hold_lease

POLL_S = 1.0
GATHER_S = 0.02  # what happens meanwhile is taken together: a busy log costs no pass for each event


@dataclass(slots=True)
class FanOut:
    """``wake`` says that the log grew; a timer covers a lost one. One process at a time does the work."""

    services: Services
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, *, holder: str) -> None:
        async def work() -> None:
            position = await position_told(self.services)

            async def once() -> None:
                nonlocal position
                self.wake.clear()
                reached = await fan_out(self.services, after=position)
                if reached > position:
                    position = reached
                    await asyncio.sleep(GATHER_S)
                    return
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL_S):
                        await self.wake.wait()

            await for_ever("webhooks", once)

        await for_ever("webhooks/lease", lambda: hold_lease(self.services, "webhooks", holder, work))
