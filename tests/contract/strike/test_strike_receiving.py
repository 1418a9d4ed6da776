"""Invoices at a Strike that answers as it should not: made once, and verified before anybody pays them."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import httpx
import pytest
from tests.contract.strike.receiving import LOST, NAME, ORDER, USD, Till
from tests.contract.strike.scripted import (
    FIND,
    ISSUE,
    LIST,
    PREIMAGE,
    QUOTE,
    START,
    Clock,
    ScriptedStrike,
    ago,
    bolt11,
    html_403,
    invoice,
    invoice_quote,
    money,
    no,
    ok,
    page,
    received,
)

from quittance.domain.errors import InvoiceRejected, ProviderMisconfigured, ProviderUnavailable
from quittance.domain.ids import Preimage
from quittance.domain.money import BTC_SAT, Money, msat
from quittance.providers.base import InvoiceStatus, ProviderHealth
from quittance.providers.strike.budget import Bucket, limits_of
from quittance.providers.strike.provider import StrikeProvider


@pytest.fixture
async def till() -> AsyncIterator[Till]:
    one = Till()
    yield one
    await one.provider.aclose()


async def test_what_strike_is_asked_for(till: Till) -> None:
    made = await till.provider.create_invoice(ORDER)

    assert till.strike.bodies(ISSUE) == [
        {"correlationId": NAME, "amount": {"amount": "0.00021000", "currency": "BTC"}, "description": "order 1"}
    ]
    assert till.strike.calls(ISSUE)[0].headers["content-type"] == "application/json"
    assert till.strike.bodies(QUOTE) == [None]
    assert (made.reference, made.status, made.payment_request) == (NAME, InvoiceStatus.OPEN, bolt11())
    assert made.expires_at == START + timedelta(seconds=600)
    assert made.payable_until == START + timedelta(seconds=3_600)
    assert (made.received, made.settled_at) == (None, None)
    assert len(NAME) == 36


def test_name_is_always_the_same_for_a_preimage_and_no_other() -> None:
    names = {Till().provider.reference(Preimage(bytes([number]) * 32)) for number in range(100)}

    assert len(names) == 100
    assert Till().provider.reference(Preimage(PREIMAGE)) == NAME


async def test_small_amount_is_written_without_an_exponent(till: Till) -> None:
    small = money("0.00000001")
    till.strike.answer(ISSUE, ok(invoice(NAME, amount=small), status=201))
    till.strike.answer(
        QUOTE,
        ok(invoice_quote(targetAmount=small, sourceAmount=small, lnInvoice=bolt11(amount_msat=1_000)), status=201),
    )

    await till.provider.create_invoice(replace(ORDER, amount=Money(1, BTC_SAT)))

    assert till.strike.bodies(ISSUE)[0]["amount"]["amount"] == "0.00000001"


async def test_quote_that_ends_sooner_than_asked_leaves_the_invoice_its_time(till: Till) -> None:
    soon = invoice_quote(expiration="2026-11-25T12:00:30.1234567+00:00")
    till.strike.answer(QUOTE, ok(soon, status=201))

    made = await till.provider.create_invoice(ORDER)

    assert made.payable_until == datetime(2026, 11, 25, 12, 0, 30, 123_456, tzinfo=UTC)
    assert made.expires_at == START + timedelta(seconds=ORDER.expires_in_s)


async def test_lightning_invoice_that_ends_before_its_quote_counts(till: Till) -> None:
    till.strike.answer(QUOTE, ok(invoice_quote(lnInvoice=bolt11(expiry_s=60)), status=201))

    assert (await till.provider.create_invoice(ORDER)).payable_until == START + timedelta(seconds=60)


async def test_invoice_in_dollars_is_paid_in_what_the_quote_says(till: Till) -> None:
    dollars = invoice(NAME, amount=money("10.99", "USD"))
    till.strike.answer(ISSUE, ok(dollars, status=201))
    till.strike.answer(QUOTE, ok(invoice_quote(targetAmount=money("10.99", "USD")), status=201))
    till.strike.answer(LIST, page(dollars | {"state": "PAID", "transactions": received(ago(0))}))
    rail = till.connect(currency="USD")

    made = await rail.create_invoice(replace(ORDER, amount=Money(1_099, USD)))
    till.strike.answer(FIND, ok(dollars | {"state": "PAID", "transactions": received(ago(5))}))
    paid = await rail.lookup_invoice(NAME)

    assert rail.asset == USD
    assert till.strike.bodies(ISSUE)[0]["amount"] == {"amount": "10.99", "currency": "USD"}
    assert made.payment_request == bolt11()
    assert (paid.status, paid.received) == (InvoiceStatus.SETTLED, Money(1_099, USD))


@pytest.mark.parametrize(
    "quote",
    [
        invoice_quote(lnInvoice=bolt11(amount_msat=21_000_001)),
        invoice_quote(lnInvoice=bolt11(amount_msat=None)),
        invoice_quote(lnInvoice=bolt11(prefix="bc")),
        invoice_quote(lnInvoice=bolt11()[:-1] + "q"),
        invoice_quote(lnInvoice="lnbcrt1"),
        invoice_quote(sourceAmount=money("0.00020999")),
        invoice_quote(sourceAmount=money("0.00021000", "USD")),
        invoice_quote(targetAmount=money("0.00020999")),
        invoice_quote(
            sourceAmount=money("0.00042000"), lnInvoice=bolt11(amount_msat=42_000_000)
        ),  # signed and consistent, and twice what was asked
        invoice_quote(expiration="2026-11-25T12:00:30"),
        invoice_quote(expiration="soon"),
        invoice_quote(sourceAmount=money("2.1e-4")),
        {},
    ],
    ids=[
        "a millisatoshi more", "any amount", "mainnet", "broken signature", "no invoice", "source differs",
        "source in dollars", "target differs", "twice the amount", "no zone", "no time", "exponent", "empty",
    ],
)  # fmt: skip
async def test_quote_that_is_not_what_was_asked_is_never_handed_out(till: Till, quote: dict[str, Any]) -> None:
    till.strike.answer(QUOTE, ok(quote, status=201))

    with pytest.raises(ProviderMisconfigured):
        await till.provider.create_invoice(ORDER)
    with pytest.raises(ProviderMisconfigured):
        await till.provider.requote(NAME)


async def test_network_shows_in_the_first_invoice(till: Till) -> None:
    before = await till.provider.health()
    till.strike.answer(QUOTE, ok(invoice_quote(lnInvoice=bolt11(prefix="bc")), status=201))
    with pytest.raises(ProviderMisconfigured, match="another network"):
        await till.provider.create_invoice(ORDER)

    assert before == ProviderHealth(ready=True, detail="invoices in BTC on bitcoin regtest")
    assert await till.provider.health() == ProviderHealth(
        ready=False,
        detail="Strike makes invoices for another network than bitcoin regtest",
        wrong_network=True,
    )


async def test_invoice_is_bound_to_a_text_by_its_hash(till: Till) -> None:
    digest = sha256(b"a text").digest()
    till.strike.answer(QUOTE, ok(invoice_quote(lnInvoice=bolt11(description_hash=digest)), status=201))

    made = await till.provider.create_invoice(replace(ORDER, described_by="a text"))

    assert made.status is InvoiceStatus.OPEN
    assert till.strike.bodies(QUOTE) == [{"descriptionHash": digest.hex()}]
    with pytest.raises(InvoiceRejected):
        await till.provider.create_invoice(replace(ORDER, described_by="another text"))


@pytest.mark.parametrize("text", ["é" * 300, "x" * 199 + "雪" * 9, "\ud800" * 300, "🧾" * 201])
async def test_long_description_is_cut_between_characters(till: Till, text: str) -> None:
    await till.provider.create_invoice(replace(ORDER, description=text))

    sent = till.strike.bodies(ISSUE)[0]["description"]
    assert len(sent) == 200
    assert sent == text.encode(errors="replace").decode()[:200]


async def test_empty_description_is_left_out(till: Till) -> None:
    await till.provider.create_invoice(replace(ORDER, description=""))

    assert "description" not in till.strike.bodies(ISSUE)[0]


@pytest.mark.parametrize("amount", [Money(0, BTC_SAT), Money(-1, BTC_SAT), msat(999), msat(1_001)])
async def test_amount_that_strike_cannot_ask_for_is_never_asked(till: Till, amount: Money) -> None:
    with pytest.raises(InvoiceRejected):
        await till.provider.create_invoice(replace(ORDER, amount=amount))

    assert till.strike.asked == []


@pytest.mark.parametrize(
    "first", [LOST, no("GATEWAY_TIMEOUT", status=504), no("PROCESSING_CONFLICT", status=409), html_403()]
)
async def test_lost_answer_is_found_by_the_name_and_made_once(till: Till, first: httpx.Response | Exception) -> None:
    till.strike.answer(ISSUE, first, no("DUPLICATE_INVOICE", status=409))

    with pytest.raises(ProviderUnavailable):
        await till.provider.create_invoice(ORDER)
    found = await till.provider.lookup_invoice(NAME)
    again = await till.provider.create_invoice(ORDER)

    assert (found.status, found.payment_request) == (InvoiceStatus.OPEN, None)
    assert (again.status, again.payment_request) == (InvoiceStatus.OPEN, bolt11())
    assert len(till.strike.calls(QUOTE)) == 1  # none by looking


async def test_lost_quote_leaves_an_invoice_that_is_quoted_again(till: Till) -> None:
    till.strike.answer(QUOTE, LOST, ok(invoice_quote(), status=201))

    with pytest.raises(ProviderUnavailable):
        await till.provider.create_invoice(ORDER)

    quoted = await till.provider.requote(NAME)
    assert (quoted.status, quoted.payment_request) == (InvoiceStatus.OPEN, bolt11())
    assert (quoted.expires_at, quoted.payable_until) == (None, START + timedelta(seconds=3_600))


async def test_name_that_was_used_for_another_amount_is_refused(till: Till) -> None:
    till.strike.answer(ISSUE, no("DUPLICATE_INVOICE", status=409))
    till.strike.answer(LIST, page(invoice(NAME, amount=money("0.00042000"))))

    with pytest.raises(InvoiceRejected, match="another amount"):
        await till.provider.create_invoice(ORDER)

    assert till.strike.calls(QUOTE) == []


async def test_name_that_is_taken_and_not_listed_is_unknown(till: Till) -> None:
    till.strike.answer(ISSUE, no("DUPLICATE_INVOICE", status=409))
    till.strike.answer(LIST, page())

    with pytest.raises(ProviderUnavailable):
        await till.provider.create_invoice(ORDER)


@pytest.mark.parametrize(("state", "status"), [("PAID", InvoiceStatus.SETTLED), ("CANCELLED", InvoiceStatus.CANCELED)])
async def test_name_whose_invoice_is_over_returns_it_as_it_stands(
    till: Till, state: str, status: InvoiceStatus
) -> None:
    over = invoice(NAME, state=state, transactions=received(ago(3)))
    till.strike.answer(ISSUE, no("DUPLICATE_INVOICE", status=409))
    till.strike.answer(LIST, page(over))

    made = await till.provider.create_invoice(ORDER)

    assert (made.status, made.payment_request, till.strike.calls(QUOTE)) == (status, None, [])


@pytest.mark.parametrize("call", [ISSUE, QUOTE])
@pytest.mark.parametrize("code", ["AMOUNT_TOO_LOW", "AMOUNT_TOO_HIGH", "INVALID_AMOUNT", "INVALID_DATA"])
async def test_terms_that_strike_refuses_make_nothing(till: Till, call: str, code: str) -> None:
    till.strike.answer(call, no(code))

    with pytest.raises(InvoiceRejected):
        await till.provider.create_invoice(ORDER)


@pytest.mark.parametrize(("network", "currency"), [("moonnet", "BTC"), ("regtest", "XAU")])
def test_what_is_unknown_is_said_at_once(network: str, currency: str) -> None:
    with pytest.raises(ValueError, match="is not one of"):
        StrikeProvider(ScriptedStrike().client(), now=Clock().now, network=network, currency=currency)


async def test_a_fresh_quote_costs_one_call(till: Till) -> None:
    """W7: of forty open invoices in dollars each is quoted twice a minute."""
    await till.provider.create_invoice(ORDER)
    looked = len(till.strike.calls(LIST)) + len(till.strike.calls(FIND))

    await till.provider.requote(NAME)

    assert len(till.strike.calls(LIST)) + len(till.strike.calls(FIND)) == looked
    assert len(till.strike.calls(QUOTE)) == 2


@pytest.mark.parametrize(
    ("host", "share", "calls"),
    [("api.strike.me", 1, 1_000), ("api.dev.strike.me", 1, 350), ("api.strike.me", 4, 250), ("127.0.0.1", 1, 1_000)],
)
def test_each_process_stays_within_its_part_of_what_strike_allows(host: str, share: int, calls: int) -> None:
    assert limits_of(host, share=share)[Bucket.OTHER].calls == calls
