"""The sandbox's Strike account, over real sockets."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from tests.contract.strike.strike_client import StrikeClient
from tests.contract.strike.webhook_receiver import WebhookReceiver

from quittance.sandbox.rails import SandboxRails

Arm = Callable[..., Awaitable[None]]


@pytest.fixture
async def strike(rails: SandboxRails) -> AsyncIterator[StrikeClient]:
    client = StrikeClient(rails.strike, key=rails.strike.api_key_path.read_text())
    yield client
    await client.http.aclose()


@pytest.fixture
async def receiver(rails: SandboxRails) -> AsyncIterator[StrikeClient]:
    """A client whose key may not spend."""
    client = StrikeClient(rails.strike, key=rails.strike.receive_key_path.read_text())
    yield client
    await client.http.aclose()


@pytest.fixture
def arm(rails: SandboxRails) -> Arm:
    async def armed(fault: str, **more: Any) -> None:
        await rails.faults.arm("strike", fault, **more)

    return armed


@pytest.fixture
async def hook() -> AsyncIterator[WebhookReceiver]:
    receiver = WebhookReceiver()
    await receiver.start()
    yield receiver
    await receiver.stop()
