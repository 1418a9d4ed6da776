"""Sales into a Strike account, from the order to the books, whatever is lost on the way (strike.md 1, 2.6)."""

import hmac
import json
from hashlib import sha256

import pytest
from tests.integration.strike_account import PRICE_MSAT, RAIL, SECRET, StrikeAccount

from quittance.domain.errors import InvalidAmount, ProviderUnavailable
from quittance.domain.money import msat
from quittance.domain.payment import OptionState, PaymentStatus
from quittance.domain.policy import LatePolicy

QUOTE_S = 3_600


def told(
    entity: str, *, event_id: str = "11111111-1111-1111-1111-111111111111", kind: str = "invoice.updated"
) -> bytes:
    """Return what Strike would send."""
    event = {
        "id": event_id,
        "eventType": kind,
        "webhookVersion": "v1",
        "data": {"entityId": entity, "changes": ["state"]},
        "created": "2022-11-05T15:14:35.5054944+00:00",
    }
    return json.dumps(event).encode()


def signed(body: bytes, secret: bytes = SECRET) -> str:
    return hmac.digest(secret, body, sha256).hex().upper()


async def assert_booked_once(strike: StrikeAccount, payment_id: str, *, received_msat: int = PRICE_MSAT) -> None:
    till = strike.till
    payment = await till.payment(payment_id)
    assert (payment.status, payment.received) == (PaymentStatus.COMPLETE, msat(received_msat))
    rows = [row for row in await till.rows("settlement") if row["payment_id"] == payment_id]
    assert [row["amount_value"] for row in rows] == [received_msat]
    settled = [event for event in await till.events(payment_id) if event[0] == "payment.settled"]
    assert settled == [("payment.settled", "COMPLETE")]


async def test_a_sale_is_found_by_the_feed(strike: StrikeAccount) -> None:
    made = await strike.order(description="A book", correlation_id="order-1")
    await strike.pay(made.payment.id)
    before = (await strike.till.payment(made.payment.id)).status

    await strike.catch_up()
    await strike.catch_up()

    assert before is PaymentStatus.PENDING_PAYMENT
    await assert_booked_once(strike, made.payment.id)
    invoice = await strike.at_strike(made.payment.id)
    assert (invoice.state, invoice.amount.amount) == ("PAID", "0.00000005")
    option = (await strike.till.options(made.payment.id))[-1]
    assert option.payment_hash != option.reference
    assert option.payment_hash is not None


async def test_webhook_feed_and_reconciler_book_one_sale_once(strike: StrikeAccount) -> None:
    """R7, W4: each of them, twice, in any order; a webhook is a hint and nothing more."""
    made = await strike.order()
    invoice_id = (await strike.at_strike(made.payment.id)).invoice_id
    early = await strike.hear(told(invoice_id), signed(told(invoice_id)))
    unpaid = (await strike.till.payment(made.payment.id)).status
    await strike.pay(made.payment.id)
    again = told(invoice_id, event_id="22222222-2222-2222-2222-222222222222")

    receipts = [await strike.hear(again, signed(again)), await strike.hear(again, signed(again))]
    await strike.catch_up()
    strike.till.clock.advance(strike.till.services.rules.reconcile_interval_s)
    await strike.till.reconcile()

    assert (early, unpaid, receipts) == ("STORED", PaymentStatus.PENDING_PAYMENT, ["STORED", "REPEATED"])
    await assert_booked_once(strike, made.payment.id)


async def test_webhooks_about_what_is_not_ours_change_nothing(strike: StrikeAccount) -> None:
    """W10: the webhooks of an account tell of everything in it."""
    foreign = await strike.client.issue_invoice(amount=msat(9_000), description="theirs", correlation_id="theirs")
    unknown = "33333333-3333-3333-3333-333333333333"
    for number, entity in enumerate((foreign.invoice_id, unknown)):
        body = told(entity, event_id=f"00000000-0000-0000-0000-00000000000{number}")
        await strike.hear(body, signed(body))

    rows = await strike.till.rows("provider_callback")
    assert [(row["state"], row["reason"]) for row in rows] == [("IGNORED", "UNKNOWN_REFERENCE")] * 2
    assert await strike.till.rows("settlement") == await strike.till.rows("transfer") == []


@pytest.mark.parametrize("method", ["issue_invoice", "issue_quote"])
async def test_a_lost_answer_leaves_one_invoice_that_can_be_paid(strike: StrikeAccount, method: str) -> None:
    """U1, W8: the same key finds what Strike made."""
    await strike.till.rails.faults.arm(RAIL, "lost_answer", method=method)
    with pytest.raises(ProviderUnavailable):
        await strike.order(idempotency_key="k")

    again = await strike.order(idempotency_key="k")
    await strike.pay(again.payment.id)
    await strike.catch_up()

    assert again.replayed
    await assert_booked_once(strike, again.payment.id)
    assert len(await strike.client.newest_invoices(count=10)) == 1


async def test_what_was_half_made_is_made_whole_by_the_reconciler(strike: StrikeAccount) -> None:
    """The invoice is there, what pays it is not: nobody would ever pay it."""
    till = strike.till
    await till.rails.faults.arm(RAIL, "lost_answer", method="issue_invoice")
    with pytest.raises(ProviderUnavailable):
        await strike.order(idempotency_key="k")
    till.clock.advance(till.services.rules.claim_s + 1)

    await till.reconcile()

    (option,) = [row["id"] for row in await till.rows("payment_option")]
    (payment_id,) = [row["id"] for row in await till.rows("payment")]
    made = (await till.options(payment_id))[-1]
    assert (made.id, made.state) == (option, OptionState.OPEN)
    await strike.pay(payment_id)
    await strike.catch_up()
    await assert_booked_once(strike, payment_id)


