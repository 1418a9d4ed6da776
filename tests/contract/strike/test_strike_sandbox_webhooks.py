"""Subscriptions, webhooks and events of the sandbox's Strike account."""

import asyncio
import hmac
import re
from hashlib import sha256
from typing import Any

import pytest
from tests.contract.strike.conftest import Arm
from tests.contract.strike.strike_client import NOBODY, UUID, StrikeClient, btc, made, ok, refusal, usd
from tests.contract.strike.webhook_receiver import SECRET, Sent, WebhookReceiver, attempted

from quittance.sandbox.clock import SandboxClock
from quittance.sandbox.rails import SandboxRails
from quittance.sandbox.strike.deliveries import RETRIES_MAX, signature


def _terms(url: str, *event_types: str, **members: Any) -> dict[str, Any]:
    terms = {"webhookUrl": url, "webhookVersion": "v1", "secret": SECRET, "enabled": True}
    return terms | {"eventTypes": list(event_types or ("invoice.updated",))} | members


async def _subscribed(strike: StrikeClient, hook: WebhookReceiver, *event_types: str) -> Any:
    return made(await strike.post("/subscriptions", _terms(hook.url, *event_types)))


def _signed(sent: Sent) -> str:
    return hmac.digest(SECRET.encode(), sent.content, sha256).hex()


async def _happen(strike: StrikeClient) -> Any:
    """Let one event happen that the subscriptions of these tests are of."""
    invoice = await strike.invoice(btc("0.00001000"))
    return ok(await strike.patch(f"/invoices/{invoice['invoiceId']}/cancel"))


async def _events(strike: StrikeClient, **query: str) -> Any:
    return ok(await strike.get("/events", **query))["items"]


async def _delivered(strike: StrikeClient) -> bool | None:
    """Return what is said of the newest event that somebody subscribed to."""
    found: bool | None = (await _events(strike, **{"$filter": "eventType eq 'invoice.updated'"}))[0]["deliverySuccess"]
    return found


async def test_a_subscription_never_tells_its_secret(strike: StrikeClient, hook: WebhookReceiver) -> None:
    answer = await strike.post("/subscriptions", _terms(hook.url, "invoice.updated", "payment.updated"))

    body = made(answer)
    path = f"subscriptions/{body['id']}"
    assert answer.headers["location"] == f"{strike.http.base_url}{path}"
    assert body == {
        "id": body["id"],
        "webhookUrl": hook.url,
        "webhookVersion": "v1",
        "enabled": True,
        "created": body["created"],
        "eventTypes": ["invoice.updated", "payment.updated"],
    }
    found = ok(await strike.get(f"/{path}"))
    assert found | {"created": body["created"]} == body
    assert ok(await strike.get("/subscriptions")) == [found]


async def test_a_subscription_is_changed_in_part_and_deleted(strike: StrikeClient, hook: WebhookReceiver) -> None:
    path = f"/subscriptions/{(await _subscribed(strike, hook))['id']}"

    changed = ok(await strike.patch(path, {"enabled": False}))
    renamed = ok(await strike.patch(path, {"eventTypes": ["payment.created"], "webhookUrl": "https://example.com/x"}))
    deleted = await strike.delete(path)

    assert (changed["enabled"], changed["webhookUrl"]) == (False, hook.url)
    assert (renamed["enabled"], renamed["eventTypes"]) == (False, ["payment.created"])
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert ok(await strike.get("/subscriptions")) == []
    for answer in (await strike.get(path), await strike.delete(path), await strike.patch(path, {})):
        assert refusal(answer) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"webhookUrl": "http://example.com/hook"}, "webhookUrl"),
        ({"webhookUrl": "ftp://127.0.0.1/hook"}, "webhookUrl"),
        ({"webhookUrl": "http://[::1/hook"}, "webhookUrl"),
        ({"webhookUrl": None}, "webhookUrl"),
        ({"webhookVersion": "v3"}, "webhookVersion"),
        ({"secret": "x" * 9}, "secret"),
        ({"secret": "x" * 51}, "secret"),
        ({"enabled": "yes"}, "enabled"),
        ({"enabled": None}, "enabled"),
        ({"eventTypes": "invoice.updated"}, "eventTypes"),
        ({"eventTypes": []}, "eventTypes"),
        ({"eventTypes": ["invoice.expired"]}, "eventTypes"),
    ],
)
async def test_what_is_no_subscription_is_refused(
    strike: StrikeClient, hook: WebhookReceiver, members: dict[str, Any], field: str
) -> None:
    answer = await strike.post("/subscriptions", _terms(hook.url) | members)

    assert refusal(answer) == (400, "INVALID_DATA")
    assert answer.json()["data"]["validationErrors"].keys() == {field}
    assert ok(await strike.get("/subscriptions")) == []


async def test_an_account_has_fifty_subscriptions_at_most(strike: StrikeClient, hook: WebhookReceiver) -> None:
    for _ in range(50):
        await _subscribed(strike, hook)

    answer = await strike.post("/subscriptions", _terms(hook.url))

    assert refusal(answer) == (422, "UNPROCESSABLE_ENTITY")


