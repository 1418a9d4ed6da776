"""Connections to Strike that calls were broken off on: each is free again, or nothing can be asked any more."""

import asyncio
from typing import Any

import pytest
from tests.contract.strike.test_strike_against_sandbox import client_of

from quittance.sandbox.rails import SandboxRails

CALLS = 200
BROKEN_OFF_AFTER_S = 0.01  # at the latest: while it is sent, waited for, or read


def connections(client: Any) -> list[str]:
    """Return how the connections of a client stand, in the words of its pool."""
    return [connection.info() for connection in client._http._transport._pool.connections]


@pytest.mark.xfail(strict=True, reason="asyncio's cancellation does not wait for httpcore to let a connection go")
async def test_a_call_that_is_broken_off_leaves_its_connection_free(rails: SandboxRails) -> None:
    client = client_of(rails)
    for number in range(CALLS):
        call = asyncio.create_task(client.newest_invoices(count=1))
        await asyncio.sleep(BROKEN_OFF_AFTER_S * number / CALLS)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
    await client.newest_invoices(count=1)
    standing = connections(client)
    await client.aclose()

    assert [one for one in standing if "IDLE" not in one] == []
