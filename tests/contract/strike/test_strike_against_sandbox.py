"""The adapter and the sandbox's Strike account: money that comes in, over real sockets and with every answer lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from tests.contract.strike.conftest import Arm

from quittance.domain.bolt11 import decode
from quittance.domain.errors import ProviderMisconfigured, ProviderUnavailable
from quittance.domain.ids import Preimage
from quittance.domain.money import Asset, Money, msat
from quittance.providers.base import FeedPosition, InvoiceRequest, InvoiceStatus, Settlement
from quittance.providers.callbacks import ProviderCallback
from quittance.providers.lightning import signer
from quittance.providers.strike.budget import Budget
from quittance.providers.strike.callbacks import StrikeCallbacks
from quittance.providers.strike.client import StrikeClient
from quittance.providers.strike.connection import StrikeConnection, open_client
from quittance.providers.strike.provider import StrikeProvider
from quittance.providers.strike.rates import StrikeTicker
from quittance.providers.strike.subscriptions import StrikeSubscriptions
from quittance.sandbox.http import LoopbackServer
from quittance.sandbox.rails import SandboxRails, SandboxRefused

EUR = Asset("EUR", 2)
PREIMAGE = Preimage(b"\x05" * 32)
ORDER = InvoiceRequest(amount=msat(21_000_000), description="order 1", expires_in_s=600, preimage=PREIMAGE)
SECRET = SecretStr("0123456789abcdef")


def client_of(rails: SandboxRails, *, timeout_s: float = 2) -> StrikeClient:
    key = SecretStr(rails.strike.receive_key_path.read_text())
    http = open_client(StrikeConnection(url=rails.strike.url, api_key=key))
    return StrikeClient(http, budget=Budget(), timeout_s=timeout_s)


@pytest.fixture
async def client(rails: SandboxRails) -> AsyncIterator[StrikeClient]:
    one = client_of(rails)
    yield one
    await one.aclose()


@pytest.fixture
def provider(rails: SandboxRails, client: StrikeClient) -> StrikeProvider:
    return StrikeProvider(client, network="regtest", now=rails.clock.now, poll_s=0.02)


def numbered(number: int) -> InvoiceRequest:
    preimage = Preimage(bytes([number]) * 32)
    return InvoiceRequest(amount=msat(1_000_000), description="", expires_in_s=600, preimage=preimage)


async def paid(provider: StrikeProvider, rails: SandboxRails, number: int) -> str:
    made = await provider.create_invoice(numbered(number))
    assert made.payment_request is not None
    await rails.pay(made.payment_request)
    return made.reference


async def take(feed: AsyncIterator[Settlement | FeedPosition], count: int) -> list[Settlement | FeedPosition]:
    return [await asyncio.wait_for(anext(feed), timeout=10) for _ in range(count)]


def references(items: list[Settlement | FeedPosition]) -> list[str]:
    return [item.reference for item in items if isinstance(item, Settlement)]


async def test_invoice_is_made_paid_and_found(provider: StrikeProvider, rails: SandboxRails) -> None:
    before = rails.clock.now()

    made = await provider.create_invoice(ORDER)
    assert made.payment_request is not None
    asked = decode(made.payment_request, recover=signer)
    await rails.pay(made.payment_request)
    found = await provider.lookup_invoice(made.reference)

    assert (asked.prefix, asked.amount_msat, asked.description) == ("bcrt", 21_000_000, "order 1")
    assert made.reference == provider.reference(PREIMAGE)
    assert (made.status, made.received) == (InvoiceStatus.OPEN, None)
    assert made.expires_at is not None
    assert 599 <= (made.expires_at - before).total_seconds() <= 602
    assert (found.status, found.received) == (InvoiceStatus.SETTLED, msat(21_000_000))
    assert found.settled_at is not None
    assert abs((found.settled_at - before).total_seconds()) <= 5


@pytest.mark.parametrize("fault", ["lost_answer", "html_403", "unavailable", "processing_conflict", "rate_limited"])
@pytest.mark.parametrize("call", ["issue_invoice", "issue_quote", "cancel_invoice"])
async def test_whatever_is_lost_one_invoice_is_made_and_found(
    rails: SandboxRails, arm: Arm, call: str, fault: str
) -> None:
    await arm(fault, method=call)
    steps = ["make", "look up", "make", "cancel", "look up", "cancel"]

    before = [await outcome(rails, step) for step in steps]
    rails.clock.advance(3_601)  # a lock-out is over
    after = [await outcome(rails, step) for step in ("look up", "cancel", "make")]

    lost = before.count("unavailable")
    assert lost == 1 or (lost > 1 and fault == "rate_limited"), before  # who is locked out, is for all calls of a kind
    assert after[0] in {"OPEN", "CANCELED", "MISSING"}
    assert await held(rails) == 1


@pytest.mark.parametrize("fault", ["html_403", "unavailable", "rate_limited"])
async def test_list_that_is_not_to_be_had_hides_nothing(rails: SandboxRails, arm: Arm, fault: str) -> None:
    await outcome(rails, "make")
    await arm(fault, method="list_invoices")

    first = await outcome(rails, "look up")
    rails.clock.advance(3_601)

    assert [first, await outcome(rails, "look up")] == ["unavailable", "OPEN"]


async def outcome(rails: SandboxRails, step: str) -> str:
    """Return what becomes of one step, taken by a process of its own."""
    async with opened(rails) as provider:
        reference = provider.reference(PREIMAGE)
        steps: dict[str, Any] = {
            "make": lambda: provider.create_invoice(ORDER),
            "look up": lambda: provider.lookup_invoice(reference),
            "cancel": lambda: provider.cancel_invoice(reference),
        }
        try:
            return str((await steps[step]()).status)
        except ProviderUnavailable:
            return "unavailable"


async def held(rails: SandboxRails) -> int:
    async with opened(rails) as provider:
        return len([one async for one in provider.invoices()])


@asynccontextmanager
async def opened(rails: SandboxRails) -> AsyncIterator[StrikeProvider]:
    client = client_of(rails)
    yield StrikeProvider(client, network="regtest", now=rails.clock.now)
    await client.aclose()


async def test_each_request_for_payment_may_be_paid_until_one_is(provider: StrikeProvider, rails: SandboxRails) -> None:
    made = await provider.create_invoice(ORDER)
    quoted = await provider.requote(made.reference)
    assert made.payment_request is not None
    assert quoted.payment_request is not None

    await rails.pay(made.payment_request)

    assert quoted.payment_request != made.payment_request
    assert (await provider.lookup_invoice(made.reference)).status is InvoiceStatus.SETTLED
    with pytest.raises(SandboxRefused):
        await rails.pay(quoted.payment_request)
    after = await provider.requote(made.reference)
    assert (after.status, after.payment_request) == (InvoiceStatus.SETTLED, None)


async def test_invoice_in_euros_is_quoted_for_a_short_time_and_again(rails: SandboxRails, client: StrikeClient) -> None:
    provider = StrikeProvider(client, network="regtest", now=rails.clock.now, currency="EUR")
    order = InvoiceRequest(amount=Money(1_099, EUR), description="", expires_in_s=600, preimage=PREIMAGE)

    made = await provider.create_invoice(order)
    assert made.payable_until is not None
    short_s = (made.payable_until - rails.clock.now()).total_seconds()
    rails.clock.advance(short_s + 2)
    quoted = await provider.requote(made.reference)
    assert made.payment_request is not None
    assert quoted.payment_request is not None
    with pytest.raises(SandboxRefused):
        await rails.pay(made.payment_request)
    await rails.pay(quoted.payment_request)
    found = await provider.lookup_invoice(made.reference)

    assert short_s < 60
    assert made.expires_at is not None
    assert made.expires_at - made.payable_until > timedelta(seconds=500)
    assert (found.status, found.received) == (InvoiceStatus.SETTLED, Money(1_099, EUR))


async def test_payment_that_is_pending_is_no_money_yet(provider: StrikeProvider, rails: SandboxRails, arm: Arm) -> None:
    await arm("invoice_pending", seconds=600)
    reference = await paid(provider, rails, 1)

    meanwhile = await provider.lookup_invoice(reference)
    canceled = await provider.cancel_invoice(reference)
    await arm("release_pending")
    last = await provider.lookup_invoice(reference)

    assert {one.status for one in (meanwhile, canceled)} == {InvoiceStatus.OPEN}
    assert (last.status, last.received) == (InvoiceStatus.SETTLED, msat(1_000_000))


async def test_late_money_is_found(provider: StrikeProvider, rails: SandboxRails) -> None:
    made = await provider.create_invoice(ORDER)
    rails.clock.advance(1_200)  # twice as long as we wanted to wait; Strike still takes it
    assert made.payment_request is not None

    await rails.pay(made.payment_request)

    found = await provider.lookup_invoice(made.reference)
    assert made.expires_at is not None
    assert found.settled_at is not None
    assert found.settled_at - made.expires_at >= timedelta(seconds=599)


async def test_feed_tells_what_was_missed_and_what_comes(provider: StrikeProvider, rails: SandboxRails) -> None:
    known = [await paid(provider, rails, number) for number in (1, 2, 3)]

    async with aclosing(provider.settlements(resume=None)) as feed:
        first = await take(feed, 3)
        known.append(await paid(provider, rails, 4))
        while len(references(first)) < 4:
            first += await take(feed, 1)

    assert references(first) == known
    assert {item.received for item in first if isinstance(item, Settlement)} == {msat(1_000_000)}


async def test_feed_ends_when_strike_goes_and_resumes_without_a_gap(
    provider: StrikeProvider, rails: SandboxRails, arm: Arm
) -> None:
    await paid(provider, rails, 1)
    async with aclosing(provider.settlements(resume=None)) as feed:
        first = await take(feed, 1)
        await arm("unavailable", method="list_events")
        with pytest.raises(ProviderUnavailable):
            await take(feed, 2)
    missed = await paid(provider, rails, 2)
    settlement = first[0]
    assert isinstance(settlement, Settlement)

    async with aclosing(provider.settlements(resume=settlement.position)) as feed:
        again = await take(feed, 1)

    assert references(again) == [missed]


async def test_every_invoice_is_listed_the_oldest_first(provider: StrikeProvider, rails: SandboxRails) -> None:
    made = [(await provider.create_invoice(numbered(number))).reference for number in range(1, 6)]
    made.append(await paid(provider, rails, 6))

    listed = [one async for one in provider.invoices()]

    assert [one.reference for one in listed] == made
    assert [one.received for one in listed] == [None] * 5 + [msat(1_000_000)]


async def test_delivery_leads_to_the_invoice_it_is_about(
    provider: StrikeProvider, client: StrikeClient, rails: SandboxRails
) -> None:
    said: asyncio.Queue[ProviderCallback] = asyncio.Queue()
    reader = StrikeCallbacks([SECRET])

    async def door(request: Request) -> Response:
        body = await request.body()
        said.put_nowait(reader.read_callback(headers=request.headers, body=body, at=rails.clock.now()))
        return Response(status_code=204)

    server = LoopbackServer(Starlette(routes=[Route("/callbacks/strike", door, methods=["POST"])]))
    await server.start()
    url = f"http://127.0.0.1:{server.port}/callbacks/strike"
    await StrikeSubscriptions(client).subscribe(url=url, secret=SECRET.get_secret_value(), kinds=("invoice.updated",))

    reference = await paid(provider, rails, 1)
    told = await asyncio.wait_for(said.get(), timeout=10)
    await server.stop()

    assert (told.kind, told.reference) == ("invoice.updated", None)
    assert told.entity is not None
    assert await provider.reference_of(kind=told.kind, entity_id=told.entity) == reference


async def test_key_without_the_scope_is_for_the_operator(rails: SandboxRails, client: StrikeClient) -> None:
    """The key that receives may not spend: Strike knows it, and says no to what it asks."""
    invoice = rails.new_invoice("bob", amount_msat=1_000_000)

    with pytest.raises(ProviderMisconfigured, match=r"partner\.payment-quote\.lightning\.create"):
        await client.quote_lightning(ln_invoice=invoice, amount=None, currency="BTC", key=str(uuid4()))
    with pytest.raises(ProviderMisconfigured, match=r"partner\.payment-quote\.execute"):
        await client.execute_quote(str(uuid4()))


async def test_a_key_that_is_nobody_s_is_for_the_operator(rails: SandboxRails) -> None:
    http = open_client(StrikeConnection(url=rails.strike.url, api_key=SecretStr("nobody's")))
    provider = StrikeProvider(StrikeClient(http, budget=Budget()), network="regtest", now=rails.clock.now)

    with pytest.raises(ProviderMisconfigured, match="does not accept"):
        await provider.create_invoice(ORDER)
    assert (await provider.health()).detail == "provider 'strike': Strike does not accept the API key"
    await provider.aclose()


async def test_rates_are_read(client: StrikeClient, rails: SandboxRails) -> None:
    ticker = StrikeTicker(client, now=rails.clock.now)

    rate = await ticker.rate("BTC", "USD")

    assert rate is not None
    assert 50_000 < rate.value < 200_000
    assert await ticker.rate("BTC", "XYZ") is None


async def test_other_network_shows_in_the_first_invoice(rails: SandboxRails, client: StrikeClient) -> None:
    provider = StrikeProvider(client, network="testnet", now=rails.clock.now)

    with pytest.raises(ProviderMisconfigured, match="another network"):
        await provider.create_invoice(ORDER)

    assert (await provider.health()).wrong_network
