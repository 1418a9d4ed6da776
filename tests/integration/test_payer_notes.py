"""What an adapter notes of its payments: who comes second changes nothing."""

import asyncio

import pytest

from quittance.resolvers.payer_notes import StoredMemory
from quittance.resolvers.services import Services


def memory_of(services: Services, *, provider: str = "strike") -> StoredMemory:
    return StoredMemory(database=services.database, now=services.now, provider=provider)


async def test_note_is_only_written_over_what_was_read(services: Services) -> None:
    memory = memory_of(services)

    first = await memory.remember("payment", "one", instead_of=None)
    stale = [
        await memory.remember("payment", "two", instead_of=None),
        await memory.remember("payment", "two", instead_of="none of these"),
        await memory.remember("another", "two", instead_of="one"),
    ]
    second = await memory.remember("payment", "three", instead_of="one")

    assert (first, stale, second) == (True, [False, False, False], True)
    assert (await memory.recall("payment"), await memory.recall("another")) == ("three", None)


async def test_notes_of_providers_are_apart(services: Services) -> None:
    await memory_of(services).remember("payment", "one", instead_of=None)
    other = memory_of(services, provider="another")

    assert await other.remember("payment", "two", instead_of="one") is False
    assert await other.remember("payment", "two", instead_of=None) is True
    assert await memory_of(services).recall("payment") == "one"


@pytest.mark.parametrize("before", [None, "one"])
async def test_one_of_many_that_write_together_is_first(services: Services, before: str | None) -> None:
    memory = memory_of(services)
    if before is not None:
        await memory.remember("payment", before, instead_of=None)

    written = await asyncio.gather(*[memory.remember("payment", f"by {n}", instead_of=before) for n in range(10)])

    assert sum(written) == 1
    assert await memory.recall("payment") == f"by {written.index(True)}"
