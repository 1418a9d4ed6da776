"""Core Lightning nodes that answer as they should not: clnrest's protocol, played from a script."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from functools import partial
from hashlib import sha256
from typing import Any

import httpx
import pytest
from coincurve import PrivateKey

from quittance.domain.bolt11 import UnsignedInvoice, encode

PREIMAGE = b"\x05" * 32
REFERENCE = sha256(PREIMAGE).hexdigest()
NODE = "02" + "cd" * 32
KEY = PrivateKey(b"\x07" * 32)
CREATED_AT = 1_700_000_000

Play = Callable[[dict[str, Any]], Awaitable[httpx.Response] | httpx.Response]


def bolt11(*, preimage: bytes = PREIMAGE, amount_msat: int | None = 21_000, prefix: str = "bcrt") -> str:
    unsigned = UnsignedInvoice(
        prefix=prefix,
        amount_msat=amount_msat,
        timestamp=CREATED_AT,
        payment_hash=sha256(preimage).digest(),
        payment_secret=b"\x11" * 32,
        description="",
        expiry_s=600,
    )
    return encode(unsigned, sign=partial(KEY.sign_recoverable, hasher=None))


def row(**changes: Any) -> dict[str, Any]:
    """Return an unpaid invoice as listinvoices shows it."""
    fields = {
        "label": f"quittance-{REFERENCE}",
        "payment_hash": REFERENCE,
        "status": "unpaid",
        "bolt11": bolt11(),
        "expires_at": CREATED_AT + 600,
        "created_index": 1,
    }
    return {name: value for name, value in (fields | changes).items() if value is not None}


def paid(index: int = 1, **changes: Any) -> dict[str, Any]:
    terms = {"status": "paid", "pay_index": index, "amount_received_msat": 21_000, "paid_at": CREATED_AT + 30}
    return row(**(terms | {"created_index": index, "updated_index": index} | changes))


def ok(body: Any) -> httpx.Response:
    return httpx.Response(201, json=body)


def no(code: int | None, message: str = "", *, status: int = 500) -> httpx.Response:
    return httpx.Response(status, json={"code": code, "message": message, "data": None})


class ScriptedNode:
    """Answers each call by what was put down for it; what was asked is kept."""

    def __init__(self) -> None:
        self.plays: dict[str, Play] = {}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.answer("getinfo", ok({"id": NODE, "network": "regtest"}))
        self.answer("listinvoices", ok({"invoices": []}))
        self.answer("listpays", ok({"pays": []}))

    def answer(self, method: str, *answers: httpx.Response) -> None:
        """Answer the calls of one method in turn; the last answer is for all that follow."""
        left = list(answers)

        def play(_: dict[str, Any]) -> httpx.Response:
            one = left.pop(0) if len(left) > 1 else left[0]
            return httpx.Response(one.status_code, content=one.content, headers=one.headers)

        self.plays[method] = play

    def hang(self, method: str) -> None:
        async def play(_: dict[str, Any]) -> httpx.Response:
            await asyncio.sleep(60)
            return no(None)

        self.plays[method] = play

    def calls(self, method: str) -> list[dict[str, Any]]:
        return [asked for name, asked in self.asked if name == method]

    async def serve(self, request: httpx.Request) -> httpx.Response:
        method, asked = request.url.path.removeprefix("/v1/"), json.loads(request.content)
        self.asked.append((method, asked))
        if method not in self.plays:
            return no(-32_601, f"Unknown command '{method}'", status=404)
        answer = self.plays[method](asked)
        return await answer if isinstance(answer, Awaitable) else answer

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url="https://node", transport=httpx.MockTransport(self.serve))


@pytest.fixture
def node() -> ScriptedNode:
    return ScriptedNode()
