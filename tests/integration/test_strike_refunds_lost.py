"""A refund that Strike paid without our hearing of it: while its events lag, no second one is paid."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from tests.integration.runners import runner_of
from tests.integration.strike_account import RAIL, StrikeAccount

from quittance.domain.money import msat
from quittance.domain.policy import LatePolicy
from quittance.providers.strike.budget import Budget
from quittance.providers.strike.client import StrikeClient
from quittance.providers.strike.connection import StrikeConnection, open_client
from quittance.providers.strike.payer import StrikePayer
from quittance.resolvers.payer_notes import StoredMemory
from quittance.workers.work import transfer_work

AMOUNT_MSAT = 10_000_000
LAG_S = 600
STEP_S = 15
_PASSED_ON = ("content-type", "idempotency-key")


@dataclass
class Proxy:
    """Passes on what is asked; loses the first answer to an execution, then refuses that quote, and hides events."""

    till: Any
    code: str
    lost: str = ""
    shown_at: datetime | None = None

    async def __call__(self, http: httpx.AsyncClient, request: httpx.Request) -> httpx.Response:
        path, now = request.url.path, self.till.clock.now()
        if path == "/v1/events" and self.shown_at is not None and now < self.shown_at:
            return httpx.Response(200, json={"items": [], "count": 0})
        if self.lost and path == self.lost:
            return httpx.Response(422, json={"data": {"status": 422, "code": self.code}})
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        answer = await http.request(
            request.method, path, params=request.url.params, content=request.content, headers=headers
        )
        if path.endswith("/execute") and not self.lost:
            self.lost, self.shown_at = path, now + timedelta(seconds=LAG_S)
            raise httpx.ReadError("the connection was reset")
        return httpx.Response(answer.status_code, content=answer.content)


@pytest.fixture(params=["LN_INVOICE_PROCESSED", "PAYMENT_PROCESSED", "PAYMENT_QUOTE_EXPIRED", "BALANCE_TOO_LOW"])
async def lagging(strike: StrikeAccount, request: pytest.FixtureRequest) -> AsyncIterator[StrikeAccount]:
    till = strike.till
    where, services = till.rails.strike, till.services
    key = SecretStr(where.api_key_path.read_text())
    async with open_client(StrikeConnection(url=where.url, api_key=key)) as real:
        proxy = Proxy(till, request.param)

        async def serve(asked: httpx.Request) -> httpx.Response:
            return await proxy(real, asked)

        http = httpx.AsyncClient(base_url=where.url, transport=httpx.MockTransport(serve))
        client = StrikeClient(http, budget=Budget(), timeout_s=2.0)
        memory = StoredMemory(database=services.database, now=services.now, provider=RAIL)
        payer = StrikePayer(client, network="regtest", memory=memory, now=services.now)
        yield strike.on(till.on(replace(services, payers={**services.payers, RAIL: payer})))
        await payer.aclose()


async def test_refund_that_was_paid_unheard_is_not_paid_again(lagging: StrikeAccount) -> None:
    """U1, W1, W3."""
    till = lagging.till
    bob = till.rails.nodes["bob"]
    await lagging.sold(amount=msat(2 * AMOUNT_MSAT))
    await till.set_policy(late=LatePolicy.REFUND, late_grace_s=0)
    late = await lagging.order(amount=msat(AMOUNT_MSAT), expires_in_s=120, refund_address=till.rails.address_of("bob"))
    till.clock.advance(120 + till.services.rules.expiry_grace_s + 1)
    await till.reconcile()
    await lagging.pay(late.payment.id)
    await lagging.catch_up()
    before_msat = bob.balance_msat

    runner = runner_of(till.services, *transfer_work())
    for _ in range(4 * LAG_S // STEP_S):
        while await runner.begin_due():
            await runner.idle()
        till.clock.advance(STEP_S)

    (refund,) = await till.rows("transfer")
    assert (refund["state"], refund["attempts"]) == ("SUCCEEDED", 1)
    assert bob.balance_msat - before_msat == refund["amount_value"]
