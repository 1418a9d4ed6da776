"""The fan-out: follows the event log and makes a delivery of each event for each endpoint that wants it."""

import asyncio
import contextlib
from dataclasses import dataclass, field

from quittance.resolvers.deliveries import fan_out, keep_position, position_told
from quittance.resolvers.services import Services
from quittance.workers.loop import for_ever, hold_lease

POLL_S = 1.0
GATHER_S = 0.02  # what happens meanwhile is taken together: a busy log costs no pass for each event


@dataclass(slots=True)
class FanOut:
    """``wake`` says that the log grew; a timer covers a lost one. One process at a time does the work."""

    services: Services
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    _position: int = 0
    _kept: int = 0
    _kept_s: float = 0.0

    async def run(self, *, holder: str) -> None:
        await for_ever("webhooks/lease", lambda: hold_lease(self.services, "webhooks", holder, self._work))

    async def _work(self) -> None:
        self._position = self._kept = await position_told(self.services)
        await for_ever("webhooks", self._once)

    async def _once(self) -> None:
        self.wake.clear()
        await self._keep()
        reached = await fan_out(self.services, after=self._position)
        if reached > self._position:
            self._position = reached
            await asyncio.sleep(GATHER_S)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_S):
                await self.wake.wait()

    async def _keep(self) -> None:
        """Store the position from time to time: a busy log costs no write for each event that nobody wants."""
        now_s = asyncio.get_running_loop().time()
        if self._position > self._kept and now_s - self._kept_s >= POLL_S:
            await keep_position(self.services, self._position)
            self._kept, self._kept_s = self._position, now_s
