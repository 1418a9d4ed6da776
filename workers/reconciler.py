"""The reconciler: asks the providers about attempts that are due. Finds lost answers, expiry and silent payments."""

import asyncio

import structlog

from quittance.domain.errors import ProviderMisconfigured, ProviderUnavailable
from quittance.domain.payment import PaymentOption
from quittance.resolvers.reconciliation import options_due, reconcile_option
from quittance.resolvers.services import Services
from quittance.workers.loop import for_ever, hold_lease

log = structlog.get_logger("quittance.workers.reconciler")

BATCH_OPTIONS = 64
AT_ONCE = 8
IDLE_S = 0.5


async def reconcile(services: Services, *, holder: str) -> None:
    """Look due attempts up, for ever; one process at a time."""

    async def work() -> None:
        await for_ever("reconciler", lambda: reconcile_due(services))

    while True:
        await hold_lease(services, "reconciler", holder, work)


async def reconcile_due(services: Services) -> None:
    """Look one batch of due attempts up, then rest when there was not more to do."""
    due = await options_due(services, limit=BATCH_OPTIONS)
    at_once = asyncio.Semaphore(AT_ONCE)

    async def one(option: PaymentOption) -> None:
        async with at_once:
            try:
                await reconcile_option(services, option)
            except (ProviderUnavailable, ProviderMisconfigured) as error:
                log.warning("reconcile_failed", provider=option.provider, option=option.id, code=error.code)

    await asyncio.gather(*(one(option) for option in due))
    if len(due) < BATCH_OPTIONS:
        await asyncio.sleep(IDLE_S)
