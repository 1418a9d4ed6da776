"""Refund addresses are tried before anything is made: who cannot be paid back is not asked for money (W13, W14)."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from tests.integration.buying import buy, reader
from tests.integration.litecoin import litoshi
from tests.integration.outgoing_money import found, refund
from tests.integration.racing import Wrapped
from tests.integration.test_isolation import new_article

from quittance.domain.access import ANONYMOUS
from quittance.domain.errors import InvoiceRejected
from quittance.domain.money import Asset, msat
from quittance.providers.base import Invoice, InvoiceRequest
from quittance.providers.lnurl.directory import LnurlDirectory
from quittance.providers.outgoing import LOOPBACK, OutgoingClient, OutgoingRules
from quittance.sandbox.clock import SandboxClock
from quittance.sandbox.http import LoopbackServer

GENERATE = """
mutation ($input: GenerateInvoiceInput!) { generateInvoice(input: $input) {
  __typename
  ... on GenerateInvoiceSuccess { replayed payment { id refundAddress } }
  ... on UserError { code message retryable }
  ... on InvalidRefundAddressError { flaw reason } } }
"""
PRICE_MSAT = 5_000
OFFER = {
    "tag": "payRequest",
    "callback": "http://127.0.0.1:5001/pay",
    "minSendable": 1,
    "maxSendable": 100_000_000,
    "metadata": '[["text/plain", "Pay bob"], ["text/identifier", "bob@127.0.0.1"]]',
}


@dataclass
class Payee:
    """A payee's server, whose answer is as a test wants it."""

    port: int = 0
    answer: bytes = json.dumps(OFFER).encode()
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    gate: asyncio.Event | None = None

    @property
    def address(self) -> str:
        return f"bob@127.0.0.1:{self.port}"

    def offers(self, **changes: object) -> None:
        self.answer = json.dumps(OFFER | changes).encode()

    async def __call__(self, request: Request) -> Response:
        self.asked.append(request.url.path)
        if self.gate is not None:
            await self.gate.wait()
        return Response(self.answer, status_code=self.status, headers=self.headers, media_type="application/json")


class InDollars(Wrapped):
    """A rail that takes dollars, and makes no invoice."""

    asset = Asset("USD", 2)

    async def create_invoice(self, _request: InvoiceRequest) -> Invoice:
        raise InvoiceRejected("lnd", "not today")


@pytest.fixture
async def payee() -> AsyncIterator[Payee]:
    own = Payee()
    server = LoopbackServer(Starlette(routes=[Route("/.well-known/lnurlp/bob", own.__call__)]))
    await server.start()
    own.port = server.port
    yield own
    if own.gate is not None:
        own.gate.set()
    await server.stop()


async def generate(till: Any, address: str | None, **said: Any) -> dict[str, Any]:
    asked = {"amount": {"msat": PRICE_MSAT}, "refundAddress": address} | said
    answer: dict[str, Any] = await till.shop.mutate("generateInvoice", GENERATE, {"input": asked})
    return answer


async def assert_nothing_was_made(till: Any) -> None:
    for table in ("payment", "payment_option", "idempotency", "correlation_id", "event", "job"):
        assert await till.rows(table) == [], table
    assert till.rails.nodes["merchant"].invoices == {}


async def refused(till: Any, address: str, **said: Any) -> tuple[str, bool, str, str]:
    """Return why nothing was made, after it was made sure of."""
    answer = await generate(till, address, idempotencyKey="k", correlationId="order-1", **said)
    assert answer["__typename"] == "InvalidRefundAddressError", answer
    await assert_nothing_was_made(till)
    return answer["code"], answer["retryable"], answer["flaw"], answer["reason"]


async def test_an_address_that_takes_the_price_is_asked_once_and_can_be_paid_back(till: Any) -> None:
    made = await generate(till, till.rails.address_of("bob"), amount={"sat": 500})
    payment_id = made["payment"]["id"]
    await till.report(await till.pay(payment_id))

    begun = await refund(till, payment_id, amount={"sat": 100})
    await till.send()
    back = await found(till, begun["id"])

    assert made["payment"]["refundAddress"] == till.rails.address_of("bob")
    assert (back["status"], back["destination"]) == ("SUCCEEDED", till.rails.address_of("bob"))


@pytest.mark.parametrize("bounds", [(PRICE_MSAT, PRICE_MSAT), (1, PRICE_MSAT), (PRICE_MSAT, 10**12)])
async def test_w13_the_price_may_lie_on_a_bound(till: Any, payee: Payee, bounds: tuple[int, int]) -> None:
    payee.offers(minSendable=bounds[0], maxSendable=bounds[1])

    made = await generate(till, payee.address)

    assert made["__typename"] == "GenerateInvoiceSuccess"
    assert payee.asked == ["/.well-known/lnurlp/bob"]


