"""Money that a merchant's policy does not keep goes back by itself, or waits for its payer to say where to."""

from typing import Any

import pytest
from tests.integration.conftest import Till
from tests.integration.outgoing_money import claim, found, value
from tests.integration.test_refunds import FEE_MAX_MSAT, PRICE_MSAT, address, totals

from quittance.domain.access import ANONYMOUS
from quittance.domain.money import msat
from quittance.domain.policy import LatePolicy, OverPolicy, UnderPolicy


async def refunds_of(till: Till) -> list[tuple[str, str, int]]:
    """Return why, how far and how much of each refund, the oldest first."""
    return [(row["reason"], row["state"], row["amount_value"]) for row in await till.rows("transfer")]


async def test_late_money_goes_back(till: Till) -> None:
    await till.sold(amount_msat=10 * PRICE_MSAT)
    await till.set_policy(late=LatePolicy.REFUND, late_grace_s=0)
    late = await till.order(amount=msat(PRICE_MSAT), refund_address=address(till))
    bob = till.rails.nodes["bob"].balance_msat
    till.clock.advance(late.payment.expires_in_s + 60)

    await till.report(await till.money(late.payment.id, amount_msat=PRICE_MSAT))
    await till.send()

    assert await refunds_of(till) == [("LATE", "SUCCEEDED", PRICE_MSAT)]
    assert till.rails.nodes["bob"].balance_msat == bob + PRICE_MSAT
    assert await totals(till, late.payment) == (PRICE_MSAT, 0)
    assert (await till.balances())["REFUNDABLE"] == 0


async def test_an_underpayment_and_a_surplus_go_back(till: Till) -> None:
    await till.sold(amount_msat=PRICE_MSAT)
    await till.set_policy(under=UnderPolicy.REFUND, over=OverPolicy.REFUND)
    short = await till.order(amount=msat(PRICE_MSAT), refund_address=address(till))
    more = await till.order(amount=msat(PRICE_MSAT), refund_address=address(till))

    await till.report(await till.money(short.payment.id, amount_msat=200_000))
    await till.report(await till.money(more.payment.id, amount_msat=PRICE_MSAT + 300_000))
    await till.send()

    assert await refunds_of(till) == [("UNDERPAID", "SUCCEEDED", 200_000), ("SURPLUS", "SUCCEEDED", 300_000)]
    assert (await till.payment(more.payment.id)).status.value == "COMPLETE"
    assert (await till.balances())["REFUNDABLE"] == 0


async def test_a_report_that_comes_again_refunds_nothing_again(till: Till) -> None:
    await till.sold(amount_msat=PRICE_MSAT)
    await till.set_policy(under=UnderPolicy.REFUND)
    short = await till.order(amount=msat(PRICE_MSAT), refund_address=address(till))
    money = await till.money(short.payment.id, amount_msat=200_000)

    for _ in range(3):
        await till.report(money)
        await till.send()

    assert await refunds_of(till) == [("UNDERPAID", "SUCCEEDED", 200_000)]


async def test_the_way_is_paid_out_of_the_money_where_the_merchant_has_none(till: Till) -> None:
    await till.set_policy(under=UnderPolicy.REFUND)
    short = await till.order(amount=msat(PRICE_MSAT), refund_address=address(till))
    paid = await till.pay(short.payment.id)
    await till.report(await till.money(short.payment.id, amount_msat=PRICE_MSAT - 1))
    await till.send()

    assert paid.received == msat(PRICE_MSAT)
    assert await refunds_of(till) == [("UNDERPAID", "SUCCEEDED", PRICE_MSAT - 1 - FEE_MAX_MSAT)]
    refunded, refundable = await totals(till, short.payment)
    fee = (await till.rows("transfer"))[0]["fee_value"]
    assert (refunded, refundable) == (PRICE_MSAT - 1 - FEE_MAX_MSAT + fee, FEE_MAX_MSAT - fee)
    assert (await till.balances())["REFUNDABLE"] == -(FEE_MAX_MSAT - fee)


@pytest.mark.parametrize("refund_address", [None, "my wallet", "lnbcrt1nonsense"])
async def test_money_that_cannot_be_sent_stays_owed_until_its_payer_claims_it(
    till: Till, refund_address: str | None
) -> None:
    await till.sold(amount_msat=PRICE_MSAT)
    await till.set_policy(under=UnderPolicy.REFUND)
    fields: dict[str, Any] = {} if refund_address is None else {"refund_address": refund_address}
    short = await till.order(amount=msat(PRICE_MSAT), **fields)

    await till.report(await till.money(short.payment.id, amount_msat=200_000))

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
    assert (begun["reason"], value(begun["amount"]), again["id"]) == ("CLAIMED", 200_000, begun["id"])
    assert (await found(till, begun["id"]))["status"] == "SUCCEEDED"
    assert nothing["code"] == "NOTHING_TO_REFUND"


async def test_a_payer_claims_what_is_owed_and_not_what_was_bought(till: Till) -> None:
    sold = await till.sold(amount_msat=PRICE_MSAT)
    secret = till.services.derive.client_secret(sold.id)

    answer = await claim(till, sold.id, as_=ANONYMOUS, clientSecret=secret, destination=address(till))

    assert answer["code"] == "NOTHING_TO_REFUND"
