"""One SQL statement a level: a page costs the same however many rows it shows."""

import asyncio
from typing import Any

import pytest
from tests.integration.buying import buy, reader

from quittance.domain.access import ANONYMOUS

PAYMENTS = """
query ($first: Int!) {
  payments(first: $first) {
    edges {
      node {
        id status paymentRequest paymentHash
        article { id title locked content }
        options { id state }
        events { totalCount edges { node { type status } } }
      }
    }
  }
}
"""
ARTICLES = """
query ($first: Int!) {
  articles(first: $first) {
    totalCount
    edges { node { id locked content payment { id status options { id } events { totalCount } } } }
  }
}
"""
CREATE = """
mutation ($input: CreateArticleInput!) {
  createArticle(input: $input) { ... on CreateArticleSuccess { article { id } } }
}
"""
OWN = """
query ($first: Int!) {
  viewer {
    account { payments(first: $first) { edges { node { id status options { id } article { id locked content } } } } }
  }
}
"""
THROUGH_FRAGMENTS = """
query ($first: Int!) {
  payments(first: $first) { edges { node { ...Paying ... on Payment { article { ...Text } } } } }
}
fragment Paying on Payment { options { id } events { totalCount } paymentHash }
fragment Text on Article { content }
"""
INVOICE = """
mutation ($input: GenerateInvoiceInput!) {
  generateInvoice(input: $input) { ... on GenerateInvoiceSuccess { payment { id paymentRequest options { id } } } }
}
"""
PAGE = """
query ($after: String) {
  payments(first: 33, after: $after) { edges { node { id } } pageInfo { hasNextPage endCursor } }
}
"""
WIDTH = 100
_OF_THE_BROKER = "event.position > "  # it reads the log whenever it likes


@pytest.fixture
async def busy(till: Any) -> Any:
    """A shop with a hundred articles, each bought or about to be."""

    async def one(n: int) -> None:
        draft = {"title": f"T{n}", "content": "the text", "price": {"msat": "5000"}}
        made = await till.shop.mutate("createArticle", CREATE, {"input": draft})
        payment_id = (await till.order(article_id=made["article"]["id"])).payment.id
        if n % 3 == 0:
            await till.report(await till.money(payment_id))

    await asyncio.gather(*(one(n) for n in range(WIDTH)))
    return till


async def statements(till: Any, document: str, first: int, **more: Any) -> tuple[list[str], dict[str, Any]]:
    ran: list[str] = []
    till.services.database.counter = ran.append
    data = await till.shop.run(document, {"first": first}, **more)
    till.services.database.counter = None
    return [sql for sql in ran if _OF_THE_BROKER not in sql], data


async def test_a_page_of_a_hundred_payments_costs_no_more_statements_than_one(busy: Any) -> None:
    narrow, one = await statements(busy, PAYMENTS, 1)
    wide, many = await statements(busy, PAYMENTS, WIDTH)

    nodes = [edge["node"] for edge in many["payments"]["edges"]]
    assert len(one["payments"]["edges"]) == 1
    assert len(nodes) == WIDTH
    assert all(node["paymentRequest"] and len(node["options"]) == 1 for node in nodes)
    assert {node["events"]["totalCount"] for node in nodes} == {2, 3}
    assert sum(node["article"]["content"] == "the text" for node in nodes) == 34
    assert len(narrow) <= len(wide) <= 5
    assert all(sql.startswith("SELECT") for sql in wide)


async def test_a_page_of_a_hundred_articles_costs_no_more_statements_than_one(busy: Any) -> None:
    narrow, _ = await statements(busy, ARTICLES, 1)
    wide, many = await statements(busy, ARTICLES, WIDTH)
    foreign, public = await statements(busy, ARTICLES, WIDTH, as_=ANONYMOUS)

    nodes = [edge["node"] for edge in many["articles"]["edges"]]
    assert many["articles"]["totalCount"] == WIDTH
    assert sum(node["content"] == "the text" for node in nodes) == 34
    assert all(node["payment"]["options"] for node in nodes)
    assert len(narrow) <= len(wide) <= 7
    assert len(foreign) <= 2
    assert {edge["node"]["content"] for edge in public["articles"]["edges"]} == {None}


async def test_a_readers_page_costs_no_more_statements_however_much_of_it_is_bought(busy: Any) -> None:
    alice = await reader(busy)
    ids = [row["id"] for row in await busy.rows("article")]
    await asyncio.gather(*(buy(busy, article_id, as_=alice) for article_id in ids))
    own_rows = [row for row in await busy.rows("payment") if row["viewer"] == alice.account_id]
    for row in own_rows[::2]:
        await busy.report(await busy.money(row["id"]))
    paid = {row["article_id"] for row in own_rows[::2]}

    narrow, _ = await statements(busy, ARTICLES, 1, as_=alice)
    wide, many = await statements(busy, ARTICLES, WIDTH, as_=alice)
    one_own, _ = await statements(busy, OWN, 1, as_=alice)
    every_own, own = await statements(busy, OWN, WIDTH, as_=alice)

    nodes = [edge["node"] for edge in many["articles"]["edges"]]
    assert {node["id"] for node in nodes if node["content"] == "the text"} == paid
    assert {node["id"] for node in nodes if not node["locked"]} == paid
    assert all(node["payment"]["options"] for node in nodes)
    assert len(narrow) <= len(wide) <= 7
    listed = [edge["node"] for edge in own["viewer"]["account"]["payments"]["edges"]]
    assert {node["article"]["id"] for node in listed if node["article"]["content"]} == paid
    assert len(listed) == WIDTH
    assert len(one_own) <= len(every_own) <= 6


async def test_what_fragments_ask_for_is_looked_ahead_too(busy: Any) -> None:
    wide, many = await statements(busy, THROUGH_FRAGMENTS, WIDTH)

    assert len(many["payments"]["edges"]) == WIDTH
    assert sum(edge["node"]["article"]["content"] == "the text" for edge in many["payments"]["edges"]) == 34
    assert len(wide) <= 5


async def test_a_create_costs_eleven_statements_and_reads_nothing_back(till: Any) -> None:
    ran: list[str] = []
    till.services.database.counter = ran.append
    made = await till.shop.mutate(
        "generateInvoice", INVOICE, {"input": {"amount": {"sat": "5"}, "idempotencyKey": "counted"}}
    )
    till.services.database.counter = None
    own = [" ".join(sql.split()[:3]) for sql in ran if _OF_THE_BROKER not in sql]

    assert made["payment"]["paymentRequest"].startswith("lnbcrt")
    assert len(made["payment"]["options"]) == 1
    assert own == [
        "INSERT INTO idempotency",
        "SELECT merchant.id, merchant.name,",
        "INSERT INTO payment",
        "INSERT INTO payment_option",
        "INSERT INTO job",
        "UPDATE event_head SET",
        "INSERT INTO event",
        "UPDATE payment SET",
        "UPDATE payment_option SET",
        "UPDATE event_head SET",
        "INSERT INTO event",
    ]


async def test_pages_follow_each_other_without_a_gap_or_a_duplicate(busy: Any) -> None:
    seen: list[str] = []
    after, more = None, True
    while more:
        page = (await busy.shop.run(PAGE, {"after": after}))["payments"]
        seen += [edge["node"]["id"] for edge in page["edges"]]
        after, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]

    assert seen == sorted((row["id"] for row in await busy.rows("payment")), reverse=True)
    assert len(seen) == WIDTH
