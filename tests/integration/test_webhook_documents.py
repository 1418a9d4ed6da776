"""Documents of webhooks: what would fail at an event, and disable its endpoint, is refused when it is saved."""

from dataclasses import replace
from typing import Any

import pytest
from graphql import GraphQLInterfaceType, GraphQLObjectType, GraphQLUnionType, get_named_type
from standardwebhooks import Webhook
from tests.integration.watched import WatchedDatabase
from tests.integration.webhook_post import CREATE, Post, sale, update
from tests.integration.webhook_receiver import Receiver, receiving

from quittance.domain.errors import ProviderUnavailable
from quittance.domain.ids import EndpointId
from quittance.gql.limits import DocumentLimits
from quittance.gql.schema import core_schema
from quittance.sandbox.clock import SandboxClock
from quittance.server.access import ServerAccess
from quittance.server.payloads import GraphQLPayloads
from quittance.store import endpoints
from quittance.store.transaction import Transaction

THROUGH_FRAGMENTS = """
subscription { paymentSettled { ...Told } }
fragment Told on PaymentSettled { payment { ...Sent } }
fragment Sent on Payment { deliveries(after: "zzz") { totalCount } }
"""
STANDING = "query ($id: ID!) { node(id: $id) { ... on WebhookEndpoint { status statusReason } } }"


async def asked(post: Post, receiver: Receiver, document: str) -> dict[str, Any]:
    given = {"input": {"url": receiver.url, "document": document}}
    answer: dict[str, Any] = await post.till.shop.mutate("createWebhookEndpoint", CREATE, given)
    return answer


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ('subscription { paymentSettled(after: "zzz") { cursor } }', "`after`"),
        ("subscription { articlePublished(after: null) { cursor } }", "`after`"),
        ('subscription { paymentSettled { payment { events(after: "zzz") { totalCount } } } }', "`after`"),
        (THROUGH_FRAGMENTS, "`after`"),
        ("subscription { paymentUpdated { payment { events(first: 0) { totalCount } } } }", "first lies between"),
        ("subscription { paymentUpdated { payment { deliveries(first: 101) { totalCount } } } }", "page size"),
        ('subscription { paymentSettled(clientSecret: "x") { cursor } }', "`clientSecret`"),
        ('subscription { paymentSettled(paymentId: "zzz") { cursor } }', "no such payment"),
        ("subscription { paymentSettled(paymentId: 5) { cursor } }", "no such payment"),
        ('subscription { paymentUpdated(paymentId: "pay_01900000000070008000000000000000") { cursor } }', "no such"),
        ('subscription { paymentSettled(articleId: "zzz") { cursor } }', "articleId"),
        ("subscription { paymentSettled @skip(if: true) { cursor } }", "skip"),
        ("subscription { paymentSettled @include(if: false) { cursor } }", "include"),
        ("subscription { ...F } fragment F on Subscription { paymentSettled { cursor } }", "its field must be one of"),
        ("subscription A { paymentSettled { cursor } } subscription B { paymentSettled { cursor } }", "operation"),
    ],
)
async def test_what_would_fail_at_an_event_is_refused_when_it_is_saved(
    post: Post, receiver: Receiver, document: str, reason: str
) -> None:
    made = await post.endpoint(receiver)

    refused = await asked(post, receiver, document)
    unchanged = await update(post, made, document=document)

    assert (refused["code"], unchanged["code"]) == ("INVALID_DOCUMENT", "INVALID_DOCUMENT")
    assert reason in refused["message"]
    assert [row["document"] for row in await post.till.rows("webhook_endpoint")] == [None]


async def test_a_payment_of_another_merchant_cannot_be_named(post: Post, receiver: Receiver, other_shop: Any) -> None:
    theirs = (await post.till.of(other_shop).order()).payment.id

    refused = await asked(post, receiver, f'subscription {{ paymentSettled(paymentId: "{theirs}") {{ cursor }} }}')

    assert refused["code"] == "INVALID_DOCUMENT"
    assert await post.till.rows("webhook_endpoint") == []


