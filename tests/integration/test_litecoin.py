"""Litecoin beside Bitcoin: asked for, paid, booked and compared in its own asset, never mixed."""

import asyncio
from contextlib import aclosing
from typing import Any

import pytest
from sqlalchemy import update
from tests.integration.books import counted, named, reconciled, sabotage, table
from tests.integration.holding import Holder
from tests.integration.litecoin import RAIL, Counter, accounts, litoshi

from quittance.domain.money import LTC_MSAT, Money
from quittance.domain.payment import PaymentStatus
from quittance.domain.policy import LatePolicy, OverPolicy, UnderPolicy
from quittance.providers.base import FeedPosition, Settlement
from quittance.providers.lnd.provider import LndProvider
from quittance.resolvers.invoices import retry_payment
from quittance.resolvers.settlements import Booking
from quittance.sandbox.clock import SandboxClock

BALANCES = "{ viewer { balances { value assetCode assetScale formatted } } }"
BOOKS = """
{
  ledgerAccounts { id kind balance { value assetCode assetScale } }
  settlements(first: 10) { edges { node { provider amount { value assetCode assetScale } } } }
}
"""


async def balances(till: Any) -> list[tuple[str, str, str]]:
    found = (await till.shop.run(BALANCES))["viewer"]["balances"]
    return [(one["assetCode"], one["value"], one["formatted"]) for one in found]


async def test_an_invoice_in_litecoin_is_paid_and_booked_in_litecoin(counter: Counter) -> None:
    asked = await counter.payment(amount=litoshi(1_234), description="a book")
    await counter.pay(asked["id"])

    paid = await counter.check(asked["id"])

    assert asked["amount"] == {
        "value": "1234000", "assetCode": "LTC", "assetScale": 11, "decimal": "0.00001234000",
        "formatted": "0.00001234 LTC",
    }  # fmt: skip
    assert asked["paymentRequest"].startswith("lnrltc12340n1")
    assert asked["qrCode"].startswith("data:image/svg+xml")
    assert asked["options"] == [{"provider": "lnd-ltc", "amount": {"value": "1234000", "assetCode": "LTC"}}]
    assert paid == {
        "status": "COMPLETE",
        "received": {"value": "1234000", "assetCode": "LTC", "assetScale": 11, "formatted": "0.00001234 LTC"},
    }
    assert await accounts(counter.till) == {"PROVIDER LTC": 1_234_000, "MERCHANT LTC": -1_234_000}


async def test_both_assets_have_accounts_of_their_own(both: Any, counter: Counter) -> None:
    bitcoin = (await both.order()).payment.id
    await both.report(await both.pay(bitcoin))
    litecoin = (await counter.payment())["id"]
    await counter.report(await counter.pay(litecoin))

    books = await both.shop.run(BOOKS)

    owner = both.shop.principal.merchant_id
    assert sorted(await balances(both)) == [("BTC", "5000", "5 sat"), ("LTC", "1000000", "0.00001 LTC")]
    assert [(one["id"], one["balance"]["value"]) for one in books["ledgerAccounts"]] == [
        (f"MERCHANT/{owner}/BTC/11", "5000"),
        (f"MERCHANT/{owner}/LTC/11", "1000000"),
    ]
    assert [edge["node"] for edge in books["settlements"]["edges"]] == [
        {"provider": "lnd-ltc", "amount": {"value": "1000000", "assetCode": "LTC", "assetScale": 11}},
        {"provider": "lnd", "amount": {"value": "5000", "assetCode": "BTC", "assetScale": 11}},
    ]
    assert await accounts(both) == {
        "PROVIDER BTC": 5_000, "MERCHANT BTC": -5_000, "PROVIDER LTC": 1_000_000, "MERCHANT LTC": -1_000_000,
    }  # fmt: skip


