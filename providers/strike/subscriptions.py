"""Strike's webhooks, and its list of events, which also has those that it could not deliver.

A secret has 10 to 50 characters there and is never shown again (1.8).
"""

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from pydantic import SecretStr, TypeAdapter

from quittance.providers.strike import calls
from quittance.providers.strike.bodies import EventBody, SubscriptionBody
from quittance.providers.strike.callbacks import StrikeCallbacks, entity_of
from quittance.providers.strike.client import Question, StrikeClient
from quittance.providers.strike.errors import Meaning, StrikeRefusal
from quittance.providers.strike.feed import INVOICE_UPDATED
from quittance.providers.subscriptions import (
    CallbackSubscription,
    EventDelivery,
    ProviderEvent,
    SubscriptionChange,
    SubscriptionMissing,
    SubscriptionRejected,
)

VERSION: Final = "v1"
_SUBSCRIPTION: Final = TypeAdapter(SubscriptionBody)
_SUBSCRIPTIONS: Final = TypeAdapter(list[SubscriptionBody])
_DELIVERIES: Final[Mapping[bool | None, EventDelivery]] = {
    True: EventDelivery.DELIVERED,
    False: EventDelivery.UNDELIVERED,
    None: EventDelivery.UNKNOWN,
}


def callback_reader(secrets: Sequence[bytes]) -> StrikeCallbacks:
    """Return what reads callbacks that are signed with one of these secrets."""
    return StrikeCallbacks([SecretStr(secret.decode()) for secret in secrets])


class StrikeSubscriptions:
    """Manages the webhooks of an account; its API key needs the scope partner.webhooks.manage."""

    kinds = (INVOICE_UPDATED,)

    def __init__(self, client: StrikeClient) -> None:
        self._client = client

    async def subscriptions(self) -> Sequence[CallbackSubscription]:
        """Return every webhook of the account, whoever made it."""
        return [_held(body) for body in await self._client.ask(calls.LIST_SUBSCRIPTIONS, _SUBSCRIPTIONS)]

    async def subscribe(self, *, url: str, secret: str, kinds: tuple[str, ...]) -> CallbackSubscription:
        """Add a webhook; Strike has no protection against a second one for the same address.

        Raises:
            SubscriptionRejected: an address that is not public and https, an unknown type, or the 51st webhook.
            ProviderUnavailable: no answer; it may be there.
        """
        body = {"webhookUrl": url, "webhookVersion": VERSION, "secret": secret, "enabled": True, "eventTypes": kinds}
        with _refusals():
            return _held(await self._client.ask(calls.CREATE_SUBSCRIPTION, _SUBSCRIPTION, Question(body=body)))

    async def change(self, subscription_id: str, change: SubscriptionChange) -> CallbackSubscription:
        """Change a webhook, and return how it stands afterwards.

        Raises:
            SubscriptionMissing, SubscriptionRejected: nothing changed.
            ProviderUnavailable: no answer; it may have changed.
        """
        said = {
            "webhookUrl": change.url,
            "eventTypes": change.kinds,
            "enabled": change.enabled,
            "secret": change.secret,
        }
        body = {name: value for name, value in said.items() if value is not None}
        question = Question(entity_id=_checked(subscription_id), body=body)
        with _refusals():
            return _held(await self._client.ask(calls.UPDATE_SUBSCRIPTION, _SUBSCRIPTION, question))

    async def unsubscribe(self, subscription_id: str) -> bool:
        """Take a webhook away; False when there was none."""
        try:
            with _refusals():
                await self._client.do(calls.DELETE_SUBSCRIPTION, Question(entity_id=_checked(subscription_id)))
        except SubscriptionMissing:
            return False
        return True

    async def events(self, *, since: datetime, undelivered_only: bool) -> AsyncGenerator[ProviderEvent]:
        """Yield what happened at or after ``since``, the oldest first; one may come twice, as pages are counted."""
        async for page in self._client.event_pages(since=since):
            for body in page:
                event = _event(body)
                if not (undelivered_only and event.delivery is EventDelivery.DELIVERED):
                    yield event


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except StrikeRefusal as refusal:
        if refusal.strike_code == "NOT_FOUND":
            raise SubscriptionMissing from refusal
        if refusal.meaning is Meaning.REFUSED:
            raise SubscriptionRejected(refusal.strike_code) from refusal
        raise


def _checked(subscription_id: str) -> str:
    """Return an id as Strike writes it; what is no UUID names nothing there."""
    try:
        return str(UUID(subscription_id))
    except ValueError:
        raise SubscriptionMissing from None


def _held(body: SubscriptionBody) -> CallbackSubscription:
    return CallbackSubscription(
        id=body.id,
        url=body.webhook_url,
        kinds=body.event_types,
        enabled=body.enabled,
        created_at=body.created.astimezone(UTC),
    )


def _event(body: EventBody) -> ProviderEvent:
    return ProviderEvent(
        event_id=body.id,
        kind=body.event_type,
        entity=entity_of(body.event_type, body.data),
        created_at=body.created.astimezone(UTC),
        delivery=_DELIVERIES[body.delivery_success],
    )
