"""Payments by name from the sandbox's Strike account: LNURL and Lightning Addresses."""

from typing import Any
from urllib.parse import quote as quoted
from uuid import uuid4

import pytest
from tests.contract.strike.strike_client import StrikeClient, btc, ok, refusal, usd

from quittance.domain import lnurl
from quittance.sandbox.lnd import paying
from quittance.sandbox.payees import AMOUNT_MSAT_MAX, AMOUNT_MSAT_MIN, COMMENT_CHARACTERS_MAX
from quittance.sandbox.rails import SandboxRails

_PATH = "/payment-quotes/lightning/lnurl"


def _address(rails: SandboxRails, node: str = "alice") -> str:
    found = rails.address_of(node)
    assert found is not None
    return found


def _lnurl(rails: SandboxRails, node: str = "alice") -> str:
    host = _address(rails, node).partition("@")[2]
    return lnurl.encode(f"http://{host}/.well-known/lnurlp/{node}")


def _body(payee: str, **members: Any) -> dict[str, Any]:
    return {"lnAddressOrUrl": payee, "sourceCurrency": "BTC", "amount": btc("0.00021000"), **members}


@pytest.mark.parametrize("form", [_address, _lnurl])
async def test_a_payee_says_what_it_takes(strike: StrikeClient, rails: SandboxRails, form: Any) -> None:
    details = ok(await strike.get(f"{_PATH}/{quoted(form(rails), safe='')}"))

    assert details == {
        "minSendable": AMOUNT_MSAT_MIN,
        "maxSendable": AMOUNT_MSAT_MAX,
        "metadata": details["metadata"],
        "tag": "payRequest",
        "commentAllowed": COMMENT_CHARACTERS_MAX,
    }
    assert _address(rails) in details["metadata"]


async def test_an_address_is_paid(strike: StrikeClient, rails: SandboxRails) -> None:
    before_msat = rails.nodes["alice"].balance_msat

    quote = ok(await strike.post(_PATH, _body(_address(rails), description="for tea"), key=str(uuid4())))
    payment = ok(await strike.execute(quote))

    [invoice] = rails.nodes["alice"].invoices.values()
    assert (quote["amount"], quote["totalAmount"]) == (btc("0.00021000"), btc("0.00021002"))
    assert (invoice.memo, invoice.preimage.hex()) == ("for tea", payment["lightning"]["preImage"])
    assert rails.nodes["alice"].balance_msat - before_msat == 21_000_000


async def test_dollars_pay_an_address(strike: StrikeClient, rails: SandboxRails) -> None:
    quote = ok(await strike.post(_PATH, _body(_address(rails), sourceCurrency="USD", amount=usd("5.00"))))
    ok(await strike.execute(quote))

    assert (quote["amount"], quote["totalAmount"]) == (usd("5.00"), usd("5.01"))
    assert (await strike.balance("USD"))["available"] == "9994.99"


async def test_a_key_makes_one_quote_and_asks_for_one_invoice(strike: StrikeClient, rails: SandboxRails) -> None:
    key = str(uuid4())

    first = ok(await strike.post(_PATH, _body(_address(rails)), key=key))
    again = await strike.post(_PATH, _body(_address(rails)), key=key)

    assert refusal(again) == (422, "DUPLICATE_PAYMENT_QUOTE")
    assert again.json()["data"]["values"] == {"paymentQuoteId": first["paymentQuoteId"]}
    assert len(rails.nodes["alice"].invoices) == 1


async def test_another_customer_is_paid_by_handle(strike: StrikeClient, rails: SandboxRails) -> None:
    details = ok(await strike.get(f"{_PATH}/{quoted('frank_test@dev.strike.me', safe='')}"))

    quote = ok(await strike.post(_PATH, _body("frank_test@dev.strike.me")))
    payment = ok(await strike.execute(quote))

    assert (details["minSendable"], details["tag"]) == (1_000, "payRequest")
    assert (payment["state"], payment["totalFee"]) == ("COMPLETED", btc("0.00000000"))
    assert refusal(await strike.post(_PATH, _body("nobody@strike.me"))) == (404, "NOT_FOUND")
    own = await strike.post(_PATH, _body("quittance_test@strike.me"))
    assert refusal(own) == (422, "SELF_PAYMENT_NOT_ALLOWED")


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"sourceCurrency": None}, (400, "INVALID_DATA")),
        ({"amount": None}, (400, "INVALID_DATA")),
        ({"amount": usd("5.00")}, (400, "INVALID_DATA")),
        ({"description": "x" * 141}, (400, "INVALID_DATA")),
        ({"lnAddressOrUrl": "nobody"}, (400, "INVALID_DATA")),
        ({"lnAddressOrUrl": "alice@example.com"}, (400, "INVALID_DATA")),
        ({"lnAddressOrUrl": "alice@127.0.0.1:9"}, (422, "UNPROCESSABLE_ENTITY")),
        ({"amount": btc("2.00000000")}, (422, "AMOUNT_TOO_HIGH")),
        ({"beneficiary": {"type": "FRIEND"}}, (400, "INVALID_DATA")),
        ({"beneficiary": {}}, (400, "INVALID_DATA")),
    ],
)
async def test_what_cannot_be_paid_is_not_quoted(
    strike: StrikeClient, rails: SandboxRails, members: dict[str, Any], expected: tuple[int, str]
) -> None:
    assert refusal(await strike.post(_PATH, _body(_address(rails)) | members)) == expected
    assert len(rails.nodes["alice"].invoices) == 0


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("wrong_amount", (422, "INVALID_LN_INVOICE")),
        ("wrong_hash", (422, "INVALID_LN_INVOICE")),
        ("other_network", (422, "INVALID_LN_INVOICE")),
        ("expired", (422, "INVALID_LN_INVOICE")),
        ("out_of_bounds", (422, "AMOUNT_TOO_HIGH")),
        ("private_callback", (400, "INVALID_DATA")),
        ("html", (422, "UNPROCESSABLE_ENTITY")),
        ("error", (422, "UNPROCESSABLE_ENTITY")),
        ("unavailable", (422, "UNPROCESSABLE_ENTITY")),
        ("redirect", (422, "UNPROCESSABLE_ENTITY")),
    ],
)
async def test_a_payee_that_deceives_is_not_paid(
    strike: StrikeClient, rails: SandboxRails, fault: str, expected: tuple[int, str]
) -> None:
    await rails.faults.arm("payees", fault)

    assert refusal(await strike.post(_PATH, _body(_address(rails)))) == expected


async def test_a_merchant_s_own_address_leads_to_its_own_invoice(strike: StrikeClient) -> None:
    own = await strike.quote(await strike.invoice(btc("0.00001000")))

    assert paying.read_invoice(own["lnInvoice"]).prefix == "bcrt"
    assert refusal(await strike.post(_PATH, _body(own["lnInvoice"]))) == (400, "INVALID_DATA")