async def test_money_that_comes_after_our_time_and_within_strike_s_goes_back_by_policy(strike: StrikeAccount) -> None:
    """2.3, W11: the BOLT11 outlives what the merchant grants. It is watched for as long, whatever is polled."""
    till = strike.till
    await strike.sold(amount=msat(100 * PRICE_MSAT))
    await till.set_policy(late=LatePolicy.REFUND, late_grace_s=0)
    late = await strike.order(amount=msat(10_000_000), expires_in_s=120, refund_address=till.rails.address_of("bob"))
    bob = till.rails.nodes["bob"].balance_msat
    till.clock.advance(120 + till.services.rules.expiry_grace_s + 1)
    await till.reconcile()
    expired = (await till.payment(late.payment.id)).status
    await strike.pay(late.payment.id)

    await strike.catch_up()
    await till.send()

    (refund,) = await till.rows("transfer")
    assert expired is PaymentStatus.EXPIRED
    assert (refund["reason"], refund["state"], refund["provider"]) == ("LATE", "SUCCEEDED", RAIL)
    assert till.rails.nodes["bob"].balance_msat == bob + refund["amount_value"]
    assert refund["amount_value"] + refund["fee_max_value"] <= 10_000_000
    assert (await till.balances())["RESERVED"] == 0


async def test_w11_money_that_is_pending_past_the_end_of_its_quote_is_watched_until_it_goes_back(
    strike: StrikeAccount,
) -> None:
    """The seed deleted the row five minutes after the end, whatever Strike said. Nothing here depends on the feed."""
    till = strike.till
    await strike.sold(amount=msat(100 * PRICE_MSAT))
    await till.set_policy(late=LatePolicy.REFUND, late_grace_s=0)
    late = await strike.order(amount=msat(10_000_000), expires_in_s=120, refund_address=till.rails.address_of("bob"))
    bob = till.rails.nodes["bob"].balance_msat
    till.clock.advance(QUOTE_S - 100)
    await till.rails.faults.arm(RAIL, "invoice_pending", seconds=QUOTE_S)
    await strike.pay(late.payment.id)
    till.clock.advance(QUOTE_S - 100)
    await till.reconcile()
    watched = [row["state"] for row in await till.rows("payment_option") if row["payment_id"] == late.payment.id]
    at_strike, unbooked = (await strike.at_strike(late.payment.id)).state, await till.rows("settlement")
    till.clock.advance(QUOTE_S)
    await till.reconcile()
    await till.send()

    assert (at_strike, watched, len(unbooked)) == ("PENDING", ["OPEN"], 1)
    (settled,) = [row for row in await till.rows("settlement") if row["payment_id"] == late.payment.id]
    (refund,) = await till.rows("transfer")
    assert (settled["disposition"], settled["amount_value"]) == ("LATE_REFUNDABLE", 10_000_000)
    assert (refund["reason"], refund["state"], refund["provider"]) == ("LATE", "SUCCEEDED", RAIL)
    assert till.rails.nodes["bob"].balance_msat == bob + refund["amount_value"]
    assert (await till.payment(late.payment.id)).status is not PaymentStatus.COMPLETE
    assert (await till.balances())["RESERVED"] == 0


async def test_an_invoice_is_canceled_at_strike_once_nobody_can_have_paid_it(strike: StrikeAccount) -> None:
    """Invoices do not expire there (1.4), so nothing would ever end the watch."""
    till = strike.till
    made = await strike.order(expires_in_s=120)
    till.clock.advance(121)
    await till.reconcile()
    watched = (await strike.at_strike(made.payment.id)).state

    till.clock.advance(QUOTE_S + till.services.rules.expiry_grace_s)
    await till.reconcile()

    assert watched == "UNPAID"
    assert (await strike.at_strike(made.payment.id)).state == "CANCELLED"
    assert (await till.payment(made.payment.id)).status is PaymentStatus.EXPIRED
    assert [row["state"] for row in await till.rows("payment_option")] == ["CLOSED"]
    assert await till.rows("job") == []


async def test_an_invoice_that_is_waited_for_longer_than_its_quote_gets_another(strike: StrikeAccount) -> None:
    """W20: quotes live as long as they say. The old one stays watched, as it may still be paid."""
    till = strike.till
    made = await strike.order(expires_in_s=3 * QUOTE_S)
    first = (await till.options(made.payment.id))[-1]
    till.clock.advance(QUOTE_S - 1)
    await till.reconcile()
    second = (await till.options(made.payment.id))[-1]
    await strike.pay(made.payment.id, request=second.payment_request)
    await strike.catch_up()

    assert first.payable_until is not None
    assert second.payable_until is not None
    assert second.payable_until > first.payable_until
    assert (first.id, first.expires_at) == (second.id, second.expires_at)
    assert first.payment_request != second.payment_request
    await assert_booked_once(strike, made.payment.id)


async def test_a_sale_is_pending_until_strike_has_the_money(strike: StrikeAccount) -> None:
    made = await strike.order()
    await strike.till.rails.faults.arm(RAIL, "invoice_pending")
    await strike.pay(made.payment.id)
    await strike.catch_up()
    pending = (await strike.till.payment(made.payment.id)).status

    await strike.till.rails.faults.arm(RAIL, "release_pending")
    await strike.catch_up()

    assert pending is PaymentStatus.PENDING_PAYMENT
    await assert_booked_once(strike, made.payment.id)


async def test_strike_counts_whole_satoshi(strike: StrikeAccount) -> None:
    with pytest.raises(InvalidAmount):
        await strike.order(amount=msat(1_500))

    assert await strike.till.rows("payment") == []
