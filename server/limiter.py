"""Budgets per minute, counted in this process."""

import math
import time
from collections.abc import Mapping

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import FixedWindowRateLimiter

from quittance.domain.errors import RateLimited


class MinuteLimiter:
    """Fixed windows of a minute. Behind several processes each counts its own share."""

    def __init__(self, per_minute: Mapping[str, int]) -> None:
        self._limiter = FixedWindowRateLimiter(MemoryStorage())
        self._budgets: dict[str, RateLimitItem] = {
            name: RateLimitItemPerMinute(amount, namespace=name) for name, amount in per_minute.items()
        }

    async def hit(self, budget: str, label: str) -> None:
        if not await self._limiter.hit(self._budgets[budget], label):
            window = await self._limiter.get_window_stats(self._budgets[budget], label)
            raise RateLimited(max(1, math.ceil(window.reset_time - time.time())))
