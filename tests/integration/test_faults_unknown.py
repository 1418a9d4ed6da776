"""Outcomes nobody knows: lost answers are looked up, and silent settlements found."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr
from tests.integration.runners import runner_of

from quittance.domain.errors import ProviderMisconfigured, ProviderUnavailable
from quittance.domain.job import JobKind
from quittance.domain.payment import OptionState, PaymentStatus
from quittance.providers.base import Invoice
from quittance.providers.lnd.channel import LndConnection, open_channel
from quittance.providers.lnd.provider import LndProvider
from quittance.resolvers.invoice_outcomes import record_invoice
from quittance.resolvers.payments import cancel_payment
from quittance.sandbox.clock import SandboxClock
from quittance.sandbox.rails import SandboxRails
from quittance.store import options
from quittance.workers.settlements import follow_feed

GENERATE = """
mutation ($input: GenerateInvoiceInput!) {
  generateInvoice(input: $input) {
    __typename
    ... on GenerateInvoiceSuccess { replayed payment { id status paymentRequest } }
    ... on ProviderUnavailableError { provider code retryable }
    ... on UserError { code }
  }
}
"""
CALL = {"input": {"amount": {"msat": "5000"}, "idempotencyKey": "k"}}


@pytest.fixture
async def hasty(rails: SandboxRails) -> AsyncIterator[LndProvider]:
    """The node, asked by somebody who does not wait long."""
    where = rails.lnd
    connection = LndConnection(
        address=where.address,
        tls_cert=where.tls_cert_path.read_bytes(),
        macaroon=SecretStr(where.macaroon_path.read_bytes().hex()),
    )
    provider = LndProvider(open_channel(connection), network="regtest", timeout_s=0.4)
    yield provider
    await provider.aclose()


async def until(true: Callable[[], Awaitable[bool]], *, within_s: float = 10.0) -> None:
    async with asyncio.timeout(within_s):
        while not await true():  # noqa: ASYNC110 - what is awaited lies in a database
            await asyncio.sleep(0.02)


@asynccontextmanager
async def feed(till: Any, lnd: LndProvider) -> AsyncIterator[None]:
    """The real worker that books what the node's stream says."""
    task = asyncio.create_task(follow_feed(till.services, provider="lnd", feed=lnd, holder="test"))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.mark.parametrize("fault", ["lost_answer", "unavailable", "delay"])
async def test_u1_a_lost_answer_is_a_typed_error_and_the_same_key_gives_the_one_invoice(
    till: Any, rails: SandboxRails, hasty: LndProvider, fault: str
) -> None:
    shop = till.shop.with_services(replace(till.services, rails={"lnd": hasty}))
    await rails.faults.arm("lnd", fault, method="AddInvoice", seconds=1.0 if fault == "delay" else None)

    lost = await shop.mutate("generateInvoice", GENERATE, CALL)
    states = [row["state"] for row in await till.rows("payment_option")]
    again = await shop.mutate("generateInvoice", GENERATE, CALL)

    assert lost == {
        "__typename": "ProviderUnavailableError",
        "provider": "lnd",
        "code": "PROVIDER_UNAVAILABLE",
        "retryable": True,
    }
    assert states == [OptionState.UNKNOWN]
    assert (again["__typename"], again["replayed"]) == ("GenerateInvoiceSuccess", True)
    assert again["payment"]["status"] == "PENDING_PAYMENT"
    made = rails.nodes["merchant"].invoices
    assert [invoice.payment_request for invoice in made.values()] == [again["payment"]["paymentRequest"]]


async def test_u1_a_lost_answer_is_looked_up_without_another_call(till: Any, rails: SandboxRails) -> None:
    await rails.faults.arm("lnd", "lost_answer", method="AddInvoice")
    with pytest.raises(ProviderUnavailable):
        await till.order(idempotency_key="k")
    lanes = [row["lane"] for row in await till.rows("job")]

    await till.reconcile()

    assert lanes == ["provider/lnd/unknown"]  # not behind what is merely still open
    assert [(row["status"]) for row in await till.rows("payment")] == ["PENDING_PAYMENT"]
    assert [row["state"] for row in await till.rows("payment_option")] == ["OPEN"]
    assert len(rails.nodes["merchant"].invoices) == 1
    answer = await till.order(idempotency_key="k")
    await till.report(await till.pay(answer.payment.id))
    assert await till.balances() == {"PROVIDER": 5_000, "MERCHANT": -5_000}


