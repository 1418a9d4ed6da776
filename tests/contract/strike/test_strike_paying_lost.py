"""Answers that were lost on the way out: found, never guessed, and nothing is paid twice."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from tests.contract.strike.paying import (
    IN_FLIGHT,
    LATER_S,
    LOST,
    MISSING,
    ORDER,
    SENT,
    Till,
    lose_the_answer,
)
from tests.contract.strike.scripted import (
    EVENTS,
    EXECUTE,
    HASH,
    OTHER_ID,
    PAY_QUOTE,
    PAYMENT,
    PAYMENT_ID,
    QUOTE_ID,
    Memory,
    event,
    html_403,
    money,
    no,
    ok,
    page,
    payment,
    payment_quote,
)

from quittance.domain.errors import ProviderMisconfigured, ProviderUnavailable
from quittance.domain.money import msat
from quittance.domain.outgoing_errors import SendRefused
from quittance.providers.base import SentStatus
from quittance.providers.strike.notes import NEVER_RAN_AFTER_S, key_of, owner_key

UNKNOWN = [
    LOST,
    httpx.ReadTimeout("no answer"),
    no("INTERNAL_SERVER_ERROR", status=500),
    no("BAD_GATEWAY", status=502),
    no("LN_UNAVAILABLE", status=503),
    no("GATEWAY_TIMEOUT", status=504),
    no("PROCESSING_CONFLICT", status=409),
    no("A_CODE_THAT_NOBODY_KNOWS"),
    httpx.Response(502, text="<html>"),
    httpx.Response(200, text="<html>"),
    httpx.Response(200, json={}),
    httpx.Response(204),
    html_403(),
    ok(payment("GONE")),
    ok(payment(amount=money("nothing"))),
    no("PAYMENT_PROCESSED"),
    no("PROCESSING_PAYMENT"),
]


@pytest.fixture
async def till() -> AsyncIterator[Till]:
    one = Till()
    yield one
    await one.payer.aclose()


@pytest.mark.parametrize("answer", UNKNOWN)
async def test_lost_answer_is_unknown_and_found_by_its_event(till: Till, answer: httpx.Response | Exception) -> None:
    await lose_the_answer(till, answer)
    till.strike.answer(EVENTS, page(event(OTHER_ID, kind="invoice.updated", number=2), event()))

    assert await till.payer.lookup_sent(HASH) == SENT
    assert await till.payer.send(ORDER) == SENT
    assert till.executed() == [QUOTE_ID]


@pytest.mark.parametrize("answer", UNKNOWN[:5])
async def test_lost_answer_that_no_event_shows_executes_the_same_quote_and_no_other(
    till: Till, answer: httpx.Response | Exception
) -> None:
    await lose_the_answer(till, answer)
    till.strike.answer(EXECUTE, ok(payment("PENDING"), status=202))

    assert await till.payer.lookup_sent(HASH) == IN_FLIGHT
    assert till.executed() == [QUOTE_ID, QUOTE_ID]
    assert len(till.strike.calls(PAY_QUOTE)) == 1


@pytest.mark.parametrize("code", ["PAYMENT_PROCESSED", "PROCESSING_PAYMENT"])
async def test_quote_that_was_executed_is_never_taken_for_failed(till: Till, code: str) -> None:
    await lose_the_answer(till)
    till.strike.answer(EXECUTE, no(code))

    for _ in range(3):
        with pytest.raises(ProviderUnavailable):
            await till.payer.lookup_sent(HASH)
        with pytest.raises(ProviderUnavailable):
            await till.payer.send(ORDER)
        till.clock.advance(3_600)
    till.strike.answer(EVENTS, page(event()))

    assert await till.payer.lookup_sent(HASH) == SENT
    assert len(till.strike.calls(PAY_QUOTE)) == 1


@pytest.mark.parametrize("code", ["PAYMENT_QUOTE_EXPIRED", "BALANCE_TOO_LOW", "LN_ROUTE_NOT_FOUND", "INVALID_DATA"])
async def test_refusal_after_a_lost_answer_is_believed_only_when_no_event_can_be_missing(till: Till, code: str) -> None:
    await lose_the_answer(till)
    till.strike.answer(EXECUTE, no(code))

    with pytest.raises(ProviderUnavailable):
        await till.payer.lookup_sent(HASH)
    with pytest.raises(ProviderUnavailable):
        await till.payer.send(ORDER)
    till.clock.advance(LATER_S)
    found = await till.payer.lookup_sent(HASH)

    assert found.status is SentStatus.FAILED
    assert len(till.strike.calls(PAY_QUOTE)) == 1
    till.strike.answer(EXECUTE, ok(payment()))
    till.strike.answer(PAY_QUOTE, ok(payment_quote(paymentQuoteId=OTHER_ID)))
    assert await till.payer.send(ORDER) == SENT
    assert till.executed()[-1] == OTHER_ID


@pytest.mark.parametrize("answer", [no("RATE_LIMIT_EXCEEDED", status=429), httpx.ConnectError("nobody there")])
async def test_call_that_was_turned_away_unread_did_nothing(till: Till, answer: httpx.Response | Exception) -> None:
    await lose_the_answer(till, answer)

    assert await till.payer.lookup_sent(HASH) == MISSING
    assert till.executed() == [QUOTE_ID]


@pytest.mark.parametrize("answer", [LOST, no("SERVICE_UNAVAILABLE", status=503), httpx.Response(200, text="{")])
async def test_lost_answer_to_a_quote_moves_nothing_and_the_next_number_is_used(
    till: Till, answer: httpx.Response | Exception
) -> None:
    repeated = no("DUPLICATE_PAYMENT_QUOTE", values={"paymentQuoteId": QUOTE_ID})
    till.strike.answer(PAY_QUOTE, answer, repeated, ok(payment_quote(paymentQuoteId=OTHER_ID)))

    with pytest.raises((ProviderUnavailable, ProviderMisconfigured)):
        await till.payer.send(ORDER)
    found = await till.restarted().lookup_sent(HASH)
    sent = await till.payer.send(ORDER)

    keys = [request.headers["idempotency-key"] for request in till.strike.calls(PAY_QUOTE)]
    assert (found, sent) == (MISSING, SENT)
    assert keys == [key_of(HASH, number=1), key_of(HASH, number=1), key_of(HASH, number=2)]
    assert till.executed() == [OTHER_ID]  # what the first quote costs was never told


async def test_lost_memory_does_not_pay_what_was_paid(till: Till) -> None:
    await till.payer.send(ORDER)
    till.memory.notes.clear()
    till.strike.answer(PAY_QUOTE, no("DUPLICATE_PAYMENT_QUOTE", values={"paymentQuoteId": QUOTE_ID}))
    till.strike.answer(EVENTS, page(event()))

    assert await till.restarted().send(ORDER) == SENT
    assert till.executed() == [QUOTE_ID]


@pytest.mark.parametrize("call", [PAY_QUOTE, EXECUTE])
async def test_invoice_that_was_paid_before_is_found(till: Till, call: str) -> None:
    till.strike.answer(call, no("LN_INVOICE_PROCESSED"))
    till.strike.answer(EVENTS, page(event()))

    assert await till.payer.send(ORDER) == SENT
    assert await till.restarted().lookup_sent(HASH) == SENT


@pytest.mark.parametrize("call", [PAY_QUOTE, EXECUTE])
async def test_invoice_that_somebody_else_paid_is_refused_only_if_no_payment_of_ours_can_be_it(
    till: Till, call: str
) -> None:
    till.strike.answer(call, no("LN_INVOICE_PROCESSED"))
    till.strike.answer(EVENTS, page(event(OTHER_ID)))
    till.strike.answer(PAYMENT, ok(payment("PENDING", paymentId=OTHER_ID)))
    assert await till.payer.send(ORDER) == IN_FLIGHT
    till.memory.notes.clear()
    till.strike.answer(EVENTS, page())

    with pytest.raises(ProviderUnavailable):  # what we paid may not show yet
        await till.restarted().send(ORDER)
    till.clock.advance(NEVER_RAN_AFTER_S - 1)
    with pytest.raises(ProviderUnavailable):
        await till.restarted().send(ORDER)
    till.clock.advance(1)
    with pytest.raises(SendRefused, match="not by us"):
        await till.restarted().send(ORDER)


async def test_payment_of_another_invoice_is_never_taken_for_this_one(till: Till) -> None:
    await lose_the_answer(till, no("PAYMENT_PROCESSED"))
    till.strike.answer(EVENTS, page(event(OTHER_ID)))
    till.strike.answer(PAYMENT, ok(payment(preimage=b"\x06" * 32, paymentId=OTHER_ID)))
    till.clock.advance(LATER_S)

    with pytest.raises(ProviderUnavailable):
        await till.payer.lookup_sent(HASH)


@pytest.mark.parametrize("state", ["FAILED", "COMPLETED"])
async def test_payment_that_is_known_to_be_another_s_is_never_taken_for_this_one(till: Till, state: str) -> None:
    await lose_the_answer(till, no("PAYMENT_PROCESSED"))
    till.strike.answer(EVENTS, page(event()))
    till.strike.answer(PAYMENT, ok(payment(state, preimage=None)))
    await till.memory.remember(owner_key(PAYMENT_ID), f"{'11' * 32}/1", instead_of=None)
    till.clock.advance(LATER_S)

    with pytest.raises(ProviderUnavailable):
        await till.payer.lookup_sent(HASH)


@pytest.mark.parametrize("state", ["PENDING", "FAILED", "COMPLETED"])
async def test_two_that_look_alike_are_never_guessed(till: Till, state: str) -> None:
    await lose_the_answer(till, no("PAYMENT_PROCESSED"))
    till.strike.answer(EVENTS, page(event(), event(OTHER_ID, number=2)))
    one, other = payment(state, preimage=None), payment(state, preimage=None, paymentId=OTHER_ID)
    till.strike.answer(PAYMENT, ok(one), ok(other), ok(one), ok(other))
    till.clock.advance(LATER_S)

    with pytest.raises(ProviderUnavailable):
        await till.payer.lookup_sent(HASH)
    with pytest.raises(ProviderUnavailable):
        await till.payer.send(ORDER)


async def test_one_that_is_on_its_way_is_never_tied_to_this_one_without_its_preimage(till: Till) -> None:
    await lose_the_answer(till, no("PAYMENT_PROCESSED"))
    till.strike.answer(EVENTS, page(event()))
    till.strike.answer(PAYMENT, ok(payment("PENDING")), ok(payment(preimage=b"\x06" * 32)))
    till.clock.advance(LATER_S)

    first = await till.payer.lookup_sent(HASH)
    with pytest.raises(ProviderUnavailable):  # it was another's after all
        await till.payer.lookup_sent(HASH)

    assert first == IN_FLIGHT
    assert owner_key(PAYMENT_ID) not in till.memory.notes


async def test_own_payments_do_not_count_among_those_that_it_may_be(till: Till) -> None:
    await lose_the_answer(till, no("PAYMENT_PROCESSED"))
    others = [f"66666666-6666-4666-8666-{number:012d}" for number in range(99)]
    for number, other in enumerate(others):
        await till.memory.remember(owner_key(other), f"{number:064x}/1", instead_of=None)
    told = [event(id_, number=number) for number, id_ in enumerate([*others, PAYMENT_ID])]
    till.strike.answer(EVENTS, page(*told), page())

    assert await till.payer.lookup_sent(HASH) == SENT
    assert len(till.strike.calls(PAYMENT)) == 1


@pytest.mark.parametrize("state", ["FAILED", "COMPLETED"])
async def test_only_one_that_it_can_be_is_taken_when_no_event_can_be_missing(till: Till, state: str) -> None:
    await lose_the_answer(till, no("PAYMENT_PROCESSED"))
    till.strike.answer(EVENTS, page(event()))
    till.strike.answer(PAYMENT, ok(payment(state, preimage=None)))

    with pytest.raises(ProviderUnavailable):
        await till.payer.lookup_sent(HASH)
    till.clock.advance(LATER_S)
    found = await till.payer.lookup_sent(HASH)

    assert (found.status, found.unproved) == (
        (SentStatus.FAILED, False) if state == "FAILED" else (SentStatus.SUCCEEDED, True)
    )


@pytest.mark.parametrize(
    "other", [payment("PENDING", amount=money("0.00021001")), payment("PENDING", totalAmount=money("0.00021022"))]
)
async def test_payment_of_another_amount_or_fee_cannot_be_it(till: Till, other: dict[str, Any]) -> None:
    await lose_the_answer(till, no("PAYMENT_PROCESSED"))
    till.strike.answer(EVENTS, page(event()))
    till.strike.answer(PAYMENT, ok(other))

    with pytest.raises(ProviderUnavailable):
        await till.payer.lookup_sent(HASH)


async def test_success_without_a_proof_is_final_and_says_so(till: Till) -> None:
    bare = ok(payment(preimage=None))
    till.strike.answer(EXECUTE, bare)
    till.strike.answer(PAYMENT, bare)

    sent = await till.payer.send(ORDER)

    assert (sent.status, sent.preimage, sent.unproved) == (SentStatus.SUCCEEDED, None, True)
    assert (sent.amount, sent.fee) == (msat(21_000_000), msat(21_000))
    assert await till.restarted().send(ORDER) == sent
    assert till.executed() == [QUOTE_ID]


@pytest.mark.parametrize("preimage", [b"\x06" * 32, "no hex"])
async def test_preimage_of_another_payment_proves_nothing_and_pays_nothing_again(
    till: Till, preimage: bytes | str
) -> None:
    wrong = ok(payment(preimage=preimage))
    till.strike.answer(EXECUTE, wrong)
    till.strike.answer(PAYMENT, wrong)

    with pytest.raises(ProviderUnavailable):
        await till.payer.send(ORDER)
    with pytest.raises(ProviderMisconfigured):
        await till.restarted().lookup_sent(HASH)
    with pytest.raises(ProviderUnavailable):
        await till.payer.send(ORDER)
    assert till.executed() == [QUOTE_ID]


@pytest.mark.parametrize("event_answer", [no("FORBIDDEN", status=403), html_403(), LOST])
async def test_lost_answer_stays_unknown_while_events_cannot_be_read(
    till: Till, event_answer: httpx.Response | Exception
) -> None:
    await lose_the_answer(till)
    till.strike.answer(EVENTS, event_answer)

    with pytest.raises((ProviderUnavailable, ProviderMisconfigured)):
        await till.payer.lookup_sent(HASH)
    with pytest.raises(ProviderUnavailable):
        await till.payer.send(ORDER)
    assert till.executed() == [QUOTE_ID]


async def test_note_that_cannot_be_read_pays_nothing(till: Till) -> None:
    await till.memory.remember(HASH, '{"number": 1}', instead_of=None)

    with pytest.raises(ProviderMisconfigured):
        await till.payer.send(ORDER)
    assert till.strike.asked == []


class Overtaken(Memory):
    """A memory in which another process notes its own quote when ours is there."""

    async def remember(self, reference: str, note: str, *, instead_of: str | None) -> bool:
        was_stored = await super().remember(reference, note, instead_of=instead_of)
        if '"quote_id"' in note:
            self.notes[reference] = note.replace('"number":1', '"number":2')
        return was_stored


async def test_process_that_was_overtaken_executes_nothing(till: Till) -> None:
    till.memory = Overtaken()

    with pytest.raises(ProviderUnavailable):
        await till.restarted().send(ORDER)
    assert till.executed() == []
