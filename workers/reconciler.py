"""The reconciler: asks the providers about attempts that are due. Finds lost answers, expiry and silent payments."""

import asyncio

import structlog

from quittance.domain.errors import ProviderMisconfigured, ProviderUnavailable
from quittance.domain.payment import PaymentOption
from quittance.resolvers.reconciliation import options_due, postpone, reconcile_option
from quittance.resolvers.services import Services
from quittance.workers.loop import for_ever, hold_lease

log = structlog.get_logger("quittance.workers.reconciler")

BATCH_OPTIONS = 64
AT_ONCE = 8
IDLE_S = 0.5
LOOKUPS_PER_S = 50  # the feed tells of almost everything first: ten thousand open invoices must not starve the rest


async def reconcile(services: Services, *, holder: str) -> None:
    """Look due attempts up, for ever; one process at a time."""

    async def work() -> None:
        await for_ever("reconciler", once)

    async def once() -> None:
        looked_up = await reconcile_due(services)
        await asyncio.sleep(max(looked_up / LOOKUPS_PER_S, IDLE_S if looked_up < BATCH_OPTIONS else 0))

    await for_ever("reconciler/lease", lambda: hold_lease(services, "reconciler", holder, work))


async def reconcile_due(services: Services) -> int:
    """Look one batch of due attempts up and return how many there were; one that fails keeps none from its turn."""
    due = await options_due(services, limit=BATCH_OPTIONS)
    at_once = asyncio.Semaphore(AT_ONCE)

    async def one(option: PaymentOption) -> None:
        async with at_once:
            try:
                await reconcile_option(services, option)
            except (ProviderUnavailable, ProviderMisconfigured) as error:
                log.warning("reconcile_failed", provider=option.provider, option=option.id, code=error.code)
            except Exception:
                log.exception("reconcile_crashed", provider=option.provider, option=option.id)
                await postpone(services, option)

    await asyncio.gather(*(one(option) for option in due))
    return len(due)
