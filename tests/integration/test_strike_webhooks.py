"""Strike's webhooks end to end: its account tells our door over a socket, and what it could not is caught up with."""

import asyncio

from tests.integration.provider_account import UNSUBSCRIBE, UPDATE
from tests.integration.strike_account import RAIL
from tests.integration.strike_door import StrikeDoor

from quittance.domain.ids import Preimage
from quittance.domain.money import msat
from quittance.providers.base import InvoiceRequest

RETRY_S = 60  # by then the next try of each notice is due


async def test_strike_tells_of_what_is_paid_and_it_is_booked(strike_door: StrikeDoor) -> None:
    made = await strike_door.subscribe()

    (payment_id,) = await strike_door.paid()
    await strike_door.heard(202)
    await strike_door.strike.work()

    assert made["webhook"]["eventTypes"] == ["invoice.updated"]
    assert await strike_door.statuses_of([payment_id]) == ["COMPLETE"]
    assert made["webhook"]["url"] == strike_door.url


async def test_a_forged_notice_is_refused_and_the_right_one_that_comes_after_it_is_not(
    strike_door: StrikeDoor,
) -> None:
    await strike_door.subscribe()
    await strike_door.till.rails.faults.arm(RAIL, "bad_signature")

    (payment_id,) = await strike_door.paid()
    await strike_door.heard(401)
    await strike_door.strike.work()
    before = await strike_door.statuses_of([payment_id])
    await strike_door.till.rails.faults.arm(RAIL, "lower_case_signature")
    strike_door.till.clock.advance(10)
    await strike_door.heard(401, 202)
    await strike_door.strike.work()

    assert before == ["PENDING_PAYMENT"]
    assert await strike_door.statuses_of([payment_id]) == ["COMPLETE"]


async def test_what_was_paid_while_our_server_was_down_is_booked_once(strike_door: StrikeDoor) -> None:
    await strike_door.subscribe()
    await strike_door.shut()

    payments = await strike_door.paid(5)
    missed = await strike_door.events(undelivered=True)
    await strike_door.open()
    await asyncio.gather(
        strike_door.catch_up(), strike_door.catch_up(), strike_door.follow(5), strike_door.till.reconcile()
    )
    strike_door.till.clock.advance(RETRY_S)
    await strike_door.answered(len(payments))
    await asyncio.gather(strike_door.strike.work(), strike_door.follow(5), strike_door.till.reconcile())
    last = await strike_door.catch_up()

    assert len([one for one in missed if one["type"] == "invoice.updated"]) == len(payments)
    assert {one["callback"] for one in missed} == {None}
    assert await strike_door.statuses_of(payments) == ["COMPLETE"] * len(payments)
    assert len(await strike_door.till.rows("settlement")) == len(payments)
    assert set(strike_door.statuses) == {200}  # each had been caught up with before it was told
    assert (last["seen"], last["stored"]) == (len(payments), 0)
    callbacks = await strike_door.till.rows("provider_callback")
    assert [row["state"] for row in callbacks] == ["PROCESSED"] * len(payments)


async def test_catching_up_alone_books_what_no_notice_ever_tells(strike_door: StrikeDoor) -> None:
    await strike_door.subscribe()
    await strike_door.till.rails.faults.arm(RAIL, "drop_webhook", calls=3)

    payments = await strike_door.paid(3)
    caught = await strike_door.catch_up()
    await strike_door.strike.work()

    assert (caught["seen"], caught["stored"], strike_door.statuses) == (3, 3, [])
    assert await strike_door.statuses_of(payments) == ["COMPLETE"] * 3


async def test_a_notice_that_comes_twice_has_one_effect(strike_door: StrikeDoor) -> None:
    await strike_door.subscribe()
    await strike_door.till.rails.faults.arm(RAIL, "duplicate_webhook")

    (payment_id,) = await strike_door.paid()
    await strike_door.heard(202, 200)
    await strike_door.strike.work()

    assert await strike_door.statuses_of([payment_id]) == ["COMPLETE"]
    assert len(await strike_door.till.rows("settlement")) == 1


async def test_invoices_of_others_on_the_account_are_none_of_our_business(strike_door: StrikeDoor) -> None:
    await strike_door.subscribe()
    foreign = await strike_door.strike.provider.create_invoice(_somebody_elses())
    assert foreign.payment_request is not None

    await strike_door.till.rails.pay(foreign.payment_request)
    await strike_door.heard(202)
    await strike_door.strike.work()

    (row,) = await strike_door.till.rows("provider_callback")
    assert (row["state"], row["reason"]) == ("IGNORED", "UNKNOWN_REFERENCE")
    assert await strike_door.till.rows("settlement") == []
    assert await strike_door.till.rows("transfer") == []


def _somebody_elses() -> InvoiceRequest:
    """Return an invoice that another program with the same account asks for."""
    return InvoiceRequest(amount=msat(7_000), description="theirs", expires_in_s=600, preimage=Preimage(b"\x09" * 32))


async def test_a_rotation_is_heard_through_without_a_refusal(strike_door: StrikeDoor) -> None:
    made = await strike_door.subscribe()
    await strike_door.till.rails.faults.arm(RAIL, "lost_answer", method="update_subscription")

    before = await strike_door.paid()
    await strike_door.heard(202)
    lost = await strike_door.rotate(made["webhook"]["id"], overlap=60)
    meanwhile = await strike_door.paid()
    await strike_door.heard(202, 202)
    rotated = await strike_door.rotate(made["webhook"]["id"], overlap=60)
    strike_door.till.clock.advance(61)
    after = await strike_door.paid()
    await strike_door.heard(202, 202, 202)
    await strike_door.strike.work()

    assert (lost["code"], rotated["webhook"]["isRotating"]) == ("PROVIDER_UNAVAILABLE", False)
    assert await strike_door.statuses_of([*before, *meanwhile, *after]) == ["COMPLETE"] * 3


async def test_a_subscription_whose_answer_was_lost_is_made_once(strike_door: StrikeDoor) -> None:
    await strike_door.till.rails.faults.arm(RAIL, "lost_answer", method="create_subscription")

    lost = await strike_door.subscribe()
    again = await strike_door.subscribe()
    manager = strike_door.till.services.callback_tools[RAIL].manager
    held = await manager.subscriptions()

    assert lost["code"] == "PROVIDER_UNAVAILABLE"
    assert [one.id for one in held] == [again["webhook"]["id"]]


async def test_a_webhook_is_changed_and_taken_away(strike_door: StrikeDoor) -> None:
    made = (await strike_door.subscribe())["webhook"]
    change = {
        "provider": RAIL,
        "id": made["id"],
        "enabled": False,
        "eventTypes": ["invoice.created", "invoice.updated"],
    }

    changed = await strike_door.run(UPDATE, input=change)
    refused = await strike_door.run(UPDATE, input={"provider": RAIL, "id": made["id"], "eventTypes": ["no.such"]})
    await strike_door.paid()
    gone = await strike_door.run(UNSUBSCRIBE, provider=RAIL, id=made["id"])
    manager = strike_door.till.services.callback_tools[RAIL].manager

    assert changed["webhook"] == made | {"enabled": False, "eventTypes": change["eventTypes"]}
    assert (refused["code"], strike_door.statuses) == ("PROVIDER_WEBHOOK_REJECTED", [])
    assert gone["id"] == made["id"]
    assert await manager.subscriptions() == []