async def test_an_event_is_sent_with_its_signature(
    strike: StrikeClient, rails: SandboxRails, hook: WebhookReceiver
) -> None:
    await _subscribed(strike, hook)
    invoice = await strike.invoice(btc("0.00021000"))

    await rails.pay((await strike.quote(invoice))["lnInvoice"])

    [sent] = await hook.wait_for(1)
    assert sent.signature == _signed(sent).upper()
    assert sent.media_type == "application/json; charset=utf-8"
    assert re.fullmatch(UUID, sent.body["id"])
    assert sent.body == {
        "id": sent.body["id"],
        "eventType": "invoice.updated",
        "webhookVersion": "v1",
        "data": {"entityId": invoice["invoiceId"], "changes": ["state"]},
        "created": sent.body["created"],
    }


def test_the_signature_is_that_of_the_vector() -> None:
    content = (
        b'{"id":"11111111-1111-1111-1111-111111111111","eventType":"invoice.updated","webhookVersion":"v1",'
        b'"data":{"entityId":"22222222-2222-2222-2222-222222222222","changes":["state"]},'
        b'"created":"2022-11-05T15:14:35.5054944+00:00"}'
    )

    assert signature("fake_secret", content) == "2173BE86FA37CFCB9D6BDB58C6D3DEA2327EB0EA2DC848D82DA2C2A967EF8DD5"


async def test_everything_that_happens_is_an_event(strike: StrikeClient, rails: SandboxRails, arm: Arm) -> None:
    invoice = await strike.invoice(btc("0.00001000"))
    await rails.pay((await strike.quote(invoice))["lnInvoice"])
    payment = ok(await strike.execute(await strike.payment_quote(rails.new_invoice("alice", amount_msat=1_000))))
    request = made(await strike.post("/receive-requests", {"bolt11": {}}))
    await arm("invoice_pending", seconds=1)
    await rails.pay(request["bolt11"]["invoice"], amount_msat=1_000)
    await arm("release_pending")
    sale = {"sell": "USD", "buy": "BTC", "amount": usd("1.00")}
    exchange = ok(await strike.post("/currency-exchange-quotes", sale))
    await strike.patch(f"/currency-exchange-quotes/{exchange['id']}/execute")
    [receive] = ok(await strike.get("/receive-requests/receives"))["items"]
    came = {"entityId": request["receiveRequestId"], "receiveId": receive["receiveId"]}

    rows = [(one["eventType"], one["data"]) for one in await _events(strike, **{"$orderby": "created"})]

    assert rows == [
        ("invoice.created", {"entityId": invoice["invoiceId"]}),
        ("invoice.updated", {"entityId": invoice["invoiceId"], "changes": ["state"]}),
        ("payment.created", {"entityId": payment["paymentId"]}),
        ("payment.updated", {"entityId": payment["paymentId"], "changes": ["state"]}),
        ("receive-request.receive-pending", came),
        ("receive-request.receive-completed", came),
        ("currency-exchange-quote.updated", {"entityId": exchange["id"], "changes": ["state"]}),
    ]


async def test_events_are_listed_with_what_became_of_them(
    strike: StrikeClient, rails: SandboxRails, hook: WebhookReceiver
) -> None:
    await _subscribed(strike, hook)
    await _happen(strike)
    await hook.wait_for(1)
    await attempted(rails, 1)

    rows = await _events(strike)
    sent = await _events(strike, **{"$filter": "deliverySuccess eq true"})
    unsent = await _events(strike, **{"$filter": "deliverySuccess eq null"})
    since = await _events(strike, **{"$filter": f"created ge {rows[0]['created']}"})

    assert [(one["eventType"], one["deliverySuccess"]) for one in rows] == [
        ("invoice.updated", True),
        ("invoice.created", None),
    ]
    assert (sent, unsent, since) == ([rows[0]], [rows[1]], [rows[0]])
    assert rows[0]["id"] == hook.sent[0].body["id"]
    assert ok(await strike.get(f"/events/{rows[0]['id']}")) == rows[0]
    assert refusal(await strike.get(f"/events/{NOBODY}")) == (404, "NOT_FOUND")


async def test_what_failed_is_sent_again_ever_later_and_then_no_more(
    strike: StrikeClient, rails: SandboxRails, hook: WebhookReceiver
) -> None:
    hook.statuses = [500] * 20
    await _subscribed(strike, hook)
    await _happen(strike)
    await hook.wait_for(1)

    for retry in range(1, RETRIES_MAX + 1):
        await attempted(rails, retry)
        rails.clock.advance(3**retry - 2)
        await asyncio.sleep(0.03)
        assert len(hook.sent) == retry
        rails.clock.advance(2.5)
        await hook.wait_for(retry + 1)
    await attempted(rails, RETRIES_MAX + 1)
    rails.clock.advance(3 ** (RETRIES_MAX + 1))
    await asyncio.sleep(0.1)

    assert len(hook.sent) == RETRIES_MAX + 1
    assert len({(sent.content, sent.signature) for sent in hook.sent}) == 1
    assert await _delivered(strike) is False


