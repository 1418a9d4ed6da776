"""Callbacks that come again, late, together or to a dying server: what the provider says is booked once."""

import asyncio
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.integration.callback_door import CallbackDoor, NewDoor, hint, paid
from tests.integration.mortal import Fate, dies, mortal
from tests.integration.runners import runner_of
from tests.integration.test_chaos import POINTS_MAX

from quittance.domain.callback import TRIES_MAX
from quittance.domain.errors import InvoiceRejected
from quittance.domain.job import JobKind, JobState
from quittance.domain.payment import OptionState, PaymentStatus
from quittance.domain.policy import UnderPolicy
from quittance.providers.base import FeedPosition, Invoice, InvoiceRequest
from quittance.providers.lnd.provider import LndProvider
from quittance.resolvers.callbacks import receive
from quittance.resolvers.invoices import retry_payment
from quittance.resolvers.jobs import list_jobs, retry_job
from quittance.resolvers.services import Services
from quittance.sandbox.clock import SandboxClock
from quittance.sandbox.rails import SandboxRails
from quittance.workers.work import CRASHES_MAX


class Wrapped:
    """A rail that does what the one inside does."""

    def __init__(self, inside: LndProvider) -> None:
        self._inside = inside

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inside, name)


async def assert_booked_once(door: CallbackDoor, payment_id: str) -> None:
    settlements = await door.till.rows("settlement")
    assert [(row["payment_id"], row["amount_value"]) for row in settlements] == [(payment_id, 5_000)]
    assert await door.till.balances() == {"PROVIDER": 5_000, "MERCHANT": -5_000}
    assert [row["value"] for row in await door.till.rows("ledger_entry")] == [-5_000, 5_000]
    assert [event for event in await door.till.events(payment_id) if event[0] == "payment.settled"] == [
        ("payment.settled", "COMPLETE")
    ]


async def test_h2_one_event_twenty_times_together_at_two_processes_is_stored_and_booked_once(
    door: CallbackDoor, new_door: NewDoor
) -> None:
    payment_id, reference = await paid(door)
    doors = [door, new_door(another=True)]

    answers = await asyncio.gather(*(doors[n % 2].hear(reference) for n in range(20)))
    await asyncio.gather(*(one.work() for one in doors))

    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [202]
    assert await door.standing() == [("msg_1", "PROCESSED", None)]
    await assert_booked_once(door, payment_id)


async def test_h2_twenty_events_about_one_invoice_are_booked_once(door: CallbackDoor, new_door: NewDoor) -> None:
    payment_id, reference = await paid(door)
    doors = [door, new_door(another=True)]

    await asyncio.gather(*(doors[n % 2].hear(reference, event_id=f"msg_{n:02}") for n in range(20)))
    for _ in range(20):
        await asyncio.gather(*(one.work() for one in doors))

    assert {(state, reason) for _, state, reason in await door.standing()} == {("PROCESSED", None)}
    await assert_booked_once(door, payment_id)


@pytest.mark.parametrize("order", list(permutations(["invoice.canceled", "invoice.settled", "invoice.exploded"])))
async def test_h2_events_out_of_order_come_to_the_right_end(door: CallbackDoor, order: tuple[str, ...]) -> None:
    payment_id, reference = await paid(door)

    for type_ in order:
        await door.hear(reference, event_id=type_.replace(".", "_"), type_=type_)
        await door.work()

    assert {event_id: state for event_id, state, _ in await door.standing()} == {
        "invoice_canceled": "PROCESSED",
        "invoice_settled": "PROCESSED",
        "invoice_exploded": "IGNORED",
    }
    await assert_booked_once(door, payment_id)


