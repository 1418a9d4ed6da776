"""What a page's fields will ask for, read before they ask: then none of its hundreds of fields has to be awaited."""

import asyncio
from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from graphql import FieldNode, FragmentDefinitionNode, FragmentSpreadNode, InlineFragmentNode, SelectionSetNode

from quittance.domain.payment import Payment
from quittance.gql.context import QuittanceInfo

_OF_OPTIONS = frozenset({"options", "paymentRequest", "paymentHash", "qrCode"})
_OF_PURCHASES = frozenset({"content", "locked"})


async def load_for_payments(info: QuittanceInfo, page: Sequence[Payment]) -> None:
    """Load what the selection below this field names, for all payments of a page at once."""
    raw = info._raw_info  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - the nodes have no public name
    asked = frozenset(_field_names(raw.field_nodes, raw.fragments))
    loaders = info.context.loaders
    ids = [payment.id for payment in page]
    article_ids = [payment.article_id for payment in page if payment.article_id is not None]
    wanted: list[Awaitable[Any]] = []
    if asked & _OF_OPTIONS:
        wanted.append(loaders.options.load_many(ids))
    if "upvote" in asked:
        wanted.append(loaders.upvote.load_many(ids))
    if "events" in asked:
        wanted.append(loaders.events.load_many(ids))
    if "deliveryStatus" in asked:
        wanted.append(loaders.deliveries_of.load_many(ids))
    if "article" in asked:
        wanted.append(loaders.article.load_many(article_ids))
        if asked & _OF_PURCHASES:
            wanted.append(loaders.bought.load_many(article_ids))
    await asyncio.gather(*wanted, return_exceptions=True)  # what failed is asked again, and told, by its own field


def _field_names(
    nodes: Iterable[object], fragments: Mapping[str, FragmentDefinitionNode], seen: frozenset[str] = frozenset()
) -> Iterator[str]:
    """Yield the name of every field at or below these nodes; an admitted document has no circle of fragments."""
    for node in nodes:
        below: SelectionSetNode | None = None
        if isinstance(node, FieldNode):
            yield node.name.value
            below = node.selection_set
        elif isinstance(node, InlineFragmentNode):
            below = node.selection_set
        elif isinstance(node, FragmentSpreadNode) and node.name.value not in seen:
            below = fragments[node.name.value].selection_set
            seen |= {node.name.value}
        if below is not None:
            yield from _field_names(below.selections, fragments, seen)
