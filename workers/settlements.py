"""The settlement feed: what a rail reports as it happens is booked at once, and resumed after every break."""

import asyncio

import structlog

from quittance.domain.errors import ProviderMisconfigured, ProviderUnavailable
from quittance.providers.base import FeedPosition, Settlement, SettlementFeed
from quittance.resolvers.services import Services
from quittance.resolvers.settlements import feed_position, replace_feed_position, report_settlement
from quittance.workers.loop import BACKOFF_S_MIN, for_ever, hold_lease

log = structlog.get_logger("quittance.workers.settlements")

FEED_PAUSE_S_MAX = 5.0  # how late the first booking after a node's restart may be


async def follow_feed(services: Services, *, provider: str, feed: SettlementFeed, holder: str) -> None:
    """Book everything the feed reports, for ever; only one process at a time reads a provider's feed."""

    async def work() -> None:
        pause = BACKOFF_S_MIN
        while True:
            try:
                resume = await feed_position(services, provider=provider)
                async for item in feed.settlements(resume=resume):
                    pause = BACKOFF_S_MIN
                    await _book(services, provider=provider, item=item)
            except (ProviderUnavailable, ProviderMisconfigured) as error:
                log.warning("feed_broken", provider=provider, code=error.code, pause_s=pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, FEED_PAUSE_S_MAX)

    name = f"feed/{provider}"
    await for_ever(name, lambda: hold_lease(services, name, holder, work))


async def _book(services: Services, *, provider: str, item: Settlement | FeedPosition) -> None:
    if isinstance(item, FeedPosition):
        await replace_feed_position(services, provider=provider, position=item)
        return
    booking = await report_settlement(services, provider=provider, settlement=item)
    log.info("settlement", provider=provider, reference=item.reference, booking=booking.value)