async def test_h2_events_of_one_invoice_are_processed_one_after_the_other_in_the_order_they_came(
    door: CallbackDoor, new_door: NewDoor, lnd: LndProvider
) -> None:
    asked: list[str] = []

    class Watching(Wrapped):
        async def lookup_invoice(self, reference: str) -> Invoice:
            running = [row["subject"] for row in await door.jobs() if row["state"] == "RUNNING"]
            events = {row["id"]: row["event_id"] for row in await door.till.rows("provider_callback")}
            asked.append(" and ".join(events[subject] for subject in running))
            return await self._inside.lookup_invoice(reference)

    watched = new_door(rails={"lnd": Watching(lnd)})
    payment_id = (await watched.till.order()).payment.id
    (option,) = await watched.till.options(payment_id)
    for number in (3, 1, 2):
        await watched.hear(option.reference, event_id=f"msg_{number}")

    await watched.work()

    assert asked == ["msg_3", "msg_1", "msg_2"]


@pytest.mark.parametrize("order", list(permutations(["callback", "feed", "reconciler"])), ids="-".join)
async def test_r7_every_reporter_in_every_order_twice_books_money_once(
    door: CallbackDoor, clock: SandboxClock, order: tuple[str, ...]
) -> None:
    payment_id = (await door.till.order()).payment.id
    settlement = await door.till.pay(payment_id)
    told = replace(settlement, position=FeedPosition(source="node", index=1))
    clock.advance(door.services.rules.reconcile_interval_s + 1)

    for round_, reporter in enumerate([*order, *order]):
        if reporter == "callback":
            await door.hear(settlement.reference, event_id=f"msg_{round_}")
            await door.work()
        elif reporter == "feed":
            await door.till.report(told)
        else:
            await door.till.reconcile()

    assert [state for _, state, _ in await door.standing()] == ["PROCESSED"] * 2
    await assert_booked_once(door, payment_id)


async def test_r7_every_reporter_together_in_two_processes_books_money_once(
    door: CallbackDoor, new_door: NewDoor, clock: SandboxClock
) -> None:
    payment_id = (await door.till.order()).payment.id
    settlement = await door.till.pay(payment_id)
    doors = [door, new_door(another=True)]
    clock.advance(door.services.rules.reconcile_interval_s + 1)
    for number in range(4):
        await door.hear(settlement.reference, event_id=f"msg_{number}")

    await asyncio.gather(
        *(one.work() for one in doors),
        *(one.till.report(settlement) for one in doors),
        *(one.till.reconcile() for one in doors),
    )
    await door.work()

    assert [state for _, state, _ in await door.standing()] == ["PROCESSED"] * 4
    await assert_booked_once(door, payment_id)


async def test_a_death_at_any_await_between_the_door_and_the_books_books_money_once(
    door: CallbackDoor, clock: SandboxClock
) -> None:
    for point in range(POINTS_MAX):
        event_id, fate = f"msg_{point}", Fate(point)
        payment_id, reference = await paid(door)
        await dies(_heard_and_worked(door, mortal(door.services, fate), hint(reference), event_id))
        clock.advance(door.services.rules.job_claim_s + 1)

        again = await door.hear(reference, event_id=event_id)  # as a provider does that got no answer
        await door.work()

        assert again.status_code in {200, 202}
        assert (await door.standing())[-1] == (event_id, "PROCESSED", None)
        assert (await door.till.payment(payment_id)).status is PaymentStatus.COMPLETE
        assert len(await door.till.rows("settlement")) == len(await door.till.rows("provider_callback")) == point + 1
        assert await door.till.balances() == {"PROVIDER": 5_000 * (point + 1), "MERCHANT": -5_000 * (point + 1)}
        if not fate.struck:
            assert point >= 8
            return
    raise AssertionError("the use case never ran through untouched")


async def _heard_and_worked(door: CallbackDoor, services: Services, body: bytes, event_id: str) -> None:
    await receive(services, provider="lnd", headers=door.signed(body, event_id=event_id), body=body)
    runner = runner_of(services, JobKind.PROVIDER_CALLBACK)
    await runner.begin_due()
    await runner.idle()


async def test_a_server_that_ends_between_storing_and_asking_asks_after_its_restart(
    door: CallbackDoor, new_door: NewDoor
) -> None:
    payment_id, reference = await paid(door)
    await door.hear(reference)
    await door.services.database.close()

    reborn = new_door(another=True)
    await reborn.work()

    assert await reborn.standing() == [("msg_1", "PROCESSED", None)]
    await assert_booked_once(reborn, payment_id)