async def test_a_document_that_was_saved_tells_of_what_it_names(post: Post, receiver: Receiver) -> None:
    payment_id = (await post.till.order()).payment.id
    document = f"""
    subscription {{
      paymentSettled(paymentId: "{payment_id}") {{ payment {{ id events(first: 1) {{ totalCount }} }} }}
    }}
    """
    made = await asked(post, receiver, document)
    await sale(post)
    await post.till.report(await post.till.money(payment_id))

    await post.tell()

    (received,) = receiver.received
    assert made["__typename"] == "CreateWebhookEndpointSuccess"
    assert received.message["data"]["paymentSettled"]["payment"]["id"] == payment_id


async def test_a_payload_that_cannot_be_made_just_now_is_tried_again_and_blames_nobody(
    post: Post, receiver: Receiver, clock: SandboxClock
) -> None:
    document = "subscription { paymentSettled { payment { id events(first: 1) { totalCount } } } }"
    await asked(post, receiver, document)
    await sale(post)
    services = post.till.services
    tools = services.webhooks
    busy: Any = WatchedDatabase(services.database, failing="payment", error=ProviderUnavailable("lnd"))
    access = ServerAccess(replace(services, database=busy), post.till.shop.broker, key_used=lambda _: None)

    services.webhook_tools = replace(tools, payloads=GraphQLPayloads(access, limits=DocumentLimits()))
    await post.tell()
    (waiting,) = await post.deliveries()
    (endpoint,) = await post.till.rows("webhook_endpoint")
    lanes = [row for row in await post.till.rows("job_lane") if row["slow"]]
    services.webhook_tools = tools
    clock.advance(6)
    await post.tell()

    told = {"number": 1, "statusCode": None, "error": "PROVIDER_UNAVAILABLE"}
    assert (waiting["state"], waiting["attempts"]) == ("PENDING", [told])
    assert (endpoint["status"], endpoint["failures"]) == ("ENABLED", 0)
    assert lanes == []  # the receiver was not asked
    assert [one["state"] for one in await post.deliveries()] == ["DELIVERED"]
    assert len(receiver.received) == 1


async def test_a_document_that_stops_fitting_the_schema_disables_its_endpoint_with_notice(
    post: Post, receiver: Receiver
) -> None:
    async with receiving() as watching:
        made = await post.endpoint(receiver, document="subscription { paymentSettled { payment { id } } }")
        notices = await post.endpoint(watching, eventTypes=["WEBHOOK_ENDPOINT_DISABLED"])
        await store_document(post, made, "subscription { paymentSettled { payment { gone } } }")

        for _ in range(2):
            await sale(post)
            await post.tell()
            await post.tell()  # of what came of it

        answer = await post.till.shop.run(STANDING, {"id": made["endpoint"]["id"]})
        (notice,) = watching.received
        told = Webhook(notices["secret"]).verify(notice.body, notice.headers)
    assert answer["node"] == {"status": "FAILED", "statusReason": "INVALID_DOCUMENT"}
    assert receiver.connections == 0
    (of_it,) = await post.deliveries(endpointId=made["endpoint"]["id"])
    assert (of_it["state"], [attempt["error"] for attempt in of_it["attempts"]]) == ("FAILED", ["INVALID_DOCUMENT"])
    assert (told["type"], told["data"]["subjectId"]) == ("webhook.endpoint_disabled", made["endpoint"]["id"])
    assert told["data"]["status"] == "FAILED"


async def store_document(post: Post, made: dict[str, Any], document: str) -> None:
    """Let an endpoint have what an earlier version of the schema accepted."""

    def unit(transaction: Transaction) -> None:
        endpoint = endpoints.lock_endpoint(transaction, EndpointId(made["endpoint"]["id"]))
        assert endpoint is not None
        endpoints.change_endpoint(transaction, replace(endpoint, document=document))

    await post.till.services.database.write(unit)


def test_no_argument_below_an_event_is_unknown_to_the_check() -> None:
    root = core_schema().subscription_type
    assert root is not None
    told = [get_named_type(root.fields[name].type) for name in ("paymentSettled", "paymentUpdated", "articlePublished")]
    seen: set[str] = set()
    arguments: set[str] = set()
    while told:
        kind = told.pop()
        if kind.name in seen:
            continue
        seen.add(kind.name)
        if isinstance(kind, GraphQLUnionType):
            told += kind.types
        if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType):
            for field in kind.fields.values():
                arguments |= field.args.keys()
                told.append(get_named_type(field.type))

    assert "Payment" in seen
    assert arguments == {"first", "after", "format"}
