"""Litecoin on its way out: given back and paid out in Litecoin, from what came in Litecoin."""

from typing import Any

import pytest
from tests.integration.litecoin import RAIL, Counter, accounts, litoshi
from tests.integration.outgoing_money import TRANSFER, found, refund, value

PRICE = 1_000_000
PAYOUT = f"""
mutation ($input: RequestPayoutInput!) {{ requestPayout(input: $input) {{ __typename
  ... on RequestPayoutSuccess {{ payout {{ {TRANSFER} }} }} ... on UserError {{ code message }} }} }}
"""
COMPLETE = {"status": "SUCCEEDED", "amount": PRICE, "provider": RAIL}


@pytest.fixture
async def sold(both: Any, counter: Counter) -> str:
    """A payment of Litecoin, beside more Litecoin and a lot of Bitcoin in the same till."""
    await both.sold(amount_msat=500_000_000)
    payments: list[str] = []
    for amount in (20 * PRICE, PRICE):
        payments.append((await counter.payment(amount=litoshi(amount // 1_000)))["id"])
        await counter.report(await counter.pay(payments[-1]))
    return payments[-1]


async def payout(till: Any, *, key: str = "p", **said: object) -> dict[str, Any]:
    asked = {"input": {"idempotencyKey": key} | said}
    answer: dict[str, Any] = await till.shop.mutate("requestPayout", PAYOUT, asked)
    return answer.get("payout") or answer


def in_bitcoin(booked: dict[str, int]) -> dict[str, int]:
    return {account: balance for account, balance in booked.items() if account.endswith("BTC")}


async def test_a_payment_of_litecoin_is_given_back_in_litecoin(both: Any, sold: str) -> None:
    before, dave = await accounts(both), both.rails.nodes["dave"].balance_msat

    begun = await refund(both, sold, destination=both.rails.new_invoice("dave", amount_msat=PRICE))
    await both.send()

    done, after = await found(both, begun["id"]), await accounts(both)
    cost = PRICE + (value(done["fee"]) or 0)
    assert {"status": done["status"], "amount": value(done["amount"]), "provider": done["provider"]} == COMPLETE
    assert both.rails.nodes["dave"].balance_msat == dave + PRICE
    assert after["MERCHANT LTC"] - before["MERCHANT LTC"] == cost
    assert after["PROVIDER LTC"] - before["PROVIDER LTC"] == -cost
    assert after["RESERVED LTC"] == 0
    assert in_bitcoin(after) == in_bitcoin(before) == {"PROVIDER BTC": 500_000_000, "MERCHANT BTC": -500_000_000}


async def test_a_balance_of_litecoin_is_paid_out_from_litecoin_alone(both: Any, sold: str) -> None:
    del sold
    before = await accounts(both)
    asked, more = (both.rails.new_invoice("dave", amount_msat=amount) for amount in (PRICE, 400_000_000))

    begun = await payout(both, provider=RAIL, destination=asked, key="a")
    refused = await payout(both, provider=RAIL, destination=more, key="b")
    await both.send()

    done, after = await found(both, begun["id"]), await accounts(both)
    assert (done["status"], value(done["amount"])) == ("SUCCEEDED", PRICE)
    assert refused["__typename"] == "InsufficientBalanceError"
    assert after["MERCHANT LTC"] > before["MERCHANT LTC"]
    assert in_bitcoin(after) == in_bitcoin(before)


@pytest.mark.parametrize(("node", "provider"), [("bob", RAIL), ("dave", "lnd")])
async def test_money_does_not_leave_by_the_invoice_of_another_currency(
    both: Any, sold: str, node: str, provider: str
) -> None:
    before = await accounts(both)
    invoice = both.rails.new_invoice(node, amount_msat=PRICE)

    paid_out = await payout(both, provider=provider, destination=invoice)
    given_back = await refund(both, sold, destination=both.rails.new_invoice("bob", amount_msat=PRICE))

    assert paid_out["__typename"] == "InvalidDestinationError", paid_out
    assert given_back["__typename"] == "InvalidDestinationError", given_back
    assert await accounts(both) == before
    assert await both.rows("transfer") == []


async def test_a_lightning_address_is_not_paid_in_litecoin(both: Any, sold: str) -> None:
    before = await accounts(both)

    refused = await refund(both, sold, destination=both.rails.address_of("bob"))

    assert refused["__typename"] == "InvalidDestinationError"
    assert await accounts(both) == before
