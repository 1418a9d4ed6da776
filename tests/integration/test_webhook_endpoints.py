"""Webhook endpoints: made, changed, tried out, rotated and taken away by their merchant, and what each is refused."""

import pytest
from standardwebhooks import Webhook
from tests.integration.runners import runner_of
from tests.integration.webhook_post import (
    ACT,
    CREATE,
    DELETE,
    DELIVERIES,
    DRY,
    ROTATE,
    ROTATE_NOTIFY,
    TEST,
    Post,
    fan_out_all,
    sale,
    update,
)
from tests.integration.webhook_receiver import Receiver

from quittance.domain.access import Scope
from quittance.domain.endpoint import DeliveryState
from quittance.domain.job import JobKind
from quittance.sandbox.clock import SandboxClock
from quittance.workers.work import WEBHOOKS_AT_ONCE


async def test_h6_during_a_rotation_both_secrets_verify_and_then_only_the_new_one(
    post: Post, receiver: Receiver, clock: SandboxClock
) -> None:
    made = await post.endpoint(receiver, eventTypes=["PAYMENT_SETTLED"])
    new = await post.till.shop.mutate("rotateWebhookSecret", ACT, {"id": made["endpoint"]["id"]})

    await sale(post)
    await post.tell()
    clock.advance(3_601)
    await sale(post)
    await post.tell()

    overlapping, after = receiver.received
    signatures = [len(received.headers["webhook-signature"].split(" ")) for received in (overlapping, after)]
    assert signatures == [2, 1]
    for secret in (made["secret"], new["secret"]):
        assert Webhook(secret).verify(overlapping.body, overlapping.headers)["type"] == "payment.settled"


async def test_a_document_of_ones_own_shapes_the_payload(post: Post, receiver: Receiver) -> None:
    document = "subscription { paymentSettled { payment { id amount { formatted } } } }"
    made = await post.endpoint(receiver, document=document)
    payment_id = await sale(post)

    await post.tell()

    (received,) = receiver.received
    assert made["endpoint"]["eventTypes"] == ["PAYMENT_SETTLED"]
    assert received.message["data"] == {
        "paymentSettled": {"payment": {"id": payment_id, "amount": {"formatted": "5 sat"}}}
    }


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ("{ viewer { kind } }", "query or a mutation"),
        ("subscription ($a: String) { paymentSettled(after: $a) { cursor } }", "variables"),
        ("subscription { paymentSettled { nothing } }", "nothing"),
        ("subscription { webhookDelivered { cursor } }", "its field must be one of"),
        ("subscription {", "Syntax Error"),
    ],
)
async def test_a_document_that_cannot_become_a_payload_is_refused_and_nothing_is_made(
    post: Post, receiver: Receiver, document: str, reason: str
) -> None:
    refused = await post.till.shop.mutate(
        "createWebhookEndpoint", CREATE, {"input": {"url": receiver.url, "document": document}}
    )

    assert refused["code"] == "INVALID_DOCUMENT"
    assert reason in refused["message"]
    assert await post.till.rows("webhook_endpoint") == []


@pytest.mark.parametrize(
    "url", ["https://10.0.0.1/", "https://169.254.169.254/", "https://user@example.com/", "ftp://example.com/", ""]
)
async def test_an_address_that_may_not_be_called_is_refused_when_it_is_given(post: Post, url: str) -> None:
    refused = await post.till.shop.mutate("createWebhookEndpoint", CREATE, {"input": {"url": url}})

    assert refused["__typename"] == "ForbiddenAddressError"
    assert await post.till.rows("webhook_endpoint") == []


