"""The port of providers whose webhooks can be managed: where they tell us, of what, and what they could not tell."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackSubscription:
    """A webhook as the provider holds it. ``id`` is the provider's own, ``kinds`` are types as it writes them."""

    id: str
    url: str
    kinds: tuple[str, ...]
    enabled: bool
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionChange:
    """What to change of a webhook; None leaves it as it is."""

    url: str | None = None
    kinds: tuple[str, ...] | None = None
    enabled: bool | None = None
    secret: str | None = field(default=None, repr=False)


class EventDelivery(StrEnum):
    """Whether the provider could tell somebody of an event. UNKNOWN: it does not say, or nobody was to be told."""

    DELIVERED = "DELIVERED"
    UNDELIVERED = "UNDELIVERED"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderEvent:
    """Something that happened at the provider: what a callback would have told, under the same ``event_id``.

    ``kind`` is its type as the provider writes it, ``entity`` the provider's own id of what it is about.
    """

    event_id: str
    kind: str
    entity: str | None
    created_at: datetime
    delivery: EventDelivery


class SubscriptionMissing(Exception):
    """The provider has no webhook of this id, or has none any more."""


class SubscriptionRejected(Exception):
    """The provider refused what was asked; nothing changed. ``reason`` is its code, for the operator."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the provider refused it: {reason}")
        self.reason = reason


@runtime_checkable
class ManagesCallbacks(Protocol):
    """A rail whose webhooks are managed over its own interface.

    Every method raises ``ProviderUnavailable`` when there was no answer, after which whatever was asked may have been
    done or not and asking again is safe, and ``ProviderMisconfigured`` when the operator must act.
    """

    @property
    def kinds(self) -> tuple[str, ...]:
        """The types that are worth being told of, as the provider writes them."""
        ...

    async def subscriptions(self) -> Sequence[CallbackSubscription]:
        """Return every webhook of the account, whoever made it."""
        ...

    async def subscribe(self, *, url: str, secret: str, kinds: tuple[str, ...]) -> CallbackSubscription:
        """Add a webhook that is enabled. Not idempotent: after a lost answer look for it in ``subscriptions``.

        Raises:
            SubscriptionRejected: the address, a type or the number of webhooks.
        """
        ...

    async def change(self, subscription_id: str, change: SubscriptionChange) -> CallbackSubscription:
        """Change a webhook, and return how it stands afterwards.

        Raises:
            SubscriptionMissing: there is none.
            SubscriptionRejected: the address or a type.
        """
        ...

    async def unsubscribe(self, subscription_id: str) -> bool:
        """Take a webhook away; False when there was none."""
        ...

    def events(self, *, since: datetime, undelivered_only: bool) -> AsyncIterator[ProviderEvent]:
        """Yield what happened at or after ``since``, the oldest first; read in pages, so one may come twice.

        With ``undelivered_only`` those that somebody was told of are left out.
        """
        ...
