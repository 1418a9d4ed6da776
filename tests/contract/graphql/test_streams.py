"""The streams that read the log: no gap and no duplicate, however the log grows."""

import asyncio
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from quittance.domain.event import Event, EventKind, EventSelector
from quittance.gql.streams import EventStream, EventTail

SETTLED = frozenset({EventKind.PAYMENT_SETTLED})


async def test_a_tail_that_overflows_reads_the_log_instead(new_log: Any) -> None:
    log = new_log()
    tail = EventTail(source=log, selector=EventSelector(kinds=SETTLED), after=0, buffer_max=3)

    def remember(events: Sequence[Event]) -> None:
        for event in events:
            tail.offer(event)

    log.listen(remember)

    log.append(count=8)
    seen = [event.position for event in await tail.take()]
    while tail.pending:
        seen += [event.position for event in await tail.take()]

    assert seen == list(range(1, 9))
    assert log.reads > 0


@settings(max_examples=60, deadline=None)
@given(start=st.integers(0, 30), before=st.integers(0, 200), bursts=st.lists(st.integers(1, 400), max_size=4))
def test_a_plain_stream_has_no_gap_and_no_duplicate(new_log: Any, start: int, before: int, bursts: list[int]) -> None:
    async def play() -> list[int]:
        log = new_log()
        log.append(count=before) if before else None
        stream = EventStream(
            source=log,
            selector=EventSelector(kinds=SETTLED),
            after=min(start, before),
            to_type=lambda event: event.position,
        )
        wanted = before + sum(bursts) - min(start, before)
        seen: list[int] = []

        async def read() -> None:
            iterator = stream.__aiter__()
            while len(seen) < wanted:
                seen.append(await anext(iterator))
            await iterator.aclose()  # type: ignore[attr-defined]

        reader = asyncio.create_task(read())
        for burst in bursts:
            await asyncio.sleep(0)
            log.append(count=burst)
        await reader
        assert log.listeners == [] or wanted == 0
        return seen

    seen = asyncio.run(play())

    assert all(after - before == 1 for before, after in pairwise(seen))
    assert len(seen) == before + sum(bursts) - min(start, before)
