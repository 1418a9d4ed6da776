"""The connection to Strike: how often it may be asked, what its errors mean, and what never travels in clear."""

import asyncio
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from tests.contract.strike.scripted import (
    BALANCES,
    EXECUTE,
    FIND,
    INVOICE_ID,
    LIST,
    PAY_QUOTE,
    QUOTE_ID,
    Clock,
    ScriptedStrike,
    html_403,
    invoice,
    no,
    ok,
    page,
    payment,
)

from quittance.domain.errors import ProviderMisconfigured, ProviderUnavailable
from quittance.domain.money import BTC_SAT, Money
from quittance.providers.strike.budget import PRODUCTION, SANDBOX, Bucket, Budget
from quittance.providers.strike.client import StrikeClient
from quittance.providers.strike.connection import StrikeConnection, open_client
from quittance.providers.strike.errors import MEANINGS, Meaning, NotAsked, RateLimited, StrikeRefusal

ORDINARY = 800  # of 1000 calls in ten minutes


@pytest.mark.parametrize(
    ("limits", "fast", "slow"), [(PRODUCTION, 250, 1_000), (SANDBOX, 90, 350)], ids=["production", "sandbox"]
)
def test_bucket_is_used_up_before_strike_says_so(limits: Any, fast: int, slow: int) -> None:
    clock = Clock()
    budget = Budget(limits, clock=clock.monotonic)

    for bucket in Bucket:
        most = slow if bucket is Bucket.OTHER else fast
        taken = [budget.take(bucket, urgent=True) for _ in range(most + 1)]

        assert taken[:-1] == [0.0] * most
        assert taken[-1] == (600.0 if bucket is Bucket.OTHER else 60.0)


def test_window_slides() -> None:
    clock = Clock()
    budget = Budget(clock=clock.monotonic)
    for second in range(250):
        assert budget.take(Bucket.EXECUTE, urgent=True) == 0.0
        clock.advance(0.2)
        del second

    assert budget.take(Bucket.EXECUTE, urgent=True) == pytest.approx(10.0)
    clock.advance(10.0)
    assert budget.take(Bucket.EXECUTE, urgent=True) == 0.0
    assert budget.take(Bucket.EXECUTE, urgent=True) == pytest.approx(0.2)


def test_part_is_kept_for_money_on_its_way() -> None:
    budget = Budget(clock=Clock().monotonic)
    ordinary = [budget.take(Bucket.OTHER, urgent=False) for _ in range(1_000)]

    urgent = [budget.take(Bucket.OTHER, urgent=True) for _ in range(201)]

    assert (ordinary.count(0.0), urgent.count(0.0), urgent[-1] > 0) == (ORDINARY, 200, True)


async def test_call_that_would_be_too_much_is_never_made() -> None:
    strike, clock = ScriptedStrike(), Clock()
    strike.answer(LIST, page())
    client = strike.client(budget=Budget(clock=clock.monotonic))
    for _ in range(ORDINARY):
        await client.newest_invoices(count=1)

    with pytest.raises(RateLimited) as refused:
        await client.newest_invoices(count=1)

    assert refused.value.wait_s == 600.0
    assert len(strike.asked) == ORDINARY
    clock.advance(600.0)
    await client.newest_invoices(count=1)


@pytest.mark.parametrize("body", [no("RATE_LIMIT_EXCEEDED", status=429), httpx.Response(429, text="<html>")])
async def test_lock_out_is_waited_for_and_other_buckets_go_on(body: httpx.Response) -> None:
    strike, clock = ScriptedStrike(), Clock()
    strike.answer(LIST, body, page())
    strike.answer(EXECUTE, body, ok(payment()))
    client = strike.client(budget=Budget(clock=clock.monotonic))

    for _ in range(2):
        with pytest.raises(RateLimited):
            await client.newest_invoices(count=1)
        with pytest.raises(RateLimited):
            await client.execute_quote(QUOTE_ID)
    assert len(strike.asked) == 2
    clock.advance(60.0)
    await client.execute_quote(QUOTE_ID)
    clock.advance(3_539.0)
    with pytest.raises(RateLimited):
        await client.newest_invoices(count=1)
    clock.advance(1.0)
    await client.newest_invoices(count=1)


async def test_two_keys_of_one_account_share_what_is_left() -> None:
    strike, budget = ScriptedStrike(), Budget(clock=Clock().monotonic)
    strike.answer(LIST, no("TOO_MANY_ATTEMPTS", status=429))
    strike.answer(BALANCES, ok([]))

    with pytest.raises(RateLimited):
        await strike.client(budget=budget).newest_invoices(count=1)
    with pytest.raises(RateLimited):
        await strike.client(budget=budget).balances()

    assert len(strike.asked) == 1


