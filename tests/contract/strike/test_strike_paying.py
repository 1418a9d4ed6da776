"""What Strike says of payments, and what of that is final."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from tests.contract.strike.paying import (
    IN_FLIGHT,
    LOST,
    MISSING,
    ORDER,
    SENT,
    Till,
    failed,
)
from tests.contract.strike.scripted import (
    BALANCES,
    EXECUTE,
    HASH,
    OTHER_ID,
    PAY_QUOTE,
    PAYMENT,
    PAYMENT_ID,
    PREIMAGE,
    QUOTE_ID,
    bolt11,
    html_403,
    money,
    no,
    ok,
    payment,
    payment_quote,
)

from quittance.domain.errors import ProviderMisconfigured
from quittance.domain.money import msat
from quittance.domain.outgoing_errors import SendRefused
from quittance.providers.base import ProviderHealth, SendFailure, SendRequest, SentPayment
from quittance.providers.strike.notes import key_of, owner_key, read_note


@pytest.fixture
async def till() -> AsyncIterator[Till]:
    one = Till()
    yield one
    await one.payer.aclose()


async def test_what_strike_is_asked_to_pay(till: Till) -> None:
    sent = await till.payer.send(ORDER)

    asked = till.strike.calls(PAY_QUOTE)[0]
    assert till.strike.bodies(PAY_QUOTE) == [{"lnInvoice": bolt11(), "sourceCurrency": "BTC"}]
    assert asked.headers["idempotency-key"] == key_of(HASH, number=1)
    assert till.executed() == [QUOTE_ID]
    assert sent == SENT
    assert PREIMAGE.hex() not in str(till.memory.history)


async def test_amount_that_the_invoice_leaves_open_is_written_plainly(till: Till) -> None:
    small = payment_quote(amount=money("0.00000100"), totalFee=money("0"), totalAmount=money("0.000001"))
    till.strike.answer(PAY_QUOTE, ok(small))

    await till.payer.send(SendRequest(payment_request=bolt11(amount_msat=None), amount=msat(100_000), fee_max=msat(0)))

    asked = till.strike.bodies(PAY_QUOTE)[0]["amount"]
    assert asked == {"amount": "0.00000100", "currency": "BTC", "feePolicy": "EXCLUSIVE"}


async def test_quote_is_remembered_before_it_is_executed(till: Till) -> None:
    seen: list[str] = []

    def play(_: httpx.Request) -> httpx.Response:
        seen.append(till.memory.notes[HASH])
        return ok(payment())

    till.strike.plays[EXECUTE] = play
    await till.payer.send(ORDER)

    note = read_note(seen[0], provider="strike")
    assert note is not None
    assert (note.quote_id, note.number, note.executed_at) == (QUOTE_ID, 1, till.clock.at)
    assert till.memory.notes[owner_key(PAYMENT_ID)] == f"{HASH}/1"


@pytest.mark.parametrize("status", [200, 202])
@pytest.mark.parametrize(
    ("state", "expected"),
    [("PENDING", IN_FLIGHT), ("COMPLETED", SENT), ("FAILED", failed(SendFailure.OTHER))],
)
async def test_state_decides_and_not_the_status_of_the_answer(
    till: Till, status: int, state: str, expected: SentPayment
) -> None:
    till.strike.answer(EXECUTE, ok(payment(state), status=status))
    till.strike.answer(PAYMENT, ok(payment(state)))

    assert await till.payer.send(ORDER) == expected
    assert await till.restarted().lookup_sent(HASH) == expected
    assert till.executed() == [QUOTE_ID]


async def test_payment_on_its_way_is_followed_and_not_begun_again(till: Till) -> None:
    till.strike.answer(EXECUTE, ok(payment("PENDING"), status=202))
    till.strike.answer(PAYMENT, ok(payment("PENDING")), ok(payment("PENDING")), ok(payment()))

    assert await till.payer.send(ORDER) == IN_FLIGHT
    assert await till.restarted().send(ORDER) == IN_FLIGHT
    assert await till.payer.lookup_sent(HASH) == IN_FLIGHT
    assert await till.payer.lookup_sent(HASH) == SENT
    assert (len(till.strike.calls(PAY_QUOTE)), till.executed()) == (1, [QUOTE_ID])


async def test_next_try_after_a_failure_has_a_quote_of_its_own(till: Till) -> None:
    till.strike.answer(EXECUTE, ok(payment("FAILED")), ok(payment(paymentId=OTHER_ID)))
    till.strike.answer(PAYMENT, ok(payment("FAILED")), ok(payment(paymentId=OTHER_ID)))
    till.strike.answer(PAY_QUOTE, ok(payment_quote()), ok(payment_quote(paymentQuoteId=OTHER_ID)))

    first = await till.payer.send(ORDER)
    again = await till.restarted().send(ORDER)

    keys = [request.headers["idempotency-key"] for request in till.strike.calls(PAY_QUOTE)]
    assert (first, again) == (failed(SendFailure.OTHER), SENT)
    assert keys == [key_of(HASH, number=1), key_of(HASH, number=2)]
    assert till.executed() == [QUOTE_ID, OTHER_ID]
    assert await till.payer.lookup_sent(HASH) == SENT


async def test_quote_that_costs_more_than_allowed_is_never_executed(till: Till) -> None:
    order = SendRequest(payment_request=bolt11(), amount=None, fee_max=msat(20_999))

    assert await till.payer.send(order) == failed(SendFailure.NO_ROUTE)
    assert await till.restarted().lookup_sent(HASH) == failed(SendFailure.NO_ROUTE)
    assert await till.payer.send(order) == failed(SendFailure.NO_ROUTE)
    assert till.executed() == []
    assert len(till.strike.calls(PAY_QUOTE)) == 1  # the quote lasts, and so does its price


@pytest.mark.parametrize(
    "quote",
    [
        payment_quote(amount=money("0.00020999"), totalAmount=money("0.00021020")),
        payment_quote(amount=money("0.00021000", "USD")),
        payment_quote(totalAmount=money("0.00030000")),
        payment_quote(totalAmount=money("0.00020000")),
        payment_quote(totalFee=money("0.00000001")),
        payment_quote(amount=money("2.1e-04")),
        payment_quote(amount=money("0.000210000001")),
        payment_quote(amount=money("NaN")),
        payment_quote(amount=money("-0.00021")),
    ],
    ids=["less", "dollars", "dearer", "cheaper than the amount", "fee differs", "exponent", "finer", "NaN", "negative"],
)
async def test_quote_that_is_not_what_was_ordered_is_never_executed(till: Till, quote: dict[str, Any]) -> None:
    till.strike.answer(PAY_QUOTE, ok(quote))

    for _ in range(3):
        with pytest.raises((SendRefused, ProviderMisconfigured)):
            await till.restarted().send(ORDER)

    assert till.executed() == []
    assert await till.restarted().lookup_sent(HASH) == MISSING


async def test_another_amount_for_an_open_invoice_has_a_quote_of_its_own(till: Till) -> None:
    asked = bolt11(amount_msat=None)
    dear = SendRequest(payment_request=asked, amount=msat(21_000_000), fee_max=msat(0))
    till.strike.answer(
        PAY_QUOTE,
        ok(payment_quote()),
        ok(
            payment_quote(paymentQuoteId=OTHER_ID, amount=money("0.00001"), totalAmount=money("0.00001"), totalFee=None)
        ),
    )

    first = await till.payer.send(dear)
    await till.payer.send(SendRequest(payment_request=asked, amount=msat(1_000_000), fee_max=msat(0)))

    assert first == failed(SendFailure.NO_ROUTE)
    assert till.executed() == [OTHER_ID]


@pytest.mark.parametrize("call", [PAY_QUOTE, EXECUTE])
@pytest.mark.parametrize(
    ("code", "failure"),
    [
        ("BALANCE_TOO_LOW", SendFailure.INSUFFICIENT_BALANCE),
        ("TOO_MANY_TRANSACTIONS", SendFailure.INSUFFICIENT_BALANCE),
        ("LN_ROUTE_NOT_FOUND", SendFailure.NO_ROUTE),
        ("PAYMENT_QUOTE_EXPIRED", SendFailure.TIMEOUT),
    ],
)
async def test_refusal_of_the_only_call_is_a_failure(till: Till, call: str, code: str, failure: SendFailure) -> None:
    till.strike.answer(call, no(code), ok(payment_quote() if call == PAY_QUOTE else payment()))

    assert await till.payer.send(ORDER) == failed(failure)
    assert await till.restarted().lookup_sent(HASH) == failed(failure)
    assert await till.payer.send(ORDER) == SENT


@pytest.mark.parametrize("call", [PAY_QUOTE, EXECUTE])
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (no("INVALID_LN_INVOICE"), SendRefused),
        (no("INVALID_STATE_FOR_INVOICE_EXPIRED"), SendRefused),
        (no("SELF_PAYMENT_NOT_ALLOWED"), SendRefused),
        (no("AMOUNT_TOO_LOW"), SendRefused),
        (no("INVALID_DATA", status=400), SendRefused),
        (no("UNAUTHORIZED", status=401), ProviderMisconfigured),
        (no("FORBIDDEN", status=403), ProviderMisconfigured),
    ],
)
async def test_what_surely_never_began_is_refused_and_missing(
    till: Till, call: str, answer: httpx.Response, error: type[Exception]
) -> None:
    till.strike.answer(call, answer)

    with pytest.raises(error):
        await till.payer.send(ORDER)

    assert await till.restarted().lookup_sent(HASH) == MISSING
    assert till.executed() == ([QUOTE_ID] if call == EXECUTE else [])


@pytest.mark.parametrize("amount_msat", [21_000_001, 1, 999])
async def test_part_of_a_satoshi_is_not_paid(till: Till, amount_msat: int) -> None:
    order = SendRequest(payment_request=bolt11(amount_msat=amount_msat), amount=None, fee_max=msat(0))

    with pytest.raises(SendRefused, match="whole satoshi"):
        await till.payer.send(order)
    assert till.strike.asked == []


@pytest.mark.parametrize(
    ("answer", "health"),
    [
        (
            ok([{"currency": "BTC", "available": "0.1"}]),
            ProviderHealth(ready=True, detail="may pay on bitcoin regtest"),
        ),
        (
            ok([{"currency": "USD", "available": "1.00"}]),
            ProviderHealth(ready=False, detail="the account holds no bitcoin to pay with"),
        ),
        (
            no("FORBIDDEN", status=403),
            ProviderHealth(ready=False, detail="provider 'strike': the API key lacks the scope partner.balances.read"),
        ),
        (
            html_403(),
            ProviderHealth(ready=False, detail="Strike's edge refused the call before Strike saw it"),
        ),
        (LOST, ProviderHealth(ready=False, detail="Strike does not answer")),
    ],
)
async def test_health_says_what_is_missing(
    till: Till, answer: httpx.Response | Exception, health: ProviderHealth
) -> None:
    till.strike.answer(BALANCES, answer)

    assert await till.payer.paying_health() == health
