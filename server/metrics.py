"""Metrics of the business: what the event log tells, counted."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge

from quittance.domain.event import Event
from quittance.gql.streams import EventSource


class EventMetrics:
    """Counts events by kind and status, as this process sees them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._events = Counter(
            "quittance_events", "Events of the log, by kind and the status they came to.", ["kind", "status"],
            registry=registry,
        )  # fmt: skip
        self._position = Gauge("quittance_event_position", "The newest position of the event log.", registry=registry)

    def follow(self, source: EventSource) -> None:
        """Count every event from now on."""
        self._position.set(source.head)
        source.listen(self._count)

    def _count(self, events: Sequence[Event]) -> None:
        for event in events:
            self._events.labels(event.kind.value, event.status or "").inc()
        self._position.set(events[-1].position)
