"""What was paid, read from Strike's list of events: it catches up on every callback that was lost.

Events are told by their time, which is no counter: one may show up a little after another that is younger. So each time
the list is read from some way before the place that was reached, and what was seen is left out.

Without a place to begin from, only the last day is read. Nothing is lost by that: whoever made an invoice looks it up
until it is decided.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from quittance.domain.errors import ProviderMisconfigured
from quittance.domain.money import Asset
from quittance.providers.base import FeedPosition, Settlement
from quittance.providers.strike.bodies import EventBody
from quittance.providers.strike.client import StrikeClient
from quittance.providers.strike.errors import StrikeRefusal
from quittance.providers.strike.invoices import settled_at
from quittance.providers.strike.money import read

log = structlog.get_logger("quittance.providers")

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

    def __contains__(self, id_: str | None) -> bool:
        return id_ in self._ids

    def add(self, id_: str) -> None:
        if len(self._ids) >= _SEEN_MAX:
            del self._ids[next(iter(self._ids))]
        self._ids[id_] = None


class Memory:
    """What was read before a feed broke off, so that the next one does not ask for it again."""

    def __init__(self) -> None:
        self._events = _Seen()
        self._told = _Seen()
        self.ended = _Seen()

    def knows(self, event: EventBody) -> bool:
        return event.id in self._events or event.data.entity_id in self._told

    def note(self, event: EventBody) -> None:
        """Note an event that was told of: what it led to was booked, so its invoice is over too, if it ended."""
        self._events.add(event.id)
        if event.data.entity_id in self.ended:
            self._told.add(event.data.entity_id or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    now: Callable[[], datetime]
    poll_s: float


async def follow(
    client: StrikeClient, memory: Memory, *, asset: Asset, resume: FeedPosition | None, pace: Pace
) -> AsyncGenerator[Settlement | FeedPosition]:
    """Yield settlements after ``resume``, then ask for more again and again, until Strike does not answer.

    The place that was reached is told after each page: however much others do with the account, and however soon
    the calls are used up, each attempt gets further.
    """
    if resume is not None and resume.source == client.name:
        position, told = resume, resume.index
    else:
        position, told = _position(client, pace.now() - timedelta(seconds=FIRST_LOOK_S)), -1
    while True:
        since = _EPOCH + position.index * _US - timedelta(seconds=OVERLAP_S)
        async with aclosing(client.event_pages(since=since)) as pages:
            async for page in pages:
                for event in page:
                    position = max(position, _position(client, event.created), key=_index)
                    settlement = await _settlement(client, event, memory, asset=asset, position=position)
                    if settlement is not None:
                        yield settlement
                        told = position.index
                    memory.note(event)
                if position.index != told:
                    yield position
                    told = position.index
        if told == -1:
            yield position
            told = position.index
        await asyncio.sleep(pace.poll_s)


def _position(client: StrikeClient, at: datetime) -> FeedPosition:
    return FeedPosition(source=client.name, index=(at - _EPOCH) // _US)


def _index(position: FeedPosition) -> int:
    return position.index


async def _settlement(
    client: StrikeClient, event: EventBody, memory: Memory, *, asset: Asset, position: FeedPosition
) -> Settlement | None:
    """Ask for the invoice that an event tells of; None unless it was paid, or if it can be none of ours (W10).

    What cannot be read is left out, and told to the operator: whoever made an invoice looks it up besides.
    """
    told_of = event.data.entity_id
    if event.event_type != INVOICE_UPDATED or told_of is None or memory.knows(event):
        return None
    try:
        invoice = await client.find_invoice(told_of)
    except StrikeRefusal:
        raise
    except ProviderMisconfigured as error:
        log.warning("event_unreadable", provider=client.name, invoice=told_of, reason=error.reason)
        return None
    if invoice is None or invoice.state != "PAID":
        return None
    memory.ended.add(told_of)
    if invoice.own_name is None or invoice.amount.currency != asset.code:
        return None
    return Settlement(
        reference=invoice.own_name,
        received=read(invoice.amount, asset=asset, provider=client.name),
        settled_at=settled_at(invoice) or event.created.astimezone(UTC),
        position=position,
    )
