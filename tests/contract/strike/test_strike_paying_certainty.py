"""What may be said of an execution whose answer was lost, and what not: no refund is booked or repeated on a guess."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from typing import Any

import httpx
import pytest
from tests.contract.strike.paying import IN_FLIGHT, LATER_S, LOST, ORDER, SENT, Till, failed, lose_the_answer
from tests.contract.strike.scripted import (
    EVENTS,
    EXECUTE,
    HASH,
    OTHER_ID,
    PAY_QUOTE,
    PAYMENT,
    PAYMENT_ID,
    QUOTE_ID,
    START,
    Memory,
    ago,
    bolt11,
    event,
    money,
    no,
    ok,
    page,
    payment,
    payment_quote,
)

from quittance.domain.errors import ProviderUnavailable
from quittance.domain.outgoing_errors import SendRefused
from quittance.providers.base import SendFailure, SentStatus
from quittance.providers.strike.notes import NEVER_RAN_AFTER_S, owner_key
from quittance.providers.strike.payer import StrikePayer

OTHER_PREIMAGE = b"\x09" * 32
OTHER_HASH = sha256(OTHER_PREIMAGE).hexdigest()
OTHER_ORDER = replace(ORDER, payment_request=bolt11(preimage=OTHER_PREIMAGE))
BARE = ok(payment(preimage=None))
ONCHAIN = {"lightning": None, "onchain": {"txnId": "ab" * 32}}


@pytest.fixture
async def till() -> AsyncIterator[Till]:
    one = Till()
    yield one
    await one.payer.aclose()


async def stays_unknown(till: Till) -> None:
    with pytest.raises(ProviderUnavailable):
        await till.payer.lookup_sent(HASH)
    with pytest.raises(ProviderUnavailable):
        await till.payer.send(ORDER)


@pytest.mark.parametrize("code", ["LN_INVOICE_PROCESSED", "PAYMENT_PROCESSED", "PROCESSING_PAYMENT"])
async def test_refusal_as_paid_never_ends_a_lost_execution_before_its_payment_shows(till: Till, code: str) -> None:
    await lose_the_answer(till)
    till.strike.answer(EXECUTE, no(code))

    for _ in range(3):
        till.clock.advance(86_400)
        await stays_unknown(till)
    till.strike.answer(EVENTS, page(event()))

    assert await till.payer.lookup_sent(HASH) == SENT
    assert len(till.strike.calls(PAY_QUOTE)) == 1


async def test_refusal_of_a_lost_execution_is_believed_fifteen_minutes_later_and_not_before(till: Till) -> None:
    await lose_the_answer(till)
    till.strike.answer(EXECUTE, no("PAYMENT_QUOTE_EXPIRED"))

    till.clock.advance(NEVER_RAN_AFTER_S - 1)
    await stays_unknown(till)
    till.clock.advance(1)

    assert await till.payer.lookup_sent(HASH) == failed(SendFailure.TIMEOUT)


async def test_time_counts_from_the_last_execution_whose_answer_was_lost(till: Till) -> None:
    await lose_the_answer(till)
    till.clock.advance(NEVER_RAN_AFTER_S - 1)
    await stays_unknown(till)  # two more executions, and their answers are lost
    till.strike.answer(EXECUTE, no("BALANCE_TOO_LOW"))

    till.clock.advance(NEVER_RAN_AFTER_S - 1)
    await stays_unknown(till)
    till.clock.advance(1)

    assert await till.payer.lookup_sent(HASH) == failed(SendFailure.INSUFFICIENT_BALANCE)


@pytest.mark.parametrize("state", ["PENDING", "COMPLETED"])
async def test_refusal_is_not_believed_while_a_payment_shows_that_may_be_ours(till: Till, state: str) -> None:
    await lose_the_answer(till)
    till.strike.answer(EXECUTE, no("PAYMENT_QUOTE_EXPIRED"))
    till.strike.answer(EVENTS, page(event()))
    till.strike.answer(PAYMENT, ok(payment(state, preimage=None)))
    till.clock.advance(LATER_S)

    await stays_unknown(till)


@pytest.mark.parametrize("state", ["PENDING", "FAILED", "COMPLETED"])
async def test_payment_that_proves_nothing_does_not_stand_for_a_quote_that_never_reached_strike(
    till: Till, state: str
) -> None:
    await lose_the_answer(till)
    till.strike.answer(EVENTS, page(event(OTHER_ID)))
    till.strike.answer(PAYMENT, ok(payment(state, preimage=None, paymentId=OTHER_ID)))
    till.strike.answer(EXECUTE, ok(payment()))
    till.clock.advance(LATER_S)

    assert await till.payer.lookup_sent(HASH) == SENT
    assert till.executed() == [QUOTE_ID, QUOTE_ID]
    assert owner_key(OTHER_ID) not in till.memory.notes


@pytest.mark.parametrize(
    ("shown", "told"),
    [
        (payment(preimage=None) | ONCHAIN, event()),
        (payment("FAILED") | ONCHAIN, event()),
        (payment(preimage=None), event(created=ago(121))),
        (payment("FAILED"), event(created=ago(121))),
        (payment(preimage=None), event(created=ago(-421))),
        (payment(preimage=None), event(kind="payment.updated")),
    ],
    ids=["on chain", "failed on chain", "before it", "failed before it", "after its quote ended", "begun at no time"],
)
async def test_payment_that_cannot_be_of_a_quote_is_not_taken_for_it(
    till: Till, shown: dict[str, Any], told: dict[str, Any]
) -> None:
    await lose_the_answer(till)
    till.strike.answer(EXECUTE, no("PAYMENT_PROCESSED"))
    till.strike.answer(EVENTS, page(told))
    till.strike.answer(PAYMENT, ok(shown))
    till.clock.advance(LATER_S)

    await stays_unknown(till)
    assert owner_key(PAYMENT_ID) not in till.memory.notes


@pytest.mark.parametrize("state", ["FAILED", "COMPLETED"])
async def test_quote_that_is_being_executed_is_not_over(till: Till, state: str) -> None:
    await lose_the_answer(till)
    till.strike.answer(EXECUTE, no("PROCESSING_PAYMENT"))
    till.strike.answer(EVENTS, page(event()))
    till.strike.answer(PAYMENT, ok(payment(state, preimage=None)))
    till.clock.advance(LATER_S)

    await stays_unknown(till)


async def test_two_equal_payments_that_are_both_open_are_never_swapped(till: Till) -> None:
    till.strike.answer(EXECUTE, LOST)
    for order in (ORDER, OTHER_ORDER):
        with pytest.raises(ProviderUnavailable):
            await till.payer.send(order)
    till.strike.answer(EVENTS, page(event()))
    till.strike.answer(PAYMENT, BARE)
    till.strike.answer(EXECUTE, no("PAYMENT_PROCESSED"))
    till.clock.advance(LATER_S)

    for reference in (HASH, OTHER_HASH):
        with pytest.raises(ProviderUnavailable):
            await till.payer.lookup_sent(reference)
    till.strike.answer(EXECUTE, no("PAYMENT_QUOTE_EXPIRED"))
    till.strike.answer(EVENTS, page())
    other = await till.payer.lookup_sent(OTHER_HASH)
    till.strike.answer(EXECUTE, no("PAYMENT_PROCESSED"))
    till.strike.answer(EVENTS, page(event()))
    ours = await till.payer.lookup_sent(HASH)

    assert other.status is SentStatus.FAILED
    assert (ours.status, ours.unproved) == (SentStatus.SUCCEEDED, True)


async def test_own_payment_that_another_was_taken_for_is_booked_by_its_proof(till: Till) -> None:
    await lose_the_answer(till)
    await till.memory.remember(owner_key(PAYMENT_ID), f"{OTHER_HASH}/1", instead_of=None)
    till.strike.answer(EXECUTE, ok(payment()))

    assert await till.payer.lookup_sent(HASH) == SENT
    assert till.memory.notes[owner_key(PAYMENT_ID)] == f"{HASH}/1"


ODD = [
    no("NOT_FOUND", status=404),
    ok(payment("REVERSED", paymentId=OTHER_ID)),
    ok(payment(paymentId=OTHER_ID, totalAmount=None)),
    ok(payment("PENDING", paymentId=OTHER_ID, amount=money("5.00", "USD"), totalAmount=money("5.00", "USD"))),
]


def answer_oddly(till: Till, odd: httpx.Response) -> None:
    """Show a payment of somebody else that is not as it should be."""

    def play(request: httpx.Request) -> httpx.Response:
        one = odd if OTHER_ID in request.url.path else ok(payment())
        return httpx.Response(one.status_code, content=one.content)

    till.strike.plays[PAYMENT] = play


@pytest.mark.parametrize("odd", ODD)
async def test_odd_payment_of_somebody_else_does_not_hide_our_own(till: Till, odd: httpx.Response) -> None:
    await lose_the_answer(till)
    answer_oddly(till, odd)
    till.strike.answer(EVENTS, page(event(OTHER_ID), event(number=2)))

    assert await till.payer.lookup_sent(HASH) == SENT
    assert till.executed() == [QUOTE_ID]


@pytest.mark.parametrize("code", ["PAYMENT_PROCESSED", "PAYMENT_QUOTE_EXPIRED"])
@pytest.mark.parametrize("odd", ODD[:3])
async def test_payment_that_cannot_be_read_may_be_ours(till: Till, odd: httpx.Response, code: str) -> None:
    await lose_the_answer(till)
    answer_oddly(till, odd)
    till.strike.answer(EVENTS, page(event(OTHER_ID)))
    till.strike.answer(EXECUTE, no(code))
    till.clock.advance(LATER_S)

    await stays_unknown(till)


async def test_key_that_may_not_read_payments_finds_out_nothing(till: Till) -> None:
    await lose_the_answer(till)
    till.strike.answer(EVENTS, page(event()))
    till.strike.answer(PAYMENT, no("FORBIDDEN", status=403))

    with pytest.raises(ProviderUnavailable):
        await till.payer.send(ORDER)
    assert till.executed() == [QUOTE_ID]


@pytest.mark.parametrize("call", [PAY_QUOTE, EXECUTE])
async def test_own_payment_of_an_invoice_that_is_dated_ahead_is_found(till: Till, call: str) -> None:
    till.clock.at = START - timedelta(days=1)
    till.strike.answer(call, no("LN_INVOICE_PROCESSED"))
    till.strike.answer(EVENTS, page(event(created=ago(86_400))))

    assert await till.payer.send(ORDER) == SENT
    since = till.strike.calls(EVENTS)[0].url.params["$filter"].split()[-1]
    assert since == "2026-11-24T11:58:00.000000Z"


async def test_another_quote_does_not_move_when_an_invoice_was_first_said_to_be_paid(till: Till) -> None:
    till.strike.answer(EXECUTE, no("LN_INVOICE_PROCESSED"))
    till.strike.answer(
        PAY_QUOTE, *[ok(payment_quote(validUntil=ago(-300 * number), paymentQuoteId=QUOTE_ID)) for number in (1, 2, 3)]
    )

    for _ in range(2):
        with pytest.raises(ProviderUnavailable):
            await till.payer.send(ORDER)
        till.clock.advance(NEVER_RAN_AFTER_S / 2)

    with pytest.raises(SendRefused, match="not by us"):
        await till.payer.send(ORDER)
    assert len(till.strike.calls(PAY_QUOTE)) == 3


async def test_search_ends_where_the_payment_can_be_no_more(till: Till) -> None:
    await lose_the_answer(till)
    full = [event(OTHER_ID, kind="invoice.updated", number=number) for number in range(100)]
    late = [event(PAYMENT_ID, number=number, created=ago(-4_100)) for number in range(100)]
    till.strike.answer(EVENTS, page(*full), page(*late), page(event()))
    till.strike.answer(EXECUTE, no("PAYMENT_QUOTE_EXPIRED"))
    till.clock.advance(86_400)

    assert await till.payer.lookup_sent(HASH) == failed(SendFailure.TIMEOUT)
    assert len(till.strike.calls(EVENTS)) == 2
    assert till.strike.calls(PAYMENT) == []


async def test_list_that_does_not_end_is_not_read_for_ever(till: Till) -> None:
    await lose_the_answer(till)
    till.strike.answer(EVENTS, page(*[event(kind="invoice.updated", number=number) for number in range(100)]))

    await stays_unknown(till)
    assert len(till.strike.calls(EVENTS)) == 2 * 30
    assert till.executed() == [QUOTE_ID]


async def test_lone_payment_on_its_way_is_only_that(till: Till) -> None:
    await lose_the_answer(till)
    till.strike.answer(EXECUTE, no("PROCESSING_PAYMENT"))
    till.strike.answer(EVENTS, page(event()))
    till.strike.answer(PAYMENT, ok(payment("PENDING")))
    till.clock.advance(LATER_S)

    assert await till.payer.lookup_sent(HASH) == IN_FLIGHT
    assert owner_key(PAYMENT_ID) not in till.memory.notes


class SlowMemory(Memory):
    """What a process knows whose write of a quote waits, until it is let go."""

    def __init__(self, shared: Memory) -> None:
        super().__init__()
        self.notes = shared.notes
        self.is_reached, self.goes_on = asyncio.Event(), asyncio.Event()

    async def remember(self, reference: str, note: str, *, instead_of: str | None) -> bool:
        if '"quote_id"' in note:
            self.is_reached.set()
            await self.goes_on.wait()
        return await super().remember(reference, note, instead_of=instead_of)


async def test_process_that_comes_late_does_not_erase_what_another_has_begun(till: Till) -> None:
    slow = SlowMemory(till.memory)
    late = StrikePayer(till.strike.client(), network="regtest", memory=slow, now=till.clock.now)
    repeated = no("DUPLICATE_PAYMENT_QUOTE", values={"paymentQuoteId": QUOTE_ID})
    till.strike.answer(PAY_QUOTE, ok(payment_quote()), repeated, ok(payment_quote(paymentQuoteId=OTHER_ID)))
    coming = asyncio.create_task(late.send(ORDER))
    await slow.is_reached.wait()
    await lose_the_answer(till)
    begun = till.memory.notes[HASH]

    slow.goes_on.set()
    with pytest.raises(ProviderUnavailable):
        await coming

    assert till.memory.notes[HASH] == begun
    assert till.executed() == [OTHER_ID]


async def test_refusal_is_not_certain_when_another_process_has_executed_meanwhile(till: Till) -> None:
    other = till.payer
    looks: list[SentStatus] = []

    async def play(_: httpx.Request) -> httpx.Response:
        till.strike.answer(EXECUTE, ok(payment()))
        looks.append((await other.lookup_sent(HASH)).status)
        return no("BALANCE_TOO_LOW")

    till.strike.plays[EXECUTE] = play
    with pytest.raises(ProviderUnavailable):
        await till.restarted().send(ORDER)

    assert looks == [SentStatus.SUCCEEDED]
    assert await till.payer.lookup_sent(HASH) == SENT
