"""Money between sandbox nodes: what is paid, held, refused, pending, and that none is made or lost."""

import asyncio
from hashlib import sha256
from typing import Any

import grpc
import pytest

from quittance.domain import bolt11
from quittance.providers.lnd._proto import invoicesrpc_pb2 as invoices
from quittance.providers.lnd._proto import lnrpc_pb2 as ln
from quittance.providers.lnd._proto import routerrpc_pb2 as router
from quittance.sandbox.lnd.paying import route_fee_msat
from quittance.sandbox.rails import SandboxRails, SandboxRefused

START_MSAT = 10 * 10**11
PREIMAGE = b"q" * 32


async def refusal(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), caught.value.details() or ""


async def drained(stream: Any) -> list[Any]:
    return [message async for message in stream]


async def add(client: Any, **fields: Any) -> Any:
    return await client.lightning.AddInvoice(ln.Invoice(**fields), metadata=client.auth)


async def hold(client: Any, **fields: Any) -> Any:
    request = invoices.AddHoldInvoiceRequest(hash=sha256(PREIMAGE).digest(), **fields)
    return await client.invoices.AddHoldInvoice(request, metadata=client.auth)


def send(client: Any, **fields: Any) -> Any:
    return client.router.SendPaymentV2(router.SendPaymentRequest(**fields), metadata=client.auth)


async def test_a_payment_moves_the_amount_and_costs_the_fee(rails: SandboxRails, merchant: Any, alice: Any) -> None:
    invoice = await add(merchant, value_msat=2_000_000, r_preimage=PREIMAGE)

    updates = await drained(send(alice, payment_request=invoice.payment_request, fee_limit_msat=5_000))

    assert [one.status for one in updates] == [ln.Payment.IN_FLIGHT, ln.Payment.SUCCEEDED]
    assert updates[-1].payment_preimage == PREIMAGE.hex()
    assert (updates[-1].value_msat, updates[-1].fee_msat) == (2_000_000, 1_002)
    assert rails.nodes["merchant"].balance_msat == 2_000_000
    assert rails.nodes["alice"].balance_msat == START_MSAT - 2_000_000 - 1_002
    tracked = await drained(
        alice.router.TrackPaymentV2(router.TrackPaymentRequest(payment_hash=invoice.r_hash), metadata=alice.auth)
    )
    assert [one.status for one in tracked] == [ln.Payment.SUCCEEDED]


async def test_only_the_first_payment_of_an_invoice_is_taken(rails: SandboxRails, merchant: Any, alice: Any) -> None:
    invoice = await add(merchant, value=10)
    await rails.pay(invoice.payment_request)

    code, text = await refusal(drained(send(alice, payment_request=invoice.payment_request, fee_limit_sat=10)))
    with pytest.raises(SandboxRefused, match="invoice is already paid"):
        await rails.pay(invoice.payment_request, node="bob")

    assert (code, text) == (grpc.StatusCode.ALREADY_EXISTS, "invoice is already paid")
    assert rails.nodes["merchant"].balance_msat == 10_000
    assert rails.nodes["bob"].balance_msat == START_MSAT


async def test_a_fee_limit_of_nothing_finds_no_route(rails: SandboxRails, merchant: Any, alice: Any) -> None:
    invoice = await add(merchant, value=10)

    failed = (await drained(send(alice, payment_request=invoice.payment_request, no_inflight_updates=True)))[-1]
    await rails.pay(invoice.payment_request)

    assert (failed.status, failed.failure_reason) == (ln.Payment.FAILED, ln.FAILURE_REASON_NO_ROUTE)
    assert rails.nodes["merchant"].balance_msat == 10_000


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"amt": 1}, "amount must not be specified when paying a non-zero amount invoice"),
        ({"fee_limit_sat": 1, "fee_limit_msat": 1}, "sat and msat arguments are mutually exclusive"),
        ({"dest": b"x" * 33}, "dest and payment_request cannot appear together"),
    ],
)
async def test_contradicting_orders_start_nothing(
    rails: SandboxRails, merchant: Any, alice: Any, fields: dict[str, Any], text: str
) -> None:
    invoice = await add(merchant, value=10)

    code, given = await refusal(drained(send(alice, payment_request=invoice.payment_request, **fields)))
    tracked = await refusal(
        drained(
            alice.router.TrackPaymentV2(router.TrackPaymentRequest(payment_hash=invoice.r_hash), metadata=alice.auth)
        )
    )

    assert (code, given) == (grpc.StatusCode.UNKNOWN, text)
    assert tracked == (grpc.StatusCode.NOT_FOUND, "payment isn't initiated")


