"""What was paid, and what is paid from now on: one question after the other, resumed without a gap.

A node numbers its payments from 1 and tells of the next after a given number, so number 0 means "from the first". But
numbers belong to one node's database. So the whole list of invoices is read once when there is no position yet, when
another node answers, and when the node holds nothing at or after our number (its database was lost).
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from quittance.domain.errors import ProviderMisconfigured
from quittance.providers.base import FeedPosition, Settlement
from quittance.providers.cln.invoices import to_settlement
from quittance.providers.cln.node import Node
from quittance.providers.cln.rows import InvoiceRow


async def follow(node: Node, *, resume: FeedPosition | None) -> AsyncGenerator[Settlement | FeedPosition]:
    """Yield settlements after ``resume`` until the connection ends, which is always told by an error.

    There is no connection that would break when another node takes the place of this one: so each time when there was
    no news for a while, it is asked again who answers and whether our number is still one of its own.
    """
    position = resume
    while True:
        source = (await node.facts()).id
        if position is None or position.source != source or not await _is_known(node, position.index):
            reached = 0
            async with aclosing(_listed(node)) as paid:
                async for old, number in paid:
                    reached = max(reached, number)
                    yield to_settlement(old, provider=node.name, position=None)
            position = FeedPosition(source=source, index=reached)
            yield position
        while (row := await node.next_paid(after=position.index)) is not None:
            position = FeedPosition(source=source, index=_number(node, row))
            yield to_settlement(row, provider=node.name, position=position)


async def _is_known(node: Node, index: int) -> bool:
    """Tell whether the node has given out this number: the payment with it, or a later one, is there."""
    return index == 0 or await node.next_paid(after=index - 1, wait_s=0) is not None


async def _listed(node: Node) -> AsyncGenerator[tuple[InvoiceRow, int]]:
    """Yield every paid invoice and its number, in the order in which they changed.

    One that is paid while the list is read moves to its end. So when the end is reached, no payment with a lower
    number than those that were read is missing.
    """
    async for page in node.pages(index="updated"):
        for row in page:
            if row.status == "paid":
                yield row, _number(node, row)


def _number(node: Node, row: InvoiceRow) -> int:
    if row.pay_index is None:
        raise ProviderMisconfigured(node.name, "the node tells of a payment that has no number")
    return row.pay_index