async def test_a_provider_that_is_away_is_asked_again_later_each_time_until_it_answers(
    door: CallbackDoor, rails: SandboxRails, clock: SandboxClock
) -> None:
    payment_id, reference = await paid(door)
    await rails.faults.arm("lnd", "unavailable", calls=3, method="LookupInvoice")
    await door.hear(reference)

    waits = []
    for _ in range(3):
        await door.work()
        (job,) = await door.jobs()
        waits.append((job["due_at_us"] - _us(door)) / 1_000_000)
        assert (job["state"], job["last_error"]) == ("WAITING", "PROVIDER_UNAVAILABLE")
        assert await door.standing() == [("msg_1", "RECEIVED", "PROVIDER_UNAVAILABLE")]
        clock.advance(waits[-1] + 0.1)
    await door.work()

    assert waits == pytest.approx([1, 2, 4], abs=0.9)
    assert await door.standing() == [("msg_1", "PROCESSED", None)]
    await assert_booked_once(door, payment_id)


def _us(door: CallbackDoor) -> int:
    return int(door.services.now().timestamp() * 1_000_000)


async def test_a_provider_that_stays_away_ends_the_callback_visibly_and_its_job_can_be_run_again(
    door: CallbackDoor, rails: SandboxRails, clock: SandboxClock
) -> None:
    payment_id, reference = await paid(door)
    await rails.faults.arm("lnd", "unavailable", calls=TRIES_MAX, method="LookupInvoice")
    await door.hear(reference)

    for _ in range(TRIES_MAX + 1):
        await door.work()
        clock.advance(301)
    failed = await door.listed()
    (dead,) = await list_jobs(door.services, JobState.DEAD)
    retried = await retry_job(door.services, dead.id)
    await door.work()

    assert (failed[0]["state"], failed[0]["reason"]) == ("FAILED", "PROVIDER_UNAVAILABLE")
    assert failed[0]["processedAt"] is not None
    assert (dead.attempts, dead.last_error) == (TRIES_MAX, "PROVIDER_UNAVAILABLE")
    assert retried is True
    assert await door.standing() == [("msg_1", "PROCESSED", None)]
    await assert_booked_once(door, payment_id)


async def test_a_rail_that_is_not_connected_any_more_is_waited_for(new_door: NewDoor, clock: SandboxClock) -> None:
    door = new_door()
    payment_id, reference = await paid(door)
    await door.hear(reference)
    without = new_door(rails={})

    await without.work()
    waiting = await door.standing()
    clock.advance(2)
    await door.work()

    assert waiting == [("msg_1", "RECEIVED", "UNKNOWN_PROVIDER")]
    assert await door.standing() == [("msg_1", "PROCESSED", None)]
    await assert_booked_once(door, payment_id)


async def test_a_callback_that_crashes_at_every_try_fails_visibly(
    new_door: NewDoor, lnd: LndProvider, clock: SandboxClock
) -> None:
    class Crashing(Wrapped):
        async def lookup_invoice(self, reference: str) -> Invoice:
            raise LookupError(reference)

    door = new_door()
    payment_id, reference = await paid(door)
    await door.hear(reference)
    crashing = new_door(rails={"lnd": Crashing(lnd)})
    with capture_logs() as logs:
        for _ in range(CRASHES_MAX):
            await crashing.work()
            clock.advance(48 * 3_600)

    assert [line["event"] for line in logs] == ["job_crashed"] * CRASHES_MAX
    (one,) = await door.listed()
    assert (one["state"], one["reason"], one["paymentId"]) == ("FAILED", "CRASHED", payment_id)
    assert [job.last_error for job in await list_jobs(door.services, JobState.DEAD)] == ["CRASHED"]


