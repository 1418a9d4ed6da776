"""Sending events: signed, again after a failure, at least once and in no order (sheet 1.8)."""

import asyncio
import hmac
import json
import secrets
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final

import httpx

from quittance.sandbox.faults import ArmedFault
from quittance.sandbox.strike.account import Account
from quittance.sandbox.strike.entities import Delivery, Event, Subscription
from quittance.sandbox.strike.events import body_of
from quittance.sandbox.strike.kinds import DELIVERY, RAIL
from quittance.sandbox.strike.subscriptions import is_here

TIMEOUT_S: Final = 5.0
RETRIES_MAX: Final = 12
RETRY_BASE_S: Final = 3
SHOWN_MAX: Final = 100
SIGNATURE: Final = "X-Webhook-Signature"
_AT_ONCE_MAX: Final = 20
_WAIT_S_MAX: Final = 3_600.0
_TAKEN: Final = 204
_GIVES_UP: Final = frozenset({410, 501})
_FAULTS: Final = ("duplicate_webhook", "drop_webhook", "delay_webhook", "bad_signature", "lower_case_signature")


def signature(secret: str, content: bytes) -> str:
    """Return what Strike signs a body with, in capital letters."""
    return hmac.digest(secret.encode(), content, sha256).hex().upper()


class Deliveries:
    """What is still to be sent, by sandbox time. Only this machine is called; elsewhere every attempt fails."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._book = account.book
        self._open = {one.id for one in self._book.all(Delivery) if one.due is not None}
        self._sending: dict[str, asyncio.Task[None]] = {}
        self._woken = asyncio.Event()
        account.on_delivery = self._added

    def shown(self) -> list[dict[str, Any]]:
        """Return the newest deliveries and how they stand, newest first."""
        return [self._shown(one) for one in reversed(self._book.all(Delivery)[-SHOWN_MAX:])]

    def wake(self) -> None:
        """Look at once for what is due: time has jumped."""
        self._woken.set()

    async def run(self) -> None:
        """Send what is due, for ever."""
        async with httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False) as client:
            try:
                while True:
                    self._woken.clear()
                    self._start_due(client)
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._woken.wait(), self._pause_s())
            finally:
                await self._end_sending()

    def _added(self, deliveries: list[Delivery]) -> None:
        self._open.update(one.id for one in deliveries if one.due is not None)
        self._woken.set()

    def _start_due(self, client: httpx.AsyncClient) -> None:
        now = self._account.now()
        for delivery in self._waiting():
            if len(self._sending) >= _AT_ONCE_MAX:
                return
            if delivery.due is not None and delivery.due <= now:
                task = asyncio.create_task(self._deliver(client, delivery), name="sandbox-strike-webhook")
                self._sending[delivery.id] = task

    def _waiting(self) -> list[Delivery]:
        found = (self._book.find(Delivery, one) for one in self._open if one not in self._sending)
        return [delivery for delivery in found if delivery is not None]

    def _pause_s(self) -> float:
        """Return how long nothing will be due, as far as the clock does not jump."""
        if len(self._sending) >= _AT_ONCE_MAX:
            return _WAIT_S_MAX
        dues = [delivery.due for delivery in self._waiting() if delivery.due is not None]
        left_s = (min(dues) - self._account.now()).total_seconds() if dues else _WAIT_S_MAX
        return min(max(left_s, 0.0), _WAIT_S_MAX)

    async def _end_sending(self) -> None:
        for task in list(self._sending.values()):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _deliver(self, client: httpx.AsyncClient, delivery: Delivery) -> None:
        try:
            event = self._book.find(Event, delivery.event_id)
            subscription = self._book.find(Subscription, delivery.subscription_id)
            assert event is not None, "saved with its deliveries"
            assert subscription is not None, "deliveries are of subscriptions"
            self._save(await self._attempted(client, delivery, event, subscription))
        finally:
            self._sending.pop(delivery.id, None)
            self._woken.set()

    async def _attempted(
        self, client: httpx.AsyncClient, delivery: Delivery, event: Event, subscription: Subscription
    ) -> Delivery:
        """Return how a delivery stands after one attempt."""
        if subscription.deleted or not subscription.enabled:
            return replace(delivery, due=None)
        fault = self._account.network.faults.take(RAIL, *_FAULTS, method=DELIVERY)
        name = fault.kind.name if fault is not None else ""
        if fault is not None and name == "delay_webhook":
            return replace(delivery, due=self._later(fault))
        if name == "drop_webhook":
            return self._after(delivery, _TAKEN)
        content = json.dumps(body_of(event, version=subscription.version), separators=(",", ":")).encode()
        signed = signature(secrets.token_hex() if name == "bad_signature" else subscription.secret, content)
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            SIGNATURE: signed.lower() if name == "lower_case_signature" else signed,
        }
        status = 0
        for _ in range(2 if name == "duplicate_webhook" else 1):
            status = await _posted(client, subscription.url, content, headers)
        return self._after(delivery, status)

    def _after(self, delivery: Delivery, status: int) -> Delivery:
        attempts = delivery.attempts + 1
        if 200 <= status < 300:
            return replace(delivery, attempts=attempts, due=None, delivered=True)
        if status in _GIVES_UP or attempts > RETRIES_MAX:
            return replace(delivery, attempts=attempts, due=None)
        due = self._account.now() + timedelta(seconds=RETRY_BASE_S**attempts)
        return replace(delivery, attempts=attempts, due=due)

    def _shown(self, delivery: Delivery) -> dict[str, Any]:
        event = self._book.find(Event, delivery.event_id)
        subscription = self._book.find(Subscription, delivery.subscription_id)
        return {
            "eventId": delivery.event_id,
            "eventType": event.type if event is not None else None,
            "webhookUrl": subscription.url if subscription is not None else None,
            "attempts": delivery.attempts,
            "delivered": delivery.delivered,
            "nextAttemptAt": delivery.due.isoformat() if delivery.due is not None else None,
        }

    def _later(self, fault: ArmedFault) -> datetime:
        return self._account.now() + timedelta(seconds=fault.seconds)

    def _save(self, delivery: Delivery) -> None:
        self._book.save(delivery)
        if delivery.due is None:
            self._open.discard(delivery.id)


async def _posted(client: httpx.AsyncClient, url: str, content: bytes, headers: dict[str, str]) -> int:
    """Return the status that a receiver answers; 0 where it does not, or is on another machine."""
    if not is_here(url):
        return 0
    try:
        async with asyncio.timeout(TIMEOUT_S):
            return (await client.post(url, content=content, headers=headers)).status_code
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError):
        return 0
