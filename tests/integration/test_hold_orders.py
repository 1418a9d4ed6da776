"""What was ordered for held money is kept until it is done: the first order stands, and is written down once."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.integration.holding import HOLD_S_MAX, REFUSED, UNKNOWN, Holder

from quittance.domain.access import Principal
from quittance.domain.ids import ApiKeyId
from quittance.providers.base import Invoice, InvoiceRequest, InvoiceStatus
from quittance.providers.lnd._proto import lnrpc_pb2 as ln
from quittance.providers.lnd.provider import LndProvider
from quittance.resolvers.services import Services

NewServices = Callable[[], Services]
AWAY_S = 62 * 600 + 1  # blocks until 18 are left of 80: the node gives money back by itself


@pytest.fixture
def holder(till: Any) -> Holder:
    return Holder(till)


class Rail:
    """A rail that cannot hold; what holds is added below."""

    def __init__(self, inside: LndProvider) -> None:
        self.name, self.asset = inside.name, inside.asset
        self.reference, self.create_invoice = inside.reference, inside.create_invoice
        self.lookup_invoice, self.cancel_invoice = inside.lookup_invoice, inside.cancel_invoice
        self.health, self.inside = inside.health, inside


class Dying(Rail):
    """A rail whose caller dies on its way to it."""

    def __init__(self, inside: LndProvider) -> None:
        super().__init__(inside)
        self.reached = asyncio.Event()

    async def create_held_invoice(self, request: InvoiceRequest) -> Invoice:
        return await self.inside.create_held_invoice(request)

    async def settle_invoice(self, preimage: Any) -> Invoice:
        del preimage
        self.reached.set()
        await asyncio.Event().wait()
        raise AssertionError("it died")


class Forgetful(Rail):
    """A rail that knows no invoice any more."""

    def __init__(self, inside: LndProvider) -> None:
        super().__init__(inside)
        self.lookup_invoice = self.forgotten

    async def forgotten(self, reference: str) -> Invoice:
        found = await self.inside.lookup_invoice(reference)
        return replace(found, status=InvoiceStatus.MISSING, payment_request=None, expires_at=None)


async def captured_in_vain(holder: Holder, *, calls: int = 1) -> str:
    payment_id = await holder.held()
    await holder.till.rails.faults.arm("lnd", "unavailable", method="SettleInvoice", calls=calls)
    assert await holder.capture(payment_id) == UNKNOWN
    return payment_id


async def released_in_vain(holder: Holder) -> str:
    payment_id = await holder.held()
    await holder.till.rails.faults.arm("lnd", "unavailable", method="CancelInvoice")
    assert await holder.release(payment_id) == UNKNOWN
    return payment_id


def by_one(holder: Holder) -> Principal:
    found: Principal = replace(holder.till.shop.principal, key_id=ApiKeyId("key_one"), key_name="one")
    return found


def by_another(holder: Holder) -> Principal:
    found: Principal = replace(holder.till.shop.principal, key_id=ApiKeyId("key_other"), key_name="another")
    return found


async def test_a_hold_does_not_run_out_under_a_capture(holder: Holder) -> None:
    payment_id = await captured_in_vain(holder, calls=1_000)

    for _ in range(3):
        holder.wait(HOLD_S_MAX)
        await holder.till.reconcile()
    long_after = ((await holder.read(payment_id))["status"], (await holder.invoice(payment_id)).state)
    holder.till.rails.faults.clear("lnd")
    holder.wait(holder.till.services.rules.reconcile_interval_s)
    await holder.till.reconcile()

    assert long_after == ("HELD", ln.Invoice.ACCEPTED)
    await holder.assert_taken_once(payment_id)


async def test_a_capture_that_its_process_did_not_survive_is_carried_out_by_another(
    holder: Holder, lnd: LndProvider, new_services: NewServices
) -> None:
    payment_id = await holder.held()
    rail = Dying(lnd)
    dying = holder.on(replace(holder.till.services, rails={"lnd": rail}))
    capturing: asyncio.Task[Any] = asyncio.create_task(dying.capture(payment_id))
    await rail.reached.wait()
    capturing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await capturing
    after = holder.on(new_services())
    left = (await after.invoice(payment_id)).state

    after.wait(holder.till.services.rules.reconcile_interval_s)
    await after.till.reconcile()

    assert left == ln.Invoice.ACCEPTED
    await after.assert_taken_once(payment_id)
    assert [entry["action"] for entry in await after.audited()] == ["PAYMENT_CAPTURED"]


async def test_a_capture_that_the_node_did_not_wait_for_ends_as_the_node_says(holder: Holder) -> None:
    payment_id = await captured_in_vain(holder, calls=1_000)
    holder.wait(AWAY_S)

    await holder.till.reconcile()

    await holder.assert_given_back(payment_id, "CANCELED", "CANCELED_AT_PROVIDER")
    assert await holder.capture(payment_id) == REFUSED | {"status": "CANCELED"}


async def test_who_releases_what_was_captured_is_refused_though_the_node_has_not_answered(holder: Holder) -> None:
    payment_id = await captured_in_vain(holder)

    released = await holder.release(payment_id)
    await holder.till.reconcile()

    assert released == REFUSED | {"status": "HELD"}
    await holder.assert_taken_once(payment_id)
    assert [entry["action"] for entry in await holder.audited()] == ["PAYMENT_CAPTURED"]


async def test_who_captures_what_was_released_is_refused_though_the_node_has_not_answered(holder: Holder) -> None:
    payment_id = await released_in_vain(holder)

    captured = await holder.capture(payment_id)
    await holder.till.reconcile()

    assert captured == REFUSED | {"status": "HELD"}
    await holder.assert_given_back(payment_id, "CANCELED", "RELEASED_BY_MERCHANT")
    assert [entry["action"] for entry in await holder.audited()] == ["PAYMENT_RELEASED"]


@pytest.mark.parametrize("fault", ["lost_answer", "unavailable"])
async def test_a_hold_that_ran_out_is_not_captured_while_the_node_does_not_answer(holder: Holder, fault: str) -> None:
    payment_id = await holder.held()
    await holder.till.rails.faults.arm("lnd", fault, method="CancelInvoice")
    holder.wait(HOLD_S_MAX)
    await holder.till.reconcile()

    before = (await holder.read(payment_id))["status"]
    captured = await holder.capture(payment_id)
    holder.wait(holder.till.services.rules.reconcile_interval_s)
    await holder.till.reconcile()

    assert (before, captured) == ("HELD", REFUSED | {"status": "HELD"})
    await holder.assert_given_back(payment_id, "EXPIRED", "HOLD_EXPIRED")
    assert await holder.audited() == []


@pytest.mark.parametrize("fault", ["lost_answer", "unavailable"])
async def test_a_capture_with_a_lost_answer_is_in_the_audit_log_once_with_who_ordered_it(
    holder: Holder, fault: str
) -> None:
    payment_id = await holder.held()
    await holder.till.rails.faults.arm("lnd", fault, method="SettleInvoice")

    await holder.capture(payment_id, as_=by_one(holder))
    ordered = await holder.audited()
    await holder.till.reconcile()
    await holder.capture(payment_id, as_=by_another(holder))

    (entry,) = ordered
    assert (entry["action"], entry["subject_id"]) == ("PAYMENT_CAPTURED", payment_id)
    assert (entry["actor_id"], entry["actor_name"]) == ("key_one", "one")
    assert await holder.audited() == ordered
    await holder.assert_taken_once(payment_id)


@pytest.mark.parametrize(("call", "action"), [("capture", "PAYMENT_CAPTURED"), ("release", "PAYMENT_RELEASED")])
async def test_six_orders_together_are_in_the_audit_log_once(
    holder: Holder, new_services: NewServices, call: str, action: str
) -> None:
    payment_id = await holder.held()
    others = [holder, holder.on(new_services())]

    answers = await asyncio.gather(*(getattr(others[n % 2], call)(payment_id) for n in range(6)))

    assert len({answer["payment"]["status"] for answer in answers}) == 1
    assert [(entry["action"], entry["subject_id"]) for entry in await holder.audited()] == [(action, payment_id)]


async def test_what_was_refused_is_not_in_the_audit_log(holder: Holder) -> None:
    payment_id = await holder.open()

    await holder.capture(payment_id)
    await holder.release(payment_id)

    assert await holder.audited() == []


async def test_a_rail_that_lost_its_ability_leaves_the_order_and_the_money_as_they_are(
    holder: Holder, lnd: LndProvider
) -> None:
    payment_id = await captured_in_vain(holder)
    unable = holder.on(replace(holder.till.services, rails={"lnd": Rail(lnd)}))
    holder.wait(HOLD_S_MAX)
    await unable.till.reconcile()
    left = ((await holder.read(payment_id))["status"], (await holder.invoice(payment_id)).state)

    holder.wait(holder.till.services.rules.reconcile_interval_s)
    await holder.till.reconcile()

    assert left == ("HELD", ln.Invoice.ACCEPTED)
    await holder.assert_taken_once(payment_id)


async def test_a_node_that_forgot_a_captured_invoice_is_asked_for_a_day_more(holder: Holder, lnd: LndProvider) -> None:
    payment_id = await captured_in_vain(holder)
    forgetful = holder.on(replace(holder.till.services, rails={"lnd": Forgetful(lnd)}))
    holder.wait(HOLD_S_MAX)
    await forgetful.till.reconcile()
    at_its_end = (await holder.read(payment_id))["status"]

    holder.wait(86_400)
    await forgetful.till.reconcile()

    ended = await holder.read(payment_id)
    assert at_its_end == "HELD"
    assert (ended["status"], ended["statusReason"]) == ("CANCELED", "CANCELED_AT_PROVIDER")
