"""Running a loop for ever: one holder across processes, back-off after failures, an orderly end."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import timedelta

import structlog

from quittance.resolvers.services import Services
from quittance.store import leases

log = structlog.get_logger("quittance.workers")

LEASE_S = 15.0
RENEW_S = 5.0
BACKOFF_S_MIN = 0.25
BACKOFF_S_MAX = 30.0


async def hold_lease(services: Services, name: str, holder: str, work: Callable[[], Awaitable[None]]) -> None:
    """Wait for the lease, run ``work`` while it is renewed, and give it back.

    When the lease cannot be renewed in time, ``work`` is canceled before another process may begin it.
    """
    while True:
        if await _take(services, name, holder):
            break
        await asyncio.sleep(RENEW_S)
    task = asyncio.ensure_future(work())
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=RENEW_S)
            if not task.done() and not await _renew(services, name, holder):
                log.warning("lease_lost", lease=name)
                break
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await services.database.write(lambda transaction: leases.release_lease(transaction, name, holder=holder))


async def _renew(services: Services, name: str, holder: str) -> bool:
    """Renew in time; a database that does not answer while the lease lasts has taken it away."""
    try:
        async with asyncio.timeout(LEASE_S - RENEW_S - 1):
            return await _take(services, name, holder)
    except TimeoutError:
        return False


async def _take(services: Services, name: str, holder: str) -> bool:
    now = services.now()
    until = now + timedelta(seconds=LEASE_S)
    return await services.database.write(
        lambda transaction: leases.take_lease(transaction, name, holder=holder, now=now, until=until)
    )


async def for_ever(name: str, once: Callable[[], Awaitable[None]]) -> None:
    """Call ``once`` again and again; a failure is logged with its traceback and followed by a growing pause."""
    pause = BACKOFF_S_MIN
    while True:
        try:
            await once()
            pause = BACKOFF_S_MIN
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("loop_failed", loop=name, pause_s=pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, BACKOFF_S_MAX)
