"""Orders at the door of LNPay shops: the seed's shapes, and none of its weaknesses (strike.md, L1 to L9, S1 to S9)."""

import asyncio
import base64
import socket
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from tests.integration.lnpay_shop import BODY_BYTES_MAX, GRANTED_S, LnpayShop, NewShop
from tests.integration.racing import Wrapped
from tests.integration.test_refunds import address
from tests.integration.webhook_receiver import Receiver
from tests.unit.test_qr import decode, read_png

from quittance.domain.access import Scope
from quittance.domain.bolt11 import decode as decode_bolt11
from quittance.domain.errors import InvoiceRejected, ProviderMisconfigured, ProviderUnavailable
from quittance.domain.ids import BOOTSTRAP_MERCHANT
from quittance.domain.money import BTC_MSAT, Asset, Money, msat
from quittance.domain.payment import NoticeFormat, PaymentPurpose
from quittance.providers.base import Invoice, InvoiceRequest
from quittance.providers.lightning import signer
from quittance.resolvers.keys import create_own_key
from quittance.resolvers.merchants import MerchantChange, update_merchant
from quittance.resolvers.services import ASKING_BUDGET, MUTATION_BUDGET, Services
from quittance.server.access import ADDRESS_BUDGET, KEY_BUDGET
from quittance.server.limiter import MinuteLimiter

NO_INVOICE = "no invoice can be made just now; nothing was charged, so try again"


@pytest.mark.parametrize("written", ["12.50", "12,50", " 12.5 ", "012.5"])
async def test_l1_l2_s3_an_order_is_answered_with_all_that_a_shop_shows(lnpay: LnpayShop, written: str) -> None:
    data = await lnpay.ordered(amount_fiat=written, ln_address=address(lnpay.till))

    assert list(data) == ["invoice", "quote", "qr_code", "expiration_time"]
    payment = await lnpay.till.payment(data["invoice"]["invoiceId"])
    (option,) = await lnpay.till.options(payment.id)
    assert (payment.amount, payment.fiat_amount) == (msat(25_000_000), Money(1_250, Asset("USD", 2)))
    assert (payment.description, payment.correlation_id) == ("a book", "order-1")
    assert payment.refund_address == address(lnpay.till)
    assert (payment.purpose, payment.notify_format) == (PaymentPurpose.ORDER, NoticeFormat.LNPAY)
    assert data["invoice"] == {
        "invoiceId": payment.id,
        "amount": {"amount": "0.00025000", "currency": "BTC"},
        "state": "UNPAID",
        "created": payment.created_at.isoformat(timespec="milliseconds"),
        "correlationId": "order-1",
        "description": "a book",
        "issuerId": payment.merchant_id,
        "receiverId": payment.merchant_id,
    }
    assert data["quote"] == {
        "quoteId": option.id,
        "description": "a book",
        "lnInvoice": option.payment_request,
        "expiration": data["expiration_time"],
        "expirationInSec": GRANTED_S,
        "targetAmount": {"amount": "0.00025000", "currency": "BTC"},
        "sourceAmount": {"amount": "0.00025000", "currency": "BTC"},
        "conversionRate": {"amount": "1.0000", "sourceCurrency": "BTC", "targetCurrency": "BTC"},
    }
    assert decode_bolt11(data["quote"]["lnInvoice"], recover=signer).amount_msat == 25_000_000


async def test_l2_s4_it_can_be_paid_for_the_time_that_the_merchant_grants_from_its_creation(lnpay: LnpayShop) -> None:
    data = await lnpay.ordered()

    ends = datetime.fromisoformat(data["expiration_time"])
    payment = await lnpay.till.payment(data["invoice"]["invoiceId"])
    created = datetime.fromisoformat(data["invoice"]["created"])
    assert data["expiration_time"].endswith("+00:00")
    assert timedelta(seconds=GRANTED_S - 1) <= ends - created <= timedelta(seconds=GRANTED_S + 1)
    assert payment.expires_in_s == GRANTED_S


