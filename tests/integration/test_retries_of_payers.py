"""Those who pay try again: a new invoice, the old one kept, and money on either opens the article."""

from dataclasses import replace
from typing import Any

import pytest
from tests.integration.buying import CANCEL, CHECK, article_of, buy, moderate, reader, retry
from tests.integration.test_isolation import new_article

from quittance.domain.access import ANONYMOUS, Principal, Scope
from quittance.domain.errors import InvoiceRejected
from quittance.domain.ids import PaymentId
from quittance.providers.base import Invoice, InvoiceRequest
from quittance.resolvers.services import ASKING_BUDGET, MUTATION_BUDGET
from quittance.sandbox.clock import SandboxClock
from quittance.sandbox.rails import SandboxRails
from quittance.server.limiter import MinuteLimiter

A_DAY_S = 86_400


class Rejecting:
    """A rail that makes no invoice."""

    def __init__(self, inside: Any) -> None:
        self._inside = inside

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inside, name)

    async def create_invoice(self, request: InvoiceRequest) -> Invoice:
        raise InvoiceRejected("lnd", f"not for {request.amount.value}")


async def expired(till: Any, clock: SandboxClock, *, as_: Principal = ANONYMOUS) -> Any:
    """Return what was bought and not paid within a day, with its article."""
    made = await buy(till, await new_article(till), as_=as_)
    clock.advance(A_DAY_S)
    await till.reconcile()
    assert (await till.payment(made["payment"]["id"])).status == "EXPIRED"
    return made


@pytest.mark.parametrize("paid_option", [0, 1])
async def test_lc_25_an_expired_payment_gets_another_invoice_and_money_on_either_opens_the_article(
    till: Any, clock: SandboxClock, paid_option: int
) -> None:
    alice = await reader(till)
    made = await expired(till, clock, as_=alice)
    payment_id, article_id = made["payment"]["id"], made["payment"]["article"]["id"]

    again = await buy(till, article_id, as_=alice)
    retried = await retry(till, payment_id, as_=alice)
    late = await till.money(payment_id, option=paid_option)
    await till.report(late)

    assert (again["replayed"], again["payment"]["status"]) == (True, "EXPIRED")
    assert retried["payment"]["status"] == "PENDING_PAYMENT"
    old, new = retried["payment"]["options"]
    assert old["paymentRequest"] == made["payment"]["paymentRequest"]
    assert new["paymentRequest"] == retried["payment"]["paymentRequest"] != old["paymentRequest"]
    assert (await article_of(till, article_id, as_=alice))["content"] == "the text"
    assert len(await till.rows("payment")) == 1
    assert (await retry(till, payment_id, as_=alice))["code"] == "PAYMENT_NOT_PAYABLE"


async def test_lc_30_late_money_opens_the_article_without_a_retry(till: Any, clock: SandboxClock) -> None:
    alice = await reader(till)
    made = await expired(till, clock, as_=alice)

    await till.report(await till.money(made["payment"]["id"]))

    assert (await article_of(till, made["payment"]["article"]["id"], as_=alice))["content"] == "the text"


async def test_lc_24_a_payment_in_error_says_why_and_can_be_retried(till: Any, lnd: Any) -> None:
    article_id, alice = await new_article(till), await reader(till)
    broken = till.on(replace(till.services, rails={"lnd": Rejecting(lnd)}, making={}))

    refused = await buy(broken, article_id, as_=alice)
    payment_id = (await till.rows("payment"))[0]["id"]
    shown = await till.shop.run("query ($id: ID!) { payment(id: $id) { status statusReason } }", {"id": payment_id},
                                as_=alice)  # fmt: skip
    retried = await retry(till, payment_id, as_=alice)

    assert (refused["code"], refused["retryable"]) == ("INVOICE_REJECTED", False)
    assert shown["payment"] == {"status": "ERROR", "statusReason": "INVOICE_REJECTED"}
    assert (retried["payment"]["id"], retried["payment"]["status"]) == (payment_id, "PENDING_PAYMENT")


async def test_a_view_that_the_merchant_canceled_can_be_bought_after_all(till: Any) -> None:
    article_id, alice = await new_article(till), await reader(till)
    payment_id = (await buy(till, article_id, as_=alice))["payment"]["id"]
    own = [await till.shop.mutate("cancelPayment", CANCEL, {"id": payment_id}, as_=who) for who in (alice, ANONYMOUS)]
    await till.shop.mutate("cancelPayment", CANCEL, {"id": payment_id})

    again = await buy(till, article_id, as_=alice)
    merchant = await retry(till, payment_id, as_=till.shop.principal)
    retried = await retry(till, payment_id, as_=alice)
    await till.report(await till.pay(payment_id))

    assert [one["code"] for one in own] == ["PERMISSION_DENIED"] * 2
    assert (again["replayed"], again["payment"]["status"]) == (True, "CANCELED")
    assert merchant["code"] == "PAYMENT_NOT_PAYABLE"
    assert (retried["payment"]["status"], retried["payment"]["statusReason"]) == ("PENDING_PAYMENT", None)
    assert (await article_of(till, article_id, as_=alice))["content"] == "the text"