CODES = [  # strike.md 1.5
    "INVALID_DATA", "INVALID_DATA_QUERY", "UNAUTHORIZED", "FORBIDDEN", "NOT_FOUND", "PROCESSING_CONFLICT",
    "DUPLICATE_INVOICE", "UNPROCESSABLE_ENTITY", "INVALID_STATE_FOR_INVOICE_PAID",
    "INVALID_STATE_FOR_INVOICE_CANCELLED", "INVALID_STATE_FOR_INVOICE_REVERSED", "INVALID_RECIPIENT",
    "SELF_PAYMENT_NOT_ALLOWED", "USER_CURRENCY_UNAVAILABLE", "CURRENCY_UNSUPPORTED",
    "EXCHANGE_RATE_NOT_AVAILABLE", "INVALID_AMOUNT", "AMOUNT_TOO_HIGH", "AMOUNT_TOO_LOW", "BALANCE_TOO_LOW",
    "INVALID_LN_INVOICE", "INVALID_STATE_FOR_INVOICE_EXPIRED", "LN_INVOICE_PROCESSED", "LN_ROUTE_NOT_FOUND",
    "INVALID_BITCOIN_ADDRESS", "PAYMENT_QUOTE_EXPIRED", "PAYMENT_PROCESSED", "PROCESSING_PAYMENT",
    "DUPLICATE_PAYMENT_QUOTE", "TOO_MANY_TRANSACTIONS", "UNSUPPORTED_PAYMENT_METHOD", "INVALID_PAYMENT_METHOD",
    "PAYMENT_METHOD_NOT_READY", "DUPLICATE_CURRENCY_EXCHANGE_QUOTE", "CURRENCY_EXCHANGE_QUOTE_PROCESSED",
    "CURRENCY_EXCHANGE_QUOTE_EXPIRED", "CURRENCY_EXCHANGE_PAIR_NOT_SUPPORTED", "CURRENCY_EXCHANGE_AMOUNT_TOO_LOW",
    "DEPOSIT_LIMIT_EXCEEDED", "DUPLICATE_DEPOSIT", "PAYOUT_ALREADY_INITIATED", "PAYOUT_ORIGINATOR_NOT_APPROVED",
    "PLAID_LINKING_FAILED", "ACCOUNT_NOT_READY", "RATE_LIMIT_EXCEEDED", "TOO_MANY_ATTEMPTS",
    "INTERNAL_SERVER_ERROR", "BAD_GATEWAY", "MAINTENANCE_MODE", "SERVICE_UNAVAILABLE", "LN_UNAVAILABLE",
    "GATEWAY_TIMEOUT",
]  # fmt: skip


def test_no_code_of_strike_s_is_left_out() -> None:
    assert sorted(CODES) == sorted(MEANINGS)


@pytest.mark.parametrize("code", CODES)
async def test_every_code_has_a_meaning(code: str) -> None:
    strike = ScriptedStrike()
    strike.answer(BALANCES, no(code))

    with pytest.raises((ProviderMisconfigured, ProviderUnavailable)) as refused:
        await strike.client().balances()

    meaning = MEANINGS[code][0]
    if meaning is Meaning.RETRY:
        assert isinstance(refused.value, NotAsked)
    elif code == "PROCESSING_CONFLICT":
        assert not isinstance(refused.value, NotAsked | StrikeRefusal)
    else:
        assert isinstance(refused.value, StrikeRefusal)
        assert (refused.value.strike_code, refused.value.meaning) == (code, meaning)


@pytest.mark.parametrize("code", sorted(MEANINGS))
async def test_server_s_own_failure_is_never_a_refusal(code: str) -> None:
    strike = ScriptedStrike()
    strike.answer(EXECUTE, no(code, status=503))

    with pytest.raises(ProviderUnavailable):
        await strike.client().execute_quote(QUOTE_ID)


@pytest.mark.parametrize(
    "members",
    [
        {"values": {"paymentQuoteId": QUOTE_ID}},
        {"paymentQuoteId": QUOTE_ID},
        {"values": {"inner": [{"PaymentQuoteId": QUOTE_ID}]}},
    ],
)
async def test_first_quote_of_a_key_is_found_wherever_it_stands(members: dict[str, Any]) -> None:
    strike = ScriptedStrike()
    strike.answer(PAY_QUOTE, no("DUPLICATE_PAYMENT_QUOTE", **members))

    with pytest.raises(StrikeRefusal) as refused:
        await strike.client().quote_lightning(ln_invoice="lnbcrt1", amount=None, currency="BTC", key="k")

    assert (refused.value.original_id, refused.value.meaning) == (QUOTE_ID, Meaning.MAYBE_ACTED)


