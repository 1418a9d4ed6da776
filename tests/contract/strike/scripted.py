"""A Strike that answers as it is told: its protocol, played from a script. What a test needs of it is set up here."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from typing import Any
from uuid import UUID

import httpx
from coincurve import PrivateKey

from quittance.domain.bolt11 import UnsignedInvoice, encode
from quittance.providers.strike.budget import PRODUCTION, Budget
from quittance.providers.strike.client import StrikeClient

PREIMAGE = b"\x05" * 32
HASH = sha256(PREIMAGE).hexdigest()
KEY = PrivateKey(b"\x07" * 32)
START = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
INVOICE_ID = "22222222-2222-4222-8222-222222222222"
PAYMENT_ID = "33333333-3333-4333-8333-333333333333"
QUOTE_ID = "44444444-4444-4444-8444-444444444444"
OTHER_ID = "55555555-5555-4555-8555-555555555555"

Play = Callable[[httpx.Request], Awaitable[httpx.Response] | httpx.Response]
_ID = re.compile("[0-9a-f]{8}-[0-9a-f-]{27}")


class Clock:
    """A clock that stands until it is moved; ``monotonic`` moves with it."""

    def __init__(self) -> None:
        self.at = START

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return (self.at - START).total_seconds()

    def advance(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


class Memory:
    """A memory that lasts as long as the test; what was remembered is kept in order."""

    def __init__(self) -> None:
        self.notes: dict[str, str] = {}
        self.history: list[str] = []

    async def recall(self, reference: str) -> str | None:
        return self.notes.get(reference)

    async def remember(self, reference: str, note: str, *, instead_of: str | None) -> bool:
        if self.notes.get(reference) != instead_of:
            return False
        self.notes[reference] = note
        self.history.append(note)
        return True


class ScriptedStrike:
    """Answers each call by what was put down for it; what was asked is kept."""

    def __init__(self) -> None:
        self.plays: dict[str, Play] = {}
        self.asked: list[tuple[str, httpx.Request]] = []

    def answer(self, call: str, *answers: httpx.Response | Exception) -> None:
        """Answer calls such as ``GET /v1/invoices/*`` in turn; the last answer is for all that follow."""
        left = list(answers)

        def play(_: httpx.Request) -> httpx.Response:
            one = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(one, Exception):
                raise one
            return httpx.Response(one.status_code, content=one.content, headers=one.headers)

        self.plays[call] = play

    def hang(self, call: str) -> None:
        async def play(_: httpx.Request) -> httpx.Response:
            await asyncio.sleep(60)
            raise AssertionError("nobody waits this long")

        self.plays[call] = play

    def calls(self, call: str) -> list[httpx.Request]:
        return [request for name, request in self.asked if name == call]

    def bodies(self, call: str) -> list[Any]:
        return [json.loads(request.content) if request.content else None for request in self.calls(call)]

    async def serve(self, request: httpx.Request) -> httpx.Response:
        call = f"{request.method} {_ID.sub('*', request.url.path)}"
        self.asked.append((call, request))
        if call not in self.plays:
            return no("NOT_FOUND", status=404)
        answer = self.plays[call](request)
        return await answer if isinstance(answer, Awaitable) else answer

    def client(self, *, budget: Budget | None = None, timeout_s: float = 0.5) -> StrikeClient:
        http = httpx.AsyncClient(base_url="https://strike", transport=httpx.MockTransport(self.serve))
        return StrikeClient(http, budget=budget or Budget(PRODUCTION), timeout_s=timeout_s)


ISSUE, LIST, FIND = "POST /v1/invoices", "GET /v1/invoices", "GET /v1/invoices/*"
QUOTE, CANCEL = "POST /v1/invoices/*/quote", "PATCH /v1/invoices/*/cancel"
PAY_QUOTE, EXECUTE = "POST /v1/payment-quotes/lightning", "PATCH /v1/payment-quotes/*/execute"
PAYMENT, EVENTS, BALANCES = "GET /v1/payments/*", "GET /v1/events", "GET /v1/balances"
TICKER = "GET /v1/rates/ticker"


def ok(body: Any, *, status: int = 200) -> httpx.Response:
    return httpx.Response(status, json=body)


