"""A shop that tells of its events to receivers on real sockets, one step of its workers at a time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from tests.integration.runners import runner_of
from tests.integration.webhook_receiver import Receiver, receiving

from quittance.domain.job import JobKind
from quittance.gql.limits import DocumentLimits
from quittance.providers.outgoing import LOOPBACK, OutgoingClient, OutgoingRules
from quittance.resolvers.deliveries import fan_out
from quittance.resolvers.services import WebhookTools
from quittance.server.access import ServerAccess
from quittance.server.payloads import GraphQLPayloads
from quittance.workers.jobs import JobRunner

CREATE = """
mutation ($input: CreateWebhookEndpointInput!) {
  createWebhookEndpoint(input: $input) {
    __typename
    ... on CreateWebhookEndpointSuccess {
      secret endpoint { id url messagesPerSecond eventTypes document status publicKeys }
    }
    ... on UserError { code message }
  }
}
"""
UPDATE = """
mutation ($input: UpdateWebhookEndpointInput!) {
  updateWebhookEndpoint(input: $input) {
    __typename
    ... on UpdateWebhookEndpointSuccess {
      endpoint { messagesPerSecond status url eventTypes document description publicKeys }
    }
    ... on UserError { code } ... on InvalidInputError { field }
  }
}
"""
DELIVERIES = """
query ($filter: WebhookDeliveryFilter) {
  webhookDeliveries(filter: $filter) {
    totalCount
    edges {
      node {
        id eventId eventType state cause url endpoint { id } attempts { number statusCode error } payment { id }
      }
    }
  }
}
"""
ROTATE = """
mutation ($id: ID!, $overlap: Int) {
  rotateWebhookSecret(id: $id, overlapSeconds: $overlap) {
    ... on RotateWebhookSecretSuccess { secret endpoint { publicKeys } }
    ... on UserError { code } ... on InvalidInputError { field }
  }
}
"""
ACT = """
mutation ($id: ID!) {
  rotateWebhookSecret(id: $id, overlapSeconds: 3600) { ... on RotateWebhookSecretSuccess { secret } }
}
"""
ROTATE_NOTIFY = """
mutation ($overlap: Int) {
  rotateNotifySecret(overlapSeconds: $overlap) {
    __typename
    ... on RotateNotifySecretSuccess { secret } ... on UserError { code } ... on InvalidInputError { field }
  }
}
"""
DELETE = "mutation ($id: ID!) { deleteWebhookEndpoint(id: $id) { __typename } }"
TEST = "mutation ($id: ID!) { sendTestWebhook(endpointId: $id) { __typename ... on UserError { code } } }"
DRY = """
mutation ($id: ID!) {
  dryRunWebhook(endpointId: $id) { ... on DryRunWebhookSuccess { body } ... on UserError { code } }
}
"""
AGAIN = """
mutation ($id: ID!) { redeliverWebhook(deliveryId: $id) { __typename ... on UserError { code message } } }
"""
REPLAY = """
mutation ($id: ID!, $after: String!) {
  replayWebhooks(endpointId: $id, after: $after) {
    __typename ... on ReplayWebhooksSuccess { count alreadyPending } ... on UserError { code }
  }
}
"""
STATUS = "query ($id: ID!) { payment(id: $id) { deliveryStatus deliveries { totalCount } } }"


@dataclass
class Post:
    """A shop that tells of its events, one step of the workers at a time."""

    till: Any
    runner: JobRunner
    position: int = 0

    async def endpoint(self, receiver: Receiver, **more: Any) -> dict[str, Any]:
        made: dict[str, Any] = await self.till.shop.mutate(
            "createWebhookEndpoint", CREATE, {"input": {"url": receiver.url} | more}
        )
        assert made["__typename"] == "CreateWebhookEndpointSuccess", made
        return made

    async def notify_secret(self, overlap: int | None = 0) -> str:
        """Rotate the secret of the merchant's notify URLs, and return the new one."""
        made = await self.till.shop.mutate("rotateNotifySecret", ROTATE_NOTIFY, {"overlap": overlap})
        assert made["__typename"] == "RotateNotifySecretSuccess", made
        return str(made["secret"])

    async def tell(self) -> None:
        """Make deliveries of what happened, and try every one that is due."""
        await fan_out_all(self)
        while await self.runner.begin_due():
            await self.runner.idle()

    async def deliveries(self, **narrowed: Any) -> list[dict[str, Any]]:
        """Return every delivery, the oldest first."""
        page = (await self.till.shop.run(DELIVERIES, {"filter": narrowed}))["webhookDeliveries"]
        assert page["totalCount"] == len(page["edges"])
        return [edge["node"] for edge in reversed(page["edges"])]


@asynccontextmanager
async def posting(till: Any, *, timeout_s: float) -> AsyncIterator[Post]:
    services = till.services
    access = ServerAccess(services, till.shop.broker, key_used=lambda _: None)
    rules = OutgoingRules(private_networks=LOOPBACK, plain_http=True, timeout_s=timeout_s)
    async with OutgoingClient(rules) as outgoing:
        services.webhook_tools = WebhookTools(
            outgoing=outgoing, payloads=GraphQLPayloads(access, limits=DocumentLimits())
        )
        yield Post(till, runner_of(services, JobKind.WEBHOOK_DELIVERY))


@pytest.fixture
async def post(till: Any) -> AsyncIterator[Post]:
    async with posting(till, timeout_s=2.0) as running:
        yield running


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as running:
        yield running


async def fan_out_all(post: Post) -> None:
    """Make deliveries of what happened, and try none."""
    while (reached := await fan_out(post.till.services, after=post.position)) > post.position:
        post.position = reached


async def sale(post: Post, **order: Any) -> str:
    payment_id = str((await post.till.order(**order)).payment.id)
    await post.till.report(await post.till.money(payment_id))
    return payment_id


async def update(post: Post, made: dict[str, Any], **change: Any) -> dict[str, Any]:
    asked = {"input": {"id": made["endpoint"]["id"]} | change}
    answer: dict[str, Any] = await post.till.shop.mutate("updateWebhookEndpoint", UPDATE, asked)
    return answer
