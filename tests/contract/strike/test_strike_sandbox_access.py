"""Keys, scopes, limits and errors of the sandbox's Strike account."""

import re
from datetime import timedelta

import httpx
import pytest
from tests.contract.strike.conftest import Arm
from tests.contract.strike.strike_client import StrikeClient, btc, made, ok, refusal

from quittance.sandbox.rails import SandboxRails
from quittance.sandbox.strike.limits import Limit, Limits
from quittance.sandbox.strike.operations import OPERATIONS
from quittance.sandbox.strike.refusals import Refused


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer 0123", "Basic {key}", "{key}", "é"])
async def test_nobody_s_key_opens_nothing(strike: StrikeClient, rails: SandboxRails, authorization: str | None) -> None:
    key = rails.strike.api_key_path.read_text()
    said = [] if authorization is None else [(b"Authorization", authorization.format(key=key).encode())]

    async with httpx.AsyncClient(base_url=f"{rails.strike.url}/v1", headers=said) as client:
        answer = await client.get("/balances")

    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "data": {"status": 401, "code": "UNAUTHORIZED", "message": "Invalid or unspecified identity."}
    }


def test_the_keys_are_private_and_differ(rails: SandboxRails) -> None:
    where = rails.strike

    assert where.api_key_path.name == "api.key"
    assert where.receive_key_path.name == "receive.key"
    assert where.api_key_path.read_text() != where.receive_key_path.read_text()
    for path in (where.api_key_path, where.receive_key_path):
        assert path.stat().st_mode & 0o777 == 0o600
        assert re.fullmatch("[0-9A-F]{64}", path.read_text())


async def test_a_key_that_receives_may_not_spend(receiver: StrikeClient, rails: SandboxRails) -> None:
    request = rails.new_invoice("alice", amount_msat=1_000)

    invoice = await receiver.invoice(btc("0.00001000"))
    await receiver.quote(invoice)
    refused = [
        await receiver.post("/payment-quotes/lightning", {"lnInvoice": request}),
        await receiver.patch("/payment-quotes/7/execute"),
        await receiver.get("/payments/7"),
        await receiver.post("/currency-exchange-quotes", {}),
        await receiver.post("/payment-quotes/onchain", {}),
    ]

    assert {refusal(answer) for answer in refused} == {(403, "FORBIDDEN")}
    assert dict(rails.nodes["strike"].payments) == {}


async def test_an_error_has_a_trace_and_no_answer_is_wrapped(strike: StrikeClient) -> None:
    unknown = await strike.get("/nothing")

    assert unknown.headers["content-type"] == "application/json"
    assert re.fullmatch("[0-9A-F]{13}:00000001", unknown.json()["traceId"])
    assert unknown.json()["data"] == {"status": 404, "code": "NOT_FOUND", "message": "Resource not found."}
    assert isinstance((await strike.get("/balances")).json(), list)


@pytest.mark.parametrize("content", [b"{", b"[]", b"7", b"\xff", b"[" * 60_000, b'{"amount": NaN, }'])
async def test_what_is_no_json_object_is_refused(strike: StrikeClient, content: bytes) -> None:
    answer = await strike.http.post("/invoices", content=content, headers={"Content-Type": "application/json"})

    assert refusal(answer) == (400, "INVALID_DATA")


async def test_a_body_has_a_limit(strike: StrikeClient) -> None:
    answer = await strike.http.post("/invoices", content=b" " * 65_537)

    assert answer.status_code == 413


async def test_invoices_are_limited_by_the_minute(strike: StrikeClient, rails: SandboxRails, arm: Arm) -> None:
    await arm("rate_limited", method="issue_invoice")

    first = await strike.post("/invoices", {"amount": btc("0.00001000")})
    second = await strike.post("/invoices", {"amount": btc("0.00001000")})
    other = await strike.get("/balances")
    rails.clock.advance(61)
    later = await strike.post("/invoices", {"amount": btc("0.00001000")})

    assert [refusal(first), refusal(second)] == [(429, "RATE_LIMIT_EXCEEDED")] * 2
    assert other.status_code == 200
    made(later)
    assert ok(await strike.get("/invoices"))["count"] == 1


