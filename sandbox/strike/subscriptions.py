"""Webhook subscriptions: where the account's events are sent (sheet 1.8)."""

from dataclasses import replace
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

from quittance.sandbox.strike import moments
from quittance.sandbox.strike.account import Account
from quittance.sandbox.strike.calls import NO_CONTENT, Answer, Call
from quittance.sandbox.strike.entities import Subscription
from quittance.sandbox.strike.reading import Given
from quittance.sandbox.strike.refusals import BAD_VALUE, not_found, unprocessable

SUBSCRIPTIONS_MAX: Final = 50
_URL_MAX: Final = 2_048
_SECRET_MIN: Final = 10
_SECRET_MAX: Final = 50
_VERSIONS: Final = ("v1", "v2")
EVENT_TYPES: Final = frozenset(
    {
        "invoice.created",
        "invoice.updated",
        "payment.created",
        "payment.updated",
        "receive-request.receive-pending",
        "receive-request.receive-completed",
        "currency-exchange-quote.updated",
        "deposit.updated",
        "payout.created",
        "payout.updated",
        "payout-originator.created",
        "payout-originator.updated",
        "payment-method.bank.created",
        "payment-method.bank.updated",
    }
)


class Subscriptions:
    """Strike wants https. The sandbox also takes http to this machine, and calls no other machine whatever it takes."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._book = account.book

    def create(self, call: Call) -> Answer:
        for name in ("webhookUrl", "webhookVersion", "secret", "enabled", "eventTypes"):
            call.given.required(name)
        blank = Subscription(
            id=self._book.new_id(),
            created=self._account.now(),
            url="",
            version="",
            secret="",
            enabled=False,
            event_types=(),
        )
        subscription = _read(call.given, blank)
        if len(self._shown_ones()) >= SUBSCRIPTIONS_MAX:
            raise unprocessable("UNPROCESSABLE_ENTITY", f"There are {SUBSCRIPTIONS_MAX} subscriptions already.")
        self._account.commit(subscription)
        body = _shown(subscription) | {"created": moments.created(subscription.created)}
        return call.created(body, at=f"/v1/subscriptions/{subscription.id}")

    def listing(self, _: Call) -> Answer:
        return Answer(body=[_shown(one) for one in self._shown_ones()])

    def find(self, call: Call) -> Answer:
        return Answer(body=_shown(self._found(call)))

    def update(self, call: Call) -> Answer:
        subscription = _read(call.given, self._found(call))
        self._account.commit(subscription)
        return Answer(body=_shown(subscription))

    def delete(self, call: Call) -> Answer:
        self._account.commit(replace(self._found(call), deleted=True))
        return Answer(status=NO_CONTENT)

    def _shown_ones(self) -> list[Subscription]:
        return [one for one in self._book.all(Subscription) if not one.deleted]

    def _found(self, call: Call) -> Subscription:
        found = self._book.find(Subscription, call.id("subscriptionId"))
        if found is None or found.deleted:
            raise not_found()
        return found


def is_here(url: str) -> bool:
    """Tell whether an address is on this machine."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _read(given: Given, before: Subscription) -> Subscription:
    """Return a subscription with what was given in the place of what was there.

    Raises:
        Refused: some of it is wrong.
    """
    url = given.text("webhookUrl", size_max=_URL_MAX)
    if url is not None and not _is_taken(url):
        given.flaw("webhookUrl", BAD_VALUE, "The webhookUrl field is no https address.")
    version = given.choice("webhookVersion", *_VERSIONS)
    secret = given.text("secret", size_min=_SECRET_MIN, size_max=_SECRET_MAX)
    enabled, event_types = given.flag("enabled"), given.texts("eventTypes")
    if event_types is not None and not (event_types and EVENT_TYPES.issuperset(event_types)):
        given.flaw("eventTypes", BAD_VALUE, "The eventTypes field names an event that does not exist, or none.")
    given.check()
    return replace(
        before,
        url=before.url if url is None else url,
        version=before.version if version is None else version,
        secret=before.secret if secret is None else secret,
        enabled=before.enabled if enabled is None else enabled,
        event_types=before.event_types if event_types is None else event_types,
    )


def _is_taken(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and is_here(url)))


def _shown(subscription: Subscription) -> dict[str, Any]:
    return {
        "id": subscription.id,
        "webhookUrl": subscription.url,
        "webhookVersion": subscription.version,
        "enabled": subscription.enabled,
        "created": moments.listed(subscription.created),
        "eventTypes": list(subscription.event_types),
    }
