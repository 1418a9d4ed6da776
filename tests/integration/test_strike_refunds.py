"""Refunds out of a Strike account, of what the seed misread: 202 is no failure, and 200 is no success (W1, W2)."""

from collections import Counter
from typing import Any

import pytest
from tests.integration.outgoing_money import found, refund, value
from tests.integration.strike_account import RAIL, StrikeAccount
from tests.integration.test_refunds import address, totals

from quittance.domain.money import msat
from quittance.domain.payment import Payment

PRICE_MSAT = 1_000_000
HOUR_S = 3_600
LOOKS_MAX = 24


@pytest.fixture
async def sold(strike: StrikeAccount) -> Payment:
    """A payment into the account, and enough beside it to give it back with its way."""
    await strike.sold(amount=msat(10 * PRICE_MSAT))
    return await strike.sold(amount=msat(PRICE_MSAT))


async def refunding(strike: StrikeAccount, payment: Payment, fault: str, **more: Any) -> str:
    """Ask for a refund whose execution meets a fault, and return its id once it was sent."""
    await strike.till.rails.faults.arm(RAIL, fault, method="execute_quote")
    begun = await refund(strike.till, payment.id, **({"destination": address(strike.till)} | more))
    await strike.till.send()
    return str(begun["id"])


async def wait_hours(strike: StrikeAccount, hours: int) -> None:
    """Look at everything that is due for so long, four times an hour."""
    for _ in range(4 * hours):
        strike.till.clock.advance(HOUR_S / 4)
        await strike.till.send()


async def until_ended(strike: StrikeAccount, transfer_id: str) -> dict[str, Any]:
    for _ in range(LOOKS_MAX):
        shown = await found(strike.till, transfer_id)
        if shown["status"] in {"SUCCEEDED", "FAILED"}:
            return shown
        strike.till.clock.advance(HOUR_S / 4)
        await strike.till.send()
    raise AssertionError(f"it does not end: {shown}")


def bob_msat(strike: StrikeAccount) -> int:
    return int(strike.till.rails.nodes["bob"].balance_msat)


async def states(strike: StrikeAccount) -> Counter[str]:
    """Count the payments at Strike by how they stand."""
    return Counter(payment.state for payment in await strike.payments())


async def test_w1_a_refund_that_is_pending_for_hours_is_paid_once(strike: StrikeAccount, sold: Payment) -> None:
    """202 PENDING: the money has left, and the seed sent it again."""
    bob, before = bob_msat(strike), await strike.till.balances()
    invoice = strike.till.rails.new_invoice("bob", amount_msat=PRICE_MSAT, expiry_s=24 * HOUR_S)
    transfer_id = await refunding(strike, sold, "pending_forever", destination=invoice)
    await wait_hours(strike, 5)
    pending, during, held = await found(strike.till, transfer_id), await states(strike), await strike.till.balances()
    meanwhile = await refund(strike.till, sold.id, key="again", destination=address(strike.till))

    await strike.till.rails.faults.arm(RAIL, "release_pending")
    done = await until_ended(strike, transfer_id)
    await wait_hours(strike, 2)

    assert (pending["status"], during, meanwhile["code"]) == ("SENDING", {"PENDING": 1}, "NOTHING_TO_REFUND")
    assert held["RESERVED"] < 0
    assert (done["status"], len(done["attempts"])) == ("SUCCEEDED", 1)
    assert (await states(strike), bob_msat(strike)) == ({"COMPLETED": 1}, bob + PRICE_MSAT)
    assert [status for _, path, status in strike.answers if path.endswith("/execute")] == [202]
    after = await strike.till.balances()
    assert (after["MERCHANT"] - before["MERCHANT"], after["RESERVED"]) == (PRICE_MSAT + (value(done["fee"]) or 0), 0)
    assert await totals(strike.till, sold) == (PRICE_MSAT, 0)


