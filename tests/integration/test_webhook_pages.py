"""Lists of webhooks, page by page: what is added or taken away between two pages leaves no gap and no duplicate."""

from typing import Any

from tests.integration.webhook_post import DELETE, Post, fan_out_all, sale
from tests.integration.webhook_receiver import Receiver

PAGE = 3
ENDPOINTS = """
query ($first: Int!, $after: String) {
  page: webhookEndpoints(first: $first, after: $after) {
    totalCount pageInfo { hasNextPage endCursor } edges { cursor node { id } }
  }
}
"""
DELIVERIES = """
query ($first: Int!, $after: String, $filter: WebhookDeliveryFilter) {
  page: webhookDeliveries(first: $first, after: $after, filter: $filter) {
    totalCount pageInfo { hasNextPage endCursor } edges { cursor node { id } }
  }
}
"""


async def one_page(post: Post, document: str, after: str | None, **more: Any) -> tuple[list[str], str | None]:
    """Return the ids of one page, and the cursor of the next if there is one."""
    page = (await post.till.shop.run(document, {"first": PAGE, "after": after} | more))["page"]
    edges = page["edges"]
    assert page["pageInfo"]["endCursor"] == (edges[-1]["cursor"] if edges else None)
    following = page["pageInfo"]["endCursor"] if page["pageInfo"]["hasNextPage"] else None
    return [edge["node"]["id"] for edge in edges], following


async def walk(post: Post, document: str, **more: Any) -> list[list[str]]:
    pages: list[list[str]] = []
    after: str | None = None
    while not pages or after is not None:
        ids, after = await one_page(post, document, after, **more)
        pages.append(ids)
    return pages


async def test_endpoints_are_listed_without_a_gap_or_a_duplicate(
    post: Post, receiver: Receiver, other_shop: Any
) -> None:
    for shop in (post.till, post.till.of(other_shop)) * 8:
        await Post(shop, post.runner).endpoint(receiver)
    own = post.till.shop.principal.merchant_id
    every = [row["id"] for row in reversed(await post.till.rows("webhook_endpoint")) if row["merchant_id"] == own]

    pages = await walk(post, ENDPOINTS)
    first, cursor = await one_page(post, ENDPOINTS, None)
    await post.endpoint(receiver)
    await post.till.shop.mutate("deleteWebhookEndpoint", DELETE, {"id": first[-1]})
    second, _ = await one_page(post, ENDPOINTS, cursor)

    assert [len(page) for page in pages] == [3, 3, 2]
    assert [id_ for page in pages for id_ in page] == every
    assert first + second == every[: 2 * PAGE]


async def test_deliveries_are_listed_without_a_gap_or_a_duplicate(post: Post, receiver: Receiver) -> None:
    made = [(await post.endpoint(receiver))["endpoint"]["id"] for _ in range(2)]
    payment_id = await sale(post)
    await sale(post)
    await fan_out_all(post)
    every = await post.till.rows("webhook_delivery")

    def newest_first(**of: str) -> list[str]:
        return [row["id"] for row in reversed(every) if all(row[name] == value for name, value in of.items())]

    pages = await walk(post, DELIVERIES)
    of_endpoint = await walk(post, DELIVERIES, filter={"endpointId": made[0]})
    of_payment = await walk(post, DELIVERIES, filter={"paymentId": payment_id, "state": "PENDING"})
    first, cursor = await one_page(post, DELIVERIES, None)
    await sale(post)
    await post.tell()
    second, _ = await one_page(post, DELIVERIES, cursor)

    assert [len(page) for page in pages] == [3, 3, 3, 3]
    assert [id_ for page in pages for id_ in page] == newest_first()
    assert [id_ for page in of_endpoint for id_ in page] == newest_first(endpoint_id=made[0])
    assert [id_ for page in of_payment for id_ in page] == newest_first(payment_id=payment_id)
    assert first + second == newest_first()[: 2 * PAGE]
