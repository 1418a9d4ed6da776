"""How invoices stand at a Strike that answers as it should not: found, ended, listed, and never read as paid."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from tests.contract.strike.receiving import LOST, NAME, ORDER, Till
from tests.contract.strike.scripted import (
    CANCEL,
    FIND,
    INVOICE_ID,
    LIST,
    OTHER_ID,
    QUOTE,
    ago,
    html_403,
    invoice,
    money,
    no,
    ok,
    page,
    received,
)

from quittance.domain.errors import ProviderMisconfigured, ProviderUnavailable
from quittance.domain.money import Money, msat
from quittance.providers.base import InvoiceStatus, ProviderHealth


@pytest.fixture
async def till() -> AsyncIterator[Till]:
    one = Till()
    yield one
    await one.provider.aclose()


@pytest.mark.parametrize(
    ("state", "status", "comes"),
    [
        ("UNPAID", InvoiceStatus.OPEN, None),
        ("PENDING", InvoiceStatus.OPEN, None),
        ("PAID", InvoiceStatus.SETTLED, msat(21_000_000)),
        ("CANCELLED", InvoiceStatus.CANCELED, None),
        ("REVERSED", InvoiceStatus.CANCELED, None),
    ],
)
async def test_state_says_whether_money_came(
    till: Till, state: str, status: InvoiceStatus, comes: Money | None
) -> None:
    till.strike.answer(LIST, page(invoice(NAME, state=state)))
    till.strike.answer(FIND, ok(invoice(NAME, state=state, transactions=received("2026-11-25T11:59:50.5054944+00:00"))))

    found = await till.provider.lookup_invoice(NAME)

    assert (found.status, found.received, found.payment_request) == (status, comes, None)
    paid_at = datetime(2026, 11, 25, 11, 59, 50, 505_494, tzinfo=UTC)
    assert found.settled_at == (paid_at if comes is not None else None)
    assert till.strike.calls(QUOTE) == []


async def test_null_is_read_as_what_is_left_out(till: Till) -> None:
    nulls = {"transactions": None, "description": None, "payerId": None}
    till.strike.answer(LIST, page(invoice(NAME, state="PAID") | nulls))
    till.strike.answer(FIND, ok(invoice(NAME, state="PAID") | nulls))

    found = await till.provider.lookup_invoice(NAME)

    assert (found.received, found.settled_at) == (msat(21_000_000), None)


async def test_second_look_asks_by_strike_s_own_id(till: Till) -> None:
    await till.provider.lookup_invoice(NAME)
    till.strike.answer(FIND, ok(invoice(NAME, state="PAID", transactions=received(ago(1)))))

    found = await till.provider.lookup_invoice(NAME)

    assert found.received == msat(21_000_000)
    assert (len(till.strike.calls(LIST)), len(till.strike.calls(FIND))) == (1, 1)
    assert till.strike.calls(LIST)[0].url.params["$filter"] == f"correlationId eq '{NAME}'"


@pytest.mark.parametrize(
    "rows",
    [
        [invoice(NAME), invoice(NAME, invoiceId=OTHER_ID)],
        [invoice("another")],
        [invoice(None)],
        [invoice(NAME, state="GONE")],
        [invoice(NAME, state="PAID", amount=money("1.00", "USD"))],
        [invoice(NAME, amount=money("-1"), state="PAID")],
    ],
    ids=["two", "another", "nameless", "unknown state", "other currency", "negative"],
)
async def test_list_that_makes_no_sense_is_for_the_operator(till: Till, rows: list[dict[str, Any]]) -> None:
    till.strike.answer(LIST, page(*rows))
    till.strike.answer(FIND, ok(rows[0]))

    with pytest.raises(ProviderMisconfigured):
        await till.provider.lookup_invoice(NAME)


async def test_what_strike_does_not_know_is_missing(till: Till) -> None:
    till.strike.answer(LIST, page())

    assert (await till.provider.lookup_invoice(NAME)).status is InvoiceStatus.MISSING
    assert (await till.provider.cancel_invoice(NAME)).status is InvoiceStatus.MISSING
    assert (await till.provider.requote(NAME)).status is InvoiceStatus.MISSING


async def test_name_of_a_stranger_cannot_reach_out_of_its_quotes(till: Till) -> None:
    till.strike.answer(LIST, page())

    await till.provider.lookup_invoice("x' or state eq 'PAID")

    assert till.strike.calls(LIST)[0].url.params["$filter"] == "correlationId eq 'x'' or state eq ''PAID'"


async def test_canceled_invoice_is_over(till: Till) -> None:
    till.strike.answer(CANCEL, ok(invoice(NAME, state="CANCELLED")))

    assert (await till.provider.cancel_invoice(NAME)).status is InvoiceStatus.CANCELED
    assert till.strike.bodies(CANCEL) == [None]


@pytest.mark.parametrize(
    ("state", "status"),
    [("PAID", InvoiceStatus.SETTLED), ("CANCELLED", InvoiceStatus.CANCELED), ("PENDING", InvoiceStatus.OPEN)],
)
async def test_cancelling_too_late_tells_how_it_ended(till: Till, state: str, status: InvoiceStatus) -> None:
    till.strike.answer(CANCEL, no("INVALID_STATE_FOR_INVOICE_PAID"))
    till.strike.answer(FIND, ok(invoice(NAME, state=state, transactions=received(ago(1)))))

    assert (await till.provider.cancel_invoice(NAME)).status is status


async def test_lost_answer_to_cancelling_is_unknown(till: Till) -> None:
    till.strike.answer(CANCEL, LOST)

    with pytest.raises(ProviderUnavailable):
        await till.provider.cancel_invoice(NAME)


async def test_invoice_that_is_paid_while_it_is_quoted_is_returned_as_paid(till: Till) -> None:
    till.strike.answer(QUOTE, no("INVALID_STATE_FOR_INVOICE_PAID"))
    till.strike.answer(FIND, ok(invoice(NAME, state="PAID", transactions=received(ago(1)))))

    made = await till.provider.create_invoice(ORDER)

    assert (made.status, made.received) == (InvoiceStatus.SETTLED, msat(21_000_000))


@pytest.mark.parametrize(
    ("kind", "entity", "answer", "reference"),
    [
        ("invoice.updated", INVOICE_ID, ok(invoice(NAME)), NAME),
        ("invoice.updated", INVOICE_ID, ok(invoice(None)), None),
        ("invoice.updated", INVOICE_ID, no("NOT_FOUND", status=404), None),
        ("invoice.updated", "../accounts/limits", None, None),
        ("invoice.updated", "", None, None),
        ("receive-request.receive-completed", INVOICE_ID, None, None),
        ("payment.updated", INVOICE_ID, None, None),
    ],
)
async def test_callback_s_own_name_is_translated_or_nothing_of_ours(
    till: Till, kind: str, entity: str, answer: httpx.Response | None, reference: str | None
) -> None:
    if answer is not None:
        till.strike.answer(FIND, answer)

    assert await till.provider.reference_of(kind=kind, entity_id=entity) == reference
    assert len(till.strike.asked) == (0 if answer is None else 1)


async def test_every_invoice_is_listed_once_in_pages(till: Till) -> None:
    rows = [invoice(f"n{n}", invoiceId=f"22222222-2222-4222-8222-{n:012d}") for n in range(150)]
    foreign = invoice("n150", invoiceId=OTHER_ID, amount=money("1.00", "USD"))

    def play(request: httpx.Request) -> httpx.Response:
        first = max(0, int(request.url.params["$skip"]) - 1)  # one was taken away meanwhile: pages overlap
        return page(*[*rows, foreign][first : first + 100])

    till.strike.plays[LIST] = play
    listed = [one.reference async for one in till.provider.invoices()]

    assert listed == [f"n{n}" for n in range(150)]
    assert {request.url.params["$orderby"] for request in till.strike.calls(LIST)} == {"created asc"}


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (no("FORBIDDEN", status=403), "provider 'strike': the API key lacks the scope partner.invoice.read"),
        (no("UNAUTHORIZED", status=401), "provider 'strike': Strike does not accept the API key"),
        (html_403(), "Strike's edge refused the call before Strike saw it"),
        (no("MAINTENANCE_MODE", status=503), "Strike is under maintenance"),
        (httpx.Response(404, text="<html>"), "provider 'strike': what answers does not speak Strike's protocol"),
        (LOST, "Strike does not answer"),
        (httpx.ConnectError("refused"), "nobody listens at Strike's address"),
    ],
)
async def test_health_says_what_is_wrong(till: Till, answer: httpx.Response | Exception, detail: str) -> None:
    till.strike.answer(LIST, answer)

    assert await till.provider.health() == ProviderHealth(ready=False, detail=detail)