async def test_u1_an_answer_for_an_attempt_that_others_decided_changes_nothing(till: Any, rails: SandboxRails) -> None:
    await rails.faults.arm("lnd", "lost_answer", method="AddInvoice")
    with pytest.raises(ProviderUnavailable):
        await till.order(idempotency_key="k")
    payment_id = (await till.rows("payment"))[0]["id"]
    option = (await till.options(payment_id))[0]
    invoice = await till.services.rails["lnd"].lookup_invoice(option.reference)
    await till.services.database.write(lambda t: options.decide_option(t, option, OptionState.FAILED, check_at=None))

    recorded = await record_invoice(till.services, option, invoice)

    assert recorded is None
    assert [row["status"] for row in await till.rows("payment")] == ["PENDING_INVOICE"]
    assert [row["state"] for row in await till.rows("payment_option")] == ["FAILED"]
    assert await till.events(payment_id) == [("payment.updated", "PENDING_INVOICE")]


async def test_u1_what_the_node_never_made_fails_once_it_can_no_longer_come(
    till: Any, rails: SandboxRails, clock: SandboxClock
) -> None:
    await rails.faults.arm("lnd", "unavailable", method="AddInvoice")
    with pytest.raises(ProviderUnavailable):
        await till.order(idempotency_key="k")

    await till.reconcile()
    early = [row["state"] for row in await till.rows("payment_option")]
    clock.advance(till.services.rules.claim_s + 1)
    await till.reconcile()
    late = [(row["status"], row["status_reason"]) for row in await till.rows("payment")]
    again = await till.order(idempotency_key="k")

    assert early == ["UNKNOWN"]
    assert late == [("ERROR", "PROVIDER_UNAVAILABLE")]
    assert (again.replayed, again.payment.status) == (True, PaymentStatus.PENDING_PAYMENT)
    assert sorted(row["state"] for row in await till.rows("payment_option")) == ["FAILED", "OPEN"]
    assert len(rails.nodes["merchant"].invoices) == 1


async def test_u1_a_lookup_that_fails_leaves_the_caller_free_to_retry_at_once(till: Any, rails: SandboxRails) -> None:
    await rails.faults.arm("lnd", "lost_answer", method="AddInvoice")
    with pytest.raises(ProviderUnavailable):
        await till.order(idempotency_key="k")
    await rails.faults.arm("lnd", "unavailable", method="LookupInvoice")
    await till.reconcile()
    assert [row["state"] for row in await till.rows("payment_option")] == ["UNKNOWN"]
    assert [row["lane"] for row in await till.rows("job")] == ["provider/lnd/unknown"]

    async with asyncio.timeout(till.services.rules.claim_s / 2):
        again = await till.order(idempotency_key="k")

    assert again.payment.status is PaymentStatus.PENDING_PAYMENT
    assert len(rails.nodes["merchant"].invoices) == 1


async def test_u1_a_lost_answer_to_a_cancel_is_found(till: Any, rails: SandboxRails) -> None:
    payment_id = (await till.order()).payment.id
    await rails.faults.arm("lnd", "lost_answer", method="CancelInvoice")

    with pytest.raises(ProviderUnavailable):
        await cancel_payment(till.services, till.shop.principal, payment_id)
    unknown = (await till.payment(payment_id)).status
    canceled = await cancel_payment(till.services, till.shop.principal, payment_id)

    assert (unknown, canceled.status) == (PaymentStatus.PENDING_PAYMENT, PaymentStatus.CANCELED)
    assert await till.balances() == {}