async def test_both_rails_are_verified_and_compared(both: Any, counter: Counter) -> None:
    bitcoin = (await both.order()).payment.id
    await both.report(await both.pay(bitcoin))
    await counter.report(await counter.pay((await counter.payment())["id"]))
    unreported = (await counter.payment(amount=litoshi(7)))["id"]
    await counter.pay(unreported)

    before = await reconciled(both)
    await counter.check(unreported)
    after = await reconciled(both)

    assert {
        rail["provider"]: (rail["complete"], rail["invoices"], rail["settlements"]) for rail in before["rails"]
    } == {
        "lnd": (True, 1, 1),
        "lnd-ltc": (True, 2, 1),
    }
    assert named(before) == [("SETTLED_AT_PROVIDER_NOT_BOOKED", unreported, "7000", "0")]
    assert "lnd-ltc received 0.00000007 LTC that is not booked" in before["findings"][0]["message"]
    assert after["findings"] == []
    assert (after["transactionsCompared"], after["accountsCompared"], after["settlementsCompared"]) == (3, 4, 3)


async def test_a_balance_that_drifted_is_named_in_its_asset(both: Any, counter: Counter) -> None:
    await both.report(await both.pay((await both.order()).payment.id))
    await counter.report(await counter.pay((await counter.payment())["id"]))
    account, owner = table("ledger_account"), both.shop.principal.merchant_id
    drifted = f"MERCHANT/{owner}/LTC/11"

    await sabotage(both, update(account).where(account.c.id == drifted).values(balance_value=-999_999))
    found = await reconciled(both)

    assert counted(found) == {"BALANCE_DRIFT": 1}
    assert found["findings"][0]["message"] == (
        f"account {drifted} says -0.00000999999 LTC, its entries sum to -0.00001 LTC"
    )


async def test_an_amount_that_the_litecoin_node_tells_otherwise_is_named(both: Any, counter: Counter) -> None:
    payment_id = (await counter.payment())["id"]
    await counter.pay(payment_id)
    await counter.report(await counter.money(payment_id, value=1_000_001))

    assert named(await reconciled(both)) == [("AMOUNT_DIFFERS", payment_id, "1000000", "1000001")]


@pytest.mark.parametrize("over", list(OverPolicy))
async def test_more_than_asked_is_booked_as_received(both: Any, counter: Counter, over: OverPolicy) -> None:
    await both.set_policy(over=over)
    payment_id = (await counter.payment())["id"]

    await counter.report(await counter.pay(payment_id, amount_msat=1_500_000))

    payment = await both.payment(payment_id)
    assert (payment.status, payment.received) == (PaymentStatus.COMPLETE, Money(1_500_000, LTC_MSAT))
    assert await accounts(both) == (
        {"PROVIDER LTC": 1_500_000, "MERCHANT LTC": -1_000_000, "REFUNDABLE LTC": -500_000}
        if over is OverPolicy.REFUND
        else {"PROVIDER LTC": 1_500_000, "MERCHANT LTC": -1_500_000}
    )


@pytest.mark.parametrize("under", list(UnderPolicy))
async def test_less_than_asked_does_not_complete(both: Any, counter: Counter, under: UnderPolicy) -> None:
    await both.set_policy(under=under)
    payment_id = (await counter.payment())["id"]

    await counter.report(await counter.money(payment_id, value=999_999))

    kept = "MERCHANT LTC" if under is UnderPolicy.WAIT else "REFUNDABLE LTC"
    assert (await both.payment(payment_id)).status is PaymentStatus.PENDING_PAYMENT
    assert await accounts(both) == {"PROVIDER LTC": 999_999, kept: -999_999}