async def test_w1_a_refund_that_fails_after_hours_is_tried_again_and_arrives_once(
    strike: StrikeAccount, sold: Payment
) -> None:
    bob = bob_msat(strike)
    transfer_id = await refunding(strike, sold, "pending_forever")
    await wait_hours(strike, 3)
    during = await states(strike)

    await strike.till.rails.faults.arm(RAIL, "fail_pending")
    done = await until_ended(strike, transfer_id)
    await wait_hours(strike, 2)

    assert during == {"PENDING": 1}
    assert done["status"] == "SUCCEEDED"
    assert [one["state"] for one in done["attempts"]] == ["FAILED", "SUCCEEDED"]
    assert (await states(strike), bob_msat(strike)) == ({"FAILED": 1, "COMPLETED": 1}, bob + PRICE_MSAT)
    assert (await strike.till.balances())["RESERVED"] == 0
    assert await totals(strike.till, sold) == (PRICE_MSAT, 0)


async def test_w1_one_to_an_invoice_that_lapsed_meanwhile_is_given_back_whole_and_can_be_asked_for_again(
    strike: StrikeAccount, sold: Payment
) -> None:
    bob, before = bob_msat(strike), await strike.till.balances()
    stuck = strike.till.rails.new_invoice("bob", amount_msat=PRICE_MSAT, expiry_s=600)
    transfer_id = await refunding(strike, sold, "pending_forever", destination=stuck)
    await wait_hours(strike, 3)
    pending = await states(strike)

    await strike.till.rails.faults.arm(RAIL, "fail_pending")
    ended = await until_ended(strike, transfer_id)
    given_back, nothing = await strike.till.balances(), await totals(strike.till, sold)
    again = await refund(strike.till, sold.id, key="r2", destination=address(strike.till))
    await strike.till.send()
    done = await until_ended(strike, again["id"])

    assert (pending, ended["status"], nothing) == ({"PENDING": 1}, "FAILED", (0, 0))
    assert given_back == before | {"RESERVED": 0}
    assert done["status"] == "SUCCEEDED"
    assert (await states(strike), bob_msat(strike)) == ({"FAILED": 1, "COMPLETED": 1}, bob + PRICE_MSAT)


async def test_w2_an_answer_of_200_that_says_failed_is_no_refund_and_is_tried_again(
    strike: StrikeAccount, sold: Payment
) -> None:
    """The seed deleted its row at the status 200, whatever the state was: the refund was lost."""
    bob, before = bob_msat(strike), await strike.till.balances()
    transfer_id = await refunding(strike, sold, "execute_failed")
    first = (await found(strike.till, transfer_id))["attempts"][0]

    done = await until_ended(strike, transfer_id)
    await wait_hours(strike, 2)

    assert first["state"] == "FAILED"
    assert [status for _, path, status in strike.answers if path.endswith("/execute")] == [200, 200]
    assert (done["status"], [one["state"] for one in done["attempts"]]) == ("SUCCEEDED", ["FAILED", "SUCCEEDED"])
    assert (await states(strike), bob_msat(strike)) == ({"FAILED": 1, "COMPLETED": 1}, bob + PRICE_MSAT)
    after = await strike.till.balances()
    assert (after["MERCHANT"] - before["MERCHANT"], after["RESERVED"]) == (PRICE_MSAT + (value(done["fee"]) or 0), 0)
    assert await totals(strike.till, sold) == (PRICE_MSAT, 0)


async def test_w1_w2_a_refund_that_fails_every_time_is_given_back_and_owed_again(
    strike: StrikeAccount, sold: Payment
) -> None:
    bob, before = bob_msat(strike), await strike.till.balances()
    await strike.till.rails.faults.arm(RAIL, "execute_failed", method="execute_quote", calls=1_000)
    begun = await refund(strike.till, sold.id, destination=address(strike.till))
    await strike.till.send()

    ended = await until_ended(strike, begun["id"])
    strike.till.rails.faults.clear(RAIL)
    again = await refund(strike.till, sold.id, key="r2", destination=address(strike.till))
    await strike.till.send()
    done = await until_ended(strike, again["id"])

    assert ended["status"] == "FAILED"
    assert {one["state"] for one in ended["attempts"]} == {"FAILED"}
    assert done["status"] == "SUCCEEDED"
    assert (await states(strike))["COMPLETED"] == 1
    assert bob_msat(strike) == bob + PRICE_MSAT
    after = await strike.till.balances()
    assert after["MERCHANT"] - before["MERCHANT"] == PRICE_MSAT + (value(done["fee"]) or 0)
