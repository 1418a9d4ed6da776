"""A plain client of the sandbox's Strike account, and what tests of it have in common."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx

from quittance.sandbox.coordinates import StrikeCoordinates
from quittance.sandbox.lnd import paying
from quittance.sandbox.prices import price
from quittance.sandbox.rails import SandboxRails

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"
FEE = "0.00000002"  # 1,000 millisatoshi and one in a million, the part of a satoshi counted whole
_MINUTE_S = 60
NOBODY = "00000000-0000-4000-8000-000000000000"


def btc(amount: str) -> dict[str, str]:
    return {"amount": amount, "currency": "BTC"}


def usd(amount: str) -> dict[str, str]:
    return {"amount": amount, "currency": "USD"}


class StrikeClient:
    """Calls below ``/v1`` with one key."""

    def __init__(self, where: StrikeCoordinates, *, key: str) -> None:
        self.http = httpx.AsyncClient(
            base_url=f"{where.url}/v1", headers={"Authorization": f"Bearer {key}"}, timeout=10, trust_env=False
        )

    async def get(self, path: str, **params: str) -> httpx.Response:
        return await self.http.get(path, params=params)

    async def post(self, path: str, body: Any = None, *, key: str | None = None) -> httpx.Response:
        headers = {"idempotency-key": key} if key is not None else {}
        if body is None:
            return await self.http.post(path, headers=headers)
        return await self.http.post(path, json=body, headers=headers)

    async def patch(self, path: str, body: Any = None) -> httpx.Response:
        return await self.http.patch(path, json=body) if body is not None else await self.http.patch(path)

    async def delete(self, path: str) -> httpx.Response:
        return await self.http.delete(path)

    async def invoice(self, amount: Mapping[str, str], **members: str) -> Any:
        return made(await self.post("/invoices", {"amount": dict(amount), **members}))

    async def quote(self, invoice: Mapping[str, Any]) -> Any:
        return made(await self.post(f"/invoices/{invoice['invoiceId']}/quote"))

    async def found(self, invoice: Mapping[str, Any]) -> Any:
        return ok(await self.get(f"/invoices/{invoice['invoiceId']}", includeTransactions="true"))

    async def payment_quote(self, bolt11: str, *, source: str = "BTC", **members: Any) -> Any:
        body = {"lnInvoice": bolt11, "sourceCurrency": source, **members}
        return ok(await self.post("/payment-quotes/lightning", body, key=str(uuid4())))

    async def execute(self, quote: Mapping[str, Any]) -> httpx.Response:
        return await self.patch(f"/payment-quotes/{quote['paymentQuoteId']}/execute")

    async def payment(self, payment: Mapping[str, Any]) -> Any:
        return ok(await self.get(f"/payments/{payment['paymentId']}"))

    async def balance(self, currency: str) -> dict[str, str]:
        rows: list[dict[str, str]] = (await self.get("/balances")).json()
        return next(row for row in rows if row["currency"] == currency)


def ok(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    return answer.json()


def made(answer: httpx.Response) -> Any:
    assert answer.status_code == 201, answer.text
    return answer.json()


def refusal(answer: httpx.Response) -> tuple[int, str]:
    """Return how a call was refused, and check that both places say the same status."""
    data = answer.json()["data"]
    assert data["status"] == answer.status_code
    assert data["message"]
    return answer.status_code, data["code"]


def state_at_alice(rails: SandboxRails, request: str) -> int:
    return rails.nodes["alice"].invoices[bytes.fromhex(paying.read_invoice(request).payment_hash)].state


def dollars_per_bitcoin(rails: SandboxRails) -> Decimal:
    """Return the price, early in a minute in which it stays."""
    left_s = _MINUTE_S - rails.clock.now().timestamp() % _MINUTE_S
    if left_s < _MINUTE_S / 2:
        rails.clock.advance(left_s + 1)
    found = price("bitcoin", "usd", at=rails.clock.now())
    assert found is not None
    return found
