"""Invoices, on every rail over Lightning: made once, verified, found again, cancelled, and never read as paid."""

import asyncio
from dataclasses import replace
from hashlib import sha256

import pytest
from tests.contract.lightning.tills import Receiver, Till, connect

from quittance.domain.bolt11 import decode
from quittance.domain.errors import InvoiceRejected, ProviderUnavailable
from quittance.domain.ids import Preimage
from quittance.domain.money import BTC_MSAT, Money, msat
from quittance.providers.base import Invoice, InvoiceRequest, InvoiceStatus, ProviderHealth
from quittance.providers.lightning import signer
from quittance.sandbox.rails import SandboxRefused

PREIMAGE = Preimage(b"\x05" * 32)
REFERENCE = sha256(PREIMAGE).hexdigest()
ORDER = InvoiceRequest(amount=msat(21_000), description="order 1", expires_in_s=600, preimage=PREIMAGE)


def order(amount_msat: int = 21_000, *, description: str = "order 1", preimage: bytes = PREIMAGE) -> InvoiceRequest:
    return InvoiceRequest(
        amount=msat(amount_msat), description=description, expires_in_s=600, preimage=Preimage(preimage)
    )


async def pay(till: Till, invoice: Invoice, *, amount_msat: int | None = None) -> bytes:
    assert invoice.payment_request is not None
    return await till.rails.pay(invoice.payment_request, amount_msat=amount_msat)


async def test_invoice_is_made_as_asked(till: Till) -> None:
    before = till.rails.clock.now()

    invoice = await till.provider.create_invoice(ORDER)

    held = till.node.invoices[bytes.fromhex(REFERENCE)]
    assert (till.provider.name, till.provider.asset) == (till.rail, BTC_MSAT)
    assert (invoice.reference, invoice.status) == (REFERENCE, InvoiceStatus.OPEN)
    assert till.provider.reference(PREIMAGE) == REFERENCE
    assert (invoice.payment_request, held.value_msat, held.memo) == (held.payment_request, 21_000, "order 1")
    assert held.preimage == PREIMAGE
    assert invoice.expires_at is not None
    assert 599 <= (invoice.expires_at - before).total_seconds() <= 602
    assert (invoice.received, invoice.settled_at) == (None, None)


async def test_same_preimage_returns_the_first_invoice(till: Till) -> None:
    first = await till.provider.create_invoice(ORDER)
    again = await till.provider.create_invoice(order(description="order 2"))

    assert again == first
    assert len(till.node.invoices) == 1


async def test_invoice_is_bound_to_a_text_by_its_hash(till: Till) -> None:
    text = '[["text/plain","Pay \\"alice\\" \u2615"],["text/identifier","alice@example.com"]]' + " " * 400
    bound = replace(ORDER, described_by=text)

    invoice = await till.provider.create_invoice(bound)
    again = await till.provider.create_invoice(bound)

    decoded = decode(invoice.payment_request or "", recover=signer)
    assert (decoded.description, decoded.description_hash) == (None, sha256(text.encode()).hexdigest())
    assert again == invoice
    for other in (ORDER, replace(ORDER, described_by="another text")):
        with pytest.raises(InvoiceRejected, match="something else"):
            await till.provider.create_invoice(other)


async def test_same_preimage_together_makes_one_invoice(till: Till) -> None:
    made = await asyncio.gather(*(till.provider.create_invoice(ORDER) for _ in range(10)))

    assert {invoice.payment_request for invoice in made} == {made[0].payment_request}
    assert len(till.node.invoices) == 1


async def test_preimage_whose_invoice_was_paid_returns_it_as_paid(any_till: Till) -> None:
    await pay(any_till, await any_till.provider.create_invoice(ORDER))

    again = await any_till.provider.create_invoice(ORDER)

    assert (again.status, again.received) == (InvoiceStatus.SETTLED, any_till.money(21_000))


async def test_another_amount_for_the_same_preimage_is_refused(any_till: Till) -> None:
    await any_till.provider.create_invoice(ORDER)

    with pytest.raises(InvoiceRejected, match="another amount"):
        await any_till.provider.create_invoice(order(20_000))


@pytest.mark.parametrize("description", ["é" * 400, "x" * 638 + "é", "雪" * 300, "x" * 2_000])
async def test_long_description_is_cut_between_characters(till: Till, description: str) -> None:
    await till.provider.create_invoice(order(description=description))

    memo = till.node.invoices[bytes.fromhex(REFERENCE)].memo
    assert description.startswith(memo)
    assert 637 <= len(memo.encode()) <= 639


