"""Held money when answers are lost, calls meet, and several tell of one settlement: taken once, or given back."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
from tests.integration.holding import HOLD_S_MAX, REFUSED, START_MSAT, UNKNOWN, Holder

from quittance.domain.errors import ProviderUnavailable
from quittance.domain.money import msat
from quittance.domain.payment import OptionState
from quittance.providers.base import FeedPosition, Invoice, InvoiceRequest, Settlement
from quittance.providers.lnd._proto import lnrpc_pb2 as ln
from quittance.providers.lnd.provider import LndProvider
from quittance.resolvers.services import Services

NewServices = Callable[[], Services]


@pytest.fixture
def holder(till: Any) -> Holder:
    return Holder(till)


async def test_u1_a_capture_whose_answer_is_lost_is_unknown_and_found_by_a_lookup(holder: Holder) -> None:
    payment_id = await holder.held()
    await holder.till.rails.faults.arm("lnd", "lost_answer", method="SettleInvoice")

    lost = await holder.capture(payment_id)
    before = (await holder.read(payment_id))["status"]
    await holder.till.reconcile()

    assert (lost, before) == (UNKNOWN, "HELD")
    await holder.assert_taken_once(payment_id)
    assert (await holder.capture(payment_id))["payment"]["status"] == "COMPLETE"


async def test_u1_a_capture_that_did_not_reach_the_node_is_repeated(holder: Holder) -> None:
    payment_id = await holder.held()
    await holder.till.rails.faults.arm("lnd", "unavailable", method="SettleInvoice")

    lost = await holder.capture(payment_id)
    before = ((await holder.read(payment_id))["status"], (await holder.invoice(payment_id)).state)
    await holder.till.reconcile()

    assert (lost, before) == (UNKNOWN, ("HELD", ln.Invoice.ACCEPTED))
    await holder.assert_taken_once(payment_id)
    assert (await holder.capture(payment_id))["payment"]["status"] == "COMPLETE"


async def test_u1_a_capture_that_the_node_obeyed_and_could_not_confirm_is_unknown(holder: Holder) -> None:
    payment_id = await holder.held()
    await holder.till.rails.faults.arm("lnd", "unavailable", method="LookupInvoice")

    lost = await holder.capture(payment_id)
    await holder.till.reconcile()

    assert lost == UNKNOWN
    await holder.assert_taken_once(payment_id)


@pytest.mark.parametrize("fault", ["lost_answer", "unavailable"])
async def test_u1_a_release_whose_answer_is_lost_is_unknown_then_found_or_repeated(holder: Holder, fault: str) -> None:
    payment_id = await holder.held()
    await holder.till.rails.faults.arm("lnd", fault, method="CancelInvoice")

    lost = await holder.release(payment_id)
    before = (await holder.read(payment_id))["status"]
    await holder.till.reconcile()

    assert (lost, before) == (UNKNOWN, "HELD")
    await holder.assert_given_back(payment_id, "CANCELED", "RELEASED_BY_MERCHANT")
    assert (await holder.release(payment_id))["payment"]["status"] == "CANCELED"


async def test_u1_an_invoice_whose_answer_is_lost_holds_all_the_same(holder: Holder) -> None:
    await holder.till.rails.faults.arm("lnd", "lost_answer", method="AddHoldInvoice")

    lost = await holder.ask(idempotencyKey="k")
    made = await holder.ask(idempotencyKey="k")
    payment_id = made["payment"]["id"]
    await holder.lock(payment_id)

    assert lost["__typename"] == "ProviderUnavailableError"
    assert (await holder.check(payment_id))["status"] == "HELD"
    assert len(holder.till.rails.nodes["merchant"].invoices) == 1


async def test_u2_a_node_that_is_away_for_hours_ends_no_hold_by_itself(holder: Holder) -> None:
    payment_id = await holder.held()
    await holder.till.rails.faults.arm("lnd", "unavailable", calls=1_000)

    for _ in range(5):
        holder.wait(HOLD_S_MAX)
        await holder.till.reconcile()
    away = (await holder.read(payment_id))["status"]
    holder.till.rails.faults.clear("lnd")
    holder.wait(HOLD_S_MAX)
    await holder.till.reconcile()

    assert away == "HELD"
    await holder.assert_given_back(payment_id, "EXPIRED", "HOLD_EXPIRED")


@pytest.mark.parametrize("round_", range(3))
async def test_r6_capture_and_release_together_come_to_one_end(
    holder: Holder, new_services: NewServices, round_: int
) -> None:
    del round_
    payment_id = await holder.held()
    other = holder.on(new_services())

    answers = await asyncio.gather(
        *(call(payment_id) for one in (holder, other) for call in (one.capture, one.release) for _ in range(3))
    )

    status = (await holder.read(payment_id))["status"]
    ended = {"COMPLETE": "CapturePaymentSuccess", "CANCELED": "ReleasePaymentSuccess"}[status]
    said = [answer for answer in answers if answer["__typename"] != ended]
    assert len(said) == 6
    assert all(answer in [REFUSED | {"status": "HELD"}, REFUSED | {"status": status}] for answer in said)
    if status == "COMPLETE":
        await holder.assert_taken_once(payment_id)
    else:
        await holder.assert_given_back(payment_id, "CANCELED", "RELEASED_BY_MERCHANT")
    (entry,) = await holder.audited()
    assert entry["action"] == {"COMPLETE": "PAYMENT_CAPTURED", "CANCELED": "PAYMENT_RELEASED"}[status]


async def test_r6_a_capture_at_the_very_end_of_a_hold_comes_to_one_end(
    holder: Holder, new_services: NewServices
) -> None:
    payment_id = await holder.held()
    other = holder.on(new_services())
    holder.wait(HOLD_S_MAX)

    captured, _ = await asyncio.gather(holder.capture(payment_id), other.till.reconcile())

    found = await holder.read(payment_id)
    if found["status"] == "COMPLETE":
        assert captured["__typename"] == "CapturePaymentSuccess"
        await holder.assert_taken_once(payment_id)
    else:
        assert captured in [REFUSED | {"status": "HELD"}, REFUSED | {"status": "EXPIRED"}]
        await holder.assert_given_back(payment_id, "EXPIRED", "HOLD_EXPIRED")


@pytest.mark.parametrize("order", list(permutations(["caller", "stream", "poller"])), ids="-".join)
async def test_r7_every_reporter_of_a_capture_in_every_order_twice_books_money_once(
    holder: Holder, lnd: LndProvider, order: tuple[str, ...]
) -> None:
    payment_id = await holder.held()
    option = (await holder.till.options(payment_id))[0]
    settled = await lnd.settle_invoice(holder.till.services.derive.preimage(option.id))  # we die before we book it
    assert settled.settled_at is not None
    told = Settlement(
        reference=option.reference,
        received=msat(5_000),
        settled_at=settled.settled_at,
        position=FeedPosition(source="node", index=1),
    )

    for reporter in [*order, *order]:
        if reporter == "caller":
            assert (await holder.capture(payment_id))["payment"]["status"] == "COMPLETE"
        elif reporter == "stream":
            await holder.till.report(told)
        else:
            await holder.check(payment_id)

    await holder.assert_taken_once(payment_id)


async def test_r7_many_captures_and_reporters_together_book_money_once(
    holder: Holder, new_services: NewServices
) -> None:
    payment_id = await holder.held()
    others = [holder, holder.on(new_services())]

    answers = await asyncio.gather(
        *(others[n % 2].capture(payment_id) for n in range(10)),
        *(one.check(payment_id) for one in others),
    )

    assert [answer["__typename"] for answer in answers[:10]] == ["CapturePaymentSuccess"] * 10
    await holder.assert_taken_once(payment_id)


async def test_many_lookups_together_hold_once(holder: Holder, new_services: NewServices) -> None:
    payment_id = await holder.open()
    await holder.lock(payment_id)
    others = [holder, holder.on(new_services())]

    await asyncio.gather(*(others[n % 2].check(payment_id) for n in range(10)))

    assert (await holder.till.events(payment_id)).count(("payment.updated", "HELD")) == 1


class Slow:
    """A rail whose answer to one call arrives when it is let go."""

    def __init__(self, inside: LndProvider, *, reached: asyncio.Event, go: asyncio.Event) -> None:
        self.name, self.asset = inside.name, inside.asset
        self.reference, self.create_invoice = inside.reference, inside.create_invoice
        self.cancel_invoice, self.health = inside.cancel_invoice, inside.health
        self._inside, self._reached, self._go = inside, reached, go

    async def lookup_invoice(self, reference: str) -> Invoice:
        found = await self._inside.lookup_invoice(reference)
        self._reached.set()
        await self._go.wait()
        return found

    async def create_held_invoice(self, request: InvoiceRequest) -> Invoice:
        return await self._inside.create_held_invoice(request)

    async def settle_invoice(self, preimage: Any) -> Invoice:
        return await self._inside.settle_invoice(preimage)


@pytest.mark.parametrize("end", ["capture", "release"])
async def test_a_lookup_that_is_slower_than_the_end_of_a_hold_does_not_wake_it(
    holder: Holder, lnd: LndProvider, end: str
) -> None:
    payment_id = await holder.held()
    reached, go = asyncio.Event(), asyncio.Event()
    slow = holder.on(replace(holder.till.services, rails={"lnd": Slow(lnd, reached=reached, go=go)}))
    looking = asyncio.create_task(slow.check(payment_id))
    await reached.wait()

    await (holder.capture if end == "capture" else holder.release)(payment_id)
    go.set()
    late = await looking

    if end == "capture":
        assert late["status"] == "COMPLETE"
        await holder.assert_taken_once(payment_id)
    else:
        assert late["status"] == "CANCELED"
        await holder.assert_given_back(payment_id, "CANCELED", "RELEASED_BY_MERCHANT")
    assert (await holder.till.options(payment_id))[0].state in {OptionState.SETTLED, OptionState.CLOSED}


async def test_money_that_comes_for_a_payment_that_has_ended_goes_back(holder: Holder) -> None:
    payment_id = await holder.open(expiresIn=60)
    await holder.lock(payment_id)
    await holder.till.rails.faults.arm("lnd", "unavailable", calls=1_000)
    holder.wait(60 + holder.till.services.rules.expiry_grace_s)
    await holder.till.reconcile()
    expired = (await holder.read(payment_id))["status"]
    holder.till.rails.faults.clear("lnd")

    holder.wait(HOLD_S_MAX)
    await holder.till.reconcile()

    assert expired == "EXPIRED"
    await holder.assert_given_back(payment_id, "EXPIRED", None)


@pytest.mark.parametrize("call", ["capture", "release"])
async def test_a_node_that_does_not_say_whether_there_is_money_is_asked_for_nothing(holder: Holder, call: str) -> None:
    payment_id = await holder.open()
    await holder.lock(payment_id)
    await holder.till.rails.faults.arm("lnd", "unavailable", method="LookupInvoice")

    answer = await (holder.capture if call == "capture" else holder.release)(payment_id)

    assert answer == {"__typename": "ProviderUnavailableError", "code": ProviderUnavailable.code, "retryable": True}
    assert (await holder.invoice(payment_id)).state == ln.Invoice.ACCEPTED


async def test_a_process_that_dies_between_the_capture_and_its_booking_loses_nothing(
    holder: Holder, lnd: LndProvider, new_services: NewServices
) -> None:
    payment_id = await holder.held()
    reached = asyncio.Event()
    never = asyncio.Event()

    class Dying(Slow):
        async def settle_invoice(self, preimage: Any) -> Invoice:
            await self._inside.settle_invoice(preimage)
            reached.set()
            await never.wait()
            raise AssertionError("it died")

    dying = holder.on(replace(holder.till.services, rails={"lnd": Dying(lnd, reached=never, go=never)}))
    capturing: asyncio.Task[Any] = asyncio.create_task(dying.capture(payment_id))
    await reached.wait()
    capturing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await capturing
    after = holder.on(new_services())

    held = (await after.read(payment_id))["status"]
    holder.wait(holder.till.services.rules.reconcile_interval_s)
    await after.till.reconcile()

    assert held == "HELD"
    await after.assert_taken_once(payment_id)


async def test_money_is_neither_made_nor_lost_by_many_holds(holder: Holder) -> None:
    calls: list[Callable[[str], Awaitable[Any]]] = [holder.capture, holder.release, holder.check]
    ids = [await holder.held() for _ in range(6)]

    await asyncio.gather(*(calls[n % 3](one) for n, one in enumerate(ids)))

    statuses = [(await holder.read(one))["status"] for one in ids]
    assert statuses == ["COMPLETE", "CANCELED", "HELD"] * 2
    assert await holder.till.balances() == {"PROVIDER": 10_000, "MERCHANT": -10_000}
    nodes = holder.till.rails.nodes
    assert nodes["merchant"].balance_msat == 10_000
    assert nodes["alice"].balance_msat == START_MSAT - 4 * (5_000 + 1_000)
