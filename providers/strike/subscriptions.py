"""Where Strike sends its events (1.8)."""

from collections.abc import Sequence
from typing import Final

from pydantic import SecretStr, TypeAdapter

from quittance.providers.strike import calls
from quittance.providers.strike.bodies import EventBody, SubscriptionBody
from quittance.providers.strike.client import Question, StrikeClient

SECRET_LENGTH_MIN: Final = 10
SECRET_LENGTH_MAX: Final = 50
VERSION: Final = "v1"  # what v2 sends is not written down anywhere
_EVENT: Final = TypeAdapter(EventBody)
_SUBSCRIPTION: Final = TypeAdapter(SubscriptionBody)
_SUBSCRIPTIONS: Final = TypeAdapter(list[SubscriptionBody])


class Subscriptions:
    """The subscriptions of one account; Strike keeps 50 at most."""

    def __init__(self, client: StrikeClient) -> None:
        self._client = client

    async def create(self, *, url: str, secret: SecretStr, event_types: Sequence[str]) -> SubscriptionBody:
        """Have events of these types sent to an https address, signed with ``secret``."""
        _check(secret)
        body = {
            "webhookUrl": url,
            "webhookVersion": VERSION,
            "secret": secret.get_secret_value(),
            "enabled": True,
            "eventTypes": list(event_types),
        }
        return await self._client.ask(calls.CREATE_SUBSCRIPTION, _SUBSCRIPTION, Question(body=body))

    async def list(self) -> Sequence[SubscriptionBody]:
        return await self._client.ask(calls.LIST_SUBSCRIPTIONS, _SUBSCRIPTIONS)

    async def find(self, subscription_id: str) -> SubscriptionBody:
        return await self._client.ask(calls.FIND_SUBSCRIPTION, _SUBSCRIPTION, Question(entity_id=subscription_id))

    async def change_secret(self, subscription_id: str, secret: SecretStr) -> SubscriptionBody:
        """Have events signed with another secret from now on."""
        _check(secret)
        question = Question(entity_id=subscription_id, body={"secret": secret.get_secret_value()})
        return await self._client.ask(calls.UPDATE_SUBSCRIPTION, _SUBSCRIPTION, question)

    async def enable(self, subscription_id: str, *, enabled: bool) -> SubscriptionBody:
        question = Question(entity_id=subscription_id, body={"enabled": enabled})
        return await self._client.ask(calls.UPDATE_SUBSCRIPTION, _SUBSCRIPTION, question)

    async def delete(self, subscription_id: str) -> None:
        await self._client.do(calls.DELETE_SUBSCRIPTION, Question(entity_id=subscription_id))

    async def event(self, event_id: str) -> EventBody:
        """Return an event as it was sent."""
        return await self._client.ask(calls.FIND_EVENT, _EVENT, Question(entity_id=event_id))


def _check(secret: SecretStr) -> None:
    if not SECRET_LENGTH_MIN <= len(secret.get_secret_value()) <= SECRET_LENGTH_MAX:
        raise ValueError(f"a webhook's secret has {SECRET_LENGTH_MIN} to {SECRET_LENGTH_MAX} characters")