async def test_a_test_and_a_dry_run_say_what_would_be_sent(post: Post, receiver: Receiver) -> None:
    made = await post.endpoint(receiver, eventTypes=["PAYMENT_SETTLED"])
    endpoint = {"id": made["endpoint"]["id"]}

    before = await post.till.shop.mutate("dryRunWebhook", DRY, endpoint)
    payment_id = await sale(post)
    after = await post.till.shop.mutate("dryRunWebhook", DRY, endpoint)
    sent = await post.till.shop.mutate("sendTestWebhook", TEST, endpoint)
    await post.tell()

    assert '"type":"webhook.test"' in before["body"]
    assert payment_id in after["body"]
    assert sent == {"__typename": "SendTestWebhookSuccess"}
    assert sorted(received.message["type"] for received in receiver.received) == ["payment.settled", "webhook.test"]
    assert after["body"].encode() in [received.body for received in receiver.received]


async def test_what_is_on_its_way_to_a_deleted_endpoint_is_canceled(
    post: Post, receiver: Receiver, clock: SandboxClock
) -> None:
    made = await post.endpoint(receiver, eventTypes=["PAYMENT_SETTLED"])
    receiver.answers = ["500 Oops"]
    await sale(post)
    await post.tell()

    await post.till.shop.mutate("deleteWebhookEndpoint", DELETE, {"id": made["endpoint"]["id"]})
    await post.tell()

    assert [one["state"] for one in await post.deliveries()] == [DeliveryState.CANCELED]
    assert len(receiver.received) == 1


async def test_a_key_without_the_admin_scope_sees_and_changes_nothing(post: Post, receiver: Receiver) -> None:
    await post.endpoint(receiver)
    await sale(post)
    await post.tell()
    limited = post.till.shop.principal.__class__(
        merchant_id=post.till.shop.principal.merchant_id, scopes=frozenset({Scope.PAYMENTS_READ, Scope.PAYMENTS_WRITE})
    )

    refused = await post.till.shop.mutate(
        "createWebhookEndpoint", CREATE, {"input": {"url": receiver.url}}, as_=limited
    )
    seen = await post.till.shop.run(DELIVERIES, {"filter": {}}, as_=limited)

    assert refused["code"] == "PERMISSION_DENIED"
    assert seen["webhookDeliveries"] == {"totalCount": 0, "edges": []}


async def test_a_new_document_widens_nothing_that_was_chosen(post: Post, receiver: Receiver) -> None:
    document = "subscription { paymentSettled { payment { id } } }"
    made = await post.endpoint(receiver, eventTypes=["PAYMENT_SETTLED"], document=document)

    cleared = await update(post, made, document=None)
    foreign = await update(post, made, document="subscription { articlePublished { article { id } } }")
    both = await update(
        post, made, document="subscription { articlePublished { article { id } } }", eventTypes=["ARTICLE_PUBLISHED"]
    )

    assert (cleared["endpoint"]["document"], cleared["endpoint"]["eventTypes"]) == (None, ["PAYMENT_SETTLED"])
    assert (foreign["code"], foreign["field"]) == ("INVALID_INPUT", "eventTypes")
    assert both["endpoint"]["eventTypes"] == ["ARTICLE_PUBLISHED"]


@pytest.mark.parametrize("field", ["url", "eventTypes", "enabled", "ed25519"])
async def test_null_for_what_cannot_be_null_names_the_field_as_the_contract_does(
    post: Post, receiver: Receiver, field: str
) -> None:
    made = await post.endpoint(receiver)

    refused = await update(post, made, **{field: None})

    assert (refused["code"], refused["field"]) == ("INVALID_INPUT", field)


async def test_a_document_with_a_nul_is_refused(post: Post, receiver: Receiver) -> None:
    document = "subscription { paymentSettled { payment { id } } } # \x00"

    refused = await post.till.shop.mutate(
        "createWebhookEndpoint", CREATE, {"input": {"url": receiver.url, "document": document}}
    )

    assert refused["code"] == "INVALID_DOCUMENT"