async def test_who_holds_the_client_secret_retries_and_nobody_else(till: Any, clock: SandboxClock) -> None:
    made, other = await expired(till, clock), await buy(till, await new_article(till))
    bob = await reader(till, "bobby", number=2)
    payment_id, secret = made["payment"]["id"], made["clientSecret"]
    reads = Principal(merchant_id=till.shop.principal.merchant_id, scopes=frozenset({Scope.PAYMENTS_READ}))

    refused = [
        await retry(till, payment_id, as_=who, secret=said)
        for who, said in ((ANONYMOUS, None), (ANONYMOUS, other["clientSecret"]), (bob, None), (reads, "forged"))
    ]
    retried = await retry(till, payment_id, secret=secret)
    clock.advance(A_DAY_S)
    await till.reconcile()
    by_socket = await retry(till, payment_id, as_=Principal(payment_id=PaymentId(payment_id)))

    assert [one["code"] for one in refused] == ["PERMISSION_DENIED"] + ["PAYMENT_NOT_FOUND"] * 3
    assert retried["payment"]["status"] == by_socket["payment"]["status"] == "PENDING_PAYMENT"
    assert len(by_socket["payment"]["options"]) == 3


async def test_how_long_the_price_of_an_order_holds_is_the_merchants_to_say(till: Any, clock: SandboxClock) -> None:
    order = await till.order(expires_in_s=60)
    sale = await till.order(article_id=await new_article(till), expires_in_s=60)
    clock.advance(A_DAY_S)
    await till.reconcile()

    refused = await retry(till, order.payment.id, secret=order.client_secret)
    by_key = await retry(till, order.payment.id, as_=till.shop.principal, secret=order.client_secret)
    of_article = await retry(till, sale.payment.id, secret=sale.client_secret)

    assert (refused["code"], refused["needed"]) == ("PERMISSION_DENIED", "payments:write")
    assert by_key["payment"]["status"] == of_article["payment"]["status"] == "PENDING_PAYMENT"


@pytest.mark.parametrize("status", ["HIDDEN", "REMOVED"])
async def test_what_is_not_sold_any_more_is_not_retried(
    till: Any, clock: SandboxClock, rails: SandboxRails, status: str
) -> None:
    alice = await reader(till)
    made = await expired(till, clock, as_=alice)
    article_id = made["payment"]["article"]["id"]
    if status == "REMOVED":
        await moderate(till, article_id, "REMOVED")
    else:
        await till.shop.run("mutation ($id: ID!) { hideArticle(id: $id) { __typename } }", {"id": article_id})

    refused = [
        await retry(till, made["payment"]["id"], as_=alice),
        await retry(till, made["payment"]["id"], secret=made["clientSecret"]),
    ]

    assert [one["code"] for one in refused] == ["ARTICLE_HIDDEN"] * 2
    assert (await till.payment(made["payment"]["id"])).status == "EXPIRED"
    assert len(rails.nodes["merchant"].invoices) == 1


async def test_lc_20_a_reader_checks_and_reads(till: Any) -> None:
    article_id, alice = await new_article(till), await reader(till)
    made, anonymous = await buy(till, article_id, as_=alice), await buy(till, article_id)
    for one in (made, anonymous):
        await till.pay(one["payment"]["id"])
    ids = [one["payment"]["id"] for one in (made, anonymous)]

    foreign = await till.shop.mutate("checkPayment", CHECK, {"id": ids[1]}, as_=alice)
    own = await till.shop.mutate("checkPayment", CHECK, {"id": ids[0]}, as_=alice)
    held = await till.shop.mutate("checkPayment", CHECK, {"id": ids[1], "secret": anonymous["clientSecret"]},
                                  as_=ANONYMOUS)  # fmt: skip

    assert foreign["code"] == "PAYMENT_NOT_FOUND"
    assert own["payment"]["article"]["content"] == held["payment"]["article"]["content"] == "the text"
    assert own["payment"]["received"] == {"value": "5000"}


async def test_retries_and_checks_of_strangers_are_counted_by_address(till: Any, clock: SandboxClock) -> None:
    made = await expired(till, clock)
    payment_id, secret = made["payment"]["id"], made["clientSecret"]
    limiter = MinuteLimiter({MUTATION_BUDGET: 100, ASKING_BUDGET: 1})
    limited = till.on(replace(till.services, limiter=limiter))
    here, there = (Principal(address=address) for address in ("192.0.2.1", "192.0.2.2"))

    checked = await limited.shop.mutate("checkPayment", CHECK, {"id": payment_id, "secret": secret}, as_=here)
    refused = await retry(limited, payment_id, as_=here, secret=secret)
    retried = await retry(limited, payment_id, as_=there, secret=secret)

    assert checked["payment"]["status"] == "EXPIRED"
    assert refused["code"] == "RATE_LIMITED"
    assert retried["payment"]["status"] == "PENDING_PAYMENT"