@pytest.mark.parametrize("bounds", [(PRICE_MSAT + 1, 10**12), (1, PRICE_MSAT - 1)])
async def test_w13_an_address_that_does_not_take_the_price_is_refused(
    till: Any, payee: Payee, bounds: tuple[int, int]
) -> None:
    payee.offers(minSendable=bounds[0], maxSendable=bounds[1])

    code, retryable, flaw, reason = await refused(till, payee.address)

    assert (code, retryable, flaw) == ("INVALID_REFUND_ADDRESS", False, "AMOUNT")
    assert reason.endswith("and the price is 5 sat; give an address that takes the price")


@pytest.mark.parametrize(
    ("address", "flaw"),
    [
        ("my wallet", "MALFORMED"),
        ("bob@", "MALFORMED"),
        ("@example.com", "MALFORMED"),
        ("bob@exa mple.com", "MALFORMED"),
        ("lnurl1nonsense", "MALFORMED"),
        ("lnbcrt1nonsense", "MALFORMED"),
        ("bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080", "MALFORMED"),
        ("bob@169.254.169.254", "FORBIDDEN"),
        ("bob@10.0.0.1", "FORBIDDEN"),
        ("lnurlp://10.0.0.1/pay", "FORBIDDEN"),
    ],
)
async def test_w14_what_names_nobody_or_leads_inside_is_refused(till: Any, address: str, flaw: str) -> None:
    code, retryable, found, _ = await refused(till, address)

    assert (code, retryable, found) == ("INVALID_REFUND_ADDRESS", False, flaw)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b'{"status": "ERROR", "reason": "no such user"}', 200),
        (b'{"tag": "withdrawRequest"}', 200),
        (json.dumps(OFFER | {"minSendable": 10, "maxSendable": 1}).encode(), 200),
        (json.dumps(OFFER | {"metadata": "[]"}).encode(), 200),
        (json.dumps(OFFER | {"payerData": {"name": {"mandatory": True}}}).encode(), 200),
        (b"not found", 404),
    ],
)
async def test_who_offers_no_payment_is_refused(till: Any, payee: Payee, answer: bytes, status: int) -> None:
    payee.answer, payee.status = answer, status

    code, retryable, flaw, _ = await refused(till, payee.address)

    assert (code, retryable, flaw) == ("INVALID_REFUND_ADDRESS", False, "PAYEE")


async def test_an_offer_whose_callback_leads_inside_is_refused(till: Any, payee: Payee) -> None:
    payee.offers(callback="https://10.0.0.1/pay")

    assert (await refused(till, payee.address))[2] == "FORBIDDEN"


async def test_who_does_not_answer_in_time_is_not_taken_on_trust(till: Any, payee: Payee) -> None:
    payee.gate = asyncio.Event()
    rules = OutgoingRules(private_networks=LOOPBACK, plain_http=True, timeout_s=0.5)
    async with OutgoingClient(rules) as outgoing:
        till.services.payee_directory = LnurlDirectory(outgoing, prefix="bcrt", now=till.clock.now, timeout_s=0.5)
        answer = await generate(till, payee.address, idempotencyKey="k")
    await assert_nothing_was_made(till)
    payee.gate.set()
    payee.gate = None
    async with OutgoingClient(replace(rules, timeout_s=5.0)) as outgoing:
        till.services.payee_directory = LnurlDirectory(outgoing, prefix="bcrt", now=till.clock.now)
        later = await generate(till, payee.address, idempotencyKey="k")

    assert (answer["__typename"], answer["code"], answer["retryable"]) == (
        "PayeeUnavailableError",
        "PAYEE_UNAVAILABLE",
        True,
    )
    assert (later["__typename"], later["replayed"]) == ("GenerateInvoiceSuccess", False)


async def test_a_server_that_is_broken_is_away_and_not_a_bad_address(till: Any, payee: Payee) -> None:
    payee.answer, payee.status = b"<html>Bad Gateway</html>", 502

    answer = await generate(till, payee.address)

    assert (answer["code"], answer["retryable"]) == ("PAYEE_UNAVAILABLE", True)
    await assert_nothing_was_made(till)


async def test_a_replay_does_not_ask_again(till: Any, payee: Payee) -> None:
    made = await generate(till, payee.address, idempotencyKey="k")
    payee.answer = b'{"status": "ERROR", "reason": "gone"}'

    again = await generate(till, payee.address, idempotencyKey="k")
    conflict = await generate(till, payee.address, idempotencyKey="k", description="another")
    new = await generate(till, payee.address, idempotencyKey="other")

    assert (again["replayed"], again["payment"]) == (True, made["payment"])
    assert conflict["code"] == "IDEMPOTENCY_CONFLICT"
    assert new["code"] == "INVALID_REFUND_ADDRESS"
    assert len(payee.asked) == 2


async def test_what_is_wrong_otherwise_is_said_before_anybody_is_asked(till: Any, payee: Payee) -> None:
    answers = [
        await generate(till, payee.address, amount={"msat": 0}),
        await generate(till, payee.address, provider="nowhere"),
        await generate(till, payee.address, expiresIn=0),
        await generate(till, payee.address, articleId="art_00000000000000000000000000000000", amount=None),
    ]

    assert [answer["code"] for answer in answers] == [
        "INVALID_AMOUNT",
        "UNKNOWN_PROVIDER",
        "INVALID_INPUT",
        "ARTICLE_NOT_FOUND",
    ]
    assert payee.asked == []


