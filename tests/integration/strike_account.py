"""The same shop with a Strike account beside its node: what is sold through it, and what Strike itself says of that."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from tests.integration.runners import runner_of

from quittance.domain.job import JobKind
from quittance.domain.money import msat
from quittance.domain.payment import Payment
from quittance.providers.base import FeedPosition
from quittance.providers.strike.bodies import InvoiceBody, PaymentBody
from quittance.providers.strike.budget import Budget
from quittance.providers.strike.client import StrikeClient
from quittance.providers.strike.connection import StrikeConnection, open_client
from quittance.providers.strike.payer import StrikePayer
from quittance.providers.strike.provider import StrikeProvider
from quittance.providers.strike.subscriptions import StrikeSubscriptions, callback_reader
from quittance.resolvers.callbacks import receive
from quittance.resolvers.invoices import GeneratedInvoice
from quittance.resolvers.payer_notes import StoredMemory
from quittance.resolvers.services import CallbackTools
from quittance.resolvers.settlements import feed_position, replace_feed_position, report_settlement
from quittance.sandbox.rails import SandboxRails

RAIL = "strike"
PRICE_MSAT = 5_000
TIMEOUT_S = 10.0  # a busy machine answers late, and that is no fault of Strike's
SECRET = b"a secret of the tests"


@dataclass(frozen=True)
class StrikeAccount:
    """The till's Strike side. ``answers``: method, path and status of every call that was answered."""

    till: Any
    provider: StrikeProvider
    client: StrikeClient
    spending: StrikeClient
    polls: list[str]
    answers: list[tuple[str, str, int]]

    async def order(self, **fields: Any) -> GeneratedInvoice:
        asked = {"provider": RAIL, "amount": msat(PRICE_MSAT)} | fields
        made: GeneratedInvoice = await self.till.order(**asked)
        return made

    async def pay(self, payment_id: str, *, request: str | None = None, **more: Any) -> None:
        """Let Alice pay the payment's newest invoice, or the one that she was given."""
        option = (await self.till.options(payment_id))[-1]
        await self.till.rails.pay(request or option.payment_request or "", **more)

    async def sold(self, **fields: Any) -> Payment:
        """Return a payment that was paid in time, and that is booked."""
        made = await self.order(**fields)
        await self.pay(made.payment.id)
        await self.catch_up()
        payment: Payment = await self.till.payment(made.payment.id)
        return payment

    async def catch_up(self) -> None:
        """Book what the feed has to tell now: all of it was told when it asks for the second time."""
        self.polls.clear()
        reading = asyncio.create_task(self._read())
        while len(self.polls) < 2:
            await asyncio.sleep(0.01)
            if reading.done():
                await reading
        await asyncio.sleep(0.02)  # its answer is read: a call that is broken off may keep its connection
        reading.cancel()
        with suppress(asyncio.CancelledError):
            await reading

    async def _read(self) -> None:
        services = self.till.services
        resume = await feed_position(services, provider=RAIL)
        async for item in self.provider.settlements(resume=resume):
            if isinstance(item, FeedPosition):
                await replace_feed_position(services, provider=RAIL, position=item)
            else:
                await report_settlement(services, provider=RAIL, settlement=item)

    async def hear(self, body: bytes, signature: str) -> str:
        """Take in what came to the door of Strike's webhooks, and do what follows; return what it was."""
        services = self.till.services
        _, receipt = await receive(services, provider=RAIL, headers={"x-webhook-signature": signature}, body=body)
        await self.work()
        return receipt.value

    async def work(self) -> None:
        """Do what is due for callbacks."""
        runner = runner_of(self.till.services, JobKind.PROVIDER_CALLBACK)
        while await runner.begin_due():
            await runner.idle()

    async def at_strike(self, payment_id: str) -> InvoiceBody:
        """Return Strike's own invoice for the newest attempt of a payment."""
        option = (await self.till.options(payment_id))[-1]
        (found,) = await self.client.invoices_named(option.reference)
        return found

    async def payments(self) -> list[PaymentBody]:
        """Return every payment that the account ever began, the oldest first, as Strike shows it now."""
        begun: dict[str, None] = {}
        async for page in self.client.event_pages(since=self.till.clock.now() - timedelta(days=30)):
            named = [event.data.entity_id for event in page if event.event_type == "payment.created"]
            begun |= dict.fromkeys(id_ for id_ in named if id_ is not None)
        return [await self.spending.find_payment(id_) for id_ in begun]

    def on(self, till: Any) -> "StrikeAccount":
        return replace(self, till=till)


@pytest.fixture
async def strike_stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def strike_currency() -> str:
    return "BTC"


@pytest.fixture
def strike(till: Any, rails: SandboxRails, strike_stack: AsyncExitStack, strike_currency: str) -> StrikeAccount:
    services, where = till.services, rails.strike
    budget = Budget(clock=lambda: services.now().timestamp())

    polls: list[str] = []
    answers: list[tuple[str, str, int]] = []

    async def note(response: httpx.Response) -> None:
        answers.append((response.request.method, response.request.url.path, response.status_code))

    async def count(request: httpx.Request) -> None:
        if request.url.path == "/v1/events" and request.url.params["$skip"] == "0":
            polls.append(request.url.params["$filter"])

    def client(key: str) -> StrikeClient:
        http = open_client(StrikeConnection(url=where.url, api_key=SecretStr(key)))
        http.event_hooks["request"].append(count)
        http.event_hooks["response"].append(note)
        opened = StrikeClient(http, budget=budget, timeout_s=TIMEOUT_S)
        strike_stack.push_async_callback(opened.aclose)
        return opened

    receiving = client(where.receive_key_path.read_text())
    spending = client(where.api_key_path.read_text())
    provider = StrikeProvider(receiving, network="regtest", now=services.now, currency=strike_currency, poll_s=0.05)
    memory = StoredMemory(database=services.database, now=services.now, provider=RAIL)
    payer = StrikePayer(spending, network="regtest", memory=memory, now=services.now)
    both = replace(
        services,
        rails={**services.rails, RAIL: provider},
        payers={**services.payers, RAIL: payer},
        callback_tools={
            RAIL: CallbackTools(manager=StrikeSubscriptions(receiving), reader=callback_reader, secrets=[SECRET])
        },
    )
    return StrikeAccount(till.on(both), provider, receiving, spending, polls, answers)
