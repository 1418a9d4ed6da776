"""What the sandbox's Strike account knows after a restart."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from tests.contract.strike.strike_client import StrikeClient, btc, made, ok, refusal
from tests.contract.strike.webhook_receiver import SECRET, WebhookReceiver, attempted

from quittance.providers.lnd._proto import routerrpc_pb2 as router
from quittance.sandbox.clock import SandboxClock
from quittance.sandbox.coordinates import SandboxCoordinates
from quittance.sandbox.faults import Faults
from quittance.sandbox.lnd import paying
from quittance.sandbox.lnd.chains import BITCOIN
from quittance.sandbox.lnd.network import Network
from quittance.sandbox.rails import SandboxRails, SandboxRefused
from quittance.sandbox.strike.book import Book
from quittance.sandbox.strike.entities import Payment


@asynccontextmanager
async def _running(directory: Path) -> AsyncIterator[tuple[SandboxRails, StrikeClient]]:
    rails = await SandboxRails.start(directory=directory, clock=SandboxClock(directory / "clock.json"))
    strike = StrikeClient(rails.strike, key=rails.strike.api_key_path.read_text())
    try:
        yield rails, strike
    finally:
        await strike.http.aclose()
        await rails.stop()


async def test_an_account_is_found_where_it_was_with_all_it_had(tmp_path: Path) -> None:
    async with _running(tmp_path) as (rails, strike):
        where = rails.strike
        paid, open_one = await strike.invoice(btc("0.00021000"), correlationId="a"), await strike.invoice(btc("0.0001"))
        await rails.pay((await strike.quote(paid))["lnInvoice"])
        quote = await strike.quote(open_one)
        request = made(await strike.post("/receive-requests", {"bolt11": {"amount": btc("0.0001")}}))
        payment = ok(await strike.execute(await strike.payment_quote(rails.new_invoice("alice", amount_msat=1_000))))
        seen = [await strike.found(paid), await strike.payment(payment), ok(await strike.get("/balances"))]
        events = ok(await strike.get("/events"))

    async with _running(tmp_path) as (rails, strike):
        assert rails.strike == where
        assert [await strike.found(paid), await strike.payment(payment), ok(await strike.get("/balances"))] == seen
        assert ok(await strike.get("/events")) == events
        again = await strike.post("/invoices", {"amount": btc("0.0001"), "correlationId": "a"})
        assert refusal(again) == (409, "DUPLICATE_INVOICE")
        await rails.pay(quote["lnInvoice"])
        await rails.pay(request["bolt11"]["invoice"])
        assert (await strike.found(open_one))["state"] == "PAID"
        [receive] = ok(await strike.get("/receive-requests/receives"))["items"]
        assert receive["receiveRequestId"] == request["receiveRequestId"]
        newest = ok(await strike.get("/invoices"))["items"]
        assert [one["invoiceId"] for one in newest] == [open_one["invoiceId"], paid["invoiceId"]]


async def test_what_was_pending_is_still_pending(tmp_path: Path) -> None:
    async with _running(tmp_path) as (rails, strike):
        await rails.faults.arm("strike", "invoice_pending", seconds=3_600)
        invoice = await strike.invoice(btc("0.00021000"))
        await rails.pay((await strike.quote(invoice))["lnInvoice"])
        await rails.faults.arm("strike", "pending_forever", calls=2)
        requests = [rails.new_invoice("alice", amount_msat=1_000_000) for _ in range(2)]
        held = [(await strike.execute(await strike.payment_quote(one))).json() for one in requests]
        await rails.faults.arm("lnd", "pending_forever")
        flying = (await strike.execute(await strike.payment_quote(rails.new_invoice("bob", amount_msat=1_000)))).json()

    async with _running(tmp_path) as (rails, strike):
        states = [(await strike.payment(one))["state"] for one in (*held, flying)]
        assert ([*states, (await strike.found(invoice))["state"]]) == ["PENDING"] * 4
        await rails.faults.arm("lnd", "release_pending")
        assert (await strike.payment(flying))["state"] == "COMPLETED"
        assert (await strike.payment(held[0]))["state"] == "PENDING"
        await rails.faults.arm("strike", "release_pending")
        assert [(await strike.payment(one))["state"] for one in held] == ["COMPLETED"] * 2
        assert (await strike.found(invoice))["state"] == "PAID"


async def test_money_that_came_as_a_process_died_is_not_lost(tmp_path: Path) -> None:
    async with _running(tmp_path) as (rails, strike):
        invoice = await strike.invoice(btc("0.00021000"))
        quote, other = await strike.quote(invoice), await strike.quote(invoice)
        request = made(await strike.post("/receive-requests", {"bolt11": {"amount": btc("0.0001")}}))
        rails.nodes["strike"].on_invoice = None  # the account has died, its node lives
        await rails.pay(quote["lnInvoice"])
        await rails.pay(request["bolt11"]["invoice"])
        assert (await strike.found(invoice))["state"] == "UNPAID"

    async with _running(tmp_path) as (rails, strike):
        assert (await strike.found(invoice))["state"] == "PAID"
        assert ok(await strike.get("/receive-requests/receives"))["count"] == 1
        assert (await strike.balance("BTC"))["available"] == "1.00031000"
        with pytest.raises(SandboxRefused):
            await rails.pay(other["lnInvoice"])

    async with _running(tmp_path) as (rails, strike):
        assert (await strike.balance("BTC"))["available"] == "1.00031000"


@pytest.mark.parametrize(
    ("sent", "state", "left"),
    [(True, "COMPLETED", "0.99998998"), (False, "FAILED", "1.00000000")],
)
async def test_a_payment_that_was_begun_as_a_process_died_ends_as_it_did_at_the_node(
    tmp_path: Path, sent: bool, state: str, left: str
) -> None:
    async with _running(tmp_path) as (rails, strike):
        await rails.faults.arm("strike", "pending_forever")
        request = rails.new_invoice("alice", amount_msat=1_000_000)
        payment = (await strike.execute(await strike.payment_quote(request))).json()
    _die_while_paying(tmp_path, payment["paymentId"], request, sent=sent)

    async with _running(tmp_path) as (rails, strike):
        assert (await strike.payment(payment))["state"] == state
        assert (await strike.balance("BTC"))["available"] == left


def _die_while_paying(directory: Path, payment_id: str, request: str, *, sent: bool) -> None:
    """Leave behind a payment that was written down, before or after the node sent it."""
    clock, faults = SandboxClock(directory / "clock.json"), Faults()
    network = Network(chain=BITCOIN, path=directory / "lnd.sqlite3", clock=clock, faults=faults)
    book, payer = Book(network), network.nodes["strike"]
    payment = book.find(Payment, payment_id)
    assert payment is not None
    book.save(replace(payment, held=False))
    if sent:
        asked = router.SendPaymentRequest(payment_request=request, fee_limit_msat=10_000)
        paying.start(network, payer, paying.order_from(asked, chain=BITCOIN, now_s=network.now_s()))
    network.close()


async def test_what_was_not_delivered_is_sent_after_a_restart(tmp_path: Path) -> None:
    hook = WebhookReceiver()
    await hook.start()
    hook.statuses = [500]
    async with _running(tmp_path) as (rails, strike):
        terms = {"webhookUrl": hook.url, "webhookVersion": "v1", "secret": SECRET, "enabled": True}
        made(await strike.post("/subscriptions", terms | {"eventTypes": ["invoice.created"]}))
        await strike.invoice(btc("0.00021000"))
        await hook.wait_for(1)
        await attempted(rails, 1)

    async with _running(tmp_path) as (rails, strike):
        rails.clock.advance(4)
        sent = await hook.wait_for(2)
        assert sent[0] == sent[1]
        assert len(ok(await strike.get("/subscriptions"))) == 1
    await hook.stop()


async def test_the_account_is_found_by_other_processes(tmp_path: Path) -> None:
    async with _running(tmp_path) as (rails, _):
        found = SandboxCoordinates.load(tmp_path).strike

        assert found == rails.strike
        assert found.url.startswith("http://127.0.0.1:")
        assert (found.network, found.api_key_path.parent) == ("regtest", tmp_path / "strike")
