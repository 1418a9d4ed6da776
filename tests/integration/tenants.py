"""Two merchants of one server, neither of them the first, with rows in every table that can be listed."""

from typing import Any

import pytest
from tests.integration.merchant_calls import caller, new_key, new_merchant

from quittance.domain.access import Principal
from quittance.domain.article import ArticleStatus
from quittance.domain.money import msat
from quittance.resolvers.articles import ArticleDraft, create_article

ROWS = 4
TOGETHER = 200


class Tenant:
    """A merchant that is not the first one, with rows in every table that can be listed."""

    def __init__(self, till: Any, principal: Principal, name: str) -> None:
        self.till = till
        self.principal = principal
        self.name = name
        self.articles: list[str] = []
        self.payments: list[str] = []

    async def fill(self) -> None:
        shop = self.till.shop
        for n in range(ROWS):
            text = f"{self.name} {n}"
            draft = ArticleDraft(title=text, content=text, summary=None, price=msat(5_000), status=ArticleStatus.HIDDEN)
            self.articles.append((await create_article(shop.services, self.principal, draft)).id)
            made = await self.till.order(description=text, correlation_id=text, idempotency_key=f"{self.name}-{n}")
            self.payments.append(made.payment.id)
            await new_key(shop, "payments:read", name=text)
        await self.till.report(await self.till.pay(self.payments[0]))

    async def rows(self) -> set[str]:
        """Return the id of every row that is this merchant's, from the tables themselves."""
        merchant_id = str(self.principal.merchant_id)
        tables = ("article", "payment", "api_key", "audit_entry")
        held = [row for table in tables for row in await self.till.rows(table) if row["merchant_id"] == merchant_id]
        return {merchant_id, *(str(row["id"]) for row in held)}

    def variables(self, other: "Tenant") -> dict[str, Any]:
        return {
            "own": self.principal.merchant_id,
            "foreign": other.principal.merchant_id,
            "article": other.articles[0],
            "payment": other.payments[1],
            "key": f"{other.name}-0",
            "subject": other.principal.key_id,
        }


@pytest.fixture
async def tenants(till: Any) -> tuple[Tenant, Tenant]:
    made: list[Tenant] = []
    for name in ("alpha", "omega"):
        principal = await caller(till.shop, (await new_merchant(till.shop, name))["secret"])
        own = till.shop.__class__(services=till.services, principal=principal, broker=till.shop.broker)
        made.append(Tenant(till.of(own), principal, name))
        await made[-1].fill()
    return made[0], made[1]