async def test_l8_s5_the_qr_code_is_a_small_png_of_the_invoice_as_it_is(lnpay: LnpayShop) -> None:
    data = await lnpay.ordered()

    png = base64.b64decode(data["qr_code"], validate=True)
    assert decode(read_png(png)).text == data["quote"]["lnInvoice"]
    assert len(data["qr_code"]) <= 3_500


async def test_l6_w12_small_amounts_are_plain_digits(lnpay: LnpayShop) -> None:
    data = await lnpay.ordered(amount_fiat="0.01")

    assert data["quote"]["sourceAmount"] == {"amount": "0.00000020", "currency": "BTC"}
    assert (await lnpay.till.payment(data["invoice"]["invoiceId"])).amount == Money(20_000, BTC_MSAT)


async def test_l6_a_price_is_rounded_up_to_whole_satoshi(lnpay: LnpayShop) -> None:
    lnpay.prices.value = Decimal("94687.3")

    data = await lnpay.ordered(amount_fiat="12.50")

    assert data["quote"]["sourceAmount"]["amount"] == "0.00013202"  # 13,201.34 sat
    payment = await lnpay.till.payment(data["invoice"]["invoiceId"])
    assert (payment.amount, payment.rate and payment.rate.value) == (msat(13_202_000), Decimal("94687.3"))


@pytest.mark.parametrize("left_out", [..., None, "", "  "])
async def test_l5_w15_what_is_not_said_is_not_said_for_it(lnpay: LnpayShop, left_out: object) -> None:
    data = await lnpay.ordered(description=left_out, correlation_id=left_out, ln_address=left_out)

    payment = await lnpay.till.payment(data["invoice"]["invoiceId"])
    assert (payment.description, payment.correlation_id, payment.refund_address) == (None, None, None)
    assert "None" not in str(data["invoice"])
    assert not {"description", "correlationId"} & {*data["invoice"], *data["quote"]}


@pytest.mark.parametrize(
    "amount",
    [..., None, "", " ", 12.5, 12, True, ["12"], "abc", "-5", "+5", "nan", "NaN", "inf", "-inf", "1e3", "0", "0.00",
     "0,0", "1,234.56", "1.234,56", "12.", ".5", "0x10", "1_000", "١٢", "12.505", "9" * 15, "9" * 400],
)  # fmt: skip
async def test_l3_l4_w12_what_is_no_amount_makes_nothing(lnpay: LnpayShop, amount: object) -> None:
    answer = await lnpay.order(amount_fiat=amount)

    assert answer.status_code == 500
    assert list(answer.json()) == ["status", "message"]
    assert answer.json()["status"] == "error"
    assert answer.json()["message"].startswith(("amount_fiat is", "an amount is at most", "the amount "))
    await lnpay.assert_nothing_was_made()


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({"description": 5}, "description is a text"),
        ({"ln_address": {}}, "ln_address is a text"),
        ({"correlation_id": False}, "correlation_id is a text"),
        ({"description": "x" * 700}, "description has 1 to 639 bytes of text"),
        ({"correlation_id": "x" * 300}, "correlationId has 1 to 255 bytes of text"),  # W22
        ({"ln_address": "my wallet"}, "nothing can be sent back to this refund address"),  # W14
    ],
)
async def test_l3_w14_w22_what_else_makes_no_sense_makes_nothing(
    lnpay: LnpayShop, members: dict[str, Any], says: str
) -> None:
    answer = await lnpay.order(**members)

    assert (answer.status_code, answer.json()["status"]) == (500, "error")
    assert answer.json()["message"].startswith(says)
    await lnpay.assert_nothing_was_made()


async def test_w14_a_refund_address_whose_server_is_away_makes_nothing(lnpay: LnpayShop) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        answer = await lnpay.order(ln_address=f"nobody@127.0.0.1:{closed.getsockname()[1]}")

    assert answer.status_code == 500
    assert answer.json()["message"].startswith("the payee's server gave no answer (refused)")
    await lnpay.assert_nothing_was_made()


