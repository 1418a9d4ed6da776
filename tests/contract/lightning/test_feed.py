"""The settlement feed of every Lightning node: nothing is skipped, whatever was stored and whoever answers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from tests.contract.lightning.tills import Till

from quittance.domain.errors import ProviderUnavailable
from quittance.domain.ids import Preimage
from quittance.domain.money import msat
from quittance.providers.base import FeedPosition, InvoiceRequest, Settlement

OTHER_NODE = "02" + "ab" * 32


async def make(till: Till, number: int) -> str:
    """Make an invoice and return what pays it."""
    made = await till.provider.create_invoice(
        InvoiceRequest(amount=msat(21_000), description="", expires_in_s=600, preimage=Preimage(bytes([number]) * 32))
    )
    assert made.payment_request is not None
    return made.payment_request


async def settled(till: Till, *numbers: int) -> list[str]:
    """Make and pay invoices; return their references."""
    for number in numbers:
        await till.rails.pay(await make(till, number))
    return [till.provider.reference(Preimage(bytes([number]) * 32)) for number in numbers]


async def take(feed: AsyncIterator[Settlement | FeedPosition], count: int) -> list[Settlement | FeedPosition]:
    return [await asyncio.wait_for(anext(feed), timeout=10) for _ in range(count)]


def references(items: list[Settlement | FeedPosition]) -> list[str]:
    return [item.reference for item in items if isinstance(item, Settlement)]


async def test_without_a_position_everything_comes_then_the_position_then_the_news(till: Till) -> None:
    old = await settled(till, 1, 2, 3)
    await make(till, 9)

    async with aclosing(till.provider.settlements(resume=None)) as feed:
        first = await take(feed, 4)
        new = await settled(till, 4)
        last = await take(feed, 1)

    assert references(first) == old
    assert first[3] == FeedPosition(source=till.node.pubkey, index=3)
    news = last[0]
    assert isinstance(news, Settlement)
    assert (news.reference, news.received) == (new[0], msat(21_000))
    assert news.position == FeedPosition(source=till.node.pubkey, index=4)
    assert abs((news.settled_at - till.rails.clock.now()).total_seconds()) <= 3


async def test_position_is_resumed(till: Till) -> None:
    known = await settled(till, 1, 2, 3, 4, 5)

    async with aclosing(till.provider.settlements(resume=FeedPosition(source=till.node.pubkey, index=3))) as feed:
        items = await take(feed, 2)

    assert references(items) == known[3:]
    assert [item.position for item in items if isinstance(item, Settlement)] == [
        FeedPosition(source=till.node.pubkey, index=index) for index in (4, 5)
    ]


@pytest.mark.parametrize(("source", "index"), [(OTHER_NODE, 2), (None, 9)], ids=["another node", "a lost database"])
async def test_position_that_means_nothing_here_is_replaced(till: Till, source: str | None, index: int) -> None:
    known = await settled(till, 1, 2, 3, 4)
    resume = FeedPosition(source=source or till.node.pubkey, index=index)

    async with aclosing(till.provider.settlements(resume=resume)) as feed:
        items = await take(feed, 5)

    assert references(items) == known
    assert items[4] == FeedPosition(source=till.node.pubkey, index=4)


async def test_index_zero_loses_nothing(till: Till) -> None:
    known = await settled(till, 1, 2)

    async with aclosing(till.provider.settlements(resume=FeedPosition(source=till.node.pubkey, index=0))) as feed:
        items = await take(feed, 2)

    assert references(items) == known


async def test_newest_settlement_may_be_of_the_oldest_invoice(till: Till) -> None:
    waiting = [await make(till, number) for number in range(1, 6)]
    await till.rails.pay(waiting[3])
    await till.rails.pay(waiting[0])

    async with aclosing(till.provider.settlements(resume=None)) as feed:
        items = await take(feed, 3)

    assert sorted(references(items)) == sorted(till.provider.reference(Preimage(bytes([n]) * 32)) for n in (1, 4))
    assert items[2] == FeedPosition(source=till.node.pubkey, index=2)


async def test_what_settles_while_the_list_is_read_is_not_lost(till: Till) -> None:
    waiting = [await make(till, number) for number in range(1, 5)]
    await till.rails.pay(waiting[1])

    async with aclosing(till.provider.settlements(resume=None)) as feed:
        first = await take(feed, 1)
        await till.rails.pay(waiting[0])
        await till.rails.pay(waiting[3])
        seen = first
        while len(set(references(seen))) < 3:
            seen += await take(feed, 1)

    assert set(references(seen)) == {till.provider.reference(Preimage(bytes([n]) * 32)) for n in (1, 2, 4)}


async def test_node_that_never_settled_tells_of_its_first(till: Till) -> None:
    async with aclosing(till.provider.settlements(resume=None)) as feed:
        position = await take(feed, 1)
        first = await settled(till, 1)
        news = await take(feed, 1)

    assert position == [FeedPosition(source=till.node.pubkey, index=0)]
    assert references(news) == first


async def test_only_what_settled_is_told(till: Till) -> None:
    known = await settled(till, 1)
    async with aclosing(till.provider.settlements(resume=FeedPosition(source=till.node.pubkey, index=1))) as feed:
        waiting = asyncio.ensure_future(anext(feed))
        await make(till, 2)
        await till.provider.cancel_invoice(till.provider.reference(Preimage(b"\x02" * 32)))
        await make(till, 3)
        till.rails.clock.advance(700)
        paid = await settled(till, 4)
        item = await asyncio.wait_for(waiting, timeout=10)

    assert references([item]) == paid
    assert known != paid


async def test_restart_of_the_node_ends_the_feed_and_nothing_is_lost(till: Till) -> None:
    await settled(till, 1)
    resume = FeedPosition(source=till.node.pubkey, index=1)
    waiting = asyncio.ensure_future(anext(till.provider.settlements(resume=resume)))
    await asyncio.wait_for(till.node.listeners.somebody(), timeout=10)

    await till.fail("restart")

    with pytest.raises(ProviderUnavailable):
        await asyncio.wait_for(waiting, timeout=10)
    missed = await settled(till, 2, 3)
    async with aclosing(till.provider.settlements(resume=resume)) as feed:
        assert references(await take(feed, 2)) == missed


async def test_counter_that_began_again_is_noticed(till: Till) -> None:
    await settled(till, 1, 2, 3)
    stored = FeedPosition(source=till.node.pubkey, index=3)
    await till.fail("index_reset")
    new = await settled(till, 4)

    async with aclosing(till.provider.settlements(resume=stored)) as feed:
        seen: list[Settlement | FeedPosition] = []
        while not any(isinstance(item, FeedPosition) for item in seen):
            seen += await take(feed, 1)
        later = await settled(till, 5)
        news = await take(feed, 1)

    assert new[0] in references(seen)
    assert seen[-1] == FeedPosition(source=till.node.pubkey, index=1)
    assert references(news) == later


async def test_closing_the_adapter_ends_its_feed(till: Till) -> None:
    await settled(till, 1)
    resume = FeedPosition(source=till.node.pubkey, index=1)
    waiting = asyncio.ensure_future(anext(till.provider.settlements(resume=resume)))
    await asyncio.wait_for(till.node.listeners.somebody(), timeout=10)

    await till.provider.aclose()

    with pytest.raises(ProviderUnavailable):
        await asyncio.wait_for(waiting, timeout=10)


async def test_cancelled_reader_stays_cancelled(till: Till) -> None:
    await settled(till, 1)
    resume = FeedPosition(source=till.node.pubkey, index=1)
    waiting = asyncio.ensure_future(anext(till.provider.settlements(resume=resume)))
    await asyncio.wait_for(till.node.listeners.somebody(), timeout=10)

    waiting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await waiting
