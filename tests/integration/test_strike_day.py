"""A day of sales at a Strike account that fails at random: ledger, payments and account agree to the unit."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from tests.integration.runners import runner_of
from tests.integration.strike_account import RAIL, StrikeAccount
from tests.integration.strike_door import StrikeDoor

from quittance.domain.errors import ProviderUnavailable
from quittance.domain.job import JobKind
from quittance.domain.money import msat
from quittance.domain.payment import PaymentStatus
from quittance.domain.policy import LatePolicy
from quittance.sandbox.rails import SandboxRefused
from quittance.workers.work import transfer_work

HOURS = 24
SALES_PER_HOUR = 5
STEP_S = 600
EXPIRES_S = 900
FAULTS: Sequence[tuple[str, Sequence[str]]] = (
    ("lost_answer", ("issue_invoice", "issue_quote", "cancel_invoice", "quote_lightning", "execute_quote")),
    ("unavailable", ("issue_invoice", "list_invoices", "find_invoice", "list_events", "execute_quote", "find_payment")),
    ("html_403", ("issue_quote", "find_invoice", "quote_lightning")),
    ("processing_conflict", ("issue_invoice", "execute_quote")),
    ("pending_forever", ("execute_quote",)),
    ("execute_failed", ("execute_quote",)),
    ("omit_preimage", ("execute_quote", "find_payment")),
    ("invoice_pending", ("settlement",)),
    ("duplicate_webhook", ("delivery",)),
    ("drop_webhook", ("delivery",)),
    ("bad_signature", ("delivery",)),
)
SALES_MIN = 80  # of 120: what is not sold met a fault, or its customer went away
FIRED_PART_MIN = 0.7  # some wait for a call that the day does not make often
FINAL = {"SUCCEEDED", "FAILED"}


@dataclass
class Day:
    """What customers do at one shop, drawn from one seed, and what the shop does between."""

    strike: StrikeAccount
    random: Random
    keys: list[str] = field(default_factory=list)
    open: list[tuple[int, str]] = field(default_factory=list)
    armed: Counter[str] = field(default_factory=Counter)

    @property
    def till(self) -> Any:
        return self.strike.till

    async def sell(self, *, at_step: int) -> None:
        """Take an order, and draw when its customer pays it: in time, too late for us, or never."""
        key = f"order-{len(self.keys)}"
        self.keys.append(key)
        address = self.till.rails.address_of(self.random.choice(("bob", "carol")))
        amount = msat(1_000 * self.random.randrange(50_000, 500_000))
        try:
            made = await self.strike.order(
                amount=amount, idempotency_key=key, expires_in_s=EXPIRES_S, refund_address=address
            )
        except ProviderUnavailable:
            return  # the customer goes away; what was made for them is found, or was never made
        steps = self.random.choice((0, 0, 0, 1, 2, 3, 5, None))
        if steps is not None:
            self.open.append((at_step + steps, made.payment.id))

    async def pay_what_is_due(self, *, at_step: int) -> None:
        due = [payment_id for step, payment_id in self.open if step <= at_step]
        self.open = [one for one in self.open if one[0] > at_step]
        for payment_id in due:
            for _ in range(self.random.choice((1, 1, 2))):  # a hurried customer pays twice
                try:
                    await self.strike.pay(payment_id)
                except SandboxRefused:
                    continue

    def fired(self) -> Counter[str]:
        """Count the faults that met their call, by name."""
        described = self.till.rails.faults.describe()
        left = {one["fault"]: len(one["armed"]) for one in described if one["rail"] == RAIL}
        return Counter({name: count - left[name] for name, count in self.armed.items()})

    async def fail(self) -> None:
        fault, methods = self.random.choice(FAULTS)
        await self.till.rails.faults.arm(RAIL, fault, method=self.random.choice(methods))
        self.armed[fault] += 1

    async def work(self) -> None:
        """Do what is due, whatever fails; what Strike does not answer is due again."""
        with suppress(ProviderUnavailable):
            await self.strike.catch_up()
        runner = runner_of(self.till.services, JobKind.PROVIDER_CHECK, JobKind.PROVIDER_CALLBACK, *transfer_work())
        for _ in range(100):
            if await runner.begin_due() == 0:
                return
            await runner.idle()
        raise AssertionError("jobs stay due for ever")

    async def go_by(self, hours: int) -> None:
        for step in range(hours * 3_600 // STEP_S):
            if step % (3_600 // STEP_S) == 0:
                for _ in range(SALES_PER_HOUR):
                    await self.sell(at_step=step)
            if self.random.random() < 0.7:
                await self.fail()
            await self.pay_what_is_due(at_step=step)
            await self.work()
            self.till.clock.advance(STEP_S)

    async def close(self) -> None:
        """Let everything end: what is stuck is let go, and nothing fails any more."""
        self.till.rails.faults.clear(RAIL)
        await self.till.rails.faults.arm(RAIL, "release_pending")
        for _ in range(200):
            self.till.clock.advance(STEP_S)
            await self.work()
            moving = [row for row in await self.till.rows("transfer") if row["state"] not in FINAL]
            if not moving and await self.till.rows("job") == []:
                return
        raise AssertionError(f"the day does not end: {await self.till.rows('job')}, {moving}")


def balance_msat(till: Any) -> int:
    """Return what the sandbox says that the account has."""
    node = next(one for one in till.rails.status()["nodes"] if one["name"] == RAIL)
    return int(node["balanceMsat"])


async def invoices_at_strike(strike: StrikeAccount) -> dict[str, tuple[str, int]]:
    """Return the state and the amount of every invoice, by our name for it."""
    found: dict[str, tuple[str, int]] = {}
    async for page in strike.client.invoice_pages():
        for body in page:
            assert body.correlation_id is not None
            found[body.correlation_id] = (body.state, int(Decimal(body.amount.amount) * 10**11))
    return found


@pytest.mark.parametrize("seed", [1])
async def test_a_day_of_sales_with_random_faults_agrees_to_the_unit(
    strike: StrikeAccount, strike_door: StrikeDoor, seed: int
) -> None:
    """U1, U2, U5, R5, R7, W1 to W4, W11; Strike tells over a socket, and the feed of what it could not."""
    day, till = Day(strike, Random(seed)), strike.till
    await till.set_policy(late=LatePolicy.REFUND, late_grace_s=0)
    await strike_door.subscribe()
    before_msat = balance_msat(till)
    await day.go_by(HOURS)
    fired = day.fired()
    await day.close()

    settled = await assert_strike_and_we_agree(strike)
    refunds = await assert_each_is_sold_or_given_back(till, settled)
    sent = [row for row in refunds if row["state"] == "SUCCEEDED"]
    cost = sum(row["amount_value"] + row["fee_value"] for row in sent)
    balances = await till.balances()
    assert balances[f"PROVIDER/{RAIL}/BTC/11"] == sum(settled.values()) - cost == balance_msat(till) - before_msat
    assert balances["RESERVED"] == 0
    assert len(settled) >= SALES_MIN
    assert {name for name, count in fired.items() if count} == {name for name, _ in FAULTS}
    assert fired.total() >= FIRED_PART_MIN * day.armed.total()
    assert {202, 200, 401} == set(strike_door.statuses)
    heard = await till.rows("provider_callback")
    assert len({row["event_id"] for row in heard}) == len(heard) >= SALES_MIN / 2
    assert {row["state"] for row in heard} == {"PROCESSED"}


async def assert_strike_and_we_agree(strike: StrikeAccount) -> dict[str, int]:
    """Return what was received, in millisatoshi by our name for its invoice: of each as much as Strike has of it."""
    options = {row["reference"] for row in await strike.till.rows("payment_option") if row["provider"] == RAIL}
    settled = {row["reference"]: row["amount_value"] for row in await strike.till.rows("settlement")}
    at_strike = await invoices_at_strike(strike)
    assert {name: amount for name, (state, amount) in at_strike.items() if state == "PAID"} == settled
    assert {state for state, _ in at_strike.values()} == {"PAID", "CANCELLED"}
    assert at_strike.keys() <= options
    return settled


async def assert_each_is_sold_or_given_back(till: Any, settled: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return the refunds: of all that was paid, what was sold was not given back, and the rest was."""
    options = {row["reference"]: row for row in await till.rows("payment_option") if row["provider"] == RAIL}
    paid = {options[name]["payment_id"] for name in settled}
    refunds: list[dict[str, Any]] = await till.rows("transfer")
    refunded = {row["payment_id"] for row in refunds if row["state"] == "SUCCEEDED"}
    complete = {row["id"] for row in await till.rows("payment") if row["status"] == PaymentStatus.COMPLETE}
    assert complete | refunded == paid
    assert complete & refunded == set()
    assert {row["reason"] for row in refunds} == {"LATE"}
    assert refunded
    return refunds
