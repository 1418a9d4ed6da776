"""Pages, filters and orders of the sandbox's Strike account."""

from typing import Any

import pytest
from tests.contract.strike.strike_client import NOBODY, StrikeClient, btc, ok, refusal, usd

from quittance.sandbox.rails import SandboxRails


@pytest.fixture
async def made(strike: StrikeClient, rails: SandboxRails) -> list[dict[str, Any]]:
    """Four invoices, the second of which is paid and the third canceled; the last is in dollars."""
    found = []
    for number, amount in enumerate([btc("0.00001000"), btc("0.00002000"), btc("0.00003000"), usd("4.00")]):
        found.append(await strike.invoice(amount, correlationId=f"it's-{number}"))
        rails.clock.advance(60)
    await rails.pay((await strike.quote(found[1]))["lnInvoice"])
    await strike.patch(f"/invoices/{found[2]['invoiceId']}/cancel")
    return found


async def _places(strike: StrikeClient, made: list[dict[str, Any]], **query: str) -> list[int]:
    ids = [one["invoiceId"] for one in made]
    return [ids.index(row["invoiceId"]) for row in ok(await strike.get("/invoices", **query))["items"]]


@pytest.mark.parametrize(
    ("query", "places"),
    [
        ({}, [3, 2, 1, 0]),
        ({"$orderby": "created"}, [0, 1, 2, 3]),
        ({"$orderby": "created asc"}, [0, 1, 2, 3]),
        ({"$orderby": "created desc"}, [3, 2, 1, 0]),
        ({"$top": "2"}, [3, 2]),
        ({"$top": "2", "$skip": "1"}, [2, 1]),
        ({"$skip": "9"}, []),
        ({"$top": "0"}, []),
        ({"$filter": "state eq 'PAID'"}, [1]),
        ({"$filter": "state eq CANCELLED"}, [2]),
        ({"$filter": "state in ('PAID', 'CANCELLED')"}, [2, 1]),
        ({"$filter": "currency eq 'USD'"}, [3]),
        ({"$filter": "correlationId eq 'it''s-1'"}, [1]),
        ({"$filter": "correlationId eq 'nobody'"}, []),
        ({"$filter": "payerId eq null"}, [3, 2, 1, 0]),
        ({"$filter": "state eq 'UNPAID' and currency eq 'BTC'"}, [0]),
        ({"unknown": "1", "$count": "true"}, [3, 2, 1, 0]),
    ],
)
async def test_a_page_is_what_was_asked_for(
    strike: StrikeClient, made: list[dict[str, Any]], query: dict[str, str], places: list[int]
) -> None:
    assert await _places(strike, made, **query) == places


async def test_a_page_says_how_many_there_are_in_all(strike: StrikeClient, made: list[dict[str, Any]]) -> None:
    page = ok(await strike.get("/invoices", **{"$top": "1"}))

    assert page.keys() == {"items", "count", "isCountUnknown"}
    assert (len(page["items"]), page["count"], page["isCountUnknown"]) == (1, 4, False)


async def test_ids_and_times_are_compared(strike: StrikeClient, made: list[dict[str, Any]]) -> None:
    second, listed = made[1]["invoiceId"], ok(await strike.get(f"/invoices/{made[1]['invoiceId']}"))["created"]

    async def places(text: str) -> list[int]:
        return await _places(strike, made, **{"$filter": text})

    assert await places(f"invoiceId in ('{second}', '{NOBODY}')") == [1]
    assert await places(f"invoiceId eq {second}") == [1]
    assert await places(f"created gt {listed}") == [3, 2]
    assert await places(f"created ge {listed}") == [3, 2, 1]
    assert await places(f"created lt {listed}") == [0]
    assert await places(f"created le {listed.replace('+00:00', 'Z')}") == [1, 0]
    assert await places(f"created ge {listed} and created le {listed}") == [1]


@pytest.mark.parametrize(
    "query",
    [
        {"$filter": "nothing eq 1"},
        {"$filter": "state"},
        {"$filter": "state eq"},
        {"$filter": "state eq 'PAID' and"},
        {"$filter": "state eq 'PAID' currency eq 'BTC'"},
        {"$filter": "state like 'PAID'"},
        {"$filter": "state in ()"},
        {"$filter": "state in ('PAID'"},
        {"$filter": "state in ('PAID' 'UNPAID')"},
        {"$filter": "state eq 'PAID"},
        {"$filter": "(state eq 'PAID')"},
        {"$filter": "created gt yesterday"},
        {"$filter": "created gt 2026-01-01T00:00:00"},
        {"$filter": "state eq 'PAID' " * 200},
        {"$orderby": "amount"},
        {"$orderby": "created up"},
        {"$top": "101"},
        {"$top": "-1"},
        {"$top": "x"},
        {"$skip": "99999999999"},
    ],
)
async def test_what_cannot_be_asked_is_refused(strike: StrikeClient, query: dict[str, str]) -> None:
    assert refusal(await strike.get("/invoices", **query)) == (400, "INVALID_DATA_QUERY")


async def test_the_edge_lets_nobody_ask_for_one_or_the_other(strike: StrikeClient) -> None:
    answer = await strike.get("/invoices", **{"$filter": "state eq 'PAID' or state eq 'UNPAID'"})

    assert (answer.status_code, answer.headers["content-type"]) == (403, "text/html; charset=utf-8")


async def test_a_page_has_fifty_rows_unless_more_are_asked_for(strike: StrikeClient, rails: SandboxRails) -> None:
    for _ in range(60):
        await strike.invoice(btc("0.00001000"))

    assert len(ok(await strike.get("/invoices"))["items"]) == 50
    assert len(ok(await strike.get("/invoices", **{"$top": "100"}))["items"]) == 60