async def test_what_was_taken_at_last_is_delivered(
    strike: StrikeClient, rails: SandboxRails, hook: WebhookReceiver
) -> None:
    hook.statuses = [302, 200]
    await _subscribed(strike, hook)
    await _happen(strike)
    await hook.wait_for(1)
    await attempted(rails, 1)
    before = await _delivered(strike)

    rails.clock.advance(4)
    await hook.wait_for(2)
    await attempted(rails, 2)

    assert (before, await _delivered(strike)) == (False, True)
    rails.clock.advance(100)
    await asyncio.sleep(0.05)
    assert len(hook.sent) == 2


async def test_time_that_another_process_moves_counts_too(
    strike: StrikeClient, rails: SandboxRails, hook: WebhookReceiver
) -> None:
    hook.statuses = [500]
    await _subscribed(strike, hook)
    await _happen(strike)
    await hook.wait_for(1)
    await attempted(rails, 1)

    SandboxClock(rails.strike.api_key_path.parents[1] / "clock.json").advance(100_000)

    await hook.wait_for(2)


@pytest.mark.parametrize("status", [410, 501])
async def test_a_receiver_may_say_that_it_wants_no_more(
    strike: StrikeClient, rails: SandboxRails, hook: WebhookReceiver, status: int
) -> None:
    hook.statuses = [status]
    await _subscribed(strike, hook)
    await _happen(strike)
    await hook.wait_for(1)
    await attempted(rails, 1)

    rails.clock.advance(1_000_000)
    await asyncio.sleep(0.05)

    assert len(hook.sent) == 1
    assert await _delivered(strike) is False


@pytest.mark.parametrize("change", ["disable", "delete"])
async def test_a_subscription_that_ended_is_sent_nothing(
    strike: StrikeClient, rails: SandboxRails, hook: WebhookReceiver, change: str
) -> None:
    hook.statuses = [500]
    path = f"/subscriptions/{(await _subscribed(strike, hook))['id']}"
    await _happen(strike)
    await hook.wait_for(1)
    await attempted(rails, 1)
    await (strike.delete(path) if change == "delete" else strike.patch(path, {"enabled": False}))

    await _happen(strike)
    rails.clock.advance(4)
    await asyncio.sleep(0.1)

    assert len(hook.sent) == 1


async def test_a_slow_receiver_holds_up_nobody_else(strike: StrikeClient, hook: WebhookReceiver) -> None:
    slow = WebhookReceiver()
    await slow.start()
    slow.pause_s = 60
    await _subscribed(strike, slow)
    await _subscribed(strike, hook)

    await _happen(strike)
    await _happen(strike)

    await hook.wait_for(2)
    await slow.wait_for(2)
    await slow.stop()


async def test_nobody_elsewhere_is_called(strike: StrikeClient, rails: SandboxRails) -> None:
    made(await strike.post("/subscriptions", _terms("https://192.0.2.1/hook")))

    await _happen(strike)
    await attempted(rails, 1)

    assert await _delivered(strike) is False


@pytest.mark.parametrize(("fault", "count"), [("duplicate_webhook", 2), ("lower_case_signature", 1)])
async def test_a_webhook_may_come_twice_or_in_small_letters(
    strike: StrikeClient, hook: WebhookReceiver, arm: Arm, fault: str, count: int
) -> None:
    await arm(fault)
    await _subscribed(strike, hook)

    await _happen(strike)

    sent = await hook.wait_for(count)
    assert len({one.content for one in sent}) == 1
    assert {one.signature.lower() for one in sent} == {_signed(sent[0])}
    assert sent[0].signature.islower() is (fault == "lower_case_signature")


async def test_a_webhook_may_be_signed_by_somebody_else(strike: StrikeClient, hook: WebhookReceiver, arm: Arm) -> None:
    await arm("bad_signature")
    await _subscribed(strike, hook)

    await _happen(strike)

    [sent] = await hook.wait_for(1)
    assert re.fullmatch("[0-9A-F]{64}", sent.signature)
    assert sent.signature != _signed(sent).upper()


async def test_a_webhook_may_never_come(
    strike: StrikeClient, rails: SandboxRails, hook: WebhookReceiver, arm: Arm
) -> None:
    await arm("drop_webhook")
    await _subscribed(strike, hook)
    await _happen(strike)
    await attempted(rails, 1)

    rails.clock.advance(1_000)
    await _happen(strike)

    await hook.wait_for(1)
    assert (len(hook.sent), [one["delivered"] for one in rails.strike_deliveries()][1]) == (1, True)


async def test_a_webhook_may_come_late(
    strike: StrikeClient, rails: SandboxRails, hook: WebhookReceiver, arm: Arm
) -> None:
    await arm("delay_webhook", seconds=100)
    await _subscribed(strike, hook)
    await _happen(strike)
    await asyncio.sleep(0.1)
    before = len(hook.sent)

    rails.clock.advance(101)

    await hook.wait_for(1)
    assert before == 0
