"""What was paid, read from Strike's events: nothing is skipped, nothing is told that was not paid."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from tests.contract.strike.scripted import (
    EVENTS,
    FIND,
    START,
    Clock,
    ScriptedStrike,
    ago,
    event,
    html_403,
    invoice,
    money,
    no,
    ok,
    page,
    received,
)

from quittance.domain.errors import ProviderMisconfigured, ProviderUnavailable
from quittance.domain.money import msat
from quittance.providers.base import FeedPosition, Settlement
from quittance.providers.strike.budget import Budget
from quittance.providers.strike.provider import StrikeProvider

PAID_AT = "2026-11-25T11:59:00.1234567+00:00"


def us(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def position(*, seconds_ago: float) -> FeedPosition:
    return FeedPosition(source="strike", index=us(START - timedelta(seconds=seconds_ago)))


def entity(number: int) -> str:
    return str(UUID(int=1_000 + number))


def updated(number: int, *, seconds_ago: float, of: int | None = None, kind: str = "invoice.updated") -> dict[str, Any]:
    """Return the event with this number, which tells of an invoice."""
    told_of = entity(number if of is None else of)
    created = f"{START - timedelta(seconds=seconds_ago):%Y-%m-%dT%H:%M:%S+00:00}"
    return event(told_of, kind=kind, number=number, created=created)


class Account:
    """A Strike account whose events and invoices are put down one by one."""

    def __init__(self) -> None:
        self.strike, self.clock = ScriptedStrike(), Clock()
        self.events: list[dict[str, Any]] = []
        self.invoices: dict[str, dict[str, Any]] = {}
        self.strike.plays[EVENTS] = self._list
        self.strike.plays[FIND] = self._find

    def paid(self, number: int, *, seconds_ago: float) -> None:
        self.holds(number, state="PAID", transactions=received(PAID_AT))
        self.events.append(updated(number, seconds_ago=seconds_ago))

    def holds(self, number: int, **changes: Any) -> None:
        row = {"correlationId": f"order-{number}", "invoiceId": entity(number)} | changes
        self.invoices[entity(number)] = invoice(row.pop("correlationId"), **row)

    def _list(self, request: httpx.Request) -> httpx.Response:
        query = request.url.params
        since = datetime.fromisoformat(query["$filter"].removeprefix("created ge "))
        known = [one for one in self.events if datetime.fromisoformat(one["created"]) >= since]
        known.sort(key=lambda one: one["created"])
        skip = int(query["$skip"])
        return page(*known[skip : skip + int(query["$top"])])

    def _find(self, request: httpx.Request) -> httpx.Response:
        found = self.invoices.get(request.url.path.rsplit("/", 1)[1])
        return no("NOT_FOUND", status=404) if found is None else ok(found)

    def feed(self, resume: FeedPosition | None, *, budget: Budget | None = None) -> Any:
        provider = StrikeProvider(
            self.strike.client(budget=budget), network="regtest", now=self.clock.now, poll_s=0.001
        )
        return aclosing(provider.settlements(resume=resume))


@pytest.fixture
def account() -> Account:
    return Account()


async def take(feed: AsyncIterator[Settlement | FeedPosition], count: int) -> list[Settlement | FeedPosition]:
    return [await asyncio.wait_for(anext(feed), timeout=2) for _ in range(count)]


def references(items: list[Settlement | FeedPosition]) -> list[str]:
    return [item.reference for item in items if isinstance(item, Settlement)]


async def test_what_was_missed_is_told_the_oldest_first_and_then_the_news(account: Account) -> None:
    for number in (1, 2, 3):
        account.paid(number, seconds_ago=100 - number)

    async with account.feed(position(seconds_ago=200)) as feed:
        first = await take(feed, 3)
        account.paid(4, seconds_ago=1)
        last = await take(feed, 1)

    assert references(first + last) == ["order-1", "order-2", "order-3", "order-4"]
    assert last == [
        Settlement(
            reference="order-4",
            received=msat(21_000_000),
            settled_at=datetime(2026, 11, 25, 11, 59, 0, 123_456, tzinfo=UTC),
            position=position(seconds_ago=1),
        )
    ]


async def test_position_never_goes_back_and_what_shows_up_late_is_told(account: Account) -> None:
    account.paid(1, seconds_ago=10)

    async with account.feed(position(seconds_ago=200)) as feed:
        first = await take(feed, 1)
        account.paid(2, seconds_ago=60)  # younger than what was told, and only listed now
        late = await take(feed, 1)

    assert references(first + late) == ["order-1", "order-2"]
    assert [item.position for item in first + late if isinstance(item, Settlement)] == [position(seconds_ago=10)] * 2


async def test_resuming_tells_again_rather_than_too_little(account: Account) -> None:
    account.paid(1, seconds_ago=100)
    account.paid(2, seconds_ago=50)
    account.paid(3, seconds_ago=500)

    async with account.feed(position(seconds_ago=50)) as feed:
        items = await take(feed, 2)

    assert references(items) == ["order-1", "order-2"]


async def test_each_event_is_told_once_and_each_paid_invoice_asked_for_once(account: Account) -> None:
    account.paid(1, seconds_ago=50)
    account.events += [updated(7, seconds_ago=49, of=1), updated(7, seconds_ago=49, of=1)]

    async with account.feed(position(seconds_ago=200)) as feed:
        first = await take(feed, 2)
        account.paid(2, seconds_ago=40)
        later = await take(feed, 1)

    assert references(first + later) == ["order-1", "order-2"]
    assert [request.url.path.rsplit("/", 1)[1] for request in account.strike.calls(FIND)] == [entity(1), entity(2)]


async def test_invoice_that_is_paid_after_its_first_event_is_told_by_the_next(account: Account) -> None:
    account.holds(1, state="PENDING")
    account.events.append(updated(1, seconds_ago=50))

    async with account.feed(position(seconds_ago=200)) as feed:
        first = await take(feed, 1)
        account.holds(1, state="PAID", transactions=received(PAID_AT))
        account.events.append(updated(2, seconds_ago=40, of=1))
        later = await take(feed, 1)

    assert first == [position(seconds_ago=50)]
    assert references(later) == ["order-1"]


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "UNPAID"},
        {"state": "CANCELLED"},
        {"state": "REVERSED"},
        {"state": "PAID", "correlationId": None},
        {"state": "PAID", "amount": money("1.00", "USD")},
    ],
)
async def test_what_brought_no_money_of_ours_is_passed_over(account: Account, changes: dict[str, Any]) -> None:
    account.holds(1, **changes)
    account.events.append(updated(1, seconds_ago=50))
    account.paid(2, seconds_ago=40)

    async with account.feed(position(seconds_ago=200)) as feed:
        items = await take(feed, 1)

    assert references(items) == ["order-2"]


async def test_strangers_and_other_types_are_passed_over(account: Account) -> None:
    account.events.append(updated(1, seconds_ago=50))  # an invoice that this key does not see
    account.events.append(updated(4, seconds_ago=48, kind="something.new") | {"data": {"entityId": "no uuid"}})
    account.events.append(updated(5, seconds_ago=47) | {"data": {}})
    account.holds(3, state="PAID")
    account.events.append(updated(3, seconds_ago=45, kind="payment.updated"))
    account.paid(2, seconds_ago=40)

    async with account.feed(position(seconds_ago=200)) as feed:
        items = await take(feed, 1)

    assert references(items) == ["order-2"]


async def test_payment_without_a_time_was_paid_when_its_event_says(account: Account) -> None:
    account.holds(1, state="PAID")
    account.events.append(updated(1, seconds_ago=50))

    async with account.feed(position(seconds_ago=200)) as feed:
        item = (await take(feed, 1))[0]

    assert isinstance(item, Settlement)
    assert item.settled_at == START - timedelta(seconds=50)


async def test_all_pages_are_read(account: Account) -> None:
    for number in range(250):
        account.paid(number, seconds_ago=100 - number / 250)

    async with account.feed(position(seconds_ago=200)) as feed:
        items = await take(feed, 250)

    assert sorted(references(items)) == sorted(f"order-{number}" for number in range(250))


@pytest.mark.parametrize("resume", [None, FeedPosition(source="another", index=us(START))])
async def test_without_a_position_of_this_account_the_last_day_is_read(
    account: Account, resume: FeedPosition | None
) -> None:
    account.paid(1, seconds_ago=86_400 + 200)
    account.paid(2, seconds_ago=86_000)

    async with account.feed(resume) as feed:
        items = await take(feed, 1)

    assert references(items) == ["order-2"]


async def test_without_any_event_a_position_is_told_once(account: Account) -> None:
    async with account.feed(None) as feed:
        first = await take(feed, 1)
        account.paid(1, seconds_ago=1)
        news = await take(feed, 1)

    assert first == [position(seconds_ago=86_400)]
    assert references(news) == ["order-1"]
    assert len(account.strike.calls(EVENTS)) >= 2


@pytest.mark.parametrize("call", [EVENTS, FIND])
@pytest.mark.parametrize(
    "answer",
    [
        no("RATE_LIMIT_EXCEEDED", status=429),
        no("BAD_GATEWAY", status=502),
        html_403(),
        httpx.ReadError("reset"),
    ],
)
async def test_feed_that_cannot_go_on_says_so_and_loses_nothing(
    account: Account, call: str, answer: httpx.Response | Exception
) -> None:
    account.paid(1, seconds_ago=50)
    working = account.strike.plays[call]
    account.strike.answer(call, answer)

    with pytest.raises(ProviderUnavailable):
        async with account.feed(position(seconds_ago=200)) as feed:
            await take(feed, 1)
    account.strike.plays[call] = working

    async with account.feed(position(seconds_ago=200)) as feed:
        assert references(await take(feed, 1)) == ["order-1"]


async def test_locked_out_feed_asks_no_more(account: Account) -> None:
    budget = Budget(clock=account.clock.monotonic)
    account.strike.answer(EVENTS, no("RATE_LIMIT_EXCEEDED", status=429))

    for _ in range(5):
        with pytest.raises(ProviderUnavailable):
            async with account.feed(None, budget=budget) as feed:
                await take(feed, 1)

    assert len(account.strike.calls(EVENTS)) == 1


async def test_key_that_may_not_read_events_is_for_the_operator(account: Account) -> None:
    account.strike.answer(EVENTS, no("FORBIDDEN", status=403))

    with pytest.raises(ProviderMisconfigured, match=r"partner\.webhooks\.manage"):
        async with account.feed(None) as feed:
            await take(feed, 1)


async def test_seven_digits_of_a_time_are_read(account: Account) -> None:
    account.holds(1, state="PAID", transactions=received(ago(30)))
    account.events.append(updated(1, seconds_ago=50) | {"created": "2026-11-25T11:59:10.1234567+00:00"})

    async with account.feed(position(seconds_ago=200)) as feed:
        item = (await take(feed, 1))[0]

    assert isinstance(item, Settlement)
    assert item.position == FeedPosition(
        source="strike", index=us(datetime(2026, 11, 25, 11, 59, 10, 123_456, tzinfo=UTC))
    )


async def test_a_busy_account_is_read_to_its_end_however_soon_the_calls_are_used_up(account: Account) -> None:
    """What others do with the account costs calls too; each attempt gets further than the one before."""
    budget = Budget(clock=account.clock.monotonic)
    for number in range(1_200):
        account.holds(number)
        account.events.append(updated(number, seconds_ago=5_000 - number))
    account.paid(2_000, seconds_ago=1)
    provider = StrikeProvider(
        account.strike.client(budget=budget), network="regtest", now=account.clock.now, poll_s=0.001
    )

    told: list[str] = []
    resume: FeedPosition | None = position(seconds_ago=6_000)
    for _ in range(4):
        if told:
            break
        with suppress(ProviderUnavailable):
            async with aclosing(provider.settlements(resume=resume)) as feed:
                async for item in feed:
                    if isinstance(item, Settlement):
                        told.append(item.reference)
                    resume = item if isinstance(item, FeedPosition) else item.position or resume
                    if told:
                        break
        account.clock.advance(600)

    assert told == ["order-2000"]


@pytest.mark.parametrize(
    "odd", [{"state": "SHELVED"}, {"amount": {"amount": "much", "currency": "BTC"}}, {"created": "yesterday"}]
)
async def test_an_invoice_that_cannot_be_read_stops_nothing(account: Account, odd: dict[str, Any]) -> None:
    account.holds(1, **odd)
    account.events.append(updated(1, seconds_ago=50))
    account.paid(2, seconds_ago=40)

    async with account.feed(position(seconds_ago=200)) as feed:
        items = await take(feed, 1)

    assert references(items) == ["order-2"]


async def test_an_invoice_that_somebody_else_issued_under_our_name_is_none_of_ours(account: Account) -> None:
    account.paid(1, seconds_ago=50)
    account.invoices[entity(1)] |= {"issuerId": str(UUID(int=7)), "receiverId": str(UUID(int=8))}
    account.paid(2, seconds_ago=40)

    async with account.feed(position(seconds_ago=200)) as feed:
        items = await take(feed, 1)

    assert references(items) == ["order-2"]
