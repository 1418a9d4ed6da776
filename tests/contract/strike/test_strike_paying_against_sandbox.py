"""Payments out of the sandbox's Strike account: whatever is lost and whoever dies, the payee gets the money once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pydantic import SecretStr
from tests.contract.conftest import Connect, NodeClient
from tests.contract.lightning.conftest import added
from tests.contract.strike.conftest import Arm
from tests.contract.strike.scripted import Memory

from quittance.domain.bolt11 import decode
from quittance.domain.errors import ProviderMisconfigured, ProviderUnavailable
from quittance.domain.money import BTC_SAT, Money, msat
from quittance.providers.base import SendFailure, SendRequest, SentPayment, SentStatus
from quittance.providers.lightning import signer
from quittance.providers.strike.budget import Budget
from quittance.providers.strike.client import StrikeClient
from quittance.providers.strike.connection import StrikeConnection, open_client
from quittance.providers.strike.payer import StrikePayer
from quittance.sandbox.rails import SandboxRails

PRICE_SAT = 1_000
ROUNDS = 40  # longer than it takes until what never ran is certain


class Death(Exception):
    """The process ends here."""


class MortalMemory(Memory):
    """A memory whose process dies behind a write; what was written is there afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.dies_behind = 0

    async def remember(self, reference: str, note: str, *, instead_of: str | None) -> bool:
        was_stored = await super().remember(reference, note, instead_of=instead_of)
        if was_stored and len(self.history) == self.dies_behind:
            raise Death
        return was_stored


class Shop:
    """What pays one invoice of another node, again and again as the resolvers do, each time in a new process."""

    def __init__(self, rails: SandboxRails, asked: str) -> None:
        self.rails, self.memory = rails, MortalMemory()
        self.order = SendRequest(payment_request=asked, amount=None, fee_max=Money(100, BTC_SAT))
        self.reference = decode(asked, recover=signer).payment_hash
        self.before_msat = rails.nodes["bob"].balance_msat

    @asynccontextmanager
    async def payer(self) -> AsyncIterator[StrikePayer]:
        where = self.rails.strike
        key = SecretStr(where.api_key_path.read_text())
        client = StrikeClient(open_client(StrikeConnection(url=where.url, api_key=key)), budget=Budget(), timeout_s=0.5)
        yield StrikePayer(client, network="regtest", memory=self.memory, now=self.rails.clock.now)
        await client.aclose()

    async def step(self, *, looking: bool) -> SentPayment | None:
        """Send, or look up; None where the answer is not known."""
        async with self.payer() as payer:
            try:
                return await (payer.lookup_sent(self.reference) if looking else payer.send(self.order))
            except (ProviderUnavailable, ProviderMisconfigured, Death):
                return None

    async def until_it_is_over(self) -> SentPayment:
        """Begin; then look up until that says how it ended, and send again only what is missing or has failed."""
        said = await self.step(looking=False)
        for _ in range(ROUNDS):
            if said is not None and said.status is SentStatus.SUCCEEDED:
                return said
            self.rails.clock.advance(30)
            await self.rails.faults.arm("strike", "release_pending")  # what is on its way arrives
            begins = said is not None and said.status in {SentStatus.MISSING, SentStatus.FAILED}
            said = await self.step(looking=not begins)
        raise AssertionError(f"not over after {ROUNDS} rounds: {said}")

    def received_sat(self) -> int:
        return (self.rails.nodes["bob"].balance_msat - self.before_msat) // 1_000


@pytest.fixture
async def shop(rails: SandboxRails, connect: Connect) -> Shop:
    bob: NodeClient = connect("bob")
    return Shop(rails, await added(bob, PRICE_SAT * 1_000))


@pytest.mark.parametrize("call", ["quote_lightning", "execute_quote"])
@pytest.mark.parametrize(
    "fault", ["lost_answer", "html_403", "unavailable", "processing_conflict", "rate_limited", "hang", "delay"]
)
async def test_whatever_call_is_lost_the_payee_is_paid_once(shop: Shop, arm: Arm, call: str, fault: str) -> None:
    await arm(fault, method=call, seconds=1.0 if fault in {"rate_limited", "delay"} else None)

    sent = await shop.until_it_is_over()

    assert (sent.amount, shop.received_sat()) == (msat(PRICE_SAT * 1_000), PRICE_SAT)