async def test_an_invoice_that_is_being_made_just_now_is_asked_about_again(
    new_door: NewDoor, lnd: LndProvider, clock: SandboxClock
) -> None:
    reached, go = asyncio.Event(), asyncio.Event()

    class Slow(Wrapped):
        async def create_invoice(self, request: InvoiceRequest) -> Invoice:
            made = await self._inside.create_invoice(request)
            reached.set()
            await go.wait()
            return made

    slow = new_door(rails={"lnd": Slow(lnd)})
    order = asyncio.create_task(slow.till.order())
    await reached.wait()
    (option,) = await slow.till.rows("payment_option")
    await slow.hear(option["reference"])
    await slow.work()
    waiting = await slow.standing()
    go.set()
    payment_id = (await order).payment.id
    await slow.till.pay(payment_id)
    clock.advance(2)
    await slow.work()

    assert waiting == [("msg_1", "RECEIVED", "INVOICE_BEING_MADE")]
    assert await slow.standing() == [("msg_1", "PROCESSED", None)]
    await assert_booked_once(slow, payment_id)


async def test_money_on_an_attempt_that_failed_is_found(
    new_door: NewDoor, lnd: LndProvider, rails: SandboxRails
) -> None:
    class MakesAndRefuses(Wrapped):
        made: list[Invoice]

        async def create_invoice(self, request: InvoiceRequest) -> Invoice:
            self.made = [await self._inside.create_invoice(request)]
            raise InvoiceRejected("lnd", "no")

    refusing = MakesAndRefuses(lnd)
    door = new_door(rails={"lnd": refusing})
    with pytest.raises(InvoiceRejected):
        await door.till.order()
    (made,) = refusing.made
    await door.hear(made.reference, event_id="early")
    await door.work()
    states = [row["state"] for row in await door.till.rows("payment_option")]
    assert made.payment_request is not None
    await rails.pay(made.payment_request)

    await door.hear(made.reference, event_id="late")
    await door.work()

    assert states == [OptionState.FAILED]
    (payment,) = await door.till.rows("payment")
    assert (payment["status"], payment["received_value"]) == ("COMPLETE", 5_000)
    assert await door.till.balances() == {"PROVIDER": 5_000, "MERCHANT": -5_000}


async def test_a_callback_about_money_that_came_in_part_does_not_end_the_payment(door: CallbackDoor) -> None:
    await door.till.set_policy(under=UnderPolicy.WAIT)
    payment_id = (await door.till.order()).payment.id
    part = await door.till.money(payment_id, amount_msat=1_000)
    await door.till.report(part)

    await door.hear(part.reference)
    await door.work()

    assert await door.standing() == [("msg_1", "PROCESSED", None)]
    assert (await door.till.payment(payment_id)).status is PaymentStatus.PENDING_PAYMENT
    assert len(await door.till.rows("settlement")) == 1


async def test_a_callback_about_an_attempt_that_failed_moves_nothing_without_money(
    new_door: NewDoor, lnd: LndProvider, clock: SandboxClock
) -> None:
    class RefusesOnce(Wrapped):
        refused = False

        async def create_invoice(self, request: InvoiceRequest) -> Invoice:
            if not self.refused:
                self.refused = True
                raise InvoiceRejected("lnd", "not this one")
            return await self._inside.create_invoice(request)

    door = new_door(rails={"lnd": RefusesOnce(lnd)})
    await door.till.set_policy(under=UnderPolicy.WAIT)
    with pytest.raises(InvoiceRejected):
        await door.till.order(expires_in_s=60)
    (failed,) = await door.till.rows("payment_option")
    clock.advance(30)
    await retry_payment(door.services, door.till.shop.principal, failed["payment_id"])
    await door.till.report(await door.till.money(failed["payment_id"], amount_msat=1_000))
    clock.advance(31)  # the first attempt's time is over, the second's is not

    await door.hear(failed["reference"])
    await door.work()

    assert await door.standing() == [("msg_1", "PROCESSED", None)]
    assert [row["state"] for row in await door.till.rows("payment_option")] == ["FAILED", "SETTLED"]
    assert (await door.till.payment(failed["payment_id"])).status is PaymentStatus.PENDING_PAYMENT