async def test_an_invoice_of_any_amount_needs_one(rails: SandboxRails, merchant: Any) -> None:
    invoice = await add(merchant)
    with pytest.raises(SandboxRefused, match="amount must be specified when paying a zero amount invoice"):
        await rails.pay(invoice.payment_request)

    await rails.pay(invoice.payment_request, amount_msat=1)

    assert rails.nodes["merchant"].balance_msat == 1


async def test_more_than_asked_is_taken_and_less_is_not(rails: SandboxRails, merchant: Any) -> None:
    invoice = await add(merchant, value_msat=5_000)
    with pytest.raises(SandboxRefused, match="FAILURE_REASON_INCORRECT_PAYMENT_DETAILS"):
        await rails.pay(invoice.payment_request, amount_msat=4_999)
    before = rails.nodes["merchant"].balance_msat

    await rails.pay(invoice.payment_request, amount_msat=5_001)

    found = await merchant.lightning.LookupInvoice(ln.PaymentHash(r_hash=invoice.r_hash), metadata=merchant.auth)
    assert before == 0
    assert (found.value_msat, found.amt_paid_msat) == (5_000, 5_001)


async def test_an_expired_invoice_cannot_be_paid(rails: SandboxRails, merchant: Any) -> None:
    invoice = await add(merchant, value=10, expiry=60)
    rails.clock.advance(62)

    with pytest.raises(SandboxRefused, match="invoice expired"):
        await rails.pay(invoice.payment_request)

    assert rails.nodes["alice"].balance_msat == START_MSAT


async def test_more_than_the_balance_cannot_be_paid(rails: SandboxRails, merchant: Any) -> None:
    invoice = await add(merchant, value_msat=START_MSAT + 1)

    with pytest.raises(SandboxRefused, match="FAILURE_REASON_INSUFFICIENT_BALANCE"):
        await rails.pay(invoice.payment_request)


async def test_a_node_seeks_a_way_to_itself_only_when_allowed_and_finds_none(rails: SandboxRails, alice: Any) -> None:
    invoice = await add(alice, value=10)
    code, text = await refusal(drained(send(alice, payment_request=invoice.payment_request, fee_limit_sat=10)))

    allowed = {"payment_request": invoice.payment_request, "fee_limit_sat": 10, "allow_self_payment": True}
    final = (await drained(send(alice, **allowed)))[-1]

    assert (code, text) == (grpc.StatusCode.UNKNOWN, "self-payments not allowed")
    assert (final.status, final.failure_reason) == (ln.Payment.FAILED, ln.FAILURE_REASON_NO_ROUTE)
    assert rails.nodes["alice"].balance_msat == START_MSAT


async def test_an_invoice_of_another_network_is_refused(rails: SandboxRails) -> None:
    key = rails.nodes["bob"].key
    unsigned = bolt11.UnsignedInvoice(
        prefix="bc",
        amount_msat=1_000,
        timestamp=int(rails.clock.now().timestamp()),
        payment_hash=b"h" * 32,
        payment_secret=b"s" * 32,
        description="",
    )

    with pytest.raises(SandboxRefused, match="invoice not for current active network 'regtest'"):
        await rails.pay(bolt11.encode(unsigned, sign=key.sign))