@pytest.mark.parametrize("description", ["nul\x00 and bell\x07", 'a "quoted"\\ line\nand a tab\t', "\N{BELL}✓", ""])
async def test_every_description_makes_an_invoice(till: Till, description: str) -> None:
    made = await till.provider.create_invoice(order(description=description))

    assert made.status is InvoiceStatus.OPEN
    memo = till.node.invoices[bytes.fromhex(REFERENCE)].memo
    assert memo.translate({0: " ", 7: " "}) == description.translate({0: " ", 7: " "})


@pytest.mark.parametrize("value", [0, -1])
async def test_amount_that_lets_the_payer_choose_is_never_asked(till: Till, value: int) -> None:
    with pytest.raises(InvoiceRejected):
        await till.provider.create_invoice(
            InvoiceRequest(amount=Money(value, BTC_MSAT), description="", expires_in_s=60, preimage=PREIMAGE)
        )

    assert len(till.node.invoices) == 0


async def test_lost_answer_is_found_by_the_reference_and_by_a_repeat(till: Till) -> None:
    await till.fail("lost_answer", call="create")

    with pytest.raises(ProviderUnavailable):
        await till.provider.create_invoice(ORDER)
    found = await till.provider.lookup_invoice(REFERENCE)
    again = await till.provider.create_invoice(ORDER)

    assert found.status is InvoiceStatus.OPEN
    assert again == found
    assert len(till.node.invoices) == 1


@pytest.mark.parametrize("call", ["create", "look up", "cancel"])
async def test_node_that_is_away_is_unavailable_and_nothing_was_done(any_till: Till, call: str) -> None:
    made = await any_till.provider.create_invoice(order(preimage=b"\x06" * 32))
    await any_till.fail("unavailable", call=call)

    with pytest.raises(ProviderUnavailable):
        await do(any_till.provider, call, made.reference)

    assert (await any_till.provider.lookup_invoice(made.reference)).status is InvoiceStatus.OPEN
    assert await any_till.held() == 1


@pytest.mark.parametrize("call", ["create", "look up", "cancel"])
async def test_node_that_is_slow_is_unavailable_within_the_deadline(any_till: Till, call: str) -> None:
    reference = any_till.provider.reference(PREIMAGE)
    made = await any_till.provider.create_invoice(order(preimage=b"\x06" * 32))
    hasty = connect(any_till.rail, any_till.rails, timeout_s=0.4)
    await hasty.lookup_invoice(reference)  # the connection stands
    await any_till.fail("delay", call=call, seconds=3)

    with pytest.raises(ProviderUnavailable):
        await asyncio.wait_for(do(hasty, call, made.reference), timeout=2)
    await hasty.aclose()


async def do(rail: Receiver, call: str, reference: str) -> Invoice:
    if call == "create":
        return await rail.create_invoice(ORDER)
    return await (rail.lookup_invoice(reference) if call == "look up" else rail.cancel_invoice(reference))


async def test_settled_invoice_tells_what_came_and_when(till: Till) -> None:
    made = await till.provider.create_invoice(ORDER)
    before = till.rails.clock.now()

    proof = await pay(till, made, amount_msat=21_500)

    found = await till.provider.lookup_invoice(REFERENCE)
    assert proof == PREIMAGE
    assert (found.status, found.received) == (InvoiceStatus.SETTLED, msat(21_500))
    assert found.settled_at is not None
    assert abs((found.settled_at - before).total_seconds()) <= 2


async def test_invoice_that_the_node_does_not_know_is_missing(any_till: Till) -> None:
    reference = any_till.provider.reference(PREIMAGE)
    assert (await any_till.provider.lookup_invoice(reference)).status is InvoiceStatus.MISSING
    assert (await any_till.provider.cancel_invoice(reference)).status is InvoiceStatus.MISSING


async def test_canceled_invoice_takes_no_money(any_till: Till) -> None:
    reference, before = any_till.provider.reference(PREIMAGE), any_till.node.balance_msat
    made = await any_till.provider.create_invoice(ORDER)

    canceled = await any_till.provider.cancel_invoice(reference)

    assert (canceled.reference, canceled.status, canceled.received) == (
        reference,
        InvoiceStatus.CANCELED,
        None,
    )
    with pytest.raises(SandboxRefused):
        await pay(any_till, made)
    later = [
        await any_till.provider.lookup_invoice(reference),
        await any_till.provider.cancel_invoice(reference),
    ]
    assert {invoice.status for invoice in later} <= {InvoiceStatus.CANCELED, InvoiceStatus.MISSING}
    assert any_till.node.balance_msat == before


