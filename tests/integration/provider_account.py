"""An account at a provider that has webhooks, and the calls that manage them; it can lose its answers."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import httpx
import pytest
from tests.integration.callback_door import CallbackDoor, NewDoor

from quittance.domain.errors import ProviderUnavailable
from quittance.providers.callbacks import CallbackRefused, ProviderCallback
from quittance.providers.subscriptions import (
    CallbackSubscription,
    EventDelivery,
    ProviderEvent,
    SubscriptionChange,
    SubscriptionMissing,
    SubscriptionRejected,
)
from quittance.resolvers.services import CallbackTools

SIGNATURE = "x-signature"
KINDS = ("invoice.updated",)
PROVIDER = "lnd"


def signature(body: bytes, secret: str) -> dict[str, str]:
    return {SIGNATURE: hmac.digest(secret.encode(), body, hashlib.sha256).hex()}


@dataclass(frozen=True)
class HexReader:
    """Reads what the account signs. ``entity`` is the payment hash, as the rail itself names an invoice."""

    secrets: Sequence[bytes]

    def read_callback(self, *, headers: Mapping[str, str], body: bytes, at: datetime) -> ProviderCallback:
        del at
        given = headers.get(SIGNATURE, "")
        good = [hmac.compare_digest(given, hmac.digest(one, body, hashlib.sha256).hex()) for one in self.secrets]
        if not any(good):
            raise CallbackRefused("no secret signed this")
        said = json.loads(body)
        return ProviderCallback(event_id=said["id"], kind=said["eventType"], reference=None, entity=said["entity"])


@dataclass
class Account:
    """``lost``: so many calls act, and then do not answer. ``asked`` counts calls, and ``seen`` is called at each."""

    now: Callable[[], datetime]
    held: dict[str, CallbackSubscription] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    events_held: list[ProviderEvent] = field(default_factory=list)
    kinds: tuple[str, ...] = KINDS
    lost: int = 0
    down: bool = False
    refuses: str | None = None
    asked: int = 0
    made: int = 0
    seen: Callable[[], Any] = lambda: None

    async def subscriptions(self) -> Sequence[CallbackSubscription]:
        await self._asked()
        return list(self.held.values())

    async def subscribe(self, *, url: str, secret: str, kinds: tuple[str, ...]) -> CallbackSubscription:
        await self._asked()
        if self.refuses is not None:
            raise SubscriptionRejected(self.refuses)
        made = self.set_up(url, secret=secret, kinds=kinds)
        await self._answered()
        return made

    async def change(self, subscription_id: str, change: SubscriptionChange) -> CallbackSubscription:
        await self._asked()
        before = self.held.get(subscription_id)
        if before is None:
            raise SubscriptionMissing
        if self.refuses is not None:
            raise SubscriptionRejected(self.refuses)
        said = {name: getattr(change, name) for name in ("url", "kinds", "enabled")}
        self.held[before.id] = replace(before, **{name: value for name, value in said.items() if value is not None})
        if change.secret is not None:
            self.secrets[before.id] = change.secret
        await self._answered()
        return self.held[before.id]

    async def unsubscribe(self, subscription_id: str) -> bool:
        await self._asked()
        was_there = self.held.pop(subscription_id, None) is not None
        self.secrets.pop(subscription_id, None)
        await self._answered()
        return was_there

    async def events(self, *, since: datetime, undelivered_only: bool) -> AsyncIterator[ProviderEvent]:
        await self._asked()
        for event in [one for one in self.events_held if one.created_at >= since]:
            if not undelivered_only or event.delivery is not EventDelivery.DELIVERED:
                yield event
                await asyncio.sleep(0)

    def set_up(self, url: str, *, secret: str, kinds: tuple[str, ...] = KINDS) -> CallbackSubscription:
        """Make a webhook as somebody at the provider's own pages would."""
        self.made += 1
        made = CallbackSubscription(id=f"sub-{self.made:04}", url=url, kinds=kinds, enabled=True, created_at=self.now())
        self.held[made.id], self.secrets[made.id] = made, secret
        return made

    def happens(self, entity: str, *, kind: str = "invoice.updated") -> ProviderEvent:
        """Let something happen that nobody is told of yet."""
        event = ProviderEvent(
            event_id=f"evt-{len(self.events_held):04}",
            kind=kind,
            entity=entity,
            created_at=self.now(),
            delivery=EventDelivery.UNDELIVERED,
        )
        self.events_held.append(event)
        return event

    async def deliver(self, door: CallbackDoor, event: ProviderEvent, *, secret: str | None = None) -> httpx.Response:
        """Tell the door of an event, signed with what the account signs with now unless another secret is given."""
        body = json.dumps({"id": event.event_id, "eventType": event.kind, "entity": event.entity}).encode()
        (held,) = self.secrets.values() if secret is None else [secret]
        answer = await door.send(body, signature(body, held), provider=PROVIDER)
        if answer.is_success:
            place = next(at for at, one in enumerate(self.events_held) if one.event_id == event.event_id)
            self.events_held[place] = replace(event, delivery=EventDelivery.DELIVERED)
        return answer

    async def _asked(self) -> None:
        self.asked += 1
        await asyncio.sleep(0.001)
        self.seen()
        if self.down:
            raise ProviderUnavailable(PROVIDER)

    async def _answered(self) -> None:
        await asyncio.sleep(0.001)
        if self.lost:
            self.lost -= 1
            raise ProviderUnavailable(PROVIDER)