@pytest.mark.parametrize(
    ("content", "media", "status"),
    [
        (b"", "application/json", 500),
        (b"{", "application/json", 500),
        (b"[]", "application/json", 500),
        (b'"12.50"', "application/json", 500),
        (b'{"amount_fiat": NaN}', "application/json", 500),
        (b"\xff", "application/json", 500),
        (b'{"amount_fiat": "5"}', "text/plain", 500),
        (b"amount_fiat=5", "application/x-www-form-urlencoded", 500),
        (b'{"amount_fiat": "' + b"5" * BODY_BYTES_MAX + b'"}', "application/json", 413),
    ],
)
async def test_l3_s2_what_is_no_order_is_refused_in_json(
    lnpay: LnpayShop, content: bytes, media: str, status: int
) -> None:
    headers = {"Content-Type": media, "Authorization": f"Bearer {lnpay.key}"}
    answer = await lnpay.http.post("/generate-invoice", content=content, headers=headers)

    assert answer.status_code == status
    assert list(answer.json()) == ["status", "message"]
    await lnpay.assert_nothing_was_made()


async def test_w19_without_a_rate_nothing_is_made(lnpay: LnpayShop) -> None:
    lnpay.prices.value = None

    answer = await lnpay.order()

    assert answer.status_code == 500
    assert answer.json()["message"].startswith("there is no rate from BTC to USD now")
    await lnpay.assert_nothing_was_made()


class Failing(Wrapped):
    def __init__(self, inside: Any, failure: Exception) -> None:
        super().__init__(inside)
        self.failure = failure

    async def create_invoice(self, _request: InvoiceRequest) -> Invoice:
        raise self.failure


@pytest.mark.parametrize(
    ("failure", "says"),
    [
        (ProviderUnavailable("lnd"), NO_INVOICE),
        (ProviderMisconfigured("lnd", "macaroon 0201036c6e64 of /home/shop is wrong"), NO_INVOICE),
        (InvoiceRejected("lnd", "rpc error: memo too large"), "no invoice can be made for this order"),
        (RuntimeError("SELECT * FROM payment"), "Unexpected error."),
    ],
)
async def test_w15_a_shop_is_told_nothing_of_our_insides(lnpay: LnpayShop, failure: Exception, says: str) -> None:
    rail = lnpay.till.services.rails["lnd"]
    lnpay.till.services.rails = {"lnd": Failing(rail, failure)}

    answer = await lnpay.order()

    assert answer.status_code == 500
    assert answer.json()["status"] == "error"
    assert answer.json()["message"].startswith(says)
    assert not any(word in answer.text for word in ("lnd", "macaroon", "rpc", "SELECT", "Traceback"))


async def test_w15_without_a_key_nothing_is_made(lnpay: LnpayShop) -> None:
    lnpay.key = None
    reads = await create_own_key(
        lnpay.till.services, lnpay.till.shop.principal, name="reads", scopes=[Scope.PAYMENTS_READ]
    )

    answers = [
        await lnpay.order(),
        await lnpay.order(key="not-a-key-at-all"),
        await lnpay.order(headers={"Authorization": "Basic dTpw"}),
        await lnpay.order(key=reads.secret),
    ]

    assert [answer.status_code for answer in answers] == [401, 401, 401, 403]
    assert all(list(answer.json()) == ["status", "message"] for answer in answers)
    await lnpay.assert_nothing_was_made()


async def test_each_key_sells_for_its_own_merchant(lnpay: LnpayShop, other_shop: Any) -> None:
    theirs = await create_own_key(lnpay.till.services, other_shop.principal, name="till", scopes=[Scope.PAYMENTS_WRITE])

    own, other = await lnpay.ordered(), await lnpay.ordered(key=theirs.secret)

    assert own["invoice"]["receiverId"] == lnpay.till.shop.principal.merchant_id
    assert other["invoice"]["receiverId"] == other_shop.principal.merchant_id


