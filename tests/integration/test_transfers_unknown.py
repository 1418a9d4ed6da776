"""Money on its way out whose end nobody knows: looked up on our own reference, never sent again elsewhere (U1, U2)."""

import asyncio
from datetime import datetime

import pytest
from tests.integration.conftest import ServicesFactory, Till
from tests.integration.outgoing_money import Rail, found, payout, value
from tests.integration.runners import runner_of
from tests.integration.test_payouts import BALANCE_MSAT, FEE_MAX_MSAT, balance, reader_with
from tests.integration.test_refunds import address

from quittance.domain.access import Principal
from quittance.domain.errors import ProviderUnavailable
from quittance.domain.job import JobKind
from quittance.resolvers.sending import CERTAIN_AFTER_S, SEND_WITHIN_S

AMOUNT_MSAT = 400_000


@pytest.fixture
async def alice(till: Till) -> Principal:
    await till.sold(amount_msat=20 * BALANCE_MSAT)
    return await reader_with(till)


async def begin(till: Till, who: Principal, *, expiry_s: int = 7_200) -> str:
    invoice = till.rails.new_invoice("bob", amount_msat=AMOUNT_MSAT, expiry_s=expiry_s)
    return str((await payout(till, as_=who, key=invoice[-20:], destination=invoice))["id"])


def paid_by_node(till: Till) -> int:
    return sum(one.value_msat for one in till.rails.nodes["merchant"].payments.values() if one.status == 2)


async def test_a_lost_answer_is_looked_up_and_nothing_is_sent_again(till: Till, alice: Principal, rail: Rail) -> None:
    """U1."""
    rail.loses = 1
    transfer_id = await begin(till, alice)

    await till.send()
    unknown = await found(till, transfer_id, as_=alice)
    held = await balance(till, alice)
    till.clock.advance(2)
    await till.send()

    done = await found(till, transfer_id, as_=alice)
    assert (unknown["status"], unknown["attempts"][0]["state"]) == ("UNKNOWN", "UNKNOWN")
    assert held == BALANCE_MSAT - AMOUNT_MSAT - FEE_MAX_MSAT
    assert (done["status"], len(done["attempts"]), len(rail.sent)) == ("SUCCEEDED", 1, 1)
    assert paid_by_node(till) == AMOUNT_MSAT
    assert await balance(till, alice) == BALANCE_MSAT - AMOUNT_MSAT - (value(done["fee"]) or 0)
    await till.balances()


async def test_what_was_written_down_and_never_sent_is_sent_with_the_same_invoice(
    till: Till, alice: Principal, rail: Rail
) -> None:
    """A process that dies between the two leaves a try that the rail knows nothing of."""

    async def dies() -> None:
        raise ProviderUnavailable("lnd")

    rail.before = dies
    transfer_id = await begin(till, alice)
    await till.send()
    rail.before = None

    till.clock.advance(2)
    await till.send()

    done = await found(till, transfer_id, as_=alice)
    assert (done["status"], len(done["attempts"])) == ("SUCCEEDED", 1)
    assert len(set(rail.invoices)) == 1
    assert paid_by_node(till) == AMOUNT_MSAT


async def test_a_process_that_slept_after_writing_a_try_down_does_not_send_it(
    till: Till, alice: Principal, rail: Rail
) -> None:
    """Another process may have looked it up and given it up meanwhile."""
    transfer_id = await begin(till, alice)

    def now() -> datetime:
        """A clock that somebody who looks at it twice finds far on."""
        till.clock.advance(SEND_WITHIN_S + 1)
        return till.clock.now()

    till.services.now = now
    runner = runner_of(till.services, JobKind.TRANSFER)
    await runner.begin_due()
    await runner.idle()

    assert rail.sent == []
    assert (await found(till, transfer_id, as_=alice))["status"] == "SENDING"


