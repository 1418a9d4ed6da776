"""The end of a payment, and what comes after: expiry, late money, another try, taking it back."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from quittance.domain.access import ANONYMOUS, Principal, Scope
from quittance.domain.errors import PaymentNotFound, PaymentNotPayable, PermissionDenied, ProviderUnavailable
from quittance.domain.ids import PaymentId
from quittance.domain.payment import PaymentStatus
from quittance.providers.lnd._proto import lnrpc_pb2 as ln
from quittance.resolvers.invoices import retry_payment
from quittance.resolvers.payments import cancel_payment, check_payment
from quittance.resolvers.settlements import Booking
from quittance.sandbox.clock import SandboxClock
from quittance.sandbox.rails import SandboxRails, SandboxRefused

CHECK = """
mutation ($id: ID!, $secret: String) {
  checkPayment(id: $id, clientSecret: $secret) {
    __typename
    ... on CheckPaymentSuccess { payment { id status } }
    ... on PaymentNotFoundError { paymentId code }
  }
}
"""
END = """
mutation ($id: ID!) {
  %s(id: $id) { __typename ... on PaymentNotPayableError { status paymentId code retryable } }
}
"""


def node_states(rails: SandboxRails) -> list[int]:
    return [invoice.state for invoice in rails.nodes["merchant"].invoices.values()]


async def expired(till: Any, clock: SandboxClock) -> str:
    payment_id = (await till.order(expires_in_s=60)).payment.id
    clock.advance(61)
    await till.reconcile()
    return str(payment_id)


async def test_an_unpaid_payment_expires_with_its_time_and_not_before(till: Any, clock: SandboxClock) -> None:
    payment_id = (await till.order(expires_in_s=60)).payment.id

    clock.advance(50)
    await till.reconcile()
    before = (await till.payment(payment_id)).status
    clock.advance(11)
    await till.reconcile()

    assert before is PaymentStatus.PENDING_PAYMENT
    assert (await till.payment(payment_id)).status is PaymentStatus.EXPIRED
    assert await till.events(payment_id) == [
        ("payment.updated", "PENDING_INVOICE"),
        ("payment.updated", "PENDING_PAYMENT"),
        ("payment.updated", "EXPIRED"),
    ]
    assert [row["state"] for row in await till.rows("payment_option")] == ["CLOSED"]
    assert await till.rows("job") == []
    assert await till.balances() == {}


async def test_a_payment_is_shown_as_expired_while_its_node_is_away_and_completes_when_it_says_so(
    till: Any, clock: SandboxClock, rails: SandboxRails
) -> None:
    payment_id = (await till.order(expires_in_s=60)).payment.id
    await till.pay(payment_id)
    clock.advance(60 + till.services.rules.expiry_grace_s + 1)
    await rails.faults.arm("lnd", "unavailable", method="LookupInvoice")
    await till.reconcile()
    meanwhile = (await till.payment(payment_id)).status

    clock.advance(till.services.rules.reconcile_interval_s)
    await till.reconcile()

    assert meanwhile is PaymentStatus.EXPIRED
    assert (await till.payment(payment_id)).status is PaymentStatus.COMPLETE
    assert await till.balances() == {"PROVIDER": 5_000, "MERCHANT": -5_000}


async def test_money_that_comes_after_expiry_completes(till: Any, clock: SandboxClock) -> None:
    payment_id = await expired(till, clock)

    booking = await till.report(await till.money(payment_id))

    assert booking is Booking.BOOKED
    assert (await till.payment(payment_id)).status is PaymentStatus.COMPLETE
    assert (await till.events(payment_id))[-2:] == [("payment.updated", "EXPIRED"), ("payment.settled", "COMPLETE")]
    assert await till.balances() == {"PROVIDER": 5_000, "MERCHANT": -5_000}


@pytest.mark.parametrize("ended", ["EXPIRED", "ERROR"])
async def test_another_try_gives_a_new_invoice_and_keeps_the_old_one_as_history(
    till: Any, clock: SandboxClock, rails: SandboxRails, ended: str
) -> None:
    if ended == "EXPIRED":
        payment_id = await expired(till, clock)
    else:
        await rails.faults.arm("lnd", "unavailable", method="AddInvoice")
        with pytest.raises(ProviderUnavailable):
            await till.order(idempotency_key="k")
        clock.advance(till.services.rules.claim_s + 1)
        await till.reconcile()
        payment_id = (await till.rows("payment"))[0]["id"]
    assert (await till.payment(payment_id)).status == ended

    again = await retry_payment(till.services, till.shop.principal, PaymentId(payment_id))

    old, new = await till.options(payment_id)
    assert again.status is PaymentStatus.PENDING_PAYMENT
    assert old.reference != new.reference
    assert old.state == ("CLOSED" if ended == "EXPIRED" else "FAILED")
    assert new.state == "OPEN"
    assert again.expires_at == new.expires_at
    await till.report(await till.pay(payment_id))
    assert (await till.payment(payment_id)).status is PaymentStatus.COMPLETE
    assert await till.balances() == {"PROVIDER": 5_000, "MERCHANT": -5_000}


async def test_money_on_the_old_invoice_completes_and_the_new_one_is_canceled_at_the_node(
    till: Any, clock: SandboxClock, rails: SandboxRails
) -> None:
    payment_id = await expired(till, clock)
    await retry_payment(till.services, till.shop.principal, PaymentId(payment_id))

    await till.report(await till.money(payment_id, option=0))
    await till.reconcile()

    assert (await till.payment(payment_id)).status is PaymentStatus.COMPLETE
    assert [option.state for option in await till.options(payment_id)] == ["SETTLED", "CLOSED"]
    assert node_states(rails) == [ln.Invoice.CANCELED, ln.Invoice.CANCELED]
    with pytest.raises(SandboxRefused, match="invoice is canceled"):
        await till.pay(payment_id)


async def test_two_retries_together_make_one_new_invoice(till: Any, clock: SandboxClock, rails: SandboxRails) -> None:
    payment_id = await expired(till, clock)

    answers = await asyncio.gather(
        *(retry_payment(till.services, till.shop.principal, PaymentId(payment_id)) for _ in range(5)),
        return_exceptions=True,
    )

    assert len(rails.nodes["merchant"].invoices) == 2
    assert {type(answer) for answer in answers} <= {type(answers[0]), PaymentNotPayable}
    assert (await till.payment(payment_id)).status is PaymentStatus.PENDING_PAYMENT


async def test_cancel_takes_the_invoice_back_at_the_node(till: Any, rails: SandboxRails) -> None:
    payment_id = (await till.order()).payment.id

    canceled = await cancel_payment(till.services, till.shop.principal, payment_id)
    again = await cancel_payment(till.services, till.shop.principal, payment_id)

    assert canceled.status is PaymentStatus.CANCELED
    assert canceled.status_reason == "CANCELED_BY_MERCHANT"
    assert again == canceled
    assert node_states(rails) == [ln.Invoice.CANCELED]
    with pytest.raises(SandboxRefused, match="invoice is canceled"):
        await till.pay(payment_id)
    await till.reconcile()
    assert (await till.events(payment_id))[-1] == ("payment.updated", "CANCELED")
    assert await till.balances() == {}


@pytest.mark.parametrize("first", ["cancel", "pay", "together"])
async def test_a_cancel_that_races_with_money_has_one_legal_end_and_loses_none(
    till: Any, rails: SandboxRails, first: str
) -> None:
    payment_id = (await till.order()).payment.id
    services, principal = till.services, till.shop.principal

    async def pay() -> None:
        with suppress(SandboxRefused):
            await till.report(await till.pay(payment_id))

    async def cancel() -> None:
        with suppress(PaymentNotPayable):
            await cancel_payment(services, principal, payment_id)

    steps = {"cancel": [cancel, pay], "pay": [pay, cancel]}.get(first)
    if steps is None:
        await asyncio.gather(cancel(), pay())
    else:
        for step in steps:
            await step()
    await till.reconcile()

    paid = node_states(rails) == [ln.Invoice.SETTLED]
    status = (await till.payment(payment_id)).status
    assert status is (PaymentStatus.COMPLETE if paid else PaymentStatus.CANCELED)
    assert await till.balances() == ({"PROVIDER": 5_000, "MERCHANT": -5_000} if paid else {})
    assert (first, paid) not in {("cancel", True), ("pay", False)}


async def test_money_that_nobody_has_reported_yet_is_booked_by_the_cancel(till: Any) -> None:
    payment_id = (await till.order()).payment.id
    await till.pay(payment_id)

    with pytest.raises(PaymentNotPayable, match="COMPLETE"):
        await cancel_payment(till.services, till.shop.principal, payment_id)

    assert (await till.payment(payment_id)).status is PaymentStatus.COMPLETE
    assert await till.balances() == {"PROVIDER": 5_000, "MERCHANT": -5_000}


async def test_a_cancel_that_died_before_our_commit_is_completed_by_the_reconciler(
    till: Any, rails: SandboxRails, clock: SandboxClock
) -> None:
    payment_id = (await till.order()).payment.id
    option = (await till.options(payment_id))[0]
    await till.services.rails["lnd"].cancel_invoice(option.reference)

    clock.advance(till.services.rules.reconcile_interval_s + 1)
    await till.reconcile()

    payment = await till.payment(payment_id)
    assert (payment.status, payment.status_reason) == (PaymentStatus.CANCELED, "CANCELED_AT_PROVIDER")


async def test_the_holder_of_the_client_secret_may_have_the_node_asked(till: Any) -> None:
    made = await till.order()
    other = await till.order()
    await till.pay(made.payment.id)
    asked = {"id": made.payment.id, "secret": made.client_secret}

    refused = await till.shop.mutate("checkPayment", CHECK, asked | {"secret": other.client_secret}, as_=ANONYMOUS)
    nobody = await till.shop.mutate("checkPayment", CHECK, asked | {"secret": None}, as_=ANONYMOUS)
    before = (await till.payment(made.payment.id)).status
    checked = await till.shop.mutate("checkPayment", CHECK, asked, as_=ANONYMOUS)

    assert refused == nobody
    assert refused == {
        "__typename": "PaymentNotFoundError",
        "paymentId": made.payment.id,
        "code": "PAYMENT_NOT_FOUND",
    }
    assert before is PaymentStatus.PENDING_PAYMENT
    assert checked["payment"] == {"id": made.payment.id, "status": "COMPLETE"}


async def test_a_check_without_an_answer_keeps_what_is_known(till: Any, rails: SandboxRails) -> None:
    payment_id = (await till.order()).payment.id
    await rails.faults.arm("lnd", "unavailable", method="LookupInvoice")

    with pytest.raises(ProviderUnavailable):
        await check_payment(till.services, till.shop.principal, payment_id, None)

    assert (await till.payment(payment_id)).status is PaymentStatus.PENDING_PAYMENT


@pytest.mark.parametrize("status", ["PENDING_PAYMENT", "COMPLETE", "EXPIRED", "CANCELED"])
async def test_what_cannot_be_retried_or_canceled_says_so_and_stays(
    till: Any, clock: SandboxClock, rails: SandboxRails, status: str
) -> None:
    ended = status == "EXPIRED"
    payment_id = PaymentId(await expired(till, clock)) if ended else (await till.order()).payment.id
    if status == "COMPLETE":
        await till.report(await till.pay(payment_id))
    if status == "CANCELED":
        await cancel_payment(till.services, till.shop.principal, payment_id)
    invoices = len(rails.nodes["merchant"].invoices)
    field = "cancelPayment" if status == "EXPIRED" else "retryPayment"

    answer = await till.shop.mutate(field, END % field, {"id": payment_id})

    assert answer == {
        "__typename": "PaymentNotPayableError",
        "status": status,
        "paymentId": payment_id,
        "code": "PAYMENT_NOT_PAYABLE",
        "retryable": False,
    }
    assert (await till.payment(payment_id)).status == status
    assert len(rails.nodes["merchant"].invoices) == invoices


async def test_a_key_that_may_only_write_can_cancel_and_retry_and_one_that_may_only_read_cannot(
    till: Any, clock: SandboxClock
) -> None:
    principal: Principal = till.shop.principal

    def with_scope(scope: Scope) -> Principal:
        return replace(principal, scopes=frozenset({scope}))

    first, second = (await till.order()).payment.id, PaymentId(await expired(till, clock))
    for use in (cancel_payment, retry_payment):
        with pytest.raises(PermissionDenied):
            await use(till.services, with_scope(Scope.PAYMENTS_READ), first)
        with pytest.raises(PermissionDenied):
            await use(till.services, ANONYMOUS, first)
        with pytest.raises(PaymentNotFound):
            await use(till.services, with_scope(Scope.PAYMENTS_WRITE), PaymentId("pay_\x00"))

    canceled = await cancel_payment(till.services, with_scope(Scope.PAYMENTS_WRITE), first)
    retried = await retry_payment(till.services, with_scope(Scope.PAYMENTS_WRITE), second)

    assert canceled.status is PaymentStatus.CANCELED
    assert retried.status is PaymentStatus.PENDING_PAYMENT
