"""Calls that race, or come again after a crash: one key makes one payment and one invoice."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.integration.racing import Wrapped, node_invoices

from quittance.domain.errors import IdempotencyConflict
from quittance.domain.money import msat
from quittance.domain.payment import PaymentStatus
from quittance.providers.base import Invoice, InvoiceRequest
from quittance.providers.lnd.provider import LndProvider
from quittance.resolvers.services import Services
from quittance.resolvers.settlements import Booking
from quittance.sandbox.clock import SandboxClock
from quittance.sandbox.rails import SandboxRails
from quittance.store.database import Database
from quittance.store.transaction import Transaction


class DiesAfterTheNodeActed(Wrapped):
    async def create_invoice(self, request: InvoiceRequest) -> Invoice:
        await self._inside.create_invoice(request)
        raise asyncio.CancelledError


class SlowToAnswer:
    """A database whose first write commits at once, and is answered later."""

    def __init__(self, inside: Database, *, delay_s: float) -> None:
        self._inside = inside
        self._delay_s = delay_s

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inside, name)

    async def write(self, unit: Callable[[Transaction], Any]) -> Any:
        delay_s, self._delay_s = self._delay_s, 0.0
        result = await self._inside.write(unit)
        await asyncio.sleep(delay_s)
        return result


async def test_r1_twenty_equal_calls_to_two_processes_make_one_invoice(
    till: Any, new_services: Callable[[], Services], rails: SandboxRails
) -> None:
    tills = [till, till.on(new_services())]

    answers = await asyncio.gather(*(tills[n % 2].order(idempotency_key="k") for n in range(20)))

    assert len({answer.payment.id for answer in answers}) == 1
    assert len({answer.client_secret for answer in answers}) == 1
    assert {answer.payment.status for answer in answers} == {PaymentStatus.PENDING_PAYMENT}
    assert sorted(answer.replayed for answer in answers) == [False] + [True] * 19
    assert node_invoices(rails) == 1
    assert len(await till.rows("payment")) == len(await till.rows("payment_option")) == 1


async def test_r1_who_comes_while_the_first_caller_is_being_answered_does_not_hold_it_up(
    till: Any, rails: SandboxRails
) -> None:
    slow = till.on(replace(till.services, database=SlowToAnswer(till.services.database, delay_s=0.2)))
    began = time.monotonic()

    first = asyncio.create_task(slow.order(idempotency_key="k"))
    await asyncio.sleep(0.1)
    answers = await asyncio.gather(first, slow.order(idempotency_key="k"))

    assert time.monotonic() - began < till.services.rules.claim_s / 2
    assert [answer.replayed for answer in answers] == [False, True]
    assert node_invoices(rails) == 1


async def test_r2_the_same_key_with_other_input_is_a_conflict_and_makes_nothing(till: Any, rails: SandboxRails) -> None:
    await till.order(idempotency_key="k")

    with pytest.raises(IdempotencyConflict):
        await till.order(idempotency_key="k", amount=msat(6_000))
    with pytest.raises(IdempotencyConflict):
        await till.order(idempotency_key="k", description="another")

    assert node_invoices(rails) == 1
    assert len(await till.rows("payment")) == 1


async def test_r2_together_one_of_two_inputs_wins_and_the_other_is_refused(till: Any, rails: SandboxRails) -> None:
    answers = await asyncio.gather(
        *(till.order(idempotency_key="k", amount=msat(1_000 + n % 2)) for n in range(10)), return_exceptions=True
    )

    made = [answer for answer in answers if not isinstance(answer, BaseException)]
    assert len(made) == 5
    assert len({answer.payment.id for answer in made}) == 1
    assert [type(answer) for answer in answers if isinstance(answer, BaseException)] == [IdempotencyConflict] * 5
    assert node_invoices(rails) == 1


async def test_r2_the_same_key_of_another_merchant_is_independent(
    till: Any, other_shop: Any, rails: SandboxRails
) -> None:
    mine = await till.order(idempotency_key="k")
    theirs = await till.of(other_shop).order(idempotency_key="k", amount=msat(7_000))

    assert mine.payment.id != theirs.payment.id
    assert (mine.replayed, theirs.replayed) == (False, False)
    assert node_invoices(rails) == 2


async def test_r3_a_process_that_died_after_the_node_acted_leaves_an_invoice_that_is_found(
    till: Any, new_services: Callable[[], Services], rails: SandboxRails, lnd: LndProvider, clock: SandboxClock
) -> None:
    dying = till.on(replace(till.services, rails={"lnd": DiesAfterTheNodeActed(lnd)}, making={}))
    with pytest.raises(asyncio.CancelledError):
        await dying.order(idempotency_key="k")
    assert node_invoices(rails) == 1

    clock.advance(till.services.rules.claim_s + 1)
    restarted = till.on(new_services())
    again = await restarted.order(idempotency_key="k")

    assert (again.replayed, again.payment.status) == (True, PaymentStatus.PENDING_PAYMENT)
    assert node_invoices(rails) == 1
    assert await restarted.report(await restarted.pay(again.payment.id)) is Booking.BOOKED


async def test_r3_without_another_call_the_reconciler_finds_the_invoice(
    till: Any, new_services: Callable[[], Services], rails: SandboxRails, lnd: LndProvider, clock: SandboxClock
) -> None:
    dying = till.on(replace(till.services, rails={"lnd": DiesAfterTheNodeActed(lnd)}, making={}))
    with pytest.raises(asyncio.CancelledError):
        await dying.order(idempotency_key="k")

    clock.advance(till.services.rules.reconcile_interval_s + 1)
    restarted = till.on(new_services())
    await restarted.reconcile()

    payments = await restarted.rows("payment")
    assert [row["status"] for row in payments] == ["PENDING_PAYMENT"]
    assert (await restarted.order(idempotency_key="k")).payment.id == payments[0]["id"]
    assert node_invoices(rails) == 1