async def test_pending_for_hours_then_paid(till: Till, alice: Principal, rail: Rail) -> None:
    """U2: nothing is given back and nothing is repeated while it is under way."""
    await till.rails.faults.arm("lnd", "pending_forever")
    transfer_id = await begin(till, alice, expiry_s=86_400)
    for _ in range(8):
        await till.send()
        till.clock.advance(1_200)
    pending = await found(till, transfer_id, as_=alice)
    held = await balance(till, alice)

    await till.rails.faults.arm("lnd", "release_pending")
    till.clock.advance(1_200)
    await till.send()

    done = await found(till, transfer_id, as_=alice)
    assert pending["status"] == "SENDING"
    assert held == BALANCE_MSAT - AMOUNT_MSAT - FEE_MAX_MSAT
    assert (done["status"], len(rail.sent)) == ("SUCCEEDED", 1)
    assert await balance(till, alice) == BALANCE_MSAT - AMOUNT_MSAT - (value(done["fee"]) or 0)


async def test_pending_for_hours_then_failed_gives_everything_back_once(
    till: Till, alice: Principal, rail: Rail
) -> None:
    """U2."""
    await till.rails.faults.arm("lnd", "pending_forever")
    invoice = till.rails.new_invoice("bob", amount_msat=AMOUNT_MSAT, expiry_s=600)
    transfer_id = (await payout(till, as_=alice, destination=invoice))["id"]
    await till.send()
    till.clock.advance(700)
    await till.send()

    await till.rails.faults.arm("lnd", "fail_pending")
    for _ in range(6):
        till.clock.advance(700)
        await till.send()

    done = await found(till, transfer_id, as_=alice)
    assert (done["status"], done["statusReason"]) == ("FAILED", "INVALID_DESTINATION")
    assert done["attempts"][0]["failure"] == "TIMEOUT"
    assert await balance(till, alice) == BALANCE_MSAT
    await till.balances()


async def test_a_failure_that_may_be_an_earlier_one_s_is_believed_a_minute_later(
    till: Till, alice: Principal, rail: Rail
) -> None:
    """Two tries of one invoice have one hash: the rail may speak of the first while the second is still to begin."""
    invoice = till.rails.new_invoice("bob", amount_msat=AMOUNT_MSAT, expiry_s=7_200)
    transfer_id = (await payout(till, as_=alice, destination=invoice, feeMax={"msat": "1"}))["id"]
    await till.send()
    till.clock.advance(11)
    await till.send()
    early = await found(till, transfer_id, as_=alice)

    till.clock.advance(CERTAIN_AFTER_S + 1)
    await till.send()

    later = await found(till, transfer_id, as_=alice)
    assert [one["state"] for one in early["attempts"]] == ["FAILED", "SENDING"]
    assert [one["state"] for one in later["attempts"]] == ["FAILED", "FAILED"]


async def test_two_processes_send_a_payout_once(
    till: Till, alice: Principal, rail: Rail, new_services: ServicesFactory
) -> None:
    other = till.on(new_services())
    other.services.payers = {"lnd": rail}
    ids = [await begin(till, alice) for _ in range(2)]

    await asyncio.gather(till.send(), other.send(), till.send(), other.send())
    till.clock.advance(5)
    await till.send()

    assert {(await found(till, one, as_=alice))["status"] for one in ids} == {"SUCCEEDED"}
    assert paid_by_node(till) == 2 * AMOUNT_MSAT
    assert await till.rows("job") == []


async def test_a_transfer_waits_where_its_rail_may_not_pay_any_more(till: Till, alice: Principal) -> None:
    transfer_id = (await payout(till, as_=alice, amount={"sat": "100"}, destination=address(till)))["id"]
    payers, till.services.payers = till.services.payers, {}
    await till.send()
    waiting = await found(till, transfer_id, as_=alice)

    till.services.payers = payers
    till.clock.advance(601)
    await till.send()

    assert waiting["status"] == "SENDING"
    assert (await found(till, transfer_id, as_=alice))["status"] == "SUCCEEDED"
