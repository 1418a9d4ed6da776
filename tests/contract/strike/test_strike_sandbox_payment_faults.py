"""Payments of the sandbox's Strike account that do not go well."""

import httpx
import pytest
from tests.contract.strike.conftest import Arm
from tests.contract.strike.strike_client import FEE, StrikeClient, btc, ok, refusal, state_at_alice

from quittance.providers.lnd._proto import lnrpc_pb2 as ln
from quittance.sandbox.rails import SandboxRails


async def test_a_pending_payment_is_charged_until_it_is_released(
    strike: StrikeClient, rails: SandboxRails, arm: Arm
) -> None:
    await arm("pending_forever")
    request = rails.new_invoice("alice", amount_msat=1_000_000)
    quote = await strike.payment_quote(request)

    executed = await strike.execute(quote)

    assert (executed.status_code, executed.json()["state"], executed.json()["result"]) == (202, "PENDING", "PENDING")
    assert "preImage" not in executed.json()["lightning"]
    balance = await strike.balance("BTC")
    assert (balance["available"], balance["outgoing"], balance["total"]) == ("0.99998998", "0.00001002", "1.00000000")
    assert refusal(await strike.execute(quote)) == (422, "PROCESSING_PAYMENT")
    assert state_at_alice(rails, request) == ln.Invoice.OPEN
    rails.clock.advance(3_000)
    assert (await strike.payment(executed.json()))["state"] == "PENDING"

    await arm("release_pending")

    payment = await strike.payment(executed.json())
    assert (payment["state"], len(payment["lightning"]["preImage"])) == ("COMPLETED", 64)
    assert state_at_alice(rails, request) == ln.Invoice.SETTLED
    assert refusal(await strike.execute(quote)) == (422, "PAYMENT_PROCESSED")


async def test_a_pending_payment_may_fail_and_give_its_money_back(
    strike: StrikeClient, rails: SandboxRails, arm: Arm
) -> None:
    await arm("pending_forever")
    request = rails.new_invoice("alice", amount_msat=1_000_000)
    executed = await strike.execute(await strike.payment_quote(request))

    await arm("fail_pending")

    assert (await strike.payment(executed.json()))["state"] == "FAILED"
    assert state_at_alice(rails, request) == ln.Invoice.OPEN
    balance = await strike.balance("BTC")
    assert (balance["available"], balance["outgoing"]) == ("1.00000000", "0.00000000")
    ok(await strike.execute(await strike.payment_quote(request)))


async def test_a_payment_that_is_released_too_late_fails(strike: StrikeClient, rails: SandboxRails, arm: Arm) -> None:
    await arm("pending_forever")
    request = rails.new_invoice("alice", amount_msat=1_000_000)
    executed = await strike.execute(await strike.payment_quote(request))
    await rails.pay(request, node="bob")

    await arm("release_pending")

    assert (await strike.payment(executed.json()))["state"] == "FAILED"
    assert (await strike.balance("BTC"))["available"] == "1.00000000"


async def test_a_payment_in_flight_is_pending_until_the_network_is_done(
    strike: StrikeClient, rails: SandboxRails
) -> None:
    await rails.faults.arm("lnd", "pending_forever")
    quote = await strike.payment_quote(rails.new_invoice("alice", amount_msat=1_000_000))

    executed = await strike.execute(quote)
    await rails.faults.arm("lnd", "release_pending")

    assert (executed.status_code, executed.json()["state"]) == (202, "PENDING")
    assert (await strike.payment(executed.json()))["state"] == "COMPLETED"


async def test_a_payment_may_fail_with_status_200(strike: StrikeClient, rails: SandboxRails, arm: Arm) -> None:
    await arm("execute_failed")
    request = rails.new_invoice("alice", amount_msat=1_000_000)
    quote = await strike.payment_quote(request)

    executed = await strike.execute(quote)

    assert (executed.status_code, executed.json()["state"], executed.json()["result"]) == (200, "FAILED", "FAILURE")
    assert state_at_alice(rails, request) == ln.Invoice.OPEN
    assert (await strike.balance("BTC"))["available"] == "1.00000000"
    assert refusal(await strike.execute(quote)) == (422, "PAYMENT_PROCESSED")


async def test_a_lost_answer_has_moved_the_money(strike: StrikeClient, rails: SandboxRails, arm: Arm) -> None:
    await arm("lost_answer", method="execute_quote")
    request = rails.new_invoice("alice", amount_msat=1_000_000)
    quote = await strike.payment_quote(request)

    with pytest.raises(httpx.RemoteProtocolError):
        await strike.execute(quote)

    assert state_at_alice(rails, request) == ln.Invoice.SETTLED
    assert refusal(await strike.execute(quote)) == (422, "PAYMENT_PROCESSED")


async def test_a_proof_may_be_left_out(strike: StrikeClient, rails: SandboxRails, arm: Arm) -> None:
    await arm("omit_preimage")
    quote = await strike.payment_quote(rails.new_invoice("alice", amount_msat=1_000_000))

    payment = ok(await strike.execute(quote))

    assert (payment["state"], payment["lightning"]) == ("COMPLETED", {"networkFee": btc(FEE)})
    assert "preImage" in (await strike.payment(payment))["lightning"]


async def test_a_conflict_does_nothing(strike: StrikeClient, rails: SandboxRails, arm: Arm) -> None:
    await arm("processing_conflict", method="execute_quote")
    quote = await strike.payment_quote(rails.new_invoice("alice", amount_msat=1_000_000))

    assert refusal(await strike.execute(quote)) == (409, "PROCESSING_CONFLICT")
    assert ok(await strike.execute(quote))["state"] == "COMPLETED"