@pytest.mark.parametrize("field", ["enabled", "url"])
async def test_an_endpoint_that_was_mended_is_told_at_once(post: Post, receiver: Receiver, field: str) -> None:
    receiver.answers = ["503 Later\r\nretry-after: 86400"]
    made = await post.endpoint(receiver, eventTypes=["PAYMENT_SETTLED"])
    await sale(post)
    await post.tell()
    at_rest = len(receiver.received)

    await update(post, made, **{field: {"enabled": True, "url": f"{receiver.url}/moved"}[field]})
    await post.tell()

    assert (at_rest, len(receiver.received)) == (1, 2)
    assert (await post.deliveries())[0]["state"] == "DELIVERED"


async def test_an_overlap_that_is_null_is_the_default_for_both_kinds_of_secrets(
    post: Post, receiver: Receiver, clock: SandboxClock
) -> None:
    made = await post.endpoint(receiver)
    endpoint = {"id": made["endpoint"]["id"], "overlap": None}
    await post.notify_secret()

    for field, document, asked in (
        ("rotateWebhookSecret", ROTATE, endpoint),
        ("rotateNotifySecret", ROTATE_NOTIFY, {"overlap": None}),
    ):
        rotated = await post.till.shop.mutate(field, document, asked)
        early = await post.till.shop.mutate(field, document, asked)
        clock.advance(86_400)
        later = await post.till.shop.mutate(field, document, asked)

        assert "secret" in rotated
        assert (early["code"], early["field"]) == ("INVALID_INPUT", "overlapSeconds")
        assert "secret" in later


async def test_a_rotation_cuts_no_overlap_short_unless_every_older_secret_ends(
    post: Post, receiver: Receiver, clock: SandboxClock
) -> None:
    made = await post.endpoint(receiver)
    endpoint = {"id": made["endpoint"]["id"]}
    first = await post.till.shop.mutate("rotateWebhookSecret", ROTATE, endpoint | {"overlap": 3_600})
    early = await post.till.shop.mutate("rotateWebhookSecret", ROTATE, endpoint | {"overlap": 3_600})
    leaked = await post.till.shop.mutate("rotateWebhookSecret", ROTATE, endpoint | {"overlap": 0})
    again = await post.till.shop.mutate("rotateWebhookSecret", ROTATE, endpoint | {"overlap": 3_600})

    assert (early["code"], early["field"]) == ("INVALID_INPUT", "overlapSeconds")
    assert len({made["secret"], first["secret"], leaked["secret"], again["secret"]}) == 4


async def test_an_endpoint_is_sent_no_more_messages_a_second_than_it_takes(
    post: Post, receiver: Receiver, clock: SandboxClock
) -> None:
    made = await post.endpoint(receiver, eventTypes=["PAYMENT_SETTLED"], messagesPerSecond=1)
    for _ in range(6):
        await sale(post)
    runner = runner_of(post.till.services, JobKind.WEBHOOK_DELIVERY, webhooks_per_second=1_000)
    await fan_out_all(post)

    begun = [await runner.begin_due(), await runner.begin_due()]
    await runner.idle()
    resting = await runner.begin_due()
    clock.advance(WEBHOOKS_AT_ONCE + 0.1)
    rested = await runner.begin_due()
    await runner.idle()

    assert made["endpoint"]["messagesPerSecond"] == 1
    assert (begun, resting, rested) == ([WEBHOOKS_AT_ONCE, 0], 0, 6 - WEBHOOKS_AT_ONCE)
    assert len(receiver.received) == 6


async def test_the_rate_of_an_endpoint_can_be_changed_and_taken_back(post: Post, receiver: Receiver) -> None:
    made = await post.endpoint(receiver)

    answers = [await update(post, made, messagesPerSecond=rate) for rate in (5, 0, 1_001, None)]
    await update(post, made, description="the same")

    shown = [answer["endpoint"]["messagesPerSecond"] for answer in (answers[0], answers[3])]
    assert (made["endpoint"]["messagesPerSecond"], shown) == (None, [5, None])
    assert [(answer["code"], answer["field"]) for answer in answers[1:3]] == [
        ("INVALID_INPUT", "messagesPerSecond"),
    ] * 2