@pytest.mark.parametrize("named_msat", [None, 1, PRICE_MSAT])
async def test_an_invoice_of_at_most_the_price_will_do(till: Any, named_msat: int | None) -> None:
    made = await generate(till, till.rails.new_invoice("bob", amount_msat=named_msat))

    assert made["__typename"] == "GenerateInvoiceSuccess"


async def test_an_invoice_of_more_than_the_price_is_refused(till: Any) -> None:
    dear = till.rails.new_invoice("bob", amount_msat=PRICE_MSAT + 1)

    _, _, flaw, reason = await refused(till, dear)

    assert (flaw, reason) == (
        "AMOUNT",
        "the invoice asks for more than the price; give one that names no amount",
    )


async def test_an_invoice_that_is_over_is_refused(till: Any, clock: SandboxClock) -> None:
    short = till.rails.new_invoice("bob", amount_msat=None, expiry_s=60)
    clock.advance(61)

    assert (await refused(till, short))[2] == "EXPIRED"


async def test_an_invoice_of_another_network_is_refused(till: Any) -> None:
    foreign = (
        "lnbc1pvjluezsp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygspp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5"
        "rqwzqfqypqdpl2pkx2ctnv5sxxmmwwd5kgetjypeh2ursdae8g6twvus8g6rfwvs8qun0dfjkxaq9qrsgq357wnc5r2ueh7ck6q93dj32dlqnls"
        "087fxdwk8qakdyafkq3yap9us6v52vjjsrvywa6rt52cm9r9zqt8r2t7mlcwspyetp5h2tztugp9lfyql"
    )  # the specification's own, for mainnet

    assert (await refused(till, foreign))[2] == "NETWORK"


async def test_a_rail_without_the_means_to_pay_still_looks_at_addresses(till: Any, payee: Payee) -> None:
    till.services.payers = {}
    payee.offers(minSendable=PRICE_MSAT + 1)

    _, _, flaw, _ = await refused(till, payee.address)
    made = await generate(till, till.rails.new_invoice("bob", amount_msat=None))

    assert flaw == "AMOUNT"
    assert made["__typename"] == "GenerateInvoiceSuccess"  # nobody is there who could read it


async def test_a_price_in_another_coin_goes_back_to_no_address(both: Any, payee: Payee) -> None:
    answer = await generate(both, payee.address, provider="lnd-ltc", amount=litoshi(1_000))

    assert (answer["code"], answer["flaw"]) == ("INVALID_REFUND_ADDRESS", "UNSUPPORTED")
    assert payee.asked == []


async def test_a_price_in_another_coin_goes_back_to_no_address_either_where_nothing_pays(
    both: Any, payee: Payee
) -> None:
    both.services.payers = {}

    answer = await generate(both, payee.address, provider="lnd-ltc", amount=litoshi(1_000))

    assert (answer["code"], answer["flaw"]) == ("INVALID_REFUND_ADDRESS", "UNSUPPORTED")


async def test_what_comes_in_a_currency_goes_back_to_nobody(till: Any, payee: Payee) -> None:
    """Nothing is exchanged, so it would stay owed for ever."""
    till.services.rails = {"lnd": InDollars(till.services.rails["lnd"])}
    dollars = {"fiat": {"currency": "USD", "value": "5.00"}}

    answer = await generate(till, payee.address, amount=dollars)

    assert (answer["code"], answer["flaw"]) == ("INVALID_REFUND_ADDRESS", "UNSUPPORTED")
    assert payee.asked == []


async def test_an_article_s_price_counts_for_readers_and_strangers_too(till: Any, payee: Payee) -> None:
    article_id, alice = await new_article(till), await reader(till)
    payee.offers(minSendable=5_001)
    answers = [await buy(till, article_id, as_=who, refundAddress=payee.address) for who in (alice, ANONYMOUS)]
    payments = await till.rows("payment")
    payee.offers(minSendable=5_000)
    bought = await buy(till, article_id, as_=alice, refundAddress=payee.address)
    payee.offers(minSendable=5_001)
    again = await buy(till, article_id, as_=alice, refundAddress=payee.address)

    assert [answer["code"] for answer in answers] == ["INVALID_REFUND_ADDRESS"] * 2
    assert payments == []
    assert (again["replayed"], again["payment"]["id"]) == (True, bought["payment"]["id"])
    assert len(payee.asked) == 3


async def test_the_operator_can_switch_the_check_off(till: Any, payee: Payee) -> None:
    till.services.rules = replace(till.services.rules, refund_address_check=False)

    made = [await till.order(amount=msat(PRICE_MSAT), refund_address=said) for said in (payee.address, "my wallet")]

    assert [one.payment.refund_address for one in made] == [payee.address, "my wallet"]
    assert payee.asked == []
