"""Correlation ids: the merchant's own references, used once where the merchant says so."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from tests.integration.merchant_calls import update
from tests.integration.racing import node_invoices
from tests.integration.test_migrated_rows import go_back

from quittance.domain.errors import CorrelationIdTaken
from quittance.resolvers.invoices import GeneratedInvoice
from quittance.resolvers.merchants import MerchantChange, update_merchant
from quittance.resolvers.services import Services
from quittance.sandbox.rails import SandboxRails
from quittance.store.migrate import upgrade

GENERATE = """
mutation ($input: GenerateInvoiceInput!) { generateInvoice(input: $input) {
  __typename
  ... on GenerateInvoiceSuccess { replayed payment { id correlationId } }
  ... on UserError { code message retryable } ... on CorrelationIdTakenError { correlationId paymentId } } }
"""
READ = "query ($id: ID!) { node(id: $id) { ... on Merchant { uniqueCorrelationIds } } }"
ORDER_1: dict[str, Any] = {"amount": {"sat": 5}, "correlationId": "order-1"}


async def generate(shop: Any, **said: Any) -> dict[str, Any]:
    answer: dict[str, Any] = await shop.mutate("generateInvoice", GENERATE, {"input": ORDER_1 | said})
    return answer


async def use_once(shop: Any, *, once: bool = True) -> None:
    await update_merchant(
        shop.services, shop.principal, shop.principal.merchant_id, MerchantChange(unique_correlation_ids=once)
    )


async def test_a_merchant_says_whether_each_is_used_once_and_the_log_says_who_did(till: Any) -> None:
    own = till.shop.principal.merchant_id
    before = (await till.shop.run(READ, {"id": own}))["node"]

    changed = await update(till.shop, uniqueCorrelationIds=True)
    unchanged = await update(till.shop, name="Another name")
    null = await update(till.shop, uniqueCorrelationIds=None)

    assert before == {"uniqueCorrelationIds": False}
    assert changed["merchant"]["uniqueCorrelationIds"] is unchanged["merchant"]["uniqueCorrelationIds"] is True
    assert (null["code"], null["field"]) == ("INVALID_INPUT", "uniqueCorrelationIds")
    details = [row["detail"] for row in await till.rows("audit_entry")]
    assert "uniqueCorrelationIds: False -> True" in details


async def test_unless_said_they_are_used_as_often_as_the_merchant_likes(till: Any) -> None:
    made = [await generate(till.shop) for _ in range(2)]

    assert [one["__typename"] for one in made] == ["GenerateInvoiceSuccess"] * 2
    assert len({one["payment"]["id"] for one in made}) == 2


async def test_a_second_payment_with_one_is_refused_and_nothing_is_made(till: Any, rails: SandboxRails) -> None:
    await use_once(till.shop)
    first = await generate(till.shop)

    refused = await generate(till.shop, idempotencyKey="k")
    others = [await generate(till.shop, correlationId=id_) for id_ in ("order-2", "ORDER-1", None)]

    assert refused == {
        "__typename": "CorrelationIdTakenError",
        "code": "CORRELATION_ID_TAKEN",
        "message": "another payment has this correlation id; retry that payment, or send an id that no payment has",
        "retryable": False,
        "correlationId": "order-1",
        "paymentId": first["payment"]["id"],
    }
    assert [one["__typename"] for one in others] == ["GenerateInvoiceSuccess"] * 3
    assert node_invoices(rails) == len(await till.rows("payment")) == 4
    assert await till.rows("idempotency") == []  # the key is free for another try


async def test_the_same_key_replays_and_is_no_second_payment(till: Any) -> None:
    await use_once(till.shop)
    made = await generate(till.shop, idempotencyKey="k")

    again = await generate(till.shop, idempotencyKey="k")
    refused = await generate(till.shop, idempotencyKey="other")

    assert (again["replayed"], again["payment"]) == (True, made["payment"])
    assert refused["code"] == "CORRELATION_ID_TAKEN"


async def test_ids_that_were_used_before_the_merchant_minded_are_used_up(till: Any) -> None:
    first = await generate(till.shop)
    await generate(till.shop)

    await use_once(till.shop)
    refused = await generate(till.shop)
    await use_once(till.shop, once=False)
    accepted = await generate(till.shop)

    assert (refused["code"], refused["paymentId"]) == ("CORRELATION_ID_TAKEN", first["payment"]["id"])
    assert accepted["__typename"] == "GenerateInvoiceSuccess"


async def test_each_merchant_has_ids_of_its_own(till: Any, other_shop: Any) -> None:
    for shop in (till.shop, other_shop):
        await use_once(shop)

    made = [await generate(shop) for shop in (till.shop, other_shop)]

    assert [one["__typename"] for one in made] == ["GenerateInvoiceSuccess"] * 2


@pytest.mark.parametrize("keyed", [True, False])
async def test_of_twenty_together_in_two_processes_one_gets_it(
    till: Any, new_services: Callable[[], Services], rails: SandboxRails, keyed: bool
) -> None:
    await use_once(till.shop)
    tills = [till, till.on(new_services())]

    answers = await asyncio.gather(
        *(tills[n % 2].order(correlation_id="order-1", idempotency_key=f"k{n}" if keyed else None) for n in range(20)),
        return_exceptions=True,
    )

    (made,) = [answer for answer in answers if isinstance(answer, GeneratedInvoice)]
    refusals = [answer for answer in answers if isinstance(answer, CorrelationIdTaken)]
    assert {refusal.payment_id for refusal in refusals} == {made.payment.id}
    assert len(refusals) == 19
    assert node_invoices(rails) == len(await till.rows("payment")) == 1
    assert len(await till.rows("idempotency")) == keyed


async def test_payments_that_were_there_before_the_migration_have_their_ids(till: Any, database_url: str) -> None:
    first = await generate(till.shop)
    await generate(till.shop)
    await generate(till.shop, correlationId=None)

    await go_back(database_url, "correlation ids that are used once, and notices to shops")
    await asyncio.to_thread(upgrade, database_url)

    assert [(row["correlation_id"], row["payment_id"]) for row in await till.rows("correlation_id")] == [
        ("order-1", first["payment"]["id"])
    ]
    await use_once(till.shop)
    assert (await generate(till.shop))["paymentId"] == first["payment"]["id"]
