"""What the doors of payees refuse, in words that wallets read: what cannot be, too much of it, and a node away."""

from dataclasses import replace
from typing import Any

import pytest
from tests.integration.payee_doors import PayeeDoors

from quittance.domain.errors import RateLimited
from quittance.domain.outgoing_errors import PayeeRefused
from quittance.resolvers.lightning_addresses import COMMENT_CHARACTERS_MAX, PayRequest, request_payment
from quittance.resolvers.services import PAYEE_BUDGET, PAYER_BUDGET, Services
from quittance.server.limiter import MinuteLimiter

WRONG_PATHS = [
    "/.well-known/lnurlp/nobody",
    "/.well-known/lnurlp/",
    "/.well-known/lnurlp/shop/",
    "/.well-known/lnurlp/shop/more",
    "/.well-known/lnurlp/%00",
    "/.well-known/lnurlp/%ED%A0%80",
    "/.well-known/lnurlp/art_" + "0" * 32,
    "/.well-known/lnurlp/mer_" + "0" * 32,
    "/lnurl/pay/nobody?amount=5000",
    "/lnurl/pay/shop",
    "/lnurl/pay/shop?amount=",
    "/lnurl/pay/shop?amount=999",
    "/lnurl/pay/shop?amount=0",
    "/lnurl/pay/shop?amount=-5000",
    "/lnurl/pay/shop?amount=5000.0",
    "/lnurl/pay/shop?amount=5e3",
    "/lnurl/pay/shop?amount=%D9%A5000",
    "/lnurl/pay/shop?amount=100000000001",
    "/lnurl/pay/shop?amount=" + "9" * 5_000,
    "/lnurl/pay/shop?amount=5000&comment=" + "x" * (COMMENT_CHARACTERS_MAX + 1),
    "/lnurl/pay/shop?amount=5000&comment=%00",
    "/lnurl/verify",
]


async def test_what_cannot_be_is_an_error_with_status_200_and_makes_nothing(doors: PayeeDoors) -> None:
    await doors.named("shop")

    reasons = set()
    for path in WRONG_PATHS:
        told = await doors.told(path)
        assert told.keys() == {"status", "reason"}, path
        assert told["status"] == "ERROR", path
        reasons.add(told["reason"])

    assert reasons == {
        "there is nothing to be paid under this address",
        "amount is a whole number of millisatoshi",
        "the payee takes 1000 to 100000000000 millisatoshi at once",
        "a comment has at most 140 characters of text",
    }
    assert await doors.till.rows("payment") == []


async def test_only_a_get_asks_for_an_invoice(doors: PayeeDoors) -> None:
    await doors.named("shop")

    answers = [
        await doors.http.request(method, "/lnurl/pay/shop?amount=5000") for method in ("HEAD", "POST", "PUT", "OPTIONS")
    ]

    assert [answer.status_code for answer in answers] == [405] * 4
    assert await doors.till.rows("payment") == []


async def test_callers_are_counted(doors: PayeeDoors) -> None:
    await doors.named("shop")
    limiter: Any = doors.services.limiter

    limiter.left = 2  # for the call itself, and the caller's invoices; none for the payee's
    refused = await doors.told("/lnurl/pay/shop", amount=5_000)
    limiter.left = 0
    others = [await doors.told(path) for path in ("/.well-known/lnurlp/shop", "/lnurl/verify", "/lnurl/pay/shop")]

    for one in (refused, *others):
        assert one == {"status": "ERROR", "reason": "too many requests; try again in 60 s"}
    assert await doors.till.rows("payment") == []


async def test_each_caller_and_each_payee_has_a_budget_of_its_own(doors: PayeeDoors, other_shop: Any) -> None:
    await doors.named("shop")
    await doors.named("market", id=other_shop.principal.merchant_id)

    async def paid(name: str, address: str, limited: Services) -> str:
        try:
            await request_payment(limited, PayRequest(name=name, amount_msat=5_000, comment="", address=address))
        except RateLimited as error:
            return error.code
        return "MADE"

    by_caller = replace(doors.services, limiter=MinuteLimiter({PAYER_BUDGET: 1, PAYEE_BUDGET: 100}))
    callers = [await paid("shop", address, by_caller) for address in ("192.0.2.1", "192.0.2.1", "192.0.2.2")]
    elsewhere = await paid("market", "192.0.2.1", by_caller)
    by_payee = replace(doors.services, limiter=MinuteLimiter({PAYER_BUDGET: 100, PAYEE_BUDGET: 1}))
    payees = [await paid(name, "192.0.2.1", by_payee) for name in ("shop", "shop", "market")]
    another = await paid("shop", "192.0.2.2", by_payee)

    assert (callers, elsewhere) == (["MADE", "RATE_LIMITED", "MADE"], "RATE_LIMITED")
    assert (payees, another) == (["MADE", "RATE_LIMITED", "MADE"], "RATE_LIMITED")
    assert len(await doors.till.rows("payment")) == 4


async def test_a_node_that_is_away_is_an_error_that_tells_nothing_of_it(doors: PayeeDoors) -> None:
    await doors.named("shop")
    await doors.till.rails.faults.arm("lnd", "unavailable", calls=50)

    told = await doors.told("/lnurl/pay/shop", amount=5_000)

    assert told == {"status": "ERROR", "reason": "no invoice can be made just now; try again later"}


async def test_a_payer_of_another_server_is_refused_in_words(doors: PayeeDoors) -> None:
    with pytest.raises(PayeeRefused) as refused:
        await doors.directory.resolve("nobody@" + doors.root[7:])

    assert refused.value.reason == "there is nothing to be paid under this address"
