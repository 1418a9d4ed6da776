"""What happened at a provider while nobody heard it is taken in once, whichever ways it comes (H1, H2, W4, W10)."""

import asyncio
import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.integration.callback_door import paid
from tests.integration.provider_account import EVENTS, PROVIDER, Account, ManagedDoor, NewManagedDoor, signature

from quittance.domain.provider_webhook import CATCH_UP_DAYS_MAX
from quittance.gql.schema import schema
from quittance.providers.callbacks import ProviderCallback
from quittance.resolvers.callbacks import Receipt, take_in
from quittance.resolvers.provider_events import BATCH, catch_up

URL = "https://shop.example/callbacks/lnd"


@pytest.fixture
async def subscribed(managed: ManagedDoor) -> ManagedDoor:
    await managed.subscribe(url=URL)
    return managed


async def test_what_was_paid_while_we_were_down_is_booked_once_by_whichever_way_it_comes(
    subscribed: ManagedDoor, new_managed: NewManagedDoor, account: Account
) -> None:
    sold = [await paid(subscribed.door) for _ in range(6)]
    events = [account.happens(reference) for _, reference in sold]
    other = new_managed(another=True)

    ways = [
        *(subscribed.catch_up() for _ in range(2)),
        other.catch_up(),
        *(account.deliver(door.door, event) for door in (subscribed, other) for event in events),
        subscribed.door.till.reconcile(),
    ]
    random.Random(7).shuffle(ways)
    with capture_logs() as logs:
        await asyncio.gather(*ways)
        await asyncio.gather(subscribed.door.work(), other.door.work(), other.door.till.reconcile())
        again = [await account.deliver(subscribed.door, event) for event in reversed(events)]
        last = await subscribed.catch_up()
        await subscribed.door.work()

    assert await subscribed.door.till.balances() == {"PROVIDER": 30_000, "MERCHANT": -30_000}
    assert len(await subscribed.door.till.rows("settlement")) == len(sold)
    assert sorted(one["eventId"] for one in await subscribed.door.listed()) == [event.event_id for event in events]
    assert {one["state"] for one in await subscribed.door.listed()} == {"PROCESSED"}
    assert [(answer.status_code, answer.json()) for answer in again] == [(200, {"status": "REPEATED"})] * len(events)
    assert (last["seen"], last["stored"], last["goesOnAt"]) == (6, 0, None)
    assert [line for line in logs if line["log_level"] in {"warning", "error"}] == []
    for payment_id, _ in sold:
        kinds = [kind for kind, _ in await subscribed.door.till.events(payment_id)]
        assert kinds.count("payment.settled") == 1


async def test_catching_up_says_what_was_new_and_stores_it_as_a_callback_without_a_body(
    subscribed: ManagedDoor, account: Account
) -> None:
    payment_id, reference = await paid(subscribed.door)
    known = account.happens(reference)
    await account.deliver(subscribed.door, known)
    account.happens("ab" * 32)
    account.happens(reference, kind="payment.updated")

    caught = await subscribed.catch_up()
    await subscribed.door.work()

    assert {name: caught[name] for name in ("seen", "stored", "goesOnAt")} == {"seen": 2, "stored": 1, "goesOnAt": None}
    assert await subscribed.door.standing() == [
        ("evt-0000", "PROCESSED", None),
        ("evt-0001", "IGNORED", "UNKNOWN_REFERENCE"),  # the account is told of invoices that we did not make, W10
    ]
    assert len(await subscribed.door.till.rows("provider_callback_body")) == 1
    assert (await subscribed.door.till.payment(payment_id)).status.value == "COMPLETE"


async def test_a_notice_that_comes_after_the_catch_up_is_known_and_not_taken_for_another(
    subscribed: ManagedDoor, account: Account
) -> None:
    caught_first, told_first = account.happens("ab" * 32), account.happens("cd" * 32)
    await account.deliver(subscribed.door, told_first)

    caught = await subscribed.catch_up()
    with capture_logs() as logs:
        late = await account.deliver(subscribed.door, caught_first)
    receipts = await take_in(
        subscribed.door.services,
        provider=PROVIDER,
        told=[ProviderCallback(event_id=told_first.event_id, kind=told_first.kind, reference=None, entity="cd" * 32)],
    )

    assert (caught["seen"], caught["stored"]) == (2, 1)
    assert (late.status_code, late.json()) == (200, {"status": "REPEATED"})
    assert [line["log_level"] for line in logs] == ["info"]
    assert receipts == [Receipt.REPEATED]