@pytest.mark.parametrize("late", list(LatePolicy))
async def test_late_money_follows_the_policy(
    both: Any, counter: Counter, clock: SandboxClock, late: LatePolicy
) -> None:
    await both.set_policy(late=late, late_grace_s=0)
    payment_id = (await counter.payment(expiresIn=60))["id"]
    clock.advance(200)
    await both.reconcile()
    expired = (await both.payment(payment_id)).status

    booking = await counter.report(await counter.money(payment_id, value=1_000_000))

    to = "MERCHANT LTC" if late is LatePolicy.ACCEPT else "REFUNDABLE LTC"
    ends = PaymentStatus.COMPLETE if late is LatePolicy.ACCEPT else PaymentStatus.EXPIRED
    assert (expired, booking) == (PaymentStatus.EXPIRED, Booking.BOOKED)
    assert (await both.payment(payment_id)).status is ends
    assert await accounts(both) == {"PROVIDER LTC": 1_000_000, to: -1_000_000}


async def test_a_retried_payment_asks_for_what_is_missing_in_litecoin(
    both: Any, counter: Counter, clock: SandboxClock
) -> None:
    payment_id = (await counter.payment(expiresIn=60))["id"]
    await counter.report(await counter.money(payment_id, value=400_000))
    clock.advance(200)
    await both.reconcile()

    await retry_payment(both.services, both.shop.principal, payment_id)
    settlement = await counter.pay(payment_id)
    await counter.report(settlement)

    assert settlement.received == Money(600_000, LTC_MSAT)
    assert (await both.payment(payment_id)).status is PaymentStatus.COMPLETE
    assert await accounts(both) == {"PROVIDER LTC": 1_000_000, "MERCHANT LTC": -1_000_000}


async def test_what_the_litecoin_feed_says_is_booked_once(both: Any, counter: Counter, lnd_ltc: LndProvider) -> None:
    payment_id = (await counter.payment())["id"]
    feed = lnd_ltc.settlements(resume=None)
    async with asyncio.timeout(10), aclosing(feed):
        assert isinstance(await anext(feed), FeedPosition)
        await counter.pay(payment_id)
        told = await anext(feed)
    assert isinstance(told, Settlement)

    bookings = [await counter.report(told), await counter.report(told)]

    assert bookings == [Booking.BOOKED, Booking.DUPLICATE]
    assert await accounts(both) == {"PROVIDER LTC": 1_000_000, "MERCHANT LTC": -1_000_000}
    assert [(row["provider"], row["feed_index"]) for row in await both.rows("feed_position")] == [("lnd-ltc", 1)]


async def test_a_settlement_on_one_rail_is_unknown_on_the_other(both: Any, counter: Counter) -> None:
    payment_id = (await counter.payment())["id"]

    booking = await both.report(await counter.money(payment_id, value=1_000_000), provider="lnd")

    assert booking is Booking.FOREIGN
    assert await both.rows("settlement") == []


async def test_a_lost_answer_of_the_litecoin_node_is_looked_up_there(both: Any, counter: Counter) -> None:
    await both.rails.faults.arm("lnd-ltc", "lost_answer", method="AddInvoice")
    bitcoin = await both.order()
    lost = await counter.ask(idempotencyKey="k")
    await both.reconcile()
    again = await counter.ask(idempotencyKey="k")

    assert bitcoin.payment.status is PaymentStatus.PENDING_PAYMENT
    assert lost["__typename"] == "ProviderUnavailableError"
    assert again["payment"]["status"] == "PENDING_PAYMENT"
    assert len(both.rails.nodes["merchant-ltc"].invoices) == 1


async def test_held_litecoin_is_taken_or_given_back(both: Any) -> None:
    holder, asked = Holder(both), {"provider": RAIL, "amount": litoshi(1_000)}
    taken, given_back = await holder.held(**asked), await holder.held(**asked)
    meanwhile = await accounts(both)

    captured, released = await holder.capture(taken), await holder.release(given_back)

    assert meanwhile == {}
    assert (captured["payment"]["status"], captured["payment"]["received"]) == ("COMPLETE", {"value": "1000000"})
    assert (released["payment"]["status"], released["payment"]["received"]) == ("CANCELED", None)
    assert await accounts(both) == {"PROVIDER LTC": 1_000_000, "MERCHANT LTC": -1_000_000}
    assert both.rails.nodes["merchant-ltc"].balance_msat == 1_000_000