@pytest.mark.parametrize("members", [{}, {"values": {"paymentQuoteId": 7}}, {"values": None}])
async def test_key_that_was_used_for_nobody_knows_what(members: dict[str, Any]) -> None:
    strike = ScriptedStrike()
    strike.answer(PAY_QUOTE, no("DUPLICATE_PAYMENT_QUOTE", **members))

    with pytest.raises(StrikeRefusal) as refused:
        await strike.client().quote_lightning(ln_invoice="lnbcrt1", amount=None, currency="BTC", key="k")

    assert refused.value.original_id is None


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (html_403(), ProviderUnavailable),
        (httpx.Response(401, text=""), ProviderMisconfigured),
        (httpx.Response(404, text="<html>"), ProviderMisconfigured),
        (httpx.Response(302, headers={"location": "https://elsewhere"}), ProviderMisconfigured),
        (httpx.Response(200, content=b"[" * 100_000), ProviderMisconfigured),
        (httpx.Response(200, content=b" " * (5 * 1024 * 1024)), ProviderMisconfigured),
        (httpx.Response(422, json={"data": {"code": ""}}), ProviderMisconfigured),
        (httpx.Response(422, json=[]), ProviderMisconfigured),
        (httpx.Response(500, content=b""), ProviderUnavailable),
    ],
)
async def test_answer_that_is_not_strike_s_is_told_apart(answer: httpx.Response, error: type[Exception]) -> None:
    strike = ScriptedStrike()
    strike.answer(BALANCES, answer)

    with pytest.raises(error):
        await strike.client().balances()


async def test_slow_answer_is_given_up_within_the_deadline() -> None:
    strike = ScriptedStrike()
    strike.hang(BALANCES)

    with pytest.raises(ProviderUnavailable):
        await asyncio.wait_for(strike.client(timeout_s=0.1).balances(), timeout=2)


async def test_id_cannot_lead_elsewhere() -> None:
    strike = ScriptedStrike()

    await strike.client().find_invoice("../accounts/limits?x=1#")

    assert strike.asked[0][1].url.raw_path == (
        b"/v1/invoices/..%2Faccounts%2Flimits%3Fx%3D1%23?includeTransactions=true"
    )


async def test_another_invoice_than_asked_for_is_for_the_operator() -> None:
    strike = ScriptedStrike()
    strike.answer(FIND, ok(invoice("x", invoiceId=QUOTE_ID)))

    with pytest.raises(ProviderMisconfigured, match="another invoice"):
        await strike.client().find_invoice(INVOICE_ID)


async def test_list_that_does_not_end_is_given_up() -> None:
    strike = ScriptedStrike()
    strike.answer(LIST, page(*[invoice("x")] * 100))

    with pytest.raises(RateLimited):
        async for _ in strike.client().invoice_pages():
            pass

    assert len(strike.asked) == ORDINARY


async def test_closed_client_is_unavailable() -> None:
    client = ScriptedStrike().client()
    await client.aclose()

    with pytest.raises(ProviderUnavailable):
        await client.issue_invoice(amount=Money(1, BTC_SAT), description="", correlation_id="x")


@pytest.mark.parametrize(
    "url",
    [
        "http://api.strike.me", "ftp://api.strike.me", "api.strike.me", "", "https://", "https://api.strike.me/v1",
        "https://user:pass@api.strike.me", "https://api.strike.me?x=1", "http://127.0.0.1.example.com", "http://[",
    ],
)  # fmt: skip
def test_key_never_travels_in_clear_or_to_a_strange_place(url: str) -> None:
    with pytest.raises(ProviderMisconfigured):
        open_client(StrikeConnection(url=url, api_key=SecretStr("key")))


@pytest.mark.parametrize("url", ["https://api.strike.me", "https://api.strike.me/", "http://127.0.0.1:5000"])
async def test_key_goes_with_every_call_and_is_never_shown(url: str) -> None:
    where = StrikeConnection(url=url, api_key=SecretStr("the-key\n"))

    async with open_client(where) as http:
        assert http.headers["authorization"] == "Bearer the-key"
        assert (http.follow_redirects, http.trust_env) == (False, False)
    assert "the-key" not in repr(where)


@pytest.mark.parametrize("key", ["", " ", "a b", "é", "a\nb", "x" * 5_000])
def test_what_is_no_key_is_refused_without_telling_it(key: str) -> None:
    with pytest.raises(ProviderMisconfigured) as refused:
        open_client(StrikeConnection(url="https://api.strike.me", api_key=SecretStr(key)))

    assert refused.value.reason == "what we were given is no API key; make one in Strike's dashboard"


async def test_nobody_at_the_address_means_that_nothing_was_done() -> None:
    http = open_client(StrikeConnection(url="http://127.0.0.1:1", api_key=SecretStr("key")))
    client = StrikeClient(http, budget=Budget())

    with pytest.raises(NotAsked) as refused:
        await client.issue_invoice(amount=Money(1, BTC_SAT), description="", correlation_id="x")
    assert refused.value.reason == "nobody listens at Strike's address"
    await client.aclose()
