"""What was paid, read from Strike's list of events: it catches up on every callback that was lost.

Events are told by their time, which is no counter: one may show up a little after another that is younger. So each time
the list is read from some way before the place that was reached, and what was seen is left out.

Without a place to begin from, only the last day is read. Nothing is lost by that: whoever made an invoice looks it up
until it is decided.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Final

from quittance.domain.money import Asset
from quittance.providers.base import FeedPosition, Settlement
from quittance.providers.strike.bodies import EventBody
from quittance.providers.strike.client import StrikeClient
from quittance.providers.strike.invoices import settled_at
from quittance.providers.strike.money import read

OVERLAP_S: Final = 120.0
FIRST_LOOK_S: Final = 86_400.0
INVOICE_UPDATED: Final = "invoice.updated"
_SEEN_MAX: Final = 10_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_US: Final = timedelta(microseconds=1)


class _Seen:
    """The newest of the ids that were noted."""

    def __init__(self) -> None:
        self._ids: dict[str, None] = {}

    def __contains__(self, id_: str) -> bool:
        return id_ in self._ids

    def add(self, id_: str) -> None:
        if len(self._ids) >= _SEEN_MAX:
            del self._ids[next(iter(self._ids))]
        self._ids[id_] = None


async def follow(
    client: StrikeClient, *, asset: Asset, resume: FeedPosition | None, now: Callable[[], datetime], poll_s: float
) -> AsyncGenerator[Settlement | FeedPosition]:
    """Yield settlements after ``resume``, then ask for more every ``poll_s``, until Strike does not answer."""
    known = resume is not None and resume.source == client.name
    position = resume if resume is not None and known else _position(client, now() - timedelta(seconds=FIRST_LOOK_S))
    events, paid = _Seen(), _Seen()
    told = position if known else None
    while True:
        reached = position
        async with aclosing(_news(client, position, events)) as news:
            async for event in news:
                reached = max(reached, _position(client, event.created), key=lambda one: one.index)
                settlement = await _settlement(client, event, paid, asset=asset, position=reached)
                if settlement is not None:
                    yield settlement
                    told = reached
                events.add(event.id)
        position = reached
        if told != position:
            yield position
            told = position
        await asyncio.sleep(poll_s)


def _position(client: StrikeClient, at: datetime) -> FeedPosition:
    return FeedPosition(source=client.name, index=(at - _EPOCH) // _US)


async def _news(client: StrikeClient, position: FeedPosition, seen: _Seen) -> AsyncGenerator[EventBody]:
    """Yield the events that were not seen, the oldest first, from a while before ``position``."""
    since = _EPOCH + position.index * _US - timedelta(seconds=OVERLAP_S)
    async for page in client.event_pages(since=since):
        for event in page:
            if event.id not in seen:
                yield event


async def _settlement(
    client: StrikeClient, event: EventBody, paid: _Seen, *, asset: Asset, position: FeedPosition
) -> Settlement | None:
    """Ask for the invoice that an event tells of; None unless it was paid, or if it can be none of ours (W10)."""
    told_of = event.data.entity_id
    if event.event_type != INVOICE_UPDATED or told_of is None or told_of in paid:
        return None
    invoice = await client.find_invoice(told_of)
    if invoice is None or invoice.state != "PAID":
        return None
    paid.add(told_of)
    if invoice.correlation_id is None or invoice.amount.currency != asset.code:
        return None
    return Settlement(
        reference=invoice.correlation_id,
        received=read(invoice.amount, asset=asset, provider=client.name),
        settled_at=settled_at(invoice) or event.created.astimezone(UTC),
        position=position,
    )
