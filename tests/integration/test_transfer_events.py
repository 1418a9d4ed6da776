"""Who hears of refunds and payouts: subscribers, webhooks, and nobody whose business they are not."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from tests.integration.conftest import Till
from tests.integration.outgoing_money import payout, refund
from tests.integration.test_payouts import reader_with
from tests.integration.test_refunds import PRICE_MSAT, address
from tests.integration.watched import WatchedDatabase
from tests.integration.webhook_post import Post
from tests.integration.webhook_receiver import Receiver

from quittance.domain.access import ANONYMOUS, Principal
from quittance.domain.cursor import encode_position
from quittance.gql.schema import schema

REFUNDS = """
subscription ($payment: ID, $secret: String, $after: String) {
  refundUpdated(paymentId: $payment, clientSecret: $secret, after: $after) {
    eventId cursor refund { id status payment { id refunded { value } } } }
}
"""
PAYOUTS = """
subscription ($after: String) { payoutUpdated(after: $after) { eventId payout { id status amount { value } } } }
"""
PAGE = """
{ payments(first: 50) { edges { node { id refunded { value } refundable { value }
  refunds { totalCount edges { node { id status attempts { number state } } } } } } } }
"""
FROM_THE_START = encode_position(0)
STEPS = ["PENDING", "SENDING", "SUCCEEDED"]


async def heard(till: Till, document: str, *, as_: Principal | None = None, **variables: Any) -> list[dict[str, Any]]:
    """Return the three things that a subscriber from the start is told first."""
    stream: Any = await schema.subscribe(document, {"after": FROM_THE_START} | variables, till.shop.context(as_))
    async with asyncio.timeout(10):
        told = [next(iter((await anext(stream)).data.values())) for _ in range(3)]
    await stream.aclose()
    return told


async def refused(till: Till, document: str, *, as_: Principal, **variables: Any) -> str:
    stream: Any = await schema.subscribe(document, {"after": FROM_THE_START} | variables, till.shop.context(as_))
    first = stream if hasattr(stream, "errors") else await anext(stream)
    return type(first.errors[0].original_error).__name__


async def test_a_refund_is_watched_by_its_merchant_and_by_the_payer(till: Till) -> None:
    await till.sold(amount_msat=10 * PRICE_MSAT)
    other, sold = [await till.sold(amount_msat=PRICE_MSAT) for _ in range(2)]
    begun = await refund(till, sold.id, destination=address(till))
    await till.send()
    await refund(till, other.id, key="2", destination=address(till))
    secret = till.services.derive.client_secret(sold.id)

    told = [
        await heard(till, REFUNDS),
        await heard(till, REFUNDS, payment=sold.id),
        await heard(till, REFUNDS, as_=ANONYMOUS, payment=sold.id, secret=secret),
    ]
    stranger = await refused(till, REFUNDS, as_=ANONYMOUS, payment=sold.id)

    for steps in told:
        assert [step["refund"]["id"] for step in steps] == [begun["id"]] * 3
        assert {step["refund"]["status"] for step in steps} == {"SUCCEEDED"}
        assert steps[0]["refund"]["payment"] == {"id": sold.id, "refunded": {"value": str(PRICE_MSAT)}}
    assert stranger == "PaymentNotFound"


async def test_a_payout_is_watched_by_its_owner_alone(till: Till) -> None:
    await till.sold(amount_msat=20 * PRICE_MSAT)
    alice, bobby = await reader_with(till), await reader_with(till, name="bobby", number=2)
    theirs = [
        await payout(till, as_=who, amount={"sat": "100"}, destination=address(till)) for who in (bobby, alice, None)
    ]
    await till.send()

    told = [await heard(till, PAYOUTS, as_=who) for who in (bobby, alice, None)]
    stranger = await refused(till, PAYOUTS, as_=ANONYMOUS)

    for steps, own in zip(told, theirs, strict=True):
        assert [step["payout"]["id"] for step in steps] == [own["id"]] * 3
    assert stranger == "LoginRequired"


@pytest.mark.parametrize("kind", ["refund", "payout"])
async def test_an_endpoint_is_told_each_step(post: Post, receiver: Receiver, kind: str) -> None:
    till = post.till
    await till.sold(amount_msat=10 * PRICE_MSAT)
    sold = await till.sold(amount_msat=PRICE_MSAT)
    await post.endpoint(receiver, eventTypes=[f"{kind.upper()}_UPDATED"])
    said: dict[str, Any] = {"amount": {"sat": "100"}, "destination": address(till)}
    begun = await (refund(till, sold.id, **said) if kind == "refund" else payout(till, **said))
    await till.send()

    await post.tell()

    messages = [received.message for received in receiver.received]
    assert [message["type"] for message in messages] == [f"{kind}.updated"] * 3
    assert {message["data"][kind]["id"] for message in messages} == {begun["id"]}
    assert {message["data"][kind]["amount"]["value"] for message in messages} == {"100000"}
    assert messages[-1]["data"][kind]["status"] == "SUCCEEDED"


async def test_a_reader_s_payout_is_no_merchant_s_business(post: Post, receiver: Receiver) -> None:
    till = post.till
    await till.sold(amount_msat=10 * PRICE_MSAT)
    alice = await reader_with(till)
    await post.endpoint(receiver, eventTypes=["PAYOUT_UPDATED"])
    await payout(till, as_=alice, amount={"sat": "100"}, destination=address(till))
    await till.send()

    await post.tell()

    assert receiver.received == []


async def test_refunds_of_fifty_payments_cost_as_many_statements_as_those_of_one(till: Till) -> None:
    await till.sold(amount_msat=100 * PRICE_MSAT)
    first = await till.sold(amount_msat=PRICE_MSAT)
    await refund(till, first.id, destination=address(till))
    one = await statements_of(till)
    for number in range(9):
        sold = await till.sold(amount_msat=PRICE_MSAT)
        await refund(till, sold.id, key=str(number), destination=address(till))
    await till.send()

    assert await statements_of(till) == one


async def statements_of(till: Till) -> int:
    """Return how many statements a page of payments with all about their refunds takes."""
    database = WatchedDatabase(till.services.database)
    shown = await till.on(replace(till.services, database=database)).shop.run(PAGE)
    assert shown["payments"]["edges"]
    return len(database.asked)