async def test_the_list_shows_what_reached_us_and_what_did_not(subscribed: ManagedDoor, account: Account) -> None:
    told, missed = account.happens("ab" * 32), account.happens("cd" * 32)
    await account.deliver(subscribed.door, told)

    both = await subscribed.run(EVENTS, {"since": None, "undelivered": None, "first": None})
    undelivered = await subscribed.run(EVENTS, {"undelivered": True})
    first = await subscribed.run(EVENTS, {"first": 1})

    assert [(one["id"], one["entity"], one["delivery"], one["callback"]) for one in both] == [
        (told.event_id, "ab" * 32, "DELIVERED", {"eventId": told.event_id, "state": "RECEIVED"}),
        (missed.event_id, "cd" * 32, "UNDELIVERED", None),
    ]
    assert undelivered == both[1:]
    assert first == both[:1]


async def test_events_before_the_moment_that_is_asked_for_are_left_alone(
    subscribed: ManagedDoor, account: Account
) -> None:
    account.happens("ab" * 32)
    subscribed.door.till.clock.advance(60)
    since = subscribed.door.services.now()
    account.happens("cd" * 32)

    caught = await subscribed.catch_up(since=since.isoformat())

    assert (caught["seen"], caught["stored"]) == (1, 1)
    assert caught["since"] == since.isoformat().replace("+00:00", "Z")
    assert [one["eventId"] for one in await subscribed.door.listed()] == ["evt-0001"]


async def test_a_catch_up_has_a_most_and_says_where_to_go_on(subscribed: ManagedDoor, account: Account) -> None:
    for number in range(2 * BATCH + 1):
        subscribed.door.till.clock.advance(1)
        account.happens(f"{number:064x}")
    operator = subscribed.door.till.shop.principal

    first = await catch_up(subscribed.door.services, operator, provider=PROVIDER, since=None, events_max=BATCH)
    rest = await catch_up(
        subscribed.door.services, operator, provider=PROVIDER, since=first.goes_on_at, events_max=3 * BATCH
    )

    assert (first.seen, first.stored) == (BATCH, BATCH)
    assert first.goes_on_at == account.events_held[BATCH - 1].created_at
    assert (rest.seen, rest.stored, rest.goes_on_at) == (BATCH + 2, BATCH + 1, None)


async def test_a_provider_that_does_not_answer_loses_nothing(subscribed: ManagedDoor, account: Account) -> None:
    account.happens("ab" * 32)
    account.down = True

    refused = await subscribed.catch_up()
    account.down = False
    again = await subscribed.catch_up()

    assert (refused["code"], refused["retryable"], again["stored"]) == ("PROVIDER_UNAVAILABLE", True, 1)


async def test_a_moment_that_cannot_be_meant_is_refused(subscribed: ManagedDoor, account: Account) -> None:
    now, asked = subscribed.door.services.now(), account.asked
    wrong = [now + timedelta(seconds=60), now - timedelta(days=CATCH_UP_DAYS_MAX + 1)]

    refused = [await subscribed.catch_up(since=moment.isoformat()) for moment in wrong]
    listed = await schema.execute(EVENTS, {"since": wrong[0].isoformat()}, subscribed.door.till.shop.context())

    assert [one["code"] for one in refused] == ["INVALID_INPUT"] * 2
    assert (listed.data, account.asked) == (None, asked)


async def test_an_event_that_no_column_can_hold_is_left_out(subscribed: ManagedDoor, account: Account) -> None:
    account.happens("\x00")
    account.events_held[0:0] = [_nameless(account)]

    caught = await subscribed.catch_up()

    assert (caught["seen"], caught["stored"]) == (2, 1)
    assert await subscribed.door.standing() == [("evt-0000", "IGNORED", "NO_REFERENCE")]


def _nameless(account: Account) -> Any:
    return replace(account.events_held[0], event_id="\x00")


async def test_a_forged_or_altered_notice_has_no_effect(subscribed: ManagedDoor, account: Account) -> None:
    _, reference = await paid(subscribed.door)
    event = account.happens(reference)
    (secret,) = account.secrets.values()
    body = f'{{"id":"{event.event_id}","eventType":"invoice.updated","entity":"{reference}"}}'.encode()
    before = await subscribed.door.effects()

    answers = [
        await account.deliver(subscribed.door, event, secret="another secret"),
        await subscribed.door.send(body.replace(b"updated", b"updatee"), signature(body, secret)),
        await subscribed.door.send(body, {}),
        await subscribed.door.send(body, signature(body, "")),
    ]

    assert [answer.status_code for answer in answers] == [401] * 4
    assert await subscribed.door.effects() == before