@dataclass
class ManagedDoor:
    """The door of one process to which the account delivers, and the operator who manages its webhooks."""

    door: CallbackDoor
    account: Account

    async def run(self, document: str, variables: dict[str, Any] | None = None, **more: Any) -> Any:
        """Execute a document of one field as the operator, and return that field's value."""
        (value,) = (await self.door.till.shop.run(document, variables, **more)).values()
        return value

    async def subscribe(self, **said: Any) -> dict[str, Any]:
        found: dict[str, Any] = await self.run(SUBSCRIBE, {"input": {"provider": PROVIDER, **said}})
        return found

    async def rotate(self, webhook_id: str, **said: Any) -> dict[str, Any]:
        found: dict[str, Any] = await self.run(ROTATE, {"provider": PROVIDER, "id": webhook_id, **said})
        return found

    async def catch_up(self, **said: Any) -> dict[str, Any]:
        found: dict[str, Any] = await self.run(CATCH_UP, {"provider": PROVIDER, **said})
        return found

    async def listed(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self.run('query { providerWebhooks(provider: "lnd") {' + WEBHOOK + "} }")
        return found


WEBHOOK = " id url eventTypes enabled isOurs secretRotatedAt previousSecretUntil isRotating "
ERROR = " ... on UserError { code message retryable } "
SUBSCRIBE = (
    "mutation ($input: SubscribeProviderWebhookInput!) { subscribeProviderWebhook(input: $input) { __typename "
    f"... on SubscribeProviderWebhookSuccess {{ webhook {{ {WEBHOOK} }} }} {ERROR} }} }}"
)
UPDATE = (
    "mutation ($input: UpdateProviderWebhookInput!) { updateProviderWebhook(input: $input) { __typename "
    f"... on UpdateProviderWebhookSuccess {{ webhook {{ {WEBHOOK} }} }} {ERROR} }} }}"
)
UNSUBSCRIBE = (
    "mutation ($provider: String!, $id: ID!) { unsubscribeProviderWebhook(provider: $provider, id: $id) { __typename "
    f"... on UnsubscribeProviderWebhookSuccess {{ id }} {ERROR} }} }}"
)
ROTATE = (
    "mutation ($provider: String!, $id: ID!, $overlap: Int) { "
    "rotateProviderWebhookSecret(provider: $provider, id: $id, overlapSeconds: $overlap) { __typename "
    f"... on RotateProviderWebhookSecretSuccess {{ webhook {{ {WEBHOOK} }} }} {ERROR} }} }}"
)
CATCH_UP = (
    "mutation ($provider: String!, $since: DateTime) { catchUpProviderEvents(provider: $provider, since: $since) { "
    f"__typename ... on CatchUpProviderEventsSuccess {{ since seen stored goesOnAt }} {ERROR} }} }}"
)
EVENTS = """
query ($since: DateTime, $undelivered: Boolean, $first: Int) {
  providerEvents(provider: "lnd", since: $since, undeliveredOnly: $undelivered, first: $first) {
    id type entity createdAt delivery callback { eventId state }
  }
}
"""

NewManagedDoor = Callable[..., ManagedDoor]


@pytest.fixture
def account(till: Any) -> Account:
    return Account(now=till.clock.now)


@pytest.fixture
def new_managed(new_door: NewDoor, account: Account) -> NewManagedDoor:
    """Open the door of one process; with ``another``, of a second one over the same database."""

    def make(*, secrets: Sequence[bytes] = (), **more: Any) -> ManagedDoor:
        tools = CallbackTools(manager=account, reader=HexReader, secrets=secrets)
        return ManagedDoor(new_door(readers={}, callback_tools={PROVIDER: tools}, **more), account)

    return make


@pytest.fixture
def managed(new_managed: NewManagedDoor) -> ManagedDoor:
    return new_managed()
