"""Connections to Strike that calls were broken off on: each is free again, or nothing can be asked any more."""

import asyncio
from typing import Any

from tests.contract.strike.test_strike_against_sandbox import client_of

from quittance.sandbox.rails import SandboxRails

CALLS = 200
BROKEN_OFF_AFTER_S = 0.01  # at the latest: while it is sent, waited for, or read


def connections(client: Any) -> list[str]:
    """Return how the connections of a client stand, in the words of its pool."""
    return [connection.info() for connection in client._http._transport._pool.connections]


async def test_a_call_that_is_broken_off_leaves_its_connection_free(rails: SandboxRails) -> None:
    client = client_of(rails)
    for number in range(CALLS):
        call = asyncio.create_task(client.newest_invoices(count=1))
        await asyncio.sleep(BROKEN_OFF_AFTER_S * number / CALLS)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
    await client.newest_invoices(count=1)
    async with asyncio.timeout(10):
        while [one for one in connections(client) if "IDLE" not in one]:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.05)
    await client.aclose()
