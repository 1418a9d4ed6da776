"""Workers that Strike refuses, turns away and locks out go on: one bad answer ended the seed's whole process (W6)."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from tests.integration.runners import runner_of
from tests.integration.strike_account import RAIL, StrikeAccount

from quittance.domain.job import JobKind
from quittance.domain.payment import PaymentStatus
from quittance.workers.settlements import follow_feed

LOCKED_OUT_S = 3_600
LOOKS, LOOK_S = 400, 0.05
STEP_S = 30
REFUSALS = (("unavailable", 503), ("html_403", 403), ("unavailable", 503), ("rate_limited", 429))


@asynccontextmanager
async def running(worker: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Let a worker run beside the test; it may not end by itself."""
    task = asyncio.create_task(worker)
    try:
        yield task
    finally:
        task.cancel()
        ended = await asyncio.gather(task, return_exceptions=True)
    assert [type(one) for one in ended] == [asyncio.CancelledError]


async def met(strike: StrikeAccount, fault: str, *, method: str, step_s: float = 0) -> None:
    """Let the next call of the workers fail, and wait until one did, while time goes on in steps."""
    faults = strike.till.rails.faults
    await faults.arm(RAIL, fault, method=method)
    for _ in range(LOOKS):
        if not faults.is_armed(RAIL, fault):
            return
        if step_s:
            strike.till.clock.advance(step_s)
        await asyncio.sleep(LOOK_S)
    raise AssertionError(f"nobody asked for {method}")


async def is_booked(strike: StrikeAccount, payment_id: str, *, step_s: float = 0) -> None:
    for _ in range(LOOKS):
        if (await strike.till.payment(payment_id)).status is PaymentStatus.COMPLETE:
            return
        if step_s:
            strike.till.clock.advance(step_s)
        await asyncio.sleep(LOOK_S)
    raise AssertionError("it is not booked")


async def test_the_feed_goes_on_after_every_refusal(strike: StrikeAccount) -> None:
    till = strike.till
    worker = follow_feed(till.services, provider=RAIL, feed=strike.provider, holder="test")
    async with running(worker) as task:
        for fault, _ in REFUSALS:
            await met(strike, fault, method="list_events")
        made = await strike.order()
        await strike.pay(made.payment.id)
        till.clock.advance(LOCKED_OUT_S + 1)
        await is_booked(strike, made.payment.id)
        assert not task.done()

    refused = [status for _, path, status in strike.answers if path == "/v1/events" and status != 200]
    assert refused == [status for _, status in REFUSALS]
    assert len(await till.rows("settlement")) == 1


async def test_the_reconciler_goes_on_after_every_refusal(strike: StrikeAccount) -> None:
    """No feed runs here, and no webhook: what is booked was looked up."""
    till = strike.till
    waiting = await strike.order(expires_in_s=600)
    runner = runner_of(till.services, JobKind.PROVIDER_CHECK)
    async with running(runner.run()) as task:
        for fault, _ in REFUSALS:
            await met(strike, fault, method="find_invoice", step_s=STEP_S)
        till.clock.advance(LOCKED_OUT_S + 1)
        made = await strike.order()
        await strike.pay(made.payment.id)
        await is_booked(strike, made.payment.id, step_s=STEP_S)
        assert not task.done()

    refused = [status for _, _, status in strike.answers if status not in {200, 201}]
    assert refused == [status for _, status in REFUSALS]
    assert len(await till.rows("settlement")) == 1
    assert (await till.payment(waiting.payment.id)).status is PaymentStatus.EXPIRED