async def test_w15_a_sandbox_s_shop_without_a_key_sells_for_the_first_merchant_within_a_budget(
    new_lnpay: NewShop,
) -> None:
    shop = new_lnpay(requires_key=False)
    shop.key = None
    plenty = dict.fromkeys((MUTATION_BUDGET, KEY_BUDGET, ADDRESS_BUDGET), 1_000)
    shop.till.services.limiter = MinuteLimiter(plenty | {ASKING_BUDGET: 2})

    made = [await shop.ordered(), await shop.ordered(correlation_id="order-2")]
    refused = await shop.order(correlation_id="order-3")
    forged = await shop.order(key="not-a-key-at-all")

    assert {data["invoice"]["receiverId"] for data in made} == {BOOTSTRAP_MERCHANT}
    assert (refused.status_code, list(refused.json())) == (429, ["status", "message"])
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert forged.status_code == 401  # a key that is shown counts, also where none is needed
    assert len(await shop.till.rows("payment")) == 2


async def test_l9_w22_a_reused_correlation_id_is_refused_where_the_merchant_says_so(lnpay: LnpayShop) -> None:
    principal = lnpay.till.shop.principal
    await lnpay.ordered()
    await lnpay.ordered()
    await update_merchant(
        lnpay.till.services, principal, principal.merchant_id, MerchantChange(unique_correlation_ids=True)
    )

    refused = await lnpay.order()

    assert (refused.status_code, refused.json()["status"]) == (500, "error")
    assert refused.json()["message"].startswith("another payment has this correlation id")
    assert len(await lnpay.till.rows("payment")) == 2


async def test_one_idempotency_key_makes_one_payment_however_often_it_is_sent(
    lnpay: LnpayShop, new_lnpay: NewShop, new_services: Callable[[], Services]
) -> None:
    other = new_lnpay(services=new_services())
    quoted, bare = {"Idempotency-Key": '"k-1"'}, {"Idempotency-Key": "k-1"}

    answers = await asyncio.gather(
        *((lnpay, other)[n % 2].order(headers=(quoted, bare)[n // 2 % 2], ln_address=...) for n in range(12))
    )
    conflict = await lnpay.order(headers=bare, description="another book")

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["data"]["quote"]["lnInvoice"] for answer in answers}) == 1
    assert [answer.headers.get("idempotent-replayed") for answer in answers].count("true") == 11
    assert conflict.status_code == 500
    assert conflict.json()["message"].startswith("this idempotency key was used with another input")
    assert len(await lnpay.till.rows("payment")) == 1


async def test_a_replayed_order_says_how_the_payment_stands_by_now(lnpay: LnpayShop) -> None:
    headers = {"Idempotency-Key": "k-1"}
    first = await lnpay.paid(headers=headers)

    again = await lnpay.ordered(headers=headers)

    assert (first["invoice"]["state"], again["invoice"]["state"]) == ("UNPAID", "PAID")
    assert again["quote"]["lnInvoice"] == first["quote"]["lnInvoice"]


async def test_the_door_does_not_sell_in_a_currency_that_its_rail_cannot_price(
    new_lnpay: NewShop, receiver: Receiver
) -> None:
    yen = new_lnpay(currency="JPY")

    whole, parts = await yen.order(amount_fiat="1500"), await yen.order(amount_fiat="15.50")

    assert whole.status_code == 200
    assert whole.json()["data"]["quote"]["sourceAmount"]["amount"] == "0.03000000"
    assert parts.status_code == 500
    assert parts.json()["message"] == "the amount has more than 0 decimal places"


async def test_other_methods_find_no_door(lnpay: LnpayShop) -> None:
    assert [(await lnpay.http.get(path)).status_code for path in ("/generate-invoice", "/webhook")] == [405, 405]


async def test_the_amount_may_not_be_above_what_a_payment_may_be(lnpay: LnpayShop) -> None:
    services = lnpay.till.services
    services.rules = replace(services.rules, amount_msat_max=24_999_999)

    refused = await lnpay.order()

    assert refused.status_code == 500
    assert refused.json()["message"].startswith("an amount is at most")
    await lnpay.assert_nothing_was_made()