async def test_who_asks_too_often_is_locked_out_for_an_hour(
    strike: StrikeClient, rails: SandboxRails, arm: Arm
) -> None:
    await arm("rate_limited", method="balances")

    assert refusal(await strike.get("/balances")) == (429, "RATE_LIMIT_EXCEEDED")
    assert refusal(await strike.get("/invoices")) == (429, "RATE_LIMIT_EXCEEDED")
    rails.clock.advance(3_590)
    assert refusal(await strike.get("/invoices")) == (429, "RATE_LIMIT_EXCEEDED")
    rails.clock.advance(11)
    ok(await strike.get("/invoices"))


async def test_a_lock_out_may_be_shorter(strike: StrikeClient, rails: SandboxRails, arm: Arm) -> None:
    await arm("rate_limited", method="balances", seconds=5)

    assert (await strike.get("/balances")).status_code == 429
    rails.clock.advance(6)

    ok(await strike.get("/balances"))


async def test_the_251st_invoice_of_a_minute_is_one_too_many(strike: StrikeClient, rails: SandboxRails) -> None:
    amount = {"amount": btc("0.00001000")}
    answers = [await strike.post("/invoices", amount) for _ in range(251)]

    assert {answer.status_code for answer in answers[:250]} == {201}
    assert refusal(answers[250]) == (429, "RATE_LIMIT_EXCEEDED")


def test_calls_are_counted_in_a_window_that_moves(rails: SandboxRails) -> None:
    limits = Limits(rails.clock.now, limits={"": Limit(2, timedelta(seconds=60), timedelta(seconds=600))})

    limits.count("")
    rails.clock.advance(40)
    limits.count("")
    rails.clock.advance(30)
    limits.count("")
    with pytest.raises(Refused):
        limits.count("")
    rails.clock.advance(590)
    with pytest.raises(Refused):
        limits.count("")
    rails.clock.advance(20)
    limits.count("")


def test_the_limits_are_those_of_production() -> None:
    groups = {operation.limit for operation in OPERATIONS.values()}

    assert groups == {"", "issue_invoice", "issue_quote", "rates", "payment_quote", "execute"}


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [("unavailable", 503, "SERVICE_UNAVAILABLE"), ("processing_conflict", 409, "PROCESSING_CONFLICT")],
)
async def test_a_call_that_fails_does_nothing(
    strike: StrikeClient, arm: Arm, fault: str, status: int, code: str
) -> None:
    await arm(fault)

    assert refusal(await strike.post("/invoices", {"amount": btc("0.00001000")})) == (status, code)
    assert ok(await strike.get("/invoices"))["count"] == 0


async def test_the_edge_answers_a_page(strike: StrikeClient, arm: Arm) -> None:
    await arm("html_403", method="balances")

    answer = await strike.get("/balances")

    assert (answer.status_code, answer.headers["content-type"]) == (403, "text/html; charset=utf-8")
    assert answer.text.startswith("<!DOCTYPE html>")


async def test_a_lost_answer_leaves_an_invoice_that_can_be_found(strike: StrikeClient, arm: Arm) -> None:
    await arm("lost_answer")

    with pytest.raises(httpx.RemoteProtocolError):
        await strike.post("/invoices", {"amount": btc("0.00001000"), "correlationId": "order-1"})

    found = ok(await strike.get("/invoices", **{"$filter": "correlationId eq 'order-1'"}))
    assert found["count"] == 1


async def test_a_call_may_take_longer_than_its_caller_waits(strike: StrikeClient, arm: Arm) -> None:
    await arm("hang", method="balances")
    await arm("delay", method="limits", seconds=0.05)

    with pytest.raises(httpx.ReadTimeout):
        await strike.http.get("/balances", timeout=0.2)
    ok(await strike.get("/accounts/limits"))
