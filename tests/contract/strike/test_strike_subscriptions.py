"""Strike's webhooks and events as we ask for them, and every answer that is not the one we hope for (1.3, 1.5, 1.8)."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

import httpx
import pytest
from tests.contract.strike.scripted import (
    EVENTS,
    INVOICE_ID,
    OTHER_ID,
    PAYMENT_ID,
    START,
    ScriptedStrike,
    event,
    html_403,
    no,
    ok,
    page,
)

from quittance.domain.errors import ProviderMisconfigured, ProviderUnavailable
from quittance.providers.callbacks import CallbackRefused
from quittance.providers.strike.calls import PAGE
from quittance.providers.strike.subscriptions import StrikeSubscriptions, callback_reader
from quittance.providers.subscriptions import (
    CallbackSubscription,
    EventDelivery,
    ManagesCallbacks,
    SubscriptionChange,
    SubscriptionMissing,
    SubscriptionRejected,
)

SUBSCRIBE, LIST = "POST /v1/subscriptions", "GET /v1/subscriptions"
CHANGE, DELETE = "PATCH /v1/subscriptions/*", "DELETE /v1/subscriptions/*"
URL = "https://shop.example/callbacks/strike"
SECRET = "s" * 43
LOST = httpx.ReadError("cut off")


def body(**changes: Any) -> dict[str, Any]:
    return {
        "id": OTHER_ID,
        "webhookUrl": URL,
        "webhookVersion": "v1",
        "enabled": True,
        "created": "2026-11-25T12:00:00.5054944+00:00",
        "eventTypes": ["invoice.updated"],
    } | changes


HELD = CallbackSubscription(
    id=OTHER_ID,
    url=URL,
    kinds=("invoice.updated",),
    enabled=True,
    created_at=datetime(2026, 11, 25, 12, 0, 0, 505494, tzinfo=UTC),
)


@pytest.fixture
def strike() -> ScriptedStrike:
    return ScriptedStrike()


@pytest.fixture
def managed(strike: ScriptedStrike) -> StrikeSubscriptions:
    return StrikeSubscriptions(strike.client())


async def subscribe(managed: StrikeSubscriptions) -> CallbackSubscription:
    return await managed.subscribe(url=URL, secret=SECRET, kinds=managed.kinds)


async def change(managed: StrikeSubscriptions) -> CallbackSubscription:
    return await managed.change(OTHER_ID, SubscriptionChange(enabled=True))


def test_it_is_what_the_port_asks_for(managed: StrikeSubscriptions) -> None:
    assert isinstance(managed, ManagesCallbacks)


async def test_a_subscription_says_all_five_members_and_is_read_back(
    strike: ScriptedStrike, managed: StrikeSubscriptions
) -> None:
    strike.answer(SUBSCRIBE, ok(body(), status=201))

    made = await subscribe(managed)

    assert made == HELD
    assert strike.bodies(SUBSCRIBE) == [
        {
            "webhookUrl": URL,
            "webhookVersion": "v1",
            "secret": SECRET,
            "enabled": True,
            "eventTypes": ["invoice.updated"],
        }
    ]
    assert SECRET not in repr(SubscriptionChange(secret=SECRET))


async def test_the_list_is_a_bare_array_of_everybodys(strike: ScriptedStrike, managed: StrikeSubscriptions) -> None:
    foreign = body(id=PAYMENT_ID, eventTypes=[], enabled=False, webhookVersion="v2", unknownMember=1)
    strike.answer(LIST, ok([body(), foreign]))

    found = await managed.subscriptions()

    assert [(one.id, one.kinds, one.enabled) for one in found] == [
        (OTHER_ID, ("invoice.updated",), True),
        (PAYMENT_ID, (), False),
    ]


@pytest.mark.parametrize(
    ("said", "sent"),
    [
        (SubscriptionChange(secret=SECRET), {"secret": SECRET}),
        (SubscriptionChange(enabled=False), {"enabled": False}),
        (SubscriptionChange(url=URL, kinds=("a", "b")), {"webhookUrl": URL, "eventTypes": ["a", "b"]}),
    ],
)
async def test_a_change_says_what_changes_and_nothing_else(
    strike: ScriptedStrike, managed: StrikeSubscriptions, said: SubscriptionChange, sent: dict[str, Any]
) -> None:
    strike.answer(CHANGE, ok(body()))

    assert await managed.change(OTHER_ID.upper(), said) == HELD
    assert strike.bodies(CHANGE) == [sent]


async def test_one_that_is_taken_away_answers_with_nothing_and_again_with_not_found(
    strike: ScriptedStrike, managed: StrikeSubscriptions
) -> None:
    strike.answer(DELETE, httpx.Response(204), no("NOT_FOUND", status=404))

    assert [await managed.unsubscribe(OTHER_ID) for _ in range(2)] == [True, False]


@pytest.mark.parametrize("id_", ["", "x", "../invoices", f"{OTHER_ID}0", "sub\x00"])
async def test_what_is_no_id_of_strikes_is_never_asked_for(
    strike: ScriptedStrike, managed: StrikeSubscriptions, id_: str
) -> None:
    with pytest.raises(SubscriptionMissing):
        await managed.change(id_, SubscriptionChange(enabled=True))

    assert await managed.unsubscribe(id_) is False
    assert strike.asked == []


async def test_a_refusal_is_told_by_its_code(strike: ScriptedStrike, managed: StrikeSubscriptions) -> None:
    for call in (SUBSCRIBE, CHANGE):
        strike.answer(call, no("INVALID_DATA", status=400), no("UNPROCESSABLE_ENTITY"), no("NOT_FOUND", status=404))

    for code in ("INVALID_DATA", "UNPROCESSABLE_ENTITY"):
        for ask in (subscribe, change):
            with pytest.raises(SubscriptionRejected) as refused:
                await ask(managed)
            assert refused.value.reason == code
    with pytest.raises(SubscriptionMissing):
        await change(managed)


@pytest.mark.parametrize(
    "answer",
    [
        LOST,
        httpx.ReadTimeout("no answer"),
        no("INTERNAL_SERVER_ERROR", status=500),
        no("RATE_LIMIT_EXCEEDED", status=429),
        no("PROCESSING_CONFLICT", status=409),
        no("A_CODE_THAT_NOBODY_KNOWS"),
        html_403(),
        httpx.Response(502, text="<html>"),
    ],
)
async def test_without_an_answer_it_is_unknown_whether_it_was_done(strike: ScriptedStrike, answer: Any) -> None:
    for call in (SUBSCRIBE, CHANGE, DELETE, LIST):
        strike.answer(call, answer)

    for ask in (subscribe, change, _unsubscribe, _list):
        with pytest.raises(ProviderUnavailable):
            await ask(StrikeSubscriptions(strike.client()))


async def _unsubscribe(managed: StrikeSubscriptions) -> bool:
    return await managed.unsubscribe(OTHER_ID)


async def _list(managed: StrikeSubscriptions) -> Any:
    return await managed.subscriptions()


async def test_a_key_without_the_scope_is_the_operators_to_mend(strike: ScriptedStrike) -> None:
    for call in (SUBSCRIBE, CHANGE, DELETE, LIST, EVENTS):
        strike.answer(call, no("FORBIDDEN", status=403))

    for ask in (subscribe, change, _unsubscribe, _list, _events):
        with pytest.raises(ProviderMisconfigured, match=r"lacks the scope partner\.webhooks\.manage"):
            await ask(StrikeSubscriptions(strike.client()))


@pytest.mark.parametrize(
    "answer", [ok([body(id="x")]), ok({"items": []}), ok([body(created="2026-11-25T12:00:00")]), ok("[]"), ok([1])]
)
async def test_an_answer_that_is_not_strikes_is_not_believed(
    strike: ScriptedStrike, managed: StrikeSubscriptions, answer: httpx.Response
) -> None:
    strike.answer(LIST, answer)

    with pytest.raises(ProviderMisconfigured):
        await managed.subscriptions()


async def _events(managed: StrikeSubscriptions, *, undelivered_only: bool = False) -> list[Any]:
    since = START - timedelta(days=10)
    return [one async for one in managed.events(since=since, undelivered_only=undelivered_only)]


async def test_events_are_read_page_by_page_with_one_term_in_the_filter(
    strike: ScriptedStrike, managed: StrikeSubscriptions
) -> None:
    first = [event(INVOICE_ID, kind="invoice.updated", number=number) for number in range(1, PAGE + 1)]
    strike.answer(EVENTS, page(*first), page(event(number=PAGE + 1)))

    found = await _events(managed)

    assert [one.event_id for one in found] == [str(UUID(int=number)) for number in range(1, PAGE + 2)]
    queries = [parse_qs(request.url.query.decode()) for request in strike.calls(EVENTS)]
    assert [(query["$filter"], query["$orderby"], query["$skip"]) for query in queries] == [
        (["created ge 2026-11-15T12:00:00.000000Z"], ["created asc"], ["0"]),
        (["created ge 2026-11-15T12:00:00.000000Z"], ["created asc"], ["100"]),
    ]
    assert (found[0].kind, found[0].entity, found[-1].entity) == ("invoice.updated", INVOICE_ID, None)


async def test_what_everybody_was_told_is_left_out_and_what_nobody_can_tell_is_not(
    strike: ScriptedStrike, managed: StrikeSubscriptions
) -> None:
    told, failed, unsaid = (event(number=number) for number in (1, 2, 3))
    bare = {name: value for name, value in event(number=4).items() if name != "deliverySuccess"}
    strike.answer(EVENTS, page(told | {"deliverySuccess": True}, failed | {"deliverySuccess": False}, unsaid, bare))

    every, undelivered = await _events(managed), await _events(managed, undelivered_only=True)

    assert [one.delivery for one in every] == [
        EventDelivery.DELIVERED,
        EventDelivery.UNDELIVERED,
        EventDelivery.UNKNOWN,
        EventDelivery.UNKNOWN,
    ]
    assert undelivered == every[1:]


def test_a_reader_takes_each_secret_that_is_accepted() -> None:
    reader = callback_reader([b"first secret", b"fake_secret"])
    own_vector = (
        b'{"id":"11111111-1111-1111-1111-111111111111","eventType":"invoice.updated","webhookVersion":"v1",'
        b'"data":{"entityId":"22222222-2222-2222-2222-222222222222","changes":["state"]},'
        b'"created":"2022-11-05T15:14:35.5054944+00:00"}'
    )
    signed = {"X-Webhook-Signature": "2173BE86FA37CFCB9D6BDB58C6D3DEA2327EB0EA2DC848D82DA2C2A967EF8DD5"}

    said = reader.read_callback(headers=signed, body=own_vector, at=START)

    assert (said.event_id, said.entity) == (
        "1" * 8 + "-1111-1111-1111-" + "1" * 12,
        "2" * 8 + "-2222-2222-2222-" + "2" * 12,
    )
    with pytest.raises(CallbackRefused):
        callback_reader([b"first secret"]).read_callback(headers=signed, body=own_vector, at=START)
