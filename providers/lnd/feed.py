"""What settled, and what settles from now on: the stream of a node, resumed without a gap.

A node numbers its settlements, and replays those after a given number; but number 0 means "nothing", not "everything",
and numbers belong to one node's database. So the whole list of invoices is read once when there is no position yet,
when another node answers, and when the node's numbers lie behind ours (its database was lost).
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from quittance.providers.base import FeedPosition, Settlement
from quittance.providers.lnd._proto import lnrpc_pb2
from quittance.providers.lnd.identity import node_identity
from quittance.providers.lnd.invoices import is_settled, to_settlement
from quittance.providers.lnd.node import Node


async def follow(node: Node, *, resume: FeedPosition | None) -> AsyncGenerator[Settlement | FeedPosition]:
    """Yield settlements after ``resume`` until the connection ends, which is always told by an error.

    Reading from the start, ``reached`` is a number that the node had given before its list is read. So what settled
    up to it is in the list, and what settled after it comes by the stream: perhaps twice, never not at all. A node
    that never settled has no number to replay from; there the stream is started first, and then the list is read.
    """
    source = await node_identity(node)
    known = resume.index if resume is not None and resume.source == source else 0
    reached = await _settle_index_reached(node, enough=max(known, 1))
    replayable = 0 < known <= reached
    stream = node.subscribe(settle_index=known if replayable else reached)
    try:
        if not replayable:
            async with aclosing(_listed(node)) as settled:
                async for message in settled:
                    yield to_settlement(message, provider=node.name, asset=node.asset, position=None)
            yield FeedPosition(source=source, index=reached)
        async with aclosing(node.read(stream)) as messages:
            async for message in messages:
                if is_settled(message):
                    position = FeedPosition(source=source, index=message.settle_index)
                    yield to_settlement(message, provider=node.name, asset=node.asset, position=position)
    finally:
        stream.cancel()


async def _listed(node: Node) -> AsyncGenerator[lnrpc_pb2.Invoice]:
    """Yield every settled invoice of the node."""
    async for page in node.pages(newest_first=False):
        for message in page:
            if is_settled(message):
                yield message


async def _settle_index_reached(node: Node, *, enough: int) -> int:
    """Return a settle index that the node has given, at least ``enough`` if it has given that; 0 if none.

    Newest invoices come first, so that one page nearly always tells.
    """
    reached = 0
    async for page in node.pages(newest_first=True):
        reached = max([reached, *_settle_indexes(page)])
        if reached >= enough:
            break
    return reached


def _settle_indexes(page: Sequence[lnrpc_pb2.Invoice]) -> list[int]:
    return [message.settle_index for message in page if is_settled(message)]