@pytest.mark.parametrize("call", ["find_payment", "list_events"])
@pytest.mark.parametrize("fault", ["html_403", "unavailable"])
async def test_search_that_fails_guesses_nothing(shop: Shop, arm: Arm, call: str, fault: str) -> None:
    await arm("lost_answer", method="execute_quote")
    await arm(fault, method=call, calls=2)

    sent = await shop.until_it_is_over()

    assert (sent.status, shop.received_sat()) == (SentStatus.SUCCEEDED, PRICE_SAT)


@pytest.mark.parametrize("write", range(1, 7))
@pytest.mark.parametrize("fault", [None, "lost_answer", "pending_forever", "execute_failed"])
async def test_wherever_the_process_dies_the_payee_is_paid_once(
    shop: Shop, arm: Arm, fault: str | None, write: int
) -> None:
    shop.memory.dies_behind = write
    if fault is not None:
        await arm(fault, method="execute_quote")

    first = await shop.step(looking=False)
    sent = await shop.until_it_is_over()

    assert first is None or write == 6 or fault == "lost_answer"
    assert (sent.status, shop.received_sat()) == (SentStatus.SUCCEEDED, PRICE_SAT)


async def test_many_processes_that_are_asked_the_same_pay_it_once(shop: Shop) -> None:
    answers = await asyncio.gather(*[shop.step(looking=False) for _ in range(10)])

    sent = await shop.until_it_is_over()

    assert {one.status for one in answers if one is not None} <= {SentStatus.SUCCEEDED, SentStatus.IN_FLIGHT}
    assert (sent.amount, shop.received_sat()) == (msat(PRICE_SAT * 1_000), PRICE_SAT)


async def test_two_equal_payments_whose_answers_were_lost_are_told_apart(
    rails: SandboxRails, connect: Connect, arm: Arm
) -> None:
    bob = connect("bob")
    shops = [Shop(rails, await added(bob, PRICE_SAT * 1_000)) for _ in range(2)]
    await arm("lost_answer", method="execute_quote", calls=2)

    assert [await shop.step(looking=False) for shop in shops] == [None, None]
    sent = [await shop.until_it_is_over() for shop in shops]

    assert [one.reference for one in sent] == [shop.reference for shop in shops]
    assert shops[0].received_sat() == 2 * PRICE_SAT


async def test_payment_that_failed_cost_nothing_and_may_be_tried_again(shop: Shop, arm: Arm) -> None:
    await arm("execute_failed", method="execute_quote")

    first = await shop.step(looking=False)
    found = await shop.step(looking=True)
    received_sat = shop.received_sat()
    again = await shop.step(looking=False)

    assert first is not None
    assert again is not None
    assert first == found
    assert (first.status, first.failure, received_sat) == (SentStatus.FAILED, SendFailure.OTHER, 0)
    assert (again.status, shop.received_sat()) == (SentStatus.SUCCEEDED, PRICE_SAT)


async def test_payment_without_a_preimage_is_over_and_not_paid_again(shop: Shop, arm: Arm) -> None:
    await arm("omit_preimage", calls=10)

    sent = [await shop.step(looking=False), await shop.step(looking=True), await shop.step(looking=False)]

    assert {(one.status, one.preimage, one.unproved) for one in sent if one} == {(SentStatus.SUCCEEDED, None, True)}
    assert shop.received_sat() == PRICE_SAT


async def test_quote_that_ended_before_it_was_executed_is_replaced(shop: Shop, arm: Arm) -> None:
    await arm("unavailable", method="execute_quote")
    assert await shop.step(looking=False) is None
    shop.rails.clock.advance(120)  # longer than a quote lasts

    sent = await shop.until_it_is_over()

    assert (sent.status, shop.received_sat()) == (SentStatus.SUCCEEDED, PRICE_SAT)
