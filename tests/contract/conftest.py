"""What contract tests share: running sandbox rails."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from quittance.sandbox.clock import SandboxClock
from quittance.sandbox.rails import SandboxRails


@pytest.fixture
async def rails(tmp_path: Path) -> AsyncIterator[SandboxRails]:
    directory = tmp_path / "sandbox"
    running = await SandboxRails.start(directory=directory, clock=SandboxClock(directory / "clock.json"))
    yield running
    await running.stop()
