"""Money that a merchant's policy does not keep goes back by itself, or waits for its payer to say where to."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from tests.integration.conftest import Till
from tests.integration.outgoing_money import claim, found, value
from tests.integration.runners import runner_of
from tests.integration.test_refunds import PRICE_MSAT, address, totals

from quittance.domain.access import ANONYMOUS
from quittance.domain.ids import LEDGER_TRANSACTION
from quittance.domain.job import JobKind
from quittance.domain.ledger import Account, AccountKind, Entry
from quittance.domain.money import BTC_MSAT, msat
from quittance.domain.payment import Payment
from quittance.domain.policy import LatePolicy, OverPolicy, UnderPolicy
from quittance.domain.transfer import FeeRule, most_payable
from quittance.resolvers.settlements import Booking
from quittance.store import ledger


def sent_of(owed_msat: int) -> int:
    """Return what arrives of an amount that is owed: the way is paid out of it."""
    return most_payable(owed_msat, FeeRule())


async def run_policy(till: Till) -> None:
    """Begin what the policy refunds, and send nothing."""
    runner = runner_of(till.services, JobKind.POLICY_REFUND)
    assert await runner.begin_due() == 1
    await runner.idle()


async def refunds_of(till: Till) -> list[tuple[str, str, int]]:
    """Return why, how far and how much of each refund, the oldest first."""
    return [(row["reason"], row["state"], row["amount_value"]) for row in await till.rows("transfer")]


async def in_debt(till: Till, *, msat_owed: int) -> None:
    """Book more spent than the merchant has, as a rail does that charges more than it was allowed."""
    merchant = Account(kind=AccountKind.MERCHANT, owner=till.shop.principal.merchant_id or "", asset=BTC_MSAT)
    rail = Account(kind=AccountKind.PROVIDER, owner="lnd", asset=BTC_MSAT)
    entries = [Entry(account=merchant, value=msat_owed), Entry(account=rail, value=-msat_owed)]
    await till.services.database.write(
        lambda t: ledger.post(t, entries, transaction_id=till.services.new_id(LEDGER_TRANSACTION), at=till.clock.now())
    )


async def assert_nothing_is_lost(till: Till, payment: Payment, *, owed: int) -> None:
    """What was owed went back, was spent on the way, or is owed still, and the books say the same."""
    sent = sum(row["amount_value"] + row["fee_value"] for row in await till.rows("transfer"))
    assert await totals(till, payment) == (sent, owed - sent)
    assert (await till.balances())["REFUNDABLE"] == -(owed - sent)
    assert (await till.balances())["RESERVED"] == 0


async def test_late_money_goes_back(till: Till) -> None:
    await till.sold(amount_msat=10 * PRICE_MSAT)
    await till.set_policy(late=LatePolicy.REFUND, late_grace_s=0)
    late = await till.order(amount=msat(PRICE_MSAT), refund_address=address(till))
    bob = till.rails.nodes["bob"].balance_msat
    till.clock.advance(late.payment.expires_in_s + 60)

    await till.report(await till.money(late.payment.id, amount_msat=PRICE_MSAT))
    await till.send()

    assert await refunds_of(till) == [("LATE", "SUCCEEDED", sent_of(PRICE_MSAT))]
    assert till.rails.nodes["bob"].balance_msat == bob + sent_of(PRICE_MSAT)
    await assert_nothing_is_lost(till, late.payment, owed=PRICE_MSAT)


async def test_an_underpayment_and_a_surplus_go_back(till: Till) -> None:
    await till.sold(amount_msat=PRICE_MSAT)
    await till.set_policy(under=UnderPolicy.REFUND, over=OverPolicy.REFUND)
    short = await till.order(amount=msat(PRICE_MSAT), refund_address=address(till))
    more = await till.order(amount=msat(PRICE_MSAT), refund_address=address(till))

    await till.report(await till.money(short.payment.id, amount_msat=200_000))
    await till.report(await till.money(more.payment.id, amount_msat=PRICE_MSAT + 300_000))
    await till.send()

    assert await refunds_of(till) == [
        ("UNDERPAID", "SUCCEEDED", sent_of(200_000)),
        ("SURPLUS", "SUCCEEDED", sent_of(300_000)),
    ]
    assert (await till.payment(more.payment.id)).status.value == "COMPLETE"
    fees = sum(row["fee_value"] for row in await till.rows("transfer"))
    assert (await till.balances())["REFUNDABLE"] == -(500_000 - sent_of(200_000) - sent_of(300_000) - fees)


async def test_a_report_that_comes_again_refunds_nothing_again(till: Till) -> None:
    await till.sold(amount_msat=PRICE_MSAT)
    await till.set_policy(under=UnderPolicy.REFUND)
    short = await till.order(amount=msat(PRICE_MSAT), refund_address=address(till))
    money = await till.money(short.payment.id, amount_msat=200_000)

    for _ in range(3):
        await till.report(money)
        await till.send()

    assert await refunds_of(till) == [("UNDERPAID", "SUCCEEDED", sent_of(200_000))]


async def test_crumbs_stay_owed_and_cost_the_merchant_nothing(till: Till) -> None:
    """Who pays too little or too much on purpose would else have the merchant pay the way, again and again."""
    await till.sold(amount_msat=PRICE_MSAT)
    await till.set_policy(over=OverPolicy.REFUND)
    more = await till.order(amount=msat(PRICE_MSAT), refund_address=address(till))
    crumbs = FeeRule().msat_min + 999
    held = (await till.balances())["MERCHANT"]

    await till.report(await till.money(more.payment.id, amount_msat=PRICE_MSAT + crumbs))
    await till.send()
    secret = till.services.derive.client_secret(more.payment.id)
    said = {"clientSecret": secret, "destination": till.rails.new_invoice("carol", amount_msat=1)}
    crumb = await claim(till, more.payment.id, as_=ANONYMOUS, **said)

    assert await refunds_of(till) == []
    assert await totals(till, more.payment) == (0, crumbs)
    assert crumb["code"] == "INVALID_AMOUNT"
    assert (await till.balances())["MERCHANT"] == held - PRICE_MSAT


@pytest.mark.parametrize("named_msat", [PRICE_MSAT, 200_000, 1])
async def test_money_is_booked_whatever_invoice_it_is_to_go_back_to(till: Till, named_msat: int) -> None:
    """A booking that failed for where a refund goes would stop the feed, and with it every settlement of the rail."""
    await till.set_policy(under=UnderPolicy.REFUND)
    invoice = till.rails.new_invoice("bob", amount_msat=named_msat)
    short = await till.order(amount=msat(PRICE_MSAT), refund_address=invoice)

    booking = await till.report(await till.money(short.payment.id, amount_msat=200_000))
    await till.send()

    assert booking is Booking.BOOKED
    assert (await till.payment(short.payment.id)).received == msat(200_000)
    assert await refunds_of(till) == []
    assert await totals(till, short.payment) == (0, 200_000)


async def test_refunds_and_sales_together_wait_for_nobody_in_a_circle(till: Till, new_services: Any) -> None:
    await till.sold(amount_msat=PRICE_MSAT)
    await till.set_policy(under=UnderPolicy.REFUND)
    tills = [till, till.on(new_services())]
    made = [await till.order(amount=msat(PRICE_MSAT), refund_address=address(till)) for _ in range(16)]
    reports = [
        await till.money(one.payment.id, amount_msat=PRICE_MSAT if n % 2 else 200_000) for n, one in enumerate(made)
    ]
    ran: list[str] = []
    for one in tills:
        one.services.database.counter = ran.append

    bookings = await asyncio.gather(*(tills[n % 2].report(report) for n, report in enumerate(reports)))
    await asyncio.gather(*(one.send() for one in tills))

    assert bookings == [Booking.BOOKED] * 16
    settled = [sql for sql in ran if sql.startswith("INSERT INTO settlement")]
    assert len(settled) == 16  # a unit that met a deadlock is run again, and says it once more
    assert len(await refunds_of(till)) == 8


async def test_a_merchant_in_debt_still_has_its_money_booked(till: Till) -> None:
    await till.set_policy(under=UnderPolicy.REFUND)
    short = await till.order(amount=msat(PRICE_MSAT), refund_address=address(till))
    await in_debt(till, msat_owed=5_000)

    await till.report(await till.money(short.payment.id, amount_msat=200_000))
    await run_policy(till)

    assert (await till.payment(short.payment.id)).received == msat(200_000)
    assert await refunds_of(till) == [("UNDERPAID", "PENDING", sent_of(200_000))]


@pytest.mark.parametrize("refund_address", [None, "my wallet", "lnbcrt1nonsense"])
async def test_money_that_cannot_be_sent_stays_owed_until_its_payer_claims_it(
    till: Till, refund_address: str | None
) -> None:
    await till.sold(amount_msat=PRICE_MSAT)
    await till.set_policy(under=UnderPolicy.REFUND)
    fields: dict[str, Any] = {} if refund_address is None else {"refund_address": refund_address}
    till.services.rules = replace(till.services.rules, refund_address_check=False)  # as before there was a check
    short = await till.order(amount=msat(PRICE_MSAT), **fields)

    await till.report(await till.money(short.payment.id, amount_msat=200_000))
    await till.send()

    assert await refunds_of(till) == []
    assert await totals(till, short.payment) == (0, 200_000)
    secret = till.services.derive.client_secret(short.payment.id)
    said = {"clientSecret": secret, "destination": address(till, "carol")}
    stranger = await claim(till, short.payment.id, as_=ANONYMOUS, destination=address(till))
    merchant = await claim(till, short.payment.id, as_=till.shop.principal, destination=address(till))
    begun = await claim(till, short.payment.id, as_=ANONYMOUS, **said)
    again = await claim(till, short.payment.id, as_=ANONYMOUS, **said)
    await till.send()
    nothing = await claim(till, short.payment.id, as_=ANONYMOUS, key="c2", **said)

    assert (stranger["code"], merchant["code"]) == ("PAYMENT_NOT_FOUND", "PAYMENT_NOT_FOUND")
    assert (begun["reason"], value(begun["amount"]), again["id"]) == ("CLAIMED", sent_of(200_000), begun["id"])
    assert (await found(till, begun["id"]))["status"] == "SUCCEEDED"
    assert nothing["code"] == "INVALID_AMOUNT"  # what its way did not cost is owed still, and not worth another way


async def test_a_payer_claims_what_is_owed_and_not_what_was_bought(till: Till) -> None:
    sold = await till.sold(amount_msat=PRICE_MSAT)
    secret = till.services.derive.client_secret(sold.id)

    answer = await claim(till, sold.id, as_=ANONYMOUS, clientSecret=secret, destination=address(till))

    assert answer["code"] == "NOTHING_TO_REFUND"
