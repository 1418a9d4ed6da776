"""The list of what happened, for who was not there when it was sent (sheet 1.8)."""

from typing import Any, Final

from quittance.sandbox.strike import filters, moments
from quittance.sandbox.strike.account import Account
from quittance.sandbox.strike.calls import Answer, Call
from quittance.sandbox.strike.entities import Delivery, Event
from quittance.sandbox.strike.refusals import not_found

_VERSION: Final = "v1"


class Events:
    def __init__(self, account: Account) -> None:
        self._book = account.book

    def listing(self, call: Call) -> Answer:
        delivered = self._delivered()

        def shown(event: Event) -> dict[str, Any]:
            return body_of(event, version=_VERSION) | {"deliverySuccess": delivered.get(event.id)}

        fields: dict[str, filters.Field[Event]] = {
            "created": lambda event: event.created,
            "eventType": lambda event: event.type,
            "deliverySuccess": lambda event: delivered.get(event.id),
        }
        return Answer(body=filters.page(self._book.all(Event), call.query, fields=fields, shown=shown))

    def find(self, call: Call) -> Answer:
        event = self._book.find(Event, call.id("eventId"))
        if event is None:
            raise not_found()
        return Answer(body=body_of(event, version=_VERSION) | {"deliverySuccess": self._delivered().get(event.id)})

    def _delivered(self) -> dict[str, bool]:
        """Return for each event that was to be sent whether everybody has it."""
        found: dict[str, bool] = {}
        for delivery in self._book.all(Delivery):
            found[delivery.event_id] = found.get(delivery.event_id, True) and delivery.delivered
        return found


def body_of(event: Event, *, version: str) -> dict[str, Any]:
    """Return an event as it is sent: which entity it is about, never how that stands. Both versions are the first's."""
    content: dict[str, Any] = {"entityId": event.entity_id}
    if event.changes:
        content["changes"] = list(event.changes)
    if event.receive_id is not None:
        content["receiveId"] = event.receive_id
    return {
        "id": event.id,
        "eventType": event.type,
        "webhookVersion": version,
        "data": content,
        "created": moments.listed(event.created),
    }
