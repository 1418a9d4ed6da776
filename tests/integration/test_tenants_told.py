"""Two merchants that are told of their events and read their books together: neither is told of the other's."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from tests.integration.books import RECONCILIATION
from tests.integration.callback_door import CALLBACKS, CallbackDoor
from tests.integration.merchant_calls import refusals
from tests.integration.tenants import TOGETHER, Tenant
from tests.integration.webhook_post import Post, sale
from tests.integration.webhook_receiver import Receiver, receiving

READ = """
query ($own: ID!, $account: ID!, $endpoint: ID!, $delivery: ID!, $payment: ID!) {
  webhookEndpoints(first: 100) { totalCount edges { node { id url description queueDepth } } }
  webhookDeliveries(first: 100) { totalCount edges { node { id url endpoint { id } payment { id } } } }
  settlements(first: 100) {
    totalCount
    edges { node { id reference payment { id deliveries(first: 100) { totalCount edges { node { id } } } } } }
  }
  ledgerEntries(first: 100) { totalCount edges { node { id accountId settlementId paymentId } } }
  auditLog(first: 100) { totalCount edges { node { id actorId subjectId detail } } }
  own: node(id: $own) { id ... on WebhookEndpoint { description } }
  deliveriesToForeign: webhookDeliveries(filter: {endpointId: $endpoint}) { totalCount edges { node { id } } }
  deliveriesOfForeign: webhookDeliveries(filter: {paymentId: $payment}) { totalCount edges { node { id } } }
  entriesOfForeign: ledgerEntries(accountId: $account) { totalCount edges { node { id } } }
  auditOfForeign: auditLog(filter: {subjectId: $endpoint}) { totalCount edges { node { id } } }
  foreignEndpoint: node(id: $endpoint) { id }
  foreignDelivery: node(id: $delivery) { id }
  foreignPayment: payment(id: $payment) { id deliveries { totalCount } }
}
"""
CHANGE = """
mutation ($endpoint: ID!, $delivery: ID!) {
  updateWebhookEndpoint(input: {id: $endpoint, url: "https://stolen.example/", enabled: false}) { __typename }
  rotateWebhookSecret(id: $endpoint, overlapSeconds: 0) { __typename }
  sendTestWebhook(endpointId: $endpoint) { __typename }
  dryRunWebhook(endpointId: $endpoint) { __typename }
  replayWebhooks(endpointId: $endpoint, after: "cDE6MA") { __typename }
  redeliverWebhook(deliveryId: $delivery) { __typename }
  deleteWebhookEndpoint(id: $endpoint) { __typename }
}
"""
NOTHING = {"totalCount": 0, "edges": []}
FEW = 20
OWNED = ("webhook_endpoint", "webhook_delivery", "settlement", "audit_entry")


@dataclass
class Told:
    """A merchant with an endpoint, and a payment whose own address gave its deliveries up."""

    tenant: Tenant
    endpoint_id: str
    payment_id: str
    failed_id: str = ""

    @property
    def name(self) -> str:
        return self.tenant.name

    @property
    def merchant_id(self) -> str:
        return str(self.tenant.principal.merchant_id)

    async def rows(self) -> set[str]:
        """Return the id of every row that is this merchant's, from the tables themselves."""
        till = self.tenant.till
        held = [(row["id"], row["merchant_id"]) for table in OWNED for row in await till.rows(table)]
        return {id_ for id_, merchant_id in held if merchant_id == self.merchant_id}

    def asked(self, other: "Told") -> dict[str, Any]:
        return {
            "own": self.endpoint_id,
            "account": f"merchant/{other.merchant_id}",
            "endpoint": other.endpoint_id,
            "delivery": other.failed_id,
            "payment": other.payment_id,
        }


@pytest.fixture
async def told(post: Post, receiver: Receiver, tenants: tuple[Tenant, Tenant]) -> AsyncIterator[tuple[Told, Told]]:
    async with receiving() as gone:
        gone.answers = ["410 Gone"] * 100
        made: list[Told] = []
        for tenant in tenants:
            own = replace(post, till=tenant.till)
            endpoint = await own.endpoint(receiver, description=tenant.name, eventTypes=["PAYMENT_SETTLED"])
            payment_id = await sale(own, notify_url=f"{gone.url}?of={tenant.name}")
            await tenant.till.pay(tenant.payments[1])  # and nobody reports it
            made.append(Told(tenant, endpoint["endpoint"]["id"], payment_id))
        await post.tell()
        failed = [row for row in await post.till.rows("webhook_delivery") if row["state"] == "FAILED"]
        for one in made:
            one.failed_id = next(row["id"] for row in failed if row["merchant_id"] == one.merchant_id)
        yield made[0], made[1]