async def test_a_provider_that_refuses_us_neither_spins_the_reconciler_nor_starves_it(
    till: Any, lnd: LndProvider, clock: SandboxClock
) -> None:
    class Refuses:
        def __getattr__(self, name: str) -> Any:
            return getattr(lnd, name)

        async def lookup_invoice(self, reference: str) -> Invoice:
            raise ProviderMisconfigured("lnd", "wrong macaroon") if reference != good else KeyError("a bug")

    made = [(await till.order()).payment.id for _ in range(3)]
    good = (await till.options(made[0]))[0].reference
    clock.advance(till.services.rules.reconcile_interval_s + 1)
    refused = replace(till.services, rails={"lnd": Refuses()})

    runner = runner_of(refused, JobKind.PROVIDER_CHECK)
    first = await runner.begin_due()
    await runner.idle()
    second = await runner.begin_due()

    assert (first, second) == (3, 0)
    assert {row["state"] for row in await till.rows("payment_option")} == {"OPEN"}


async def test_u3_a_hundred_settle_while_the_stream_is_down_restarts_and_forgets(
    till: Any, rails: SandboxRails, lnd: LndProvider, clock: SandboxClock
) -> None:
    ids = [(await till.order()).payment.id for _ in range(100)]

    async def booked(count: int) -> bool:
        return len(await till.rows("settlement")) >= count

    async with feed(till, lnd):
        for payment_id in ids[:10]:
            await till.pay(payment_id)
        await until(lambda: booked(10))

        down = asyncio.create_task(rails.faults.arm("lnd", "restart", seconds=0.3))
        await asyncio.sleep(0.05)
        for payment_id in ids[10:50]:
            await till.pay(payment_id)
        await down
        await until(lambda: booked(50))

        down = asyncio.create_task(rails.faults.arm("lnd", "index_reset", seconds=0.3))
        await asyncio.sleep(0.05)
        for payment_id in ids[50:70]:
            await till.pay(payment_id)
        await down
        await until(lambda: booked(70))

        await rails.faults.arm("lnd", "silent_stream", calls=20)
        for payment_id in ids[70:90]:
            await till.pay(payment_id)
        await rails.faults.arm("lnd", "duplicate_settlement", calls=10)
        for payment_id in ids[90:]:
            await till.pay(payment_id)
        await rails.faults.arm("lnd", "dropped_stream")
        await until(lambda: booked(80))
        clock.advance(till.services.rules.reconcile_interval_s + 1)
        await till.reconcile()

    settlements = await till.rows("settlement")
    assert sorted(row["payment_id"] for row in settlements) == sorted(ids)
    assert {row["status"] for row in await till.rows("payment")} == {"COMPLETE"}
    told = [row["payment_id"] for row in await till.rows("event") if row["kind"] == "payment.settled"]
    assert sorted(told) == sorted(ids)
    assert await till.balances() == {"PROVIDER": 500_000, "MERCHANT": -500_000}
    assert len(await till.rows("ledger_entry")) == 200


async def test_u3_money_that_came_while_nobody_listened_is_booked_at_the_first_start(
    till: Any, rails: SandboxRails, lnd: LndProvider
) -> None:
    payment_id = (await till.order()).payment.id
    await till.pay(payment_id)

    async def complete() -> bool:
        return bool((await till.payment(payment_id)).status is PaymentStatus.COMPLETE)

    async def remembered() -> bool:
        return [row["feed_index"] for row in await till.rows("feed_position")] == [1]

    async with feed(till, lnd):
        await until(complete)
        await until(remembered)

    assert await till.balances() == {"PROVIDER": 5_000, "MERCHANT": -5_000}


async def test_u3_a_database_that_fails_once_does_not_end_the_feed(
    till: Any, rails: SandboxRails, lnd: LndProvider
) -> None:
    class Flaky:
        failures = 2

        def __getattr__(self, name: str) -> Any:
            return getattr(till.services.database, name)

        async def write(self, unit: Any) -> Any:
            if Flaky.failures:
                Flaky.failures -= 1
                raise ConnectionResetError("the database went away")
            return await till.services.database.write(unit)

    payment_id = (await till.order()).payment.id
    await till.pay(payment_id)
    flaky = till.on(replace(till.services, database=Flaky()))

    async def complete() -> bool:
        return bool((await till.payment(payment_id)).status is PaymentStatus.COMPLETE)

    async with feed(flaky, lnd):
        await until(complete)

    assert await till.balances() == {"PROVIDER": 5_000, "MERCHANT": -5_000}
