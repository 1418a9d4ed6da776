"""Invoices and their quotes at the sandbox's Strike account."""

import json
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from tests.contract.strike.conftest import Arm
from tests.contract.strike.strike_client import (
    NOBODY,
    UUID,
    StrikeClient,
    btc,
    dollars_per_bitcoin,
    made,
    ok,
    refusal,
    usd,
)

from quittance.sandbox.lnd import paying
from quittance.sandbox.rails import SandboxRails, SandboxRefused


async def test_an_invoice_is_shown_as_it_was_asked_for(strike: StrikeClient) -> None:
    answer = await strike.post(
        "/invoices", {"correlationId": "order-1", "description": "A book", "amount": usd("10.90")}
    )

    body = made(answer)
    assert re.fullmatch(UUID, body["invoiceId"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}\+00:00", body["created"])
    assert answer.headers["location"] == f"{strike.http.base_url}invoices/{body['invoiceId']}"
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert body == {
        "invoiceId": body["invoiceId"],
        "amount": {"amount": "10.90", "currency": "USD"},
        "state": "UNPAID",
        "created": body["created"],
        "correlationId": "order-1",
        "description": "A book",
        "issuerId": body["receiverId"],
        "receiverId": body["receiverId"],
    }


async def test_an_invoice_that_nobody_named_has_no_names(strike: StrikeClient) -> None:
    body = await strike.invoice(btc("0.00001000"))

    assert not {"correlationId", "description", "payerId", "transactions"} & body.keys()


async def test_a_paid_quote_pays_its_invoice_and_the_account(strike: StrikeClient, rails: SandboxRails) -> None:
    before = Decimal((await strike.balance("BTC"))["available"])
    invoice = await strike.invoice(btc("0.00021000"))
    quote = await strike.quote(invoice)

    await rails.pay(quote["lnInvoice"])

    found = await strike.found(invoice)
    assert found["state"] == "PAID"
    [transaction] = found["transactions"]
    assert transaction["state"] == "COMPLETED"
    assert transaction["amountReceived"] == btc("0.00021000")
    assert transaction["completed"] >= transaction["created"]
    assert Decimal((await strike.balance("BTC"))["available"]) - before == Decimal("0.00021000")


async def test_a_quote_in_bitcoin_lives_an_hour_and_converts_nothing(strike: StrikeClient, rails: SandboxRails) -> None:
    invoice = await strike.invoice(btc("0.00021000"), description="tea")

    answer = await strike.post(f"/invoices/{invoice['invoiceId']}/quote")

    quote, read = made(answer), paying.read_invoice(answer.json()["lnInvoice"])
    assert answer.headers["location"] == f"{strike.http.base_url}quotes/{quote['quoteId']}"
    assert (read.amount_msat, read.description, read.expiry_s) == (21_000_000, "tea", 3_600)
    assert quote["expirationInSec"] == 3_600
    assert datetime.fromisoformat(quote["expiration"]).timestamp() == read.expires_at_s
    assert quote["sourceAmount"] == quote["targetAmount"] == btc("0.00021000")
    assert quote["conversionRate"] == {"amount": "1.0000", "sourceCurrency": "BTC", "targetCurrency": "BTC"}
    assert "onchainAddress" not in quote


async def test_a_quote_in_dollars_lives_half_a_minute_at_the_price_of_the_moment(
    strike: StrikeClient, rails: SandboxRails
) -> None:
    at_price = dollars_per_bitcoin(rails)
    now = rails.clock.now()

    quote = await strike.quote(await strike.invoice(usd("10.99")))

    assert quote["expirationInSec"] == 30
    assert quote["targetAmount"] == usd("10.99")
    source = Decimal(quote["sourceAmount"]["amount"])
    assert paying.read_invoice(quote["lnInvoice"]).amount_msat == int(source * 10**11)
    assert Decimal(0) <= source * at_price - Decimal("10.99") < at_price / 10**8
    assert quote["conversionRate"]["sourceCurrency"] == "BTC"
    assert Decimal(quote["conversionRate"]["amount"]) == at_price
    assert datetime.fromisoformat(quote["expiration"]) - now <= timedelta(seconds=31)


async def test_dollars_are_credited_as_dollars(strike: StrikeClient, rails: SandboxRails) -> None:
    invoice = await strike.invoice(usd("10.99"))

    await rails.pay((await strike.quote(invoice))["lnInvoice"])

    assert (await strike.balance("USD"))["available"] == "10010.99"
    assert (await strike.balance("BTC"))["available"] == "1.00000000"


async def test_a_description_hash_takes_the_place_of_the_description(strike: StrikeClient) -> None:
    invoice = await strike.invoice(btc("0.00021000"), description="tea")
    path = f"/invoices/{invoice['invoiceId']}/quote"

    in_body = made(await strike.post(path, {"descriptionHash": "AB" * 32}))
    in_query = made(await strike.http.post(path, params={"descriptionHash": "cd" * 32}))

    assert paying.read_invoice(in_body["lnInvoice"]).description_hash == "ab" * 32
    assert paying.read_invoice(in_query["lnInvoice"]).description_hash == "cd" * 32
    assert paying.read_invoice(in_query["lnInvoice"]).description is None
    assert refusal(await strike.post(path, {"descriptionHash": "xyz"})) == (400, "INVALID_DATA")


async def test_every_quote_is_payable_until_one_was_paid(strike: StrikeClient, rails: SandboxRails) -> None:
    invoice = await strike.invoice(btc("0.00021000"))
    first, second = await strike.quote(invoice), await strike.quote(invoice)
    assert first["lnInvoice"] != second["lnInvoice"]

    await rails.pay(first["lnInvoice"])
    with pytest.raises(SandboxRefused, match="canceled"):
        await rails.pay(second["lnInvoice"])

    assert len((await strike.found(invoice))["transactions"]) == 1
    assert (await strike.balance("BTC"))["available"] == "1.00021000"
    again = await strike.post(f"/invoices/{invoice['invoiceId']}/quote")
    assert refusal(again) == (422, "INVALID_STATE_FOR_INVOICE_PAID")


async def test_a_quote_ends_and_its_invoice_does_not(strike: StrikeClient, rails: SandboxRails) -> None:
    invoice = await strike.invoice(usd("5.00"))
    quote = await strike.quote(invoice)

    rails.clock.advance(32)
    with pytest.raises(SandboxRefused):
        await rails.pay(quote["lnInvoice"])
    assert (await strike.found(invoice))["state"] == "UNPAID"
    await rails.pay((await strike.quote(invoice))["lnInvoice"])

    assert (await strike.found(invoice))["state"] == "PAID"


async def test_a_canceled_invoice_can_be_neither_paid_nor_quoted(strike: StrikeClient, rails: SandboxRails) -> None:
    invoice = await strike.invoice(btc("0.00021000"))
    quote, path = await strike.quote(invoice), f"/invoices/{invoice['invoiceId']}"

    canceled = ok(await strike.patch(f"{path}/cancel"))

    assert canceled["state"] == "CANCELLED"
    with pytest.raises(SandboxRefused):
        await rails.pay(quote["lnInvoice"])
    assert refusal(await strike.post(f"{path}/quote")) == (422, "INVALID_STATE_FOR_INVOICE_CANCELLED")
    assert refusal(await strike.patch(f"{path}/cancel")) == (422, "INVALID_STATE_FOR_INVOICE_CANCELLED")
    assert (await strike.found(invoice))["transactions"] == []


async def test_a_paid_invoice_cannot_be_canceled(strike: StrikeClient, rails: SandboxRails) -> None:
    invoice = await strike.invoice(btc("0.00021000"))
    await rails.pay((await strike.quote(invoice))["lnInvoice"])

    answer = await strike.patch(f"/invoices/{invoice['invoiceId']}/cancel")

    assert refusal(answer) == (422, "INVALID_STATE_FOR_INVOICE_PAID")


async def test_money_may_be_pending_before_it_is_paid(strike: StrikeClient, rails: SandboxRails, arm: Arm) -> None:
    await arm("invoice_pending", seconds=20)
    invoice = await strike.invoice(btc("0.00021000"))
    other = await strike.quote(invoice)
    await rails.pay((await strike.quote(invoice))["lnInvoice"])

    pending = await strike.found(invoice)
    requoted = await strike.post(f"/invoices/{invoice['invoiceId']}/quote")
    with pytest.raises(SandboxRefused):
        await rails.pay(other["lnInvoice"])
    balance = await strike.balance("BTC")
    rails.clock.advance(21)

    assert (pending["state"], [one["state"] for one in pending["transactions"]]) == ("PENDING", ["PENDING"])
    assert refusal(requoted) == (422, "UNPROCESSABLE_ENTITY")
    assert balance["available"] == "1.00000000"
    assert (await strike.found(invoice))["state"] == "PAID"
    assert (await strike.balance("BTC"))["available"] == "1.00021000"


async def test_pending_money_is_released(strike: StrikeClient, rails: SandboxRails, arm: Arm) -> None:
    await arm("invoice_pending", seconds=3_600)
    invoice = await strike.invoice(btc("0.00021000"))
    await rails.pay((await strike.quote(invoice))["lnInvoice"])

    await arm("release_pending")

    assert (await strike.found(invoice))["state"] == "PAID"


async def test_a_correlation_id_is_used_once(strike: StrikeClient) -> None:
    first = await strike.invoice(btc("0.00001000"), correlationId="order-1")

    again = await strike.post("/invoices", {"amount": btc("0.00009000"), "correlationId": "order-1"})

    assert refusal(again) == (409, "DUPLICATE_INVOICE")
    found = ok(await strike.get("/invoices", **{"$filter": "correlationId eq 'order-1'"}))
    assert [row["invoiceId"] for row in found["items"]] == [first["invoiceId"]]
    assert found["items"][0]["amount"] == btc("0.00001000")


async def test_an_invoice_for_a_handle_pays_somebody_else(strike: StrikeClient, rails: SandboxRails) -> None:
    body = made(await strike.post("/invoices/handle/frank_test", {"amount": {"amount": "3.00", "currency": "EUR"}}))

    await rails.pay((await strike.quote(body))["lnInvoice"])

    assert body["issuerId"] != body["receiverId"]
    assert (await strike.found(body))["state"] == "PAID"
    assert (await strike.balance("EUR"))["available"] == "10000.00"
    nobody = await strike.post("/invoices/handle/nobody", {"amount": btc("0.00001000")})
    assert refusal(nobody) == (404, "NOT_FOUND")
    oneself = await strike.post("/invoices/handle/quittance_test", {"amount": btc("0.00001000")})
    assert refusal(oneself) == (422, "INVALID_RECIPIENT")


@pytest.mark.parametrize(
    ("members", "field", "code"),
    [
        ({"correlationId": "x" * 41}, "correlationId", "INVALID_DATA_MAXLENGTH"),
        ({"description": "x" * 201}, "description", "INVALID_DATA_MAXLENGTH"),
        ({"description": 7}, "description", "INVALID_DATA_VALUE"),
        ({"amount": None}, "amount", "INVALID_DATA_REQUIRED"),
        ({"amount": "1"}, "amount", "INVALID_DATA_VALUE"),
        ({"amount": {"currency": "BTC"}}, "amount.amount", "INVALID_DATA_REQUIRED"),
        ({"amount": {"amount": "1"}}, "amount.currency", "INVALID_DATA_REQUIRED"),
        ({"amount": {"amount": "1", "currency": "XYZ"}}, "amount.currency", "INVALID_DATA_CURRENCY"),
        ({"amount": {"amount": 1, "currency": "BTC"}}, "amount.amount", "INVALID_DATA_VALUE"),
        ({"amount": btc("5.263e-05")}, "amount.amount", "INVALID_DATA_VALUE"),
        ({"amount": btc("NaN")}, "amount.amount", "INVALID_DATA_VALUE"),
        ({"amount": btc("٣")}, "amount.amount", "INVALID_DATA_VALUE"),
        ({"amount": btc("1,5")}, "amount.amount", "INVALID_DATA_VALUE"),
    ],
)
async def test_what_is_no_invoice_is_refused_by_field(
    strike: StrikeClient, members: dict[str, object], field: str, code: str
) -> None:
    answer = await strike.post("/invoices", {"amount": btc("0.00001000"), **members})

    assert refusal(answer) == (400, "INVALID_DATA")
    assert answer.json()["traceId"]
    errors = answer.json()["data"]["validationErrors"]
    assert errors[field][0]["code"] == code
    assert ok(await strike.get("/invoices"))["count"] == 0


@pytest.mark.parametrize(
    ("amount", "code"),
    [
        (btc("0"), "INVALID_AMOUNT"),
        (btc("-0.1"), "INVALID_AMOUNT"),
        (btc("0.000000001"), "INVALID_AMOUNT"),
        (usd("1.001"), "INVALID_AMOUNT"),
        (btc("10.00000001"), "AMOUNT_TOO_HIGH"),
        (usd("99999999.00"), "AMOUNT_TOO_HIGH"),
        (usd("9" * 31), "AMOUNT_TOO_HIGH"),
        ({"amount": "1.00", "currency": "USDT"}, "CURRENCY_UNSUPPORTED"),
        ({"amount": "1.00", "currency": "AUD"}, "CURRENCY_UNSUPPORTED"),
    ],
)
async def test_amounts_that_nobody_can_pay_are_refused(strike: StrikeClient, amount: dict[str, str], code: str) -> None:
    assert refusal(await strike.post("/invoices", {"amount": amount})) == (422, code)


async def test_every_flaw_is_told_at_once(strike: StrikeClient) -> None:
    answer = await strike.post("/invoices", {"description": "x" * 201, "amount": {"amount": "x", "currency": "?"}})

    assert answer.json()["data"]["validationErrors"].keys() == {"description", "amount.amount", "amount.currency"}


async def test_exponents_are_taken_where_a_fault_wants_it(strike: StrikeClient, arm: Arm) -> None:
    await arm("accept_exponents")

    body = await strike.invoice(btc("5.263e-05"))

    assert body["amount"] == btc("0.00005263")


async def test_members_are_read_in_any_case_and_unknown_ones_ignored(strike: StrikeClient) -> None:
    amount = {"Amount": "0.00001000", "Currency": "BTC", "Note": 1}

    body = made(await strike.post("/invoices", {"CorrelationId": "a", "IdempotencyKey": "b", "AMOUNT": amount}))

    assert (body["correlationId"], body["amount"]) == ("a", btc("0.00001000"))


async def test_a_description_is_cut_to_what_an_invoice_holds(strike: StrikeClient) -> None:
    quote = await strike.quote(await strike.invoice(btc("0.00001000"), description="\N{OWL}" * 200))

    assert quote["description"] == "\N{OWL}" * 200
    assert paying.read_invoice(quote["lnInvoice"]).description == "\N{OWL}" * 159


async def test_half_a_character_is_no_text(strike: StrikeClient) -> None:
    content = json.dumps({"amount": btc("0.00001000"), "description": "\ud83d"})

    answer = await strike.http.post("/invoices", content=content)

    assert answer.json()["data"]["validationErrors"].keys() == {"description"}


async def test_a_body_may_be_missing_with_its_length_said(strike: StrikeClient) -> None:
    invoice = await strike.invoice(btc("0.00001000"))

    answer = await strike.http.post(f"/invoices/{invoice['invoiceId']}/quote", headers={"Content-Length": "0"})

    assert answer.status_code == 201


@pytest.mark.parametrize("path", ["/invoices/{}", "/invoices/{}/quote", "/invoices/{}/cancel"])
async def test_ids_are_checked_before_they_are_looked_for(strike: StrikeClient, path: str) -> None:
    method = {"e": "POST", "l": "PATCH"}.get(path[-1], "GET")

    malformed = await strike.http.request(method, path.format("7"))
    unknown = await strike.http.request(method, path.format(NOBODY))

    assert refusal(malformed) == (400, "INVALID_DATA")
    assert malformed.json()["data"]["validationErrors"].keys() == {"invoiceId"}
    assert refusal(unknown) == (404, "NOT_FOUND")
    assert unknown.json()["data"]["message"] == "Resource not found."


async def test_the_invoices_of_one_account_can_be_read_at_any_time(strike: StrikeClient) -> None:
    later = datetime.now(UTC)

    body = await strike.invoice(btc("0.00001000"))

    found = ok(await strike.get(f"/invoices/{body['invoiceId']}"))
    assert "transactions" not in found
    assert found["created"][:23] == body["created"][:23]
    assert datetime.fromisoformat(found["created"]) - later < timedelta(seconds=10)
