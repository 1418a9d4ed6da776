"""The books as queries: accounts, entries, settlements."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import update
from tests.integration.books import paid, sabotage, table

from quittance.domain.access import ANONYMOUS, Principal, Scope
from quittance.domain.errors import InvalidCursor, InvalidInput, PermissionDenied
from quittance.domain.policy import OverPolicy
from quittance.gql.schema import schema

BOOKS = """
query ($first: Int!, $after: String, $account: ID) {
  ledgerAccounts { id kind balance { value assetCode assetScale } }
  ledgerEntries(first: $first, after: $after, accountId: $account) {
    totalCount pageInfo { hasNextPage endCursor }
    edges { cursor node {
      id transactionId line accountId accountKind direction amount { value } settlementId paymentId postedAt
    } }
  }
}
"""
SETTLEMENTS = """
query ($first: Int!, $after: String) {
  settlements(first: $first, after: $after) {
    totalCount pageInfo { hasNextPage endCursor }
    edges { cursor node {
      id provider reference disposition amount { value } settledAt bookedAt payment { id status options { id } }
    } }
  }
}
"""
_OF_THE_BROKER = "event.position > "


async def refused(till: Any, document: str, variables: dict[str, Any], as_: Principal) -> object:
    result = await schema.execute(document, variables, till.shop.context(as_))
    assert result.errors is not None
    return type(result.errors[0].original_error)


async def test_merchants_see_their_own_books_only(till: Any, other_shop: Any) -> None:
    theirs = till.of(other_shop)
    own_payment, their_payment = await paid(till), await paid(theirs)
    page = {"first": 100}

    own_books = await till.shop.run(BOOKS, page)
    their_books = await other_shop.run(BOOKS, page)
    account = own_books["ledgerAccounts"][0]["id"]
    foreign_account = await other_shop.run(BOOKS, page | {"account": account})
    own_settlements = await till.shop.run(SETTLEMENTS, page)
    their_settlements = await other_shop.run(SETTLEMENTS, page)

    def payments(found: dict[str, Any]) -> list[str]:
        return [edge["node"]["paymentId"] for edge in found["ledgerEntries"]["edges"]]

    assert (payments(own_books), payments(their_books)) == ([own_payment], [their_payment])
    assert own_books["ledgerEntries"]["totalCount"] == their_books["ledgerEntries"]["totalCount"] == 1
    assert (foreign_account["ledgerEntries"]["edges"], foreign_account["ledgerEntries"]["totalCount"]) == ([], 0)
    assert [e["node"]["payment"]["id"] for e in own_settlements["settlements"]["edges"]] == [own_payment]
    assert [e["node"]["payment"]["id"] for e in their_settlements["settlements"]["edges"]] == [their_payment]
    assert their_settlements["settlements"]["totalCount"] == 1


async def test_books_need_a_key_with_the_scope(till: Any) -> None:
    merchant_id = till.shop.principal.merchant_id
    writer = Principal(merchant_id=merchant_id, scopes=frozenset({Scope.PAYMENTS_WRITE}))
    reader = Principal(merchant_id=merchant_id, scopes=frozenset({Scope.PAYMENTS_READ}))

    for who in (ANONYMOUS, writer):
        assert await refused(till, BOOKS, {"first": 1}, who) is PermissionDenied
        assert await refused(till, SETTLEMENTS, {"first": 1}, who) is PermissionDenied
    assert (await till.shop.run(SETTLEMENTS, {"first": 1}, as_=reader))["settlements"]["totalCount"] == 0


async def test_entry_says_on_which_side_of_which_account_it_stands(till: Any) -> None:
    await till.set_policy(over=OverPolicy.REFUND)
    payment_id = (await till.order()).payment.id
    await till.report(await till.money(payment_id, amount_msat=6_000))

    books = await till.shop.run(BOOKS, {"first": 10})

    (settlement,) = await till.rows("settlement")
    owner = till.shop.principal.merchant_id
    assert books["ledgerAccounts"] == [
        {"id": f"{kind}/{owner}/BTC/11", "kind": kind, "balance": {"value": v, "assetCode": "BTC", "assetScale": 11}}
        for kind, v in (("MERCHANT", "5000"), ("REFUNDABLE", "1000"))
    ]
    nodes = [edge["node"] for edge in books["ledgerEntries"]["edges"]]
    assert [(node["accountKind"], node["direction"], node["amount"]["value"]) for node in nodes] == [
        ("REFUNDABLE", "CREDIT", "1000"),
        ("MERCHANT", "CREDIT", "5000"),
    ]
    assert {node["paymentId"] for node in nodes} == {payment_id}
    assert {node["settlementId"] for node in nodes} == {settlement["id"]}


async def pages(till: Any, document: str, field: str, *, between: Any = None, **more: Any) -> list[str]:
    """Return the ids of a whole list, read three at a time."""
    seen: list[str] = []
    after, following = None, True
    while following:
        page = (await till.shop.run(document, {"first": 3, "after": after} | more))[field]
        seen += [edge["node"]["id"] for edge in page["edges"]]
        after, following = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
        if between is not None:
            await between()
    return seen


async def test_pages_of_entries_and_settlements_have_no_gap_while_money_comes_in(till: Any) -> None:
    await till.set_policy(over=OverPolicy.REFUND)
    for n in range(10):
        payment_id = (await till.order()).payment.id
        await till.report(await till.money(payment_id, amount_msat=6_000 if n % 2 else 5_000))
    entry = table("ledger_entry")
    await sabotage(till, update(entry).where(entry.c.line >= 0).values(posted_at_us=1_700_000_000_000_000))
    owner = till.shop.principal.merchant_id
    before = [row for row in await till.rows("ledger_entry") if owner in row["account_id"]]
    settled = [row["id"] for row in await till.rows("settlement")]

    async def more_money() -> None:
        await till.report(await till.money((await till.order()).payment.id))

    entries = await pages(till, BOOKS, "ledgerEntries", between=more_money)
    refundable = await pages(till, BOOKS, "ledgerEntries", account=f"REFUNDABLE/{owner}/BTC/11")
    settlements = await pages(till, SETTLEMENTS, "settlements", between=more_money)

    keys = sorted(((row["transaction_id"], row["line"]) for row in before), reverse=True)
    assert entries == [f"{transaction_id}/{line}" for transaction_id, line in keys]
    assert len(entries) == 15
    assert len(refundable) == 5
    assert settlements[-10:] == settled[::-1]
    assert len(settlements) == len(set(settlements))


@pytest.mark.parametrize(
    ("document", "variables", "error"),
    [
        (BOOKS, {"first": 1, "after": "nonsense"}, InvalidCursor),
        (BOOKS, {"first": 1, "after": "azE6WyJzZXR0bGVtZW50IiwieCJd"}, InvalidCursor),  # of a settlement
        (BOOKS, {"first": 0}, InvalidInput),
        (SETTLEMENTS, {"first": 101}, InvalidInput),
        (SETTLEMENTS, {"first": 1, "after": "azE6WyJlbnRyeSIsMSwieCIsMV0"}, InvalidCursor),  # of an entry
    ],
)
async def test_page_that_cannot_be_is_refused(
    till: Any, document: str, variables: dict[str, Any], error: type[BaseException]
) -> None:
    assert await refused(till, document, variables, till.shop.principal) is error


async def statements(till: Any, document: str, first: int) -> tuple[int, Any]:
    ran: list[str] = []
    till.services.database.counter = ran.append
    data = await till.shop.run(document, {"first": first})
    till.services.database.counter = None
    return len([sql for sql in ran if _OF_THE_BROKER not in sql]), data


async def test_wide_page_costs_no_more_statements_than_a_narrow_one(till: Any) -> None:
    await asyncio.gather(*(paid(till) for _ in range(40)))

    narrow_books, _ = await statements(till, BOOKS, 1)
    wide_books, books = await statements(till, BOOKS, 40)
    narrow_settlements, _ = await statements(till, SETTLEMENTS, 1)
    wide_settlements, settlements = await statements(till, SETTLEMENTS, 40)

    assert len(books["ledgerEntries"]["edges"]) == len(settlements["settlements"]["edges"]) == 40
    assert {e["node"]["payment"]["status"] for e in settlements["settlements"]["edges"]} == {"COMPLETE"}
    assert narrow_books == wide_books <= 5
    assert narrow_settlements == wide_settlements <= 4
