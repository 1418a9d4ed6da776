"""Strike's other operations: what is sent, and what of the answers is read."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from tests.contract.strike.scripted import (
    HASH,
    INVOICE_ID,
    ISSUE,
    OTHER_ID,
    QUOTE_ID,
    ScriptedStrike,
    ago,
    bolt11,
    invoice,
    money,
    no,
    ok,
    page,
    payment_quote,
)

from quittance.domain.errors import ProviderMisconfigured
from quittance.domain.money import BTC_SAT, Asset, Money
from quittance.providers.strike.exchange import Exchange
from quittance.providers.strike.profiles import Profiles
from quittance.providers.strike.quotes import OnchainOrder, PaymentQuotes
from quittance.providers.strike.receive_requests import ReceiveOrder, ReceiveRequests

ONE_SAT = Money(1, BTC_SAT)
USD = Asset("USD", 2)
KEY = "a-key"
REQUEST = {
    "receiveRequestId": INVOICE_ID,
    "created": ago(1),
    "bolt11": {"invoice": bolt11(), "paymentHash": HASH, "expires": ago(-60), "btcAmount": "0.00021000"},
}
RECEIVE = {
    "receiveId": OTHER_ID,
    "receiveRequestId": INVOICE_ID,
    "type": "P2P",
    "state": "COMPLETED",
    "amountReceived": money("0.00021000"),
    "created": ago(1),
    "p2p": {"payerAccountId": OTHER_ID},
}
EXCHANGE = {
    "id": QUOTE_ID,
    "created": ago(1),
    "validUntil": ago(-30),
    "source": money("1.00", "USD"),
    "target": money("0.00001000"),
    "state": "NEW",
}
PROFILE = {
    "handle": "frank_test",
    "canReceive": True,
    "currencies": [
        {"currency": "EUR", "isDefaultCurrency": True, "isAvailable": True, "isInvoiceable": True},
        {"currency": "BTC", "isDefaultCurrency": False, "isAvailable": True, "isInvoiceable": False},
    ],
}
LNURL = {"minSendable": 1_000, "maxSendable": 10**11, "metadata": "[]", "commentAllowed": 10, "tag": "payRequest"}
TIER = {"id": "tier_fast", "estimatedDeliveryDurationInMin": 10, "estimatedFee": money("0.00000500")}
ONCHAIN = OnchainOrder(address="bcrt1q", amount=ONE_SAT, tier_id="tier_fast", currency="BTC")


@pytest.fixture
def strike() -> ScriptedStrike:
    return ScriptedStrike()


Ask = Callable[[ScriptedStrike], Awaitable[Any]]


@pytest.mark.parametrize(
    ("call", "answer", "ask", "body"),
    [
        (
            "POST /v1/payment-quotes/lightning/lnurl",
            ok(payment_quote()),
            lambda s: PaymentQuotes(s.client()).lnurl(payee="a@b.example", amount=ONE_SAT, comment="hi", key=KEY),
            {
                "lnAddressOrUrl": "a@b.example",
                "sourceCurrency": "BTC",
                "amount": money("0.00000001"),
                "description": "hi",
            },
        ),
        (
            "POST /v1/payment-quotes/onchain/tiers",
            ok([TIER]),
            lambda s: PaymentQuotes(s.client()).tiers(address="bcrt1q", amount=ONE_SAT),
            {"btcAddress": "bcrt1q", "amount": money("0.00000001")},
        ),
        (
            "POST /v1/payment-quotes/onchain",
            ok(payment_quote()),
            lambda s: PaymentQuotes(s.client()).onchain(ONCHAIN, key=KEY),
            {
                "btcAddress": "bcrt1q",
                "sourceCurrency": "BTC",
                "amount": money("0.00000001") | {"feePolicy": "EXCLUSIVE"},
                "onchainTierId": "tier_fast",
            },
        ),
        (
            "POST /v1/receive-requests",
            ok(REQUEST, status=201),
            lambda s: ReceiveRequests(s.client()).create(
                ReceiveOrder(amount=ONE_SAT, description="x" * 300, expires_in_s=60, with_onchain=True)
            ),
            {
                "bolt11": {"amount": money("0.00000001"), "description": "x" * 250, "expiryInSeconds": 60},
                "onchain": {"amount": money("0.00000001")},
            },
        ),
        (
            "POST /v1/receive-requests",
            ok(REQUEST, status=201),
            lambda s: ReceiveRequests(s.client()).create(ReceiveOrder(amount=None)),
            {"bolt11": {}},
        ),
        (
            "POST /v1/currency-exchange-quotes",
            ok(EXCHANGE),
            lambda s: Exchange(s.client()).quote(sell="USD", buy="BTC", amount=Money(100, USD), key=KEY),
            {"sell": "USD", "buy": "BTC", "amount": money("1.00", "USD") | {"feePolicy": "EXCLUSIVE"}},
        ),
        (
            "PATCH /v1/currency-exchange-quotes/*/execute",
            httpx.Response(202),
            lambda s: Exchange(s.client()).execute(QUOTE_ID),
            None,
        ),
    ],
)
async def test_what_is_sent(strike: ScriptedStrike, call: str, answer: Any, ask: Ask, body: Any) -> None:
    strike.answer(call, answer)

    await ask(strike)

    assert strike.bodies(call) == [body]
    is_quote = call.startswith("POST") and "quotes" in call and "tiers" not in call
    assert strike.calls(call)[0].headers.get("idempotency-key") == (KEY if is_quote else None)


async def test_what_is_read(strike: ScriptedStrike) -> None:
    client = strike.client()
    strike.answer("GET /v1/receive-requests/*", ok(REQUEST))
    strike.answer("GET /v1/receive-requests", page(REQUEST))
    strike.answer("GET /v1/currency-exchange-quotes/*", ok(EXCHANGE))
    strike.answer("GET /v1/accounts/handle/frank_test/profile", ok(PROFILE))

    request = await ReceiveRequests(client).find(INVOICE_ID)
    profile = await Profiles(client).of_handle("frank_test")

    assert request.bolt11 is not None
    assert (request.bolt11.payment_hash, request.onchain) == (HASH, None)
    assert await ReceiveRequests(client).with_payment_hash(HASH) == (request,)
    assert strike.calls("GET /v1/receive-requests")[0].url.params["$paymentHash"] == HASH
    assert (await Exchange(client).find(QUOTE_ID)).state == "NEW"
    assert profile is not None
    assert [one.currency for one in profile.currencies if one.is_invoiceable] == ["EUR"]


async def test_receive_of_another_customer_has_no_hash_and_is_read(strike: ScriptedStrike) -> None:
    strike.answer("GET /v1/receive-requests/*/receives", page(*[RECEIVE] * 100), page(RECEIVE))

    pages = [items async for items in ReceiveRequests(strike.client()).receives(INVOICE_ID)]

    asked = [request.url.params["$skip"] for request in strike.calls("GET /v1/receive-requests/*/receives")]
    assert ([len(items) for items in pages], asked) == ([100, 1], ["0", "100"])
    assert pages[1][0].type == "P2P"


async def test_lightning_address_is_one_segment(strike: ScriptedStrike) -> None:
    strike.answer("GET /v1/payment-quotes/lightning/lnurl/a@b.example", ok(LNURL))

    details = await PaymentQuotes(strike.client()).lnurl_details("a@b.example")

    assert (details.min_sendable, details.max_sendable, details.comment_allowed) == (1_000, 10**11, 10)
    assert strike.asked[0][1].url.raw_path == b"/v1/payment-quotes/lightning/lnurl/a%40b.example"


@pytest.mark.parametrize("change", [{"minSendable": 0}, {"tag": "withdrawRequest"}, {"maxSendable": "1000"}])
async def test_payee_that_makes_no_sense_is_refused(strike: ScriptedStrike, change: dict[str, Any]) -> None:
    strike.answer("GET /v1/payment-quotes/lightning/lnurl/a@b.example", ok(LNURL | change))

    with pytest.raises(ProviderMisconfigured):
        await PaymentQuotes(strike.client()).lnurl_details("a@b.example")


async def test_profile_that_is_private_or_unknown_is_none(strike: ScriptedStrike) -> None:
    assert await Profiles(strike.client()).of_account(OTHER_ID) is None
    strike.answer("GET /v1/accounts/*/profile", no("FORBIDDEN", status=403))

    with pytest.raises(ProviderMisconfigured, match=r"partner\.account\.profile\.read"):
        await Profiles(strike.client()).of_account(OTHER_ID)


async def test_invoice_for_another_customer_is_asked_by_handle(strike: ScriptedStrike) -> None:
    strike.answer(f"{ISSUE}/handle/frank_test", ok(invoice("x", receiverId=OTHER_ID), status=201))

    made = await strike.client().issue_invoice(amount=ONE_SAT, description="", correlation_id="x", handle="frank_test")

    assert made.invoice_id == INVOICE_ID