async def test_a_hold_invoice_holds_until_it_is_settled(rails: SandboxRails, merchant: Any, alice: Any) -> None:
    invoice = await hold(merchant, value=100)
    settle = invoices.SettleInvoiceMsg(preimage=PREIMAGE)
    early = await refusal(merchant.invoices.SettleInvoice(settle, metadata=merchant.auth))
    paying = asyncio.create_task(rails.pay(invoice.payment_request))
    states = merchant.invoices.SubscribeSingleInvoice(
        invoices.SubscribeSingleInvoiceRequest(r_hash=sha256(PREIMAGE).digest()), metadata=merchant.auth
    )
    seen = []
    async for one in states:
        seen.append(one.state)
        if one.state == ln.Invoice.ACCEPTED:
            assert rails.nodes["merchant"].balance_msat == 0
            assert one.htlcs[0].expiry_height - one.htlcs[0].accept_height == 80
            await merchant.invoices.SettleInvoice(settle, metadata=merchant.auth)
            await merchant.invoices.SettleInvoice(settle, metadata=merchant.auth)

    assert await paying == PREIMAGE
    assert early == (grpc.StatusCode.UNKNOWN, "invoice still open")
    assert seen[-2:] == [ln.Invoice.ACCEPTED, ln.Invoice.SETTLED]
    assert rails.nodes["merchant"].balance_msat == 100_000
    late = await refusal(
        merchant.invoices.CancelInvoice(
            invoices.CancelInvoiceMsg(payment_hash=sha256(PREIMAGE).digest()), metadata=merchant.auth
        )
    )
    assert late == (grpc.StatusCode.UNKNOWN, "invoice already settled")


async def test_a_canceled_hold_invoice_gives_the_money_back(rails: SandboxRails, merchant: Any) -> None:
    invoice = await hold(merchant, value=100)
    cancel = invoices.CancelInvoiceMsg(payment_hash=sha256(PREIMAGE).digest())
    with pytest.raises(SandboxRefused, match="the payment is in flight") as caught:
        await rails.pay(invoice.payment_request, wait_s=0.01)
    held = rails.nodes["alice"].balance_msat

    await merchant.invoices.CancelInvoice(cancel, metadata=merchant.auth)
    await merchant.invoices.CancelInvoice(cancel, metadata=merchant.auth)

    settle = invoices.SettleInvoiceMsg(preimage=PREIMAGE)
    late = await refusal(merchant.invoices.SettleInvoice(settle, metadata=merchant.auth))
    unknown = await refusal(
        merchant.invoices.CancelInvoice(invoices.CancelInvoiceMsg(payment_hash=b"h" * 32), metadata=merchant.auth)
    )
    assert caught.value.pending
    assert held < START_MSAT
    assert rails.nodes["alice"].balance_msat == START_MSAT
    assert late == (grpc.StatusCode.UNKNOWN, "invoice already canceled")
    assert unknown == (grpc.StatusCode.UNKNOWN, "unable to locate invoice")


async def test_a_held_payment_comes_back_before_its_htlc_expires(rails: SandboxRails, merchant: Any) -> None:
    invoice = await hold(merchant, value=100, expiry=60)
    with pytest.raises(SandboxRefused, match="the payment is in flight"):
        await rails.pay(invoice.payment_request, wait_s=0.01)
    rails.clock.advance(61 * 600)
    held = rails.nodes["merchant"].invoices[sha256(PREIMAGE).digest()].state

    rails.clock.advance(2 * 600)

    assert held == ln.Invoice.ACCEPTED
    assert rails.nodes["merchant"].invoices[sha256(PREIMAGE).digest()].state == ln.Invoice.CANCELED
    assert rails.nodes["alice"].balance_msat == START_MSAT


@pytest.mark.parametrize(("fault", "received"), [("release_pending", 10_000), ("fail_pending", 0)])
async def test_a_pending_payment_ends_when_it_is_let_go(
    rails: SandboxRails, merchant: Any, alice: Any, fault: str, received: int
) -> None:
    invoice = await add(merchant, value=10)
    await rails.faults.arm("lnd", "pending_forever")
    with pytest.raises(SandboxRefused, match="the payment is in flight"):
        await rails.pay(invoice.payment_request, wait_s=0.01)
    again = await refusal(drained(send(alice, payment_request=invoice.payment_request, fee_limit_sat=10)))

    await rails.faults.arm("lnd", fault)

    tracked = await drained(
        alice.router.TrackPaymentV2(router.TrackPaymentRequest(payment_hash=invoice.r_hash), metadata=alice.auth)
    )
    assert again == (grpc.StatusCode.ALREADY_EXISTS, "payment is in transition")
    assert tracked[-1].status == (ln.Payment.SUCCEEDED if received else ln.Payment.FAILED)
    assert rails.nodes["merchant"].balance_msat == received
    assert rails.nodes["alice"].balance_msat == START_MSAT - (received + route_fee_msat(10_000) if received else 0)
