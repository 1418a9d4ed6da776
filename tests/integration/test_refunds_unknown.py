"""Refunds whose end nobody knows for a while: sent once, and given back whole when nothing left (U1, U2)."""

import pytest
from tests.integration.conftest import Till
from tests.integration.outgoing_money import Rail, claim, found, refund, value
from tests.integration.test_refunds import FEE_MAX_MSAT, PRICE_MSAT, totals
from tests.integration.test_refunds_by_policy import sent_of
from tests.integration.test_transfers_unknown import paid_by_node

from quittance.domain.access import ANONYMOUS
from quittance.domain.money import msat
from quittance.domain.payment import Payment
from quittance.domain.policy import UnderPolicy

OWED_MSAT = 200_000
EXPIRY_S = 600
LONGER_S = 700


@pytest.fixture
async def sold(till: Till) -> Payment:
    await till.sold(amount_msat=10 * PRICE_MSAT)
    return await till.sold(amount_msat=PRICE_MSAT)


@pytest.fixture
async def owed(till: Till) -> Payment:
    """A payment of which too little came, all of it owed back."""
    await till.sold(amount_msat=10 * PRICE_MSAT)
    await till.set_policy(under=UnderPolicy.REFUND)
    made = await till.order(amount=msat(PRICE_MSAT))
    await till.report(await till.money(made.payment.id, amount_msat=OWED_MSAT))
    return made.payment


async def pending_for_hours(till: Till) -> None:
    """Look again and again at what is stuck at the node."""
    await till.send()
    for _ in range(4):
        till.clock.advance(3_600)
        await till.send()


async def fails_in_the_end(till: Till) -> None:
    """Let the node give up what is stuck, and hear of it; its invoice has expired, so nothing is tried again."""
    await till.rails.faults.arm("lnd", "fail_pending")
    for _ in range(6):
        till.clock.advance(LONGER_S)
        await till.send()


async def test_a_refund_whose_answer_is_lost_is_looked_up_and_sent_once(till: Till, sold: Payment, rail: Rail) -> None:
    """U1."""
    rail.loses = 1
    before, bob = await till.balances(), till.rails.nodes["bob"].balance_msat
    invoice = till.rails.new_invoice("bob", amount_msat=PRICE_MSAT, expiry_s=7_200)

    begun = await refund(till, sold.id, destination=invoice)
    await till.send()
    unknown, meanwhile = await found(till, begun["id"]), await totals(till, sold)
    reserved = (await till.balances())["RESERVED"]
    till.clock.advance(2)
    await till.send()
    till.clock.advance(7_300)
    await till.send()

    done, after = await found(till, begun["id"]), await till.balances()
    cost = PRICE_MSAT + (value(done["fee"]) or 0)
    assert (unknown["status"], unknown["attempts"][0]["state"]) == ("UNKNOWN", "UNKNOWN")
    assert (meanwhile, reserved) == ((PRICE_MSAT, 0), -(PRICE_MSAT + FEE_MAX_MSAT))
    assert (done["status"], len(done["attempts"]), rail.invoices) == ("SUCCEEDED", 1, [invoice])
    assert (paid_by_node(till), till.rails.nodes["bob"].balance_msat) == (PRICE_MSAT, bob + PRICE_MSAT)
    assert (after["MERCHANT"] - before["MERCHANT"], after["RESERVED"]) == (cost, 0)
    assert await totals(till, sold) == (PRICE_MSAT, 0)


async def test_a_refund_that_is_pending_for_hours_and_fails_can_be_asked_for_again(
    till: Till, sold: Payment, rail: Rail
) -> None:
    """U2: it counts as refunded as long as it may arrive, and no longer."""
    before = await till.balances()
    await till.rails.faults.arm("lnd", "pending_forever")
    stuck = till.rails.new_invoice("bob", amount_msat=PRICE_MSAT, expiry_s=EXPIRY_S)

    begun = await refund(till, sold.id, destination=stuck)
    await pending_for_hours(till)
    pending, during = await found(till, begun["id"]), await totals(till, sold)
    refused = await refund(till, sold.id, key="meanwhile", destination=stuck)
    await fails_in_the_end(till)
    failed, afterwards, given_back = await found(till, begun["id"]), await totals(till, sold), await till.balances()
    fresh = till.rails.new_invoice("carol", amount_msat=PRICE_MSAT)
    again = await refund(till, sold.id, key="r2", destination=fresh)
    await till.send()

    done = await found(till, again["id"])
    assert (pending["status"], during, refused["code"]) == ("SENDING", (PRICE_MSAT, 0), "NOTHING_TO_REFUND")
    assert (failed["status"], failed["attempts"][0]["failure"]) == ("FAILED", "TIMEOUT")
    assert afterwards == (0, 0)
    assert given_back == before | {"RESERVED": 0}
    assert (done["status"], rail.invoices, paid_by_node(till)) == ("SUCCEEDED", [stuck, fresh], PRICE_MSAT)
    assert await totals(till, sold) == (PRICE_MSAT, 0)
    assert (await till.balances())["RESERVED"] == 0


async def test_what_a_failed_claim_did_not_bring_is_owed_again_and_claimable(
    till: Till, owed: Payment, rail: Rail
) -> None:
    before, sent = await till.balances(), sent_of(OWED_MSAT)
    secret = till.services.derive.client_secret(owed.id)
    await till.rails.faults.arm("lnd", "pending_forever")
    stuck = till.rails.new_invoice("bob", amount_msat=sent, expiry_s=EXPIRY_S)

    begun = await claim(till, owed.id, as_=ANONYMOUS, clientSecret=secret, destination=stuck)
    await pending_for_hours(till)
    during = await totals(till, owed)
    await fails_in_the_end(till)
    failed, afterwards, given_back = await found(till, begun["id"]), await totals(till, owed), await till.balances()
    fresh = till.rails.new_invoice("carol", amount_msat=sent)
    again = await claim(till, owed.id, as_=ANONYMOUS, key="c2", clientSecret=secret, destination=fresh)
    await till.send()

    done = await found(till, again["id"])
    reserved, cost = sent + (value(begun["feeMax"]) or 0), sent + (value(done["fee"]) or 0)
    assert (begun["reason"], during) == ("CLAIMED", (reserved, OWED_MSAT - reserved))
    assert (failed["status"], afterwards) == ("FAILED", (0, OWED_MSAT))
    assert given_back == before | {"RESERVED": 0}
    assert given_back["REFUNDABLE"] == -OWED_MSAT
    assert (done["status"], rail.invoices, paid_by_node(till)) == ("SUCCEEDED", [stuck, fresh], sent)
    assert await totals(till, owed) == (cost, OWED_MSAT - cost)
