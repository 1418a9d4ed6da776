"""The sandbox's Lightning Addresses: paid by name with the client of payouts, and deceiving it on demand."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from tests.contract.outgoing_receivers import AT_HOME

from quittance.domain.errors import (
    AmountOutOfBounds,
    ForbiddenAddress,
    InvalidPayee,
    PayeeInvoiceMismatch,
    PayeeRefused,
    PayeeUnavailable,
)
from quittance.domain.ids import Preimage
from quittance.domain.lnurl_pay import AesAction, InvoiceFlaw, MessageAction, UrlAction
from quittance.domain.money import msat
from quittance.providers.lnurl.directory import LnurlDirectory
from quittance.providers.outgoing import OutgoingClient
from quittance.providers.payees import PayeeDirectory, PayeeInvoice
from quittance.sandbox.clock import SandboxClock
from quittance.sandbox.payees import COMMENT_CHARACTERS_MAX, KINDS, RAIL
from quittance.sandbox.rails import SandboxRails


@pytest.fixture
async def directory(rails: SandboxRails) -> AsyncIterator[PayeeDirectory]:
    async with OutgoingClient(AT_HOME) as outgoing:
        yield LnurlDirectory(outgoing, prefix="bcrt", now=rails.clock.now)


async def asked(rails: SandboxRails, directory: PayeeDirectory, *, name: str = "alice") -> PayeeInvoice:
    payee = await directory.resolve(rails.address_of(name) or "")
    return await directory.request_invoice(payee, amount=msat(123_456), comment="for tea")


async def test_a_node_is_paid_by_its_name(rails: SandboxRails, directory: PayeeDirectory) -> None:
    before_msat = rails.nodes["alice"].balance_msat
    found = await asked(rails, directory)
    unpaid = await directory.proof(found)

    preimage = await rails.pay(found.payment_request, node="bob")

    assert found.amount == msat(123_456)
    assert unpaid is None
    assert await directory.proof(found) == preimage
    assert rails.nodes["alice"].balance_msat - before_msat == 123_456
    assert rails.nodes["alice"].invoices[bytes.fromhex(found.payment_hash)].memo == "for tea"


async def test_each_payee_promises_another_thing(rails: SandboxRails, directory: PayeeDirectory) -> None:
    alice, bob, carol = [await asked(rails, directory, name=name) for name in ("alice", "bob", "carol")]
    preimage = Preimage(await rails.pay(carol.payment_request, node="alice"))

    assert alice.success_action == MessageAction(message="Thank you from alice")
    assert isinstance(bob.success_action, UrlAction)
    assert isinstance(carol.success_action, AesAction)
    async with httpx.AsyncClient() as client:
        assert (await client.get(bob.success_action.url)).text == "Thank you!"
    assert directory.reveal(carol.success_action, preimage) == "carol's secret"


@pytest.mark.parametrize(
    ("fault", "flaw"),
    [
        ("wrong_hash", InvoiceFlaw.DESCRIPTION),
        ("plain_description", InvoiceFlaw.DESCRIPTION),
        ("wrong_amount", InvoiceFlaw.AMOUNT),
        ("other_network", InvoiceFlaw.NETWORK),
        ("expired", InvoiceFlaw.EXPIRED),
        ("unknown_action", InvoiceFlaw.SUCCESS_ACTION),
        ("foreign_link", InvoiceFlaw.SUCCESS_ACTION),
    ],
)
async def test_a_deceiving_payee_is_not_paid_and_an_honest_one_is_next(
    rails: SandboxRails, directory: PayeeDirectory, fault: str, flaw: InvoiceFlaw
) -> None:
    await rails.faults.arm(RAIL, fault)

    with pytest.raises(PayeeInvoiceMismatch) as refused:
        await asked(rails, directory)

    assert refused.value.flaw == flaw
    assert (await asked(rails, directory)).amount == msat(123_456)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("out_of_bounds", AmountOutOfBounds),
        ("private_callback", ForbiddenAddress),
        ("payer_data", PayeeRefused),
        ("error", PayeeRefused),
        ("html", InvalidPayee),
        ("redirect", InvalidPayee),
        ("unavailable", PayeeUnavailable),
    ],
)
async def test_an_offer_that_cannot_be_taken_says_why(
    rails: SandboxRails, directory: PayeeDirectory, fault: str, error: type[Exception]
) -> None:
    await rails.faults.arm(RAIL, fault, method="offer")

    with pytest.raises(error):
        await asked(rails, directory)

    assert len(rails.nodes["alice"].invoices) == 0


async def test_a_slow_payee_is_unavailable(rails: SandboxRails) -> None:
    async with OutgoingClient(AT_HOME) as outgoing:
        impatient = LnurlDirectory(outgoing, prefix="bcrt", now=rails.clock.now, timeout_s=0.2)
        await rails.faults.arm(RAIL, "hang")
        with pytest.raises(PayeeUnavailable):
            await asked(rails, impatient)
        await rails.faults.arm(RAIL, "delay", seconds=0.05)
        assert (await asked(rails, impatient)).amount == msat(123_456)


async def test_a_claim_of_settlement_proves_nothing(rails: SandboxRails, directory: PayeeDirectory) -> None:
    found = await asked(rails, directory)
    await rails.faults.arm(RAIL, "claim")

    assert await directory.proof(found) is None


async def test_every_fault_is_listed_and_only_who_pays_in_bitcoin_has_an_address(rails: SandboxRails) -> None:
    listed = {fault["fault"] for fault in rails.faults.describe() if fault["rail"] == RAIL}

    assert listed == {kind.name for kind in KINDS}
    assert [name for name in rails.nodes if rails.address_of(name) is not None] == ["alice", "bob", "carol"]


@pytest.mark.parametrize(
    "query",
    [
        "",
        "amount=",
        "amount=x",
        "amount=1e3",
        "amount=-5",
        "amount=999",
        "amount=100000000001",
        f"amount={'9' * 5000}",
        f"amount=1000&comment={'x' * (COMMENT_CHARACTERS_MAX + 1)}",
    ],
)
async def test_a_wrong_question_is_answered_by_an_error(rails: SandboxRails, query: str) -> None:
    host = (rails.address_of("alice") or "").partition("@")[2]
    async with httpx.AsyncClient(base_url=f"http://{host}") as client:
        answers = [
            await client.get(f"/lnurlp/alice/callback?{query}"),
            await client.get(f"/lnurlp/merchant/callback?{query}"),
            await client.get("/.well-known/lnurlp/merchant"),
            await client.get(f"/lnurlp/alice/verify/{'00' * 32}"),
            await client.get("/lnurlp/alice/verify/x"),
        ]

    assert [(answer.status_code, answer.json()["status"]) for answer in answers] == [(200, "ERROR")] * 5


async def test_addresses_stay_over_a_restart(tmp_path: Path) -> None:
    directory = tmp_path / "sandbox"
    clock = SandboxClock(directory / "clock.json")
    first = await SandboxRails.start(directory=directory, clock=clock)
    address = first.address_of("bob")
    await _hang(first)  # what is under way does not hold it up
    await first.stop()

    second = await SandboxRails.start(directory=directory, clock=clock)
    assert second.address_of("bob") == address
    await second.stop()


async def _hang(rails: SandboxRails) -> None:
    await rails.faults.arm(RAIL, "hang")
    async with httpx.AsyncClient(timeout=0.2) as client:
        with pytest.raises(httpx.TimeoutException):
            await client.get(f"http://{(rails.address_of('bob') or '').partition('@')[2]}/.well-known/lnurlp/bob")
