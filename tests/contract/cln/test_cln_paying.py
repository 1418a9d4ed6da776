"""What a Core Lightning node says of payments, and what of that is final."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from tests.contract.cln.conftest import PREIMAGE, REFERENCE, ScriptedNode, bolt11, no, ok

from quittance.domain.errors import ProviderMisconfigured, ProviderUnavailable, SendRefused
from quittance.domain.money import msat
from quittance.providers.base import ProviderHealth, SendFailure, SendRequest, SentPayment, SentStatus
from quittance.providers.cln.payer import ClnPayer

ORDER = SendRequest(payment_request=bolt11(), amount=None, fee_max=msat(1_000))
PAID = {"payment_preimage": PREIMAGE.hex(), "amount_msat": 21_000, "amount_sent_msat": 21_400}


def pay_row(status: str, **changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {"payment_hash": REFERENCE, "status": status, "amount_sent_msat": 0}
    if status == "complete":
        fields |= {"preimage": PREIMAGE.hex(), "amount_msat": 21_000, "amount_sent_msat": 21_400}
    return {name: value for name, value in (fields | changes).items() if value is not None}


def listed(*rows: dict[str, Any]) -> httpx.Response:
    return ok({"pays": list(rows)})


def payer_of(node: ScriptedNode, *, tries_s: int = 0, wait_s: float = 0.3) -> ClnPayer:
    return ClnPayer(node.client(), network="regtest", timeout_s=0.5, wait_s=wait_s, tries_s=tries_s)


@pytest.fixture
async def payer(node: ScriptedNode) -> AsyncIterator[ClnPayer]:
    paying = payer_of(node)
    yield paying
    await paying.aclose()


async def test_what_the_node_is_asked_to_pay(payer: ClnPayer, node: ScriptedNode) -> None:
    node.answer("xpay", ok(PAID))

    sent = await payer.send(ORDER)

    assert node.calls("xpay") == [{"invstring": bolt11(), "maxfee": 1_000, "retry_for": 0}]
    assert (sent.amount, sent.fee, sent.preimage) == (msat(21_000), msat(400), PREIMAGE)


@pytest.mark.parametrize("status", ["complete", "pending"])
async def test_what_was_begun_before_is_not_asked_for_again(payer: ClnPayer, node: ScriptedNode, status: str) -> None:
    node.answer("listpays", listed(pay_row("failed"), pay_row(status)))

    sent = await payer.send(ORDER)

    assert sent.status is (SentStatus.SUCCEEDED if status == "complete" else SentStatus.IN_FLIGHT)
    assert node.calls("xpay") == []


@pytest.mark.parametrize(
    ("code", "failure"),
    [
        (203, SendFailure.REFUSED_BY_PAYEE),
        (205, SendFailure.NO_ROUTE),
        (206, SendFailure.NO_ROUTE),
        (209, SendFailure.OTHER),
        (210, SendFailure.TIMEOUT),
        (215, SendFailure.INSUFFICIENT_BALANCE),
        (216, SendFailure.NO_ROUTE),
        (220, SendFailure.NO_ROUTE),
    ],
)
@pytest.mark.parametrize("tries", [[], ["failed"]])
async def test_payment_that_was_given_up_failed_when_nothing_is_on_its_way(
    payer: ClnPayer, node: ScriptedNode, code: int, failure: SendFailure, tries: list[str]
) -> None:
    node.answer("xpay", no(code))
    node.answer("listpays", listed(), listed(*map(pay_row, tries)))

    assert await payer.send(ORDER) == SentPayment(reference=REFERENCE, status=SentStatus.FAILED, failure=failure)


@pytest.mark.parametrize("code", [203, 205, 206, 209, 210, 215, 219])
@pytest.mark.parametrize(("last", "status"), [("pending", SentStatus.IN_FLIGHT), ("complete", SentStatus.SUCCEEDED)])
async def test_list_decides_over_what_the_call_said(
    payer: ClnPayer, node: ScriptedNode, code: int, last: str, status: SentStatus
) -> None:
    node.answer("xpay", no(code))
    node.answer("listpays", listed(), listed(pay_row("failed"), pay_row(last)))

    assert (await payer.send(ORDER)).status is status


@pytest.mark.parametrize("code", [203, 205, 219])
async def test_payment_that_was_given_up_is_unknown_when_the_list_is_not_to_be_had(
    payer: ClnPayer, node: ScriptedNode, code: int
) -> None:
    node.answer("xpay", no(code))
    node.answer("listpays", listed(), no(1_501, status=401))

    with pytest.raises(ProviderUnavailable):
        await payer.send(ORDER)


async def test_paid_before_and_not_listed_is_unknown(payer: ClnPayer, node: ScriptedNode) -> None:
    node.answer("xpay", no(219))

    with pytest.raises(ProviderUnavailable):
        await payer.send(ORDER)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (no(207), SendRefused),
        (no(213), SendRefused),
        (no(-32_602, "amount_msat unnecessary"), SendRefused),
        (no(1_502, status=401), ProviderMisconfigured),
        (no(1_501, status=401), ProviderMisconfigured),
        (no(-32_601, status=404), ProviderMisconfigured),
        (no(-3, "Unexpected injectpaymentonion error 200"), ProviderUnavailable),
        (no(-1), ProviderUnavailable),
        (no(None), ProviderUnavailable),
        (no(None, status=401), ProviderUnavailable),
        (no(900), ProviderUnavailable),
        (httpx.Response(504, text=""), ProviderUnavailable),
        (httpx.Response(201, text="<html>"), ProviderUnavailable),
        (ok(PAID | {"payment_preimage": "00" * 32}), ProviderUnavailable),
        (ok(PAID | {"payment_preimage": "no hex"}), ProviderUnavailable),
        (ok(PAID | {"amount_sent_msat": 20_999}), ProviderUnavailable),
        (ok(PAID | {"amount_msat": 0}), ProviderUnavailable),
    ],
)
async def test_only_what_surely_never_began_is_refused(
    payer: ClnPayer, node: ScriptedNode, answer: httpx.Response, error: type[Exception]
) -> None:
    node.answer("xpay", answer)

    with pytest.raises(error):
        await payer.send(ORDER)


@pytest.mark.parametrize(
    "rows",
    [
        [pay_row("complete", preimage="00" * 32)],
        [pay_row("complete", amount_msat=None)],
        [pay_row("complete", amount_sent_msat=1)],
        [pay_row("failed", payment_hash="11" * 32)],
        [pay_row("gone")],
    ],
)
async def test_list_that_makes_no_sense_leaves_the_outcome_unknown(
    payer: ClnPayer, node: ScriptedNode, rows: list[dict[str, Any]]
) -> None:
    node.answer("listpays", listed(*rows))

    with pytest.raises(ProviderMisconfigured):
        await payer.lookup_sent(REFERENCE)


async def test_what_may_still_begin_is_in_flight_and_not_asked_for_twice(node: ScriptedNode) -> None:
    payer = payer_of(node, tries_s=60)
    node.answer("xpay", no(None))

    with pytest.raises(ProviderUnavailable):
        await payer.send(ORDER)
    looked_up = await payer.lookup_sent(REFERENCE)
    with pytest.raises(ProviderUnavailable):
        await payer.send(ORDER)

    assert looked_up.status is SentStatus.IN_FLIGHT
    assert len(node.calls("xpay")) == 1
    await payer.aclose()


async def test_process_that_just_began_does_not_take_an_empty_list_for_a_proof(node: ScriptedNode) -> None:
    fresh, old = payer_of(node, tries_s=60), payer_of(node, tries_s=0)

    assert (await fresh.lookup_sent(REFERENCE)).status is SentStatus.IN_FLIGHT
    assert (await old.lookup_sent(REFERENCE)).status is SentStatus.MISSING
    await fresh.aclose()
    await old.aclose()


async def test_failed_payment_may_be_tried_again_at_once(node: ScriptedNode) -> None:
    payer = payer_of(node, tries_s=60)
    node.answer("xpay", no(205), ok(PAID))

    first = await payer.send(ORDER)
    again = await payer.send(ORDER)

    assert (first.status, again.status) == (SentStatus.FAILED, SentStatus.SUCCEEDED)
    await payer.aclose()


async def test_call_that_never_ends_is_left_and_looked_up(node: ScriptedNode) -> None:
    payer = payer_of(node, tries_s=60)
    node.hang("xpay")
    node.answer("listpays", listed(), listed(pay_row("pending")))

    sent = await asyncio.wait_for(payer.send(ORDER), timeout=3)

    assert sent.status is SentStatus.IN_FLIGHT
    await payer.aclose()


@pytest.mark.parametrize("forbidden", ["xpay", "listpays", None])
async def test_rune_is_asked_whether_it_may_pay_without_paying(
    payer: ClnPayer, node: ScriptedNode, forbidden: str | None
) -> None:
    for method in ("xpay", "listpays"):
        node.answer(method, no(-32_602, "missing required parameter"))
    if forbidden is not None:
        node.answer(forbidden, no(1_502, status=401))

    health = await payer.paying_health()

    detail = "may pay" if forbidden is None else "the rune may not pay; it needs xpay and listpays"
    assert health == ProviderHealth(ready=forbidden is None, detail=detail)
    assert all("invstring" not in asked for asked in node.calls("xpay"))


async def test_payer_that_cannot_ask_is_not_ready(payer: ClnPayer, node: ScriptedNode) -> None:
    node.answer("xpay", no(None))

    assert await payer.paying_health() == ProviderHealth(ready=False, detail="the node does not answer")


def test_unknown_network_is_refused(node: ScriptedNode) -> None:
    with pytest.raises(ValueError, match="simnet"):
        ClnPayer(node.client(), network="simnet")