async def test_two_merchants_with_200_requests_at_a_time_never_read_of_each_other_s_events_and_books(
    told: tuple[Told, Told],
) -> None:
    alpha, omega = told
    rows = {one.name: await one.rows() for one in told}
    accounts = {row["owner"]: row["id"] for row in await alpha.tenant.till.rows("ledger_account")}

    async def ask(one: Told, other: Told) -> tuple[str, dict[str, Any]]:
        asked = one.asked(other) | {"account": accounts[other.merchant_id]}
        return one.name, await one.tenant.till.shop.run(READ, asked)

    answers = await asyncio.gather(*(ask(*((alpha, omega) if n % 2 else (omega, alpha))) for n in range(TOGETHER)))

    assert all(len(held) > len(OWNED) for held in rows.values())
    for name, answer in answers:
        other = "omega" if name == "alpha" else "alpha"
        said = json.dumps(answer)
        assert other not in said
        assert [row for row in rows[other] if row in said] == []
        assert [row for row in rows[name] if row not in said] == []
        assert answer["own"]["description"] == name
        assert answer["webhookEndpoints"]["totalCount"] == 1
        assert (answer["webhookDeliveries"]["totalCount"], answer["settlements"]["totalCount"]) == (4, 2)
        assert {answer["ledgerEntries"]["totalCount"], len(answer["ledgerEntries"]["edges"])} == {2}
        lists = ("deliveriesToForeign", "deliveriesOfForeign", "entriesOfForeign", "auditOfForeign")
        assert [answer[field] for field in lists] == [NOTHING] * len(lists)
        assert [answer[f"foreign{kind}"] for kind in ("Endpoint", "Delivery", "Payment")] == [None] * 3


async def test_a_reconciliation_names_the_merchant_s_own_differences_while_the_other_works(
    told: tuple[Told, Told],
) -> None:
    alpha, omega = told
    found: dict[str, Any] = {}

    async def reconcile() -> None:
        for one in told:
            for _ in range(10):  # a node that is not heard in time is said to be incomplete, and asked again
                found[one.name] = (await one.tenant.till.shop.run(RECONCILIATION))["reconciliation"]
                if all(rail["complete"] for rail in found[one.name]["rails"]):
                    break

    async def ask(one: Told, other: Told) -> None:
        await one.tenant.till.shop.run(READ, one.asked(other))

    both = range(FEW)  # more would keep the loop from hearing the node in time
    await asyncio.gather(reconcile(), *(ask(*((alpha, omega) if n % 2 else (omega, alpha))) for n in both))

    for one in told:
        assert [rail["complete"] for rail in found[one.name]["rails"]] == [True]
        kinds = [(finding["kind"], finding["paymentId"]) for finding in found[one.name]["findings"]]
        assert ("SETTLED_AT_PROVIDER_NOT_BOOKED", one.tenant.payments[1]) in kinds
        assert {payment_id for _, payment_id in kinds} <= {*one.tenant.payments, one.payment_id}


async def test_two_merchants_with_200_requests_at_a_time_never_change_what_the_other_is_told(
    post: Post, receiver: Receiver, told: tuple[Told, Told]
) -> None:
    alpha, omega = told
    tables = ("webhook_endpoint", "webhook_delivery", "webhook_attempt", "job", "job_lane", "audit_entry", "event")
    before = {table: await post.till.rows(table) for table in tables}
    sent = len(receiver.received)

    async def meddle(one: Told, other: Told) -> dict[str, Any]:
        asked = {"endpoint": other.endpoint_id, "delivery": other.failed_id}
        data: dict[str, Any] = await one.tenant.till.shop.run(CHANGE, asked)
        return data

    answers = await asyncio.gather(*(meddle(*((alpha, omega) if n % 2 else (omega, alpha))) for n in range(TOGETHER)))
    after = {table: await post.till.rows(table) for table in tables}
    await post.tell()

    said = {field: {answer[field]["__typename"] for answer in answers} for field in answers[0]}
    no_endpoint, no_delivery = {"WebhookEndpointNotFoundError"}, {"WebhookDeliveryNotFoundError"}
    assert said == dict.fromkeys(said, no_endpoint) | {"redeliverWebhook": no_delivery}
    assert len(said) == 7
    assert after == before
    assert len(receiver.received) == sent


async def test_what_providers_say_is_the_operator_s_alone(door: CallbackDoor, told: tuple[Told, Told]) -> None:
    for one in told:
        (option,) = await one.tenant.till.options(one.payment_id)
        assert (await door.hear(option.reference, event_id=f"msg_{one.name}")).status_code == 202
    await door.work()

    async def ask(one: Told) -> list[str]:
        return await refusals(one.tenant.till.shop, CALLBACKS, {"first": 100}, one.tenant.principal)

    refused = await asyncio.gather(*(ask(told[n % 2]) for n in range(TOGETHER)))

    assert refused == [["PERMISSION_DENIED"]] * TOGETHER
    seen = {one["eventId"]: one["paymentId"] for one in await door.listed()}
    assert seen == {f"msg_{one.name}": one.payment_id for one in told}
