"""The Core Lightning adapter at a node that answers badly: what makes no sense is never booked or handed out."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from tests.contract.cln.conftest import CREATED_AT, NODE, PREIMAGE, REFERENCE, ScriptedNode, bolt11, no, ok, paid, row

from quittance.domain.errors import InvoiceRejected, ProviderMisconfigured, ProviderUnavailable, QuittanceError
from quittance.domain.ids import Preimage
from quittance.domain.money import msat
from quittance.providers.base import (
    FeedPosition,
    HoldsInvoices,
    InvoiceRequest,
    InvoiceStatus,
    ListsInvoices,
    ProviderHealth,
    SendsKeysend,
    Settlement,
)
from quittance.providers.cln.payer import ClnPayer
from quittance.providers.cln.provider import ClnProvider

ORDER = InvoiceRequest(amount=msat(21_000), description="order 1", expires_in_s=600, preimage=Preimage(PREIMAGE))


@pytest.fixture
async def cln(node: ScriptedNode) -> AsyncIterator[ClnProvider]:
    provider = ClnProvider(node.client(), network="regtest", timeout_s=0.5)
    yield provider
    await provider.aclose()


async def test_what_the_node_is_asked_makes_a_repeat_find_the_first(cln: ClnProvider, node: ScriptedNode) -> None:
    node.answer("invoice", ok({"bolt11": bolt11()}))

    await cln.create_invoice(ORDER)

    assert node.asked == [
        (
            "invoice",
            {
                "amount_msat": 21_000,
                "label": f"quittance-{REFERENCE}",
                "description": "order 1",
                "expiry": 600,
                "preimage": PREIMAGE.hex(),
            },
        )
    ]


@pytest.mark.parametrize("code", [900, 901])
async def test_label_or_preimage_that_is_taken_is_looked_up(cln: ClnProvider, node: ScriptedNode, code: int) -> None:
    node.answer("invoice", no(code))
    node.answer("listinvoices", ok({"invoices": [paid(label="another label")]}))

    assert (await cln.create_invoice(ORDER)).status is InvoiceStatus.SETTLED


async def test_label_of_ours_on_another_invoice_is_a_matter_for_the_operator(
    cln: ClnProvider, node: ScriptedNode
) -> None:
    node.answer("invoice", no(900))

    with pytest.raises(ProviderMisconfigured, match="name"):
        await cln.create_invoice(ORDER)


@pytest.mark.parametrize(
    ("made", "error"),
    [
        (bolt11(prefix="bc"), ProviderMisconfigured),
        (bolt11(preimage=b"\x06" * 32), ProviderMisconfigured),
        (bolt11(amount_msat=20_000), InvoiceRejected),
        (bolt11(amount_msat=None), InvoiceRejected),
        ("lnbcrt1garbage", ProviderMisconfigured),
    ],
    ids=["another network", "another hash", "another amount", "no amount", "no invoice"],
)
async def test_invoice_of_other_terms_is_not_handed_out(
    cln: ClnProvider, node: ScriptedNode, made: str, error: type[QuittanceError]
) -> None:
    node.answer("invoice", ok({"bolt11": made}))

    with pytest.raises(error):
        await cln.create_invoice(ORDER)


@pytest.mark.parametrize(
    "change",
    [
        {"status": "held"},
        {"payment_hash": "00" * 32},
        {"payment_hash": "no hash"},
        {"status": "paid"},
        {"status": "paid", "pay_index": 1, "paid_at": CREATED_AT},
        {"status": "paid", "pay_index": 1, "paid_at": 2**62, "amount_received_msat": 21_000},
        {"status": "paid", "pay_index": 1, "paid_at": CREATED_AT, "amount_received_msat": "21000msat"},
        {"status": "paid", "pay_index": 1, "paid_at": CREATED_AT, "amount_received_msat": -1},
    ],
)
async def test_row_that_makes_no_sense_is_not_believed(
    cln: ClnProvider, node: ScriptedNode, change: dict[str, Any]
) -> None:
    node.answer("listinvoices", ok({"invoices": [row(**change)]}))

    with pytest.raises(ProviderMisconfigured):
        await cln.lookup_invoice(REFERENCE)


async def test_only_the_status_says_that_an_invoice_is_paid(cln: ClnProvider, node: ScriptedNode) -> None:
    terms = {"pay_index": 1, "paid_at": CREATED_AT, "amount_received_msat": 21_000}
    node.answer("listinvoices", ok({"invoices": [row(**terms)]}))

    found = await cln.lookup_invoice(REFERENCE)

    assert (found.status, found.received, found.settled_at) == (InvoiceStatus.OPEN, None, None)


async def test_expiry_that_is_in_no_calendar_hides_nothing(cln: ClnProvider, node: ScriptedNode) -> None:
    node.answer("listinvoices", ok({"invoices": [row(expires_at=2**60)]}), ok({"invoices": []}))

    assert [invoice.expires_at async for invoice in cln.invoices()] == [None]


@pytest.mark.parametrize(("code", "left"), [(905, None), (906, "paid")])
async def test_invoice_that_changed_while_it_was_cancelled_is_told_as_it_is(
    cln: ClnProvider, node: ScriptedNode, code: int, left: str | None
) -> None:
    after = [] if left is None else [paid()]
    node.answer("listinvoices", ok({"invoices": [row()]}), ok({"invoices": after}))
    node.answer("delinvoice", no(code))

    found = await cln.cancel_invoice(REFERENCE)

    assert found.status is (InvoiceStatus.MISSING if left is None else InvoiceStatus.SETTLED)
    assert node.calls("delinvoice") == [{"label": f"quittance-{REFERENCE}", "status": "unpaid"}]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (no(None, "Connection refused"), ProviderUnavailable),
        (no(None, "Connection refused", status=401), ProviderUnavailable),
        (no(-1, "database error"), ProviderUnavailable),
        (no(12_345), ProviderUnavailable),
        (httpx.Response(502, text="<html>"), ProviderUnavailable),
        (httpx.Response(429, text="slow down"), ProviderUnavailable),
        (no(1_501, status=401), ProviderMisconfigured),
        (no(1_501, status=403), ProviderMisconfigured),
        (no(1_502, status=401), ProviderMisconfigured),
        (no(1_503, status=401), ProviderMisconfigured),
        (no(-32_601, status=404), ProviderMisconfigured),
        (httpx.Response(404, text="not here"), ProviderMisconfigured),
        (httpx.Response(302, headers={"location": "https://elsewhere"}), ProviderMisconfigured),
        (httpx.Response(200, json={"invoices": []}), ProviderMisconfigured),
        (httpx.Response(201, text="<html>"), ProviderMisconfigured),
        (httpx.Response(201, text="[" * 100_000), ProviderMisconfigured),
        (ok([]), ProviderMisconfigured),
    ],
)
async def test_what_is_no_answer_is_our_error(
    cln: ClnProvider, node: ScriptedNode, answer: httpx.Response, error: type[QuittanceError]
) -> None:
    node.answer("listinvoices", answer)

    with pytest.raises(error):
        await cln.lookup_invoice(REFERENCE)
    assert (await cln.health()).ready is False


async def test_terms_that_the_node_refuses_are_told_in_its_words(cln: ClnProvider, node: ScriptedNode) -> None:
    node.answer("invoice", no(-32_602, "expiry: should be positive"))

    with pytest.raises(InvoiceRejected, match="expiry: should be positive"):
        await cln.create_invoice(ORDER)


async def test_answer_without_an_end_is_left(cln: ClnProvider, node: ScriptedNode) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 2**20

    node.plays["listinvoices"] = lambda _: httpx.Response(201, content=endless())

    with pytest.raises((ProviderMisconfigured, ProviderUnavailable)):
        await cln.lookup_invoice(REFERENCE)


@pytest.mark.parametrize("pages", [[[2, 1]], [[1, 1]], [[1, 2], [2, 3]], [[1, 2], [1]]])
async def test_list_that_does_not_advance_is_refused(
    cln: ClnProvider, node: ScriptedNode, pages: list[list[int]]
) -> None:
    node.answer("listinvoices", *(ok({"invoices": [row(created_index=n) for n in page]}) for page in pages))

    with pytest.raises(ProviderMisconfigured, match="does not advance"):
        [invoice async for invoice in cln.invoices()]


async def test_list_is_read_in_pages_until_one_is_empty(cln: ClnProvider, node: ScriptedNode) -> None:
    pages = [[1, 2], [5], []]
    node.answer("listinvoices", *(ok({"invoices": [row(created_index=n) for n in page]}) for page in pages))

    assert len([invoice async for invoice in cln.invoices()]) == 3
    assert [asked["start"] for asked in node.calls("listinvoices")] == [1, 3, 6]
    assert {asked["limit"] for asked in node.calls("listinvoices")} == {500}


async def test_quiet_feed_asks_who_answers_and_begins_again_at_another_node(
    cln: ClnProvider, node: ScriptedNode
) -> None:
    other = "03" + "ef" * 32
    node.answer("getinfo", ok({"id": NODE, "network": "regtest"}), ok({"id": other, "network": "regtest"}))
    node.answer("waitanyinvoice", ok(paid(7)), no(904), ok(paid(3)), no(904))
    node.answer("listinvoices", ok({"invoices": [paid(1), paid(2)]}), ok({"invoices": []}))

    async with aclosing(cln.settlements(resume=FeedPosition(source=NODE, index=7))) as feed:
        items = [await anext(feed) for _ in range(4)]

    assert items[2] == FeedPosition(source=other, index=2)
    assert [item.position for item in items if isinstance(item, Settlement)] == [
        None,
        None,
        FeedPosition(source=other, index=3),
    ]
    assert [asked["lastpay_index"] for asked in node.calls("waitanyinvoice")] == [6, 7, 2]


async def test_old_invoice_that_is_paid_while_the_list_is_read_is_not_passed_over(
    cln: ClnProvider, node: ScriptedNode
) -> None:
    hashes = {created: f"{created:064x}" for created in (1, 2, 3)}
    held = {
        1: row(payment_hash=hashes[1], created_index=1),
        2: paid(1, payment_hash=hashes[2], created_index=2),
        3: row(payment_hash=hashes[3], created_index=3),
    }

    def one_by_one(asked: dict[str, Any]) -> httpx.Response:
        key = f"{asked['index']}_index"
        listed = sorted((one for one in held.values() if one.get(key, 0) >= asked["start"]), key=lambda one: one[key])
        answer = ok({"invoices": listed[:1]})
        held[1] = paid(2, payment_hash=hashes[1], created_index=1)  # as soon as the first page was read
        held[3] = paid(3, payment_hash=hashes[3], created_index=3)
        return answer

    node.plays["listinvoices"] = one_by_one

    async with aclosing(cln.settlements(resume=None)) as feed:
        items = [await anext(feed) for _ in range(4)]

    assert {item.reference for item in items if isinstance(item, Settlement)} == set(hashes.values())
    assert items[3] == FeedPosition(source=NODE, index=3)


async def test_payment_that_was_not_asked_for_ends_the_feed(cln: ClnProvider, node: ScriptedNode) -> None:
    node.answer("waitanyinvoice", ok(paid(2)), ok(paid(2)))

    with pytest.raises(ProviderMisconfigured, match="did not ask for"):
        await anext(cln.settlements(resume=FeedPosition(source=NODE, index=2)))


async def test_settlement_tells_what_came(cln: ClnProvider, node: ScriptedNode) -> None:
    node.answer("waitanyinvoice", ok(paid(1, amount_received_msat=22_000, bolt11=None, label="keysend-1.2")))

    item = await anext(cln.settlements(resume=FeedPosition(source=NODE, index=0)))

    assert item == Settlement(
        reference=REFERENCE,
        received=msat(22_000),
        settled_at=datetime.fromtimestamp(CREATED_AT + 30, tz=UTC),
        position=FeedPosition(source=NODE, index=1),
    )


@pytest.mark.parametrize("forbidden", ["getinfo", "invoice", "listinvoices", "delinvoice", "waitanyinvoice"])
async def test_rune_that_lacks_a_call_is_not_ready_and_nothing_is_made(
    cln: ClnProvider, node: ScriptedNode, forbidden: str
) -> None:
    for method in ("invoice", "listinvoices", "delinvoice", "waitanyinvoice"):
        node.answer(method, no(-32_602, "missing required parameter"))
    node.answer(forbidden, no(1_502, "Not permitted", status=401))

    assert await cln.health() == ProviderHealth(
        ready=False,
        detail="the rune may not receive; it needs getinfo, invoice, listinvoices, delinvoice and waitanyinvoice",
    )


async def test_what_the_rune_may_is_asked_once(cln: ClnProvider, node: ScriptedNode) -> None:
    for method in ("invoice", "listinvoices", "delinvoice", "waitanyinvoice"):
        node.answer(method, no(-32_602, "missing required parameter"))

    assert [(await cln.health()).ready for _ in range(3)] == [True] * 3
    assert len(node.calls("invoice")) == len(node.calls("delinvoice")) == 1
    assert not {"amount_msat", "label", "preimage"} & node.calls("invoice")[0].keys()


@pytest.mark.parametrize("warning", ["warning_bitcoind_sync", "warning_lightningd_sync"])
async def test_node_that_lags_behind_the_chain_is_not_ready(cln: ClnProvider, node: ScriptedNode, warning: str) -> None:
    for method in ("invoice", "listinvoices", "delinvoice", "waitanyinvoice"):
        node.answer(method, no(-32_602, "missing required parameter"))
    node.answer("getinfo", ok({"id": NODE, "network": "regtest", warning: "Still loading"}))

    assert await cln.health() == ProviderHealth(ready=False, detail="the node is not synced to the chain")


def test_unknown_network_is_refused(node: ScriptedNode) -> None:
    with pytest.raises(ValueError, match="simnet"):
        ClnProvider(node.client(), network="simnet")


async def test_node_has_no_holding_and_no_payment_without_an_invoice(cln: ClnProvider, node: ScriptedNode) -> None:
    payer = ClnPayer(node.client(), network="regtest")

    assert isinstance(cln, ListsInvoices)
    assert not isinstance(cln, HoldsInvoices)
    assert not isinstance(payer, SendsKeysend)
    await payer.aclose()