def no(code: str, *, status: int = 422, **members: Any) -> httpx.Response:
    return httpx.Response(status, json={"traceId": "0HM", "data": {"status": status, "code": code, **members}})


def page(*items: Any) -> httpx.Response:
    return ok({"items": list(items), "count": len(items)})


def html_403() -> httpx.Response:
    return httpx.Response(403, text="<html>Attention Required! | Cloudflare</html>")


def money(amount: str, currency: str = "BTC") -> dict[str, str]:
    return {"currency": currency, "amount": amount}


def ago(seconds: float) -> str:
    """Return a time before START as Strike writes some: with seven digits."""
    return f"{START - timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S.%f}4+00:00"


def bolt11(
    *,
    preimage: bytes = PREIMAGE,
    amount_msat: int | None = 21_000_000,
    prefix: str = "bcrt",
    description_hash: bytes | None = None,
    expiry_s: int = 3_600,
) -> str:
    unsigned = UnsignedInvoice(
        prefix=prefix,
        amount_msat=amount_msat,
        timestamp=int(START.timestamp()),
        payment_hash=sha256(preimage).digest(),
        payment_secret=b"\x11" * 32,
        description="" if description_hash is None else None,
        description_hash=description_hash,
        expiry_s=expiry_s,
    )
    return encode(unsigned, sign=partial(KEY.sign_recoverable, hasher=None))


def invoice(correlation_id: str | None, *, state: str = "UNPAID", **changes: Any) -> dict[str, Any]:
    fields = {
        "invoiceId": INVOICE_ID,
        "amount": money("0.00021000"),
        "state": state,
        "created": ago(0),
        "correlationId": correlation_id,
        "issuerId": str(UUID(int=1)),
        "receiverId": str(UUID(int=1)),
    }
    return {name: value for name, value in (fields | changes).items() if value is not None}


def received(at: str) -> list[dict[str, Any]]:
    """Return the one transaction of an invoice that was paid."""
    return [
        {
            "transactionId": str(UUID(int=2)),
            "state": "COMPLETED",
            "amountReceived": money("0.00021000"),
            "created": at,
            "completed": at,
        }
    ]


def invoice_quote(**changes: Any) -> dict[str, Any]:
    return {
        "quoteId": QUOTE_ID,
        "lnInvoice": bolt11(),
        "expiration": f"{START + timedelta(seconds=3_600):%Y-%m-%dT%H:%M:%S.123+00:00}",
        "expirationInSec": 3_600,
        "targetAmount": money("0.00021000"),
        "sourceAmount": money("0.00021000"),
        "conversionRate": {"amount": "1.0000", "sourceCurrency": "BTC", "targetCurrency": "BTC"},
    } | changes


def payment_quote(**changes: Any) -> dict[str, Any]:
    fields = {
        "paymentQuoteId": QUOTE_ID,
        "validUntil": f"{START + timedelta(seconds=300):%Y-%m-%dT%H:%M:%S+00:00}",
        "amount": money("0.00021000"),
        "totalFee": money("0.00000021"),
        "lightningNetworkFee": money("0.00000021"),
        "totalAmount": money("0.00021021"),
    }
    return {name: value for name, value in (fields | changes).items() if value is not None}


def payment(state: str = "COMPLETED", *, preimage: bytes | str | None = PREIMAGE, **changes: Any) -> dict[str, Any]:
    shown = preimage.hex() if isinstance(preimage, bytes) else preimage
    lightning = {"networkFee": money("0.00000021")}
    fields = {
        "paymentId": PAYMENT_ID,
        "state": state,
        "result": {"COMPLETED": "SUCCESS", "FAILED": "FAILURE"}.get(state, "PENDING"),
        "amount": money("0.00021000"),
        "totalFee": money("0.00000021"),
        "totalAmount": money("0.00021021"),
        "lightning": lightning | ({"preImage": shown} if state == "COMPLETED" and shown is not None else {}),
    }
    return fields | changes


def event(
    entity_id: str = PAYMENT_ID, *, kind: str = "payment.created", number: int = 1, created: str = ""
) -> dict[str, Any]:
    return {
        "id": str(UUID(int=number)),
        "eventType": kind,
        "webhookVersion": "v1",
        "data": {"entityId": entity_id, "changes": ["state"]},
        "created": created or ago(0),
        "deliverySuccess": None,
    }
