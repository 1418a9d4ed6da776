"""The settlement feed of the LND adapter: nothing is skipped, whatever was stored and whoever answers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc
import pytest
from coincurve import PrivateKey

from quittance.domain.errors import ProviderMisconfigured, ProviderUnavailable
from quittance.providers.base import FeedPosition, Settlement
from quittance.providers.lnd._proto import lnrpc_pb2
from quittance.providers.lnd.identity import UNIDENTIFIED
from quittance.providers.lnd.provider import LndProvider

OTHER_NODE = "02" + "ab" * 32


def settled(node: Any, count: int, *, start: int = 0) -> list[str]:
    """Make and settle invoices; return their references."""
    references = []
    for number in range(start, start + count):
        invoice = node.add(bytes([number + 1]) * 32)
        node.settle(invoice)
        references.append(invoice.r_hash.hex())
    return references


async def take(feed: AsyncIterator[Settlement | FeedPosition], count: int) -> list[Settlement | FeedPosition]:
    return [await asyncio.wait_for(anext(feed), timeout=5) for _ in range(count)]


def references(items: list[Settlement | FeedPosition]) -> list[str]:
    return [item.reference for item in items if isinstance(item, Settlement)]


async def test_a_position_is_resumed_without_reading_the_list(lnd: LndProvider, node: Any) -> None:
    known = settled(node, 5)

    async with aclosing(lnd.settlements(resume=FeedPosition(source=node.pubkey, index=3))) as feed:
        items = await take(feed, 2)

    assert references(items) == known[3:]
    assert [item.position.index for item in items if isinstance(item, Settlement) and item.position] == [4, 5]
    assert node.subscriptions == [3]
    assert node.calls.count("ListInvoices") == 1


async def test_index_zero_is_no_place_to_replay_from(lnd: LndProvider, node: Any) -> None:
    known = settled(node, 4)

    async with aclosing(lnd.settlements(resume=FeedPosition(source=node.pubkey, index=0))) as feed:
        items = await take(feed, 5)

    assert references(items) == known
    assert items[4] == FeedPosition(source=node.pubkey, index=4)


async def test_the_newest_settlement_may_be_of_the_oldest_invoice(lnd: LndProvider, node: Any) -> None:
    oldest = node.add(b"\x01" * 32)
    for number in range(2, 12):
        node.add(bytes([number]) * 32)
    node.settle(oldest)

    async with aclosing(lnd.settlements(resume=None)) as feed:
        items = await take(feed, 2)

    assert references(items) == [oldest.r_hash.hex()]
    assert items[1] == FeedPosition(source=node.pubkey, index=1)
    assert node.subscriptions == [1]


async def test_what_settles_while_the_list_is_read_is_not_lost(lnd: LndProvider, node: Any) -> None:
    early, late = node.add(b"\x01" * 32), [node.add(bytes([number]) * 32) for number in range(2, 9)]
    node.settle(late[0])

    async with aclosing(lnd.settlements(resume=None)) as feed:
        first = await take(feed, 1)  # the first page was read: the early invoice was open
        node.settle(early)
        node.settle(late[-1])
        rest = await take(feed, 4)

    position = next(item for item in rest if isinstance(item, FeedPosition))
    assert position == FeedPosition(source=node.pubkey, index=1)
    assert set(references(first + rest)) == {invoice.r_hash.hex() for invoice in (early, late[0], late[-1])}


async def test_a_node_that_never_settled_streams_before_its_list_is_read(lnd: LndProvider, node: Any) -> None:
    invoice = node.add(b"\x01" * 32)

    async with aclosing(lnd.settlements(resume=None)) as feed:
        position = await take(feed, 1)
        await node.streaming()
        node.settle(invoice)
        news = await take(feed, 1)

    assert position == [FeedPosition(source=node.pubkey, index=0)]
    assert references(news) == [invoice.r_hash.hex()]
    assert node.subscriptions == [0]
    assert node.calls.index("SubscribeInvoices") < len(node.calls) - 1 - node.calls[::-1].index("ListInvoices")


async def test_only_what_settled_is_told(lnd: LndProvider, node: Any) -> None:
    settled(node, 1)

    async with aclosing(lnd.settlements(resume=FeedPosition(source=node.pubkey, index=1))) as feed:
        waiting = asyncio.ensure_future(anext(feed))
        await node.streaming()
        for state in (lnrpc_pb2.Invoice.OPEN, lnrpc_pb2.Invoice.ACCEPTED, lnrpc_pb2.Invoice.CANCELED):
            other = node.add(bytes([100 + state]) * 32)
            other.state, other.settled, other.amt_paid_msat = state, True, 1
            node.tell(other)
        paid = settled(node, 1, start=20)
        item = await asyncio.wait_for(waiting, timeout=5)

    assert references([item]) == paid


@pytest.mark.parametrize(
    ("text", "code", "error"),
    [
        (None, None, ProviderUnavailable),
        ("Socket closed", grpc.StatusCode.UNAVAILABLE, ProviderUnavailable),
        ("", grpc.StatusCode.CANCELLED, ProviderUnavailable),
        ("permission denied", grpc.StatusCode.UNKNOWN, ProviderMisconfigured),
    ],
)
async def test_the_end_of_the_stream_is_an_error(
    lnd: LndProvider, node: Any, text: str | None, code: Any, error: type[Exception]
) -> None:
    settled(node, 1)
    feed = lnd.settlements(resume=FeedPosition(source=node.pubkey, index=1))
    waiting = asyncio.ensure_future(anext(feed))
    await node.streaming()

    if text is None:
        node.hang_up()
    else:
        node.break_stream(text, code)

    with pytest.raises(error):
        await asyncio.wait_for(waiting, timeout=5)


async def test_a_receive_only_macaroon_names_the_node_by_who_signs(lnd: LndProvider, node: Any) -> None:
    node.refuse("GetInfo", "permission denied")
    keysend = lnrpc_pb2.Invoice(is_keysend=True, r_hash=bytes(32), add_index=2)
    known = settled(node, 1)
    node.invoices.append(keysend)

    async with aclosing(lnd.settlements(resume=FeedPosition(source=node.pubkey, index=1))) as feed:
        waiting = asyncio.ensure_future(anext(feed))
        await node.streaming()
        node.key = PrivateKey(b"\x09" * 32)
        new = settled(node, 1, start=30)
        assert references([await asyncio.wait_for(waiting, timeout=5)]) == new
    async with aclosing(lnd.settlements(resume=FeedPosition(source=OTHER_NODE, index=1))) as feed:
        items = await take(feed, 3)

    assert references(items) == known + new
    assert items[2] == FeedPosition(source=node.key.public_key.format().hex(), index=2)


async def test_a_receive_only_macaroon_on_a_node_without_invoices_begins_again_later(
    lnd: LndProvider, node: Any
) -> None:
    node.refuse("GetInfo", "permission denied")

    async with aclosing(lnd.settlements(resume=None)) as feed:
        begun = await take(feed, 1)
    known = settled(node, 2)
    async with aclosing(lnd.settlements(resume=FeedPosition(source=UNIDENTIFIED, index=1))) as feed:
        items = await take(feed, 3)

    assert begun == [FeedPosition(source=UNIDENTIFIED, index=0)]
    assert references(items) == known
    assert items[2] == FeedPosition(source=node.pubkey, index=2)


async def test_a_list_that_goes_in_circles_is_left(lnd: LndProvider, node: Any) -> None:
    page = [node.add(b"\x01" * 32)]
    node.answer_with(
        "ListInvoices", lnrpc_pb2.ListInvoiceResponse(invoices=page, first_index_offset=5, last_index_offset=5)
    )

    with pytest.raises(ProviderMisconfigured, match="does not advance"):
        await take(lnd.settlements(resume=None), 1)