async def test_cancelling_together_ends_in_one_state(any_till: Till) -> None:
    reference = any_till.provider.reference(PREIMAGE)
    await any_till.provider.create_invoice(ORDER)

    ended = await asyncio.gather(*(any_till.provider.cancel_invoice(reference) for _ in range(5)))

    assert {invoice.status for invoice in ended} <= {InvoiceStatus.CANCELED, InvoiceStatus.MISSING}
    assert InvoiceStatus.CANCELED in {invoice.status for invoice in ended}


async def test_settled_invoice_cannot_be_canceled(any_till: Till) -> None:
    reference = any_till.provider.reference(PREIMAGE)
    await pay(any_till, await any_till.provider.create_invoice(ORDER))

    assert (await any_till.provider.cancel_invoice(reference)).received == any_till.money(21_000)
    assert (await any_till.provider.lookup_invoice(reference)).status is InvoiceStatus.SETTLED


async def test_lost_answer_to_cancelling_is_no_open_invoice(any_till: Till) -> None:
    reference = any_till.provider.reference(PREIMAGE)
    await any_till.provider.create_invoice(ORDER)
    await any_till.fail("lost_answer", call="cancel")

    with pytest.raises(ProviderUnavailable):
        await any_till.provider.cancel_invoice(reference)

    found = await any_till.provider.lookup_invoice(reference)
    assert found.status in {InvoiceStatus.CANCELED, InvoiceStatus.MISSING}


async def test_expired_invoice_is_canceled_and_takes_no_money(till: Till) -> None:
    made = await till.provider.create_invoice(ORDER)
    till.rails.clock.advance(602)

    found = await till.provider.lookup_invoice(REFERENCE)

    assert (found.status, found.received) == (InvoiceStatus.CANCELED, None)
    assert (await till.provider.cancel_invoice(REFERENCE)).status is InvoiceStatus.CANCELED
    with pytest.raises(SandboxRefused):
        await pay(till, made)


async def test_invoices_survive_a_restart_of_the_node(till: Till) -> None:
    made = await till.provider.create_invoice(ORDER)
    await till.provider.create_invoice(order(preimage=b"\x06" * 32))
    await pay(till, made)

    await till.fail("restart")

    assert (await till.provider.lookup_invoice(REFERENCE)).received == msat(21_000)
    assert (await till.provider.create_invoice(ORDER)).status is InvoiceStatus.SETTLED
    assert len(till.node.invoices) == 2


async def test_every_invoice_is_listed_once_the_oldest_first(till: Till) -> None:
    references = [(await till.provider.create_invoice(order(preimage=bytes([n]) * 32))).reference for n in range(1, 6)]
    await till.rails.pay(till.node.invoices[bytes.fromhex(references[1])].payment_request)

    listed = [invoice async for invoice in till.provider.invoices()]

    assert [invoice.reference for invoice in listed] == references
    assert [invoice.received for invoice in listed] == [None, msat(21_000), None, None, None]
    assert {invoice.status for invoice in listed} == {InvoiceStatus.OPEN, InvoiceStatus.SETTLED}


async def test_empty_node_lists_nothing(any_till: Till) -> None:
    assert [invoice async for invoice in any_till.provider.invoices()] == []


async def test_list_that_breaks_off_says_so(any_till: Till) -> None:
    await any_till.provider.create_invoice(ORDER)
    await any_till.fail("unavailable", call="list")

    with pytest.raises(ProviderUnavailable):
        [invoice async for invoice in any_till.provider.invoices()]


async def test_synced_node_on_our_network_is_ready(any_till: Till) -> None:
    health = await any_till.provider.health()

    assert (health.ready, health.wrong_network) == (True, False)
    assert "regtest" in health.detail


async def test_node_of_another_network_is_refused(till: Till) -> None:
    other = connect(till.rail, till.rails, network="signet")

    health = await other.health()

    assert (health.ready, health.wrong_network) == (False, True)
    assert "regtest" in health.detail
    assert "signet" in health.detail
    await other.aclose()


async def test_node_that_is_not_there_is_unavailable_and_its_health_says_so(till: Till) -> None:
    await till.rails.stop()

    with pytest.raises(ProviderUnavailable):
        await till.provider.create_invoice(ORDER)
    assert await till.provider.health() == ProviderHealth(ready=False, detail="nobody listens at the node's address")


async def test_closed_adapter_is_unavailable(any_till: Till) -> None:
    reference = any_till.provider.reference(PREIMAGE)
    await any_till.provider.aclose()

    with pytest.raises(ProviderUnavailable):
        await any_till.provider.lookup_invoice(reference)
    assert (await any_till.provider.health()).ready is False
