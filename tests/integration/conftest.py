"""A whole server without its sockets: both databases, the sandbox rails over real gRPC, the schema."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import pytest
from pydantic import SecretStr

from quittance.domain.access import ANONYMOUS, Principal, Scope
from quittance.domain.errors import RateLimited
from quittance.domain.ids import EVENT, MerchantId, new_id
from quittance.domain.secrets import SecretDeriver
from quittance.gql.context import Context
from quittance.gql.loaders import Loaders
from quittance.gql.schema import schema
from quittance.providers.lnd.channel import LndConnection, open_channel
from quittance.providers.lnd.provider import LndProvider
from quittance.resolvers.merchants import create_merchant, ensure_bootstrap
from quittance.resolvers.services import PaymentRules, Services
from quittance.sandbox.clock import SandboxClock
from quittance.sandbox.rails import SandboxRails
from quittance.server.broker import EventBroker
from quittance.store.database import open_database

SECRET_KEY = b"a secret key of the tests, 32 bytes"


class CountingLimiter:
    """Lets everything through, until it is told how much is enough."""

    def __init__(self) -> None:
        self.left: int | None = None

    async def hit(self, budget: str, label: str) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise RateLimited(60)


@dataclass
class Shop:
    """The schema as one merchant's key sees it."""

    services: Services
    principal: Principal
    broker: EventBroker

    def context(self, principal: Principal | None = None) -> Context:
        who = self.principal if principal is None else principal
        return Context(
            services=self.services,
            principal=who,
            loaders=Loaders(self.services, viewer=who.viewer),
            events=self.broker,
        )

    async def run(
        self, document: str, variables: dict[str, Any] | None = None, *, as_: Principal | None = None
    ) -> dict[str, Any]:
        """Execute and return the data; an error of the document fails the test."""
        result = await schema.execute(document, variables, self.context(as_))
        assert result.errors is None, result.errors
        assert result.data is not None
        return result.data

    async def mutate(self, field: str, document: str, variables: dict[str, Any], **more: Any) -> dict[str, Any]:
        found: dict[str, Any] = (await self.run(document, variables, **more))[field]
        return found

    def with_services(self, services: Services) -> "Shop":
        return replace(self, services=services)


@pytest.fixture
def clock() -> SandboxClock:
    return SandboxClock(None)


@pytest.fixture
async def rails(clock: SandboxClock) -> AsyncIterator[SandboxRails]:
    running = await SandboxRails.start(directory=None, clock=clock)
    yield running
    await running.stop()


@pytest.fixture
async def lnd(rails: SandboxRails) -> AsyncIterator[LndProvider]:
    where = rails.lnd
    connection = LndConnection(
        address=where.address,
        tls_cert=where.tls_cert_path.read_bytes(),
        macaroon=SecretStr(where.macaroon_path.read_bytes().hex()),
    )
    provider = LndProvider(open_channel(connection), network="regtest", timeout_s=2.0)
    yield provider
    await provider.aclose()


ServicesFactory = Callable[[], Services]


@pytest.fixture
async def new_services(database_url: str, lnd: LndProvider, clock: SandboxClock) -> AsyncIterator[ServicesFactory]:
    """Make the services of one process; calling it twice is two processes over one database."""
    async with AsyncExitStack() as stack:

        def now() -> datetime:
            return clock.now()

        def make() -> Services:
            database = open_database(
                database_url, now=now, new_event_id=lambda: new_id(EVENT, at=now(), entropy=os.urandom(10))
            )
            stack.push_async_callback(database.close)
            return Services(
                database=database,
                rails={"lnd": lnd},
                default_provider="lnd",
                rates=None,
                now=now,
                derive=SecretDeriver(SECRET_KEY),
                limiter=CountingLimiter(),
                public_url="http://shop.test",
                rules=PaymentRules(claim_s=3, wait_for_invoice_s=6),
            )

        yield make


@pytest.fixture
async def services(new_services: ServicesFactory) -> Services:
    return new_services()


@pytest.fixture
async def broker(services: Services) -> AsyncIterator[EventBroker]:
    running = EventBroker(services.database)
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
async def shop(services: Services, broker: EventBroker) -> Shop:
    key = await ensure_bootstrap(services, name="Shop", secret="a-bootstrap-key")
    principal = Principal(
        merchant_id=key.merchant_id, key_id=key.id, key_name=key.name, scopes=frozenset({Scope.ADMIN})
    )
    return Shop(services=services, principal=principal, broker=broker)


@pytest.fixture
async def other_shop(services: Services, broker: EventBroker, shop: Shop) -> Shop:
    """Another merchant of the same server."""
    merchant = await create_merchant(services, name="Other shop")
    principal = Principal(merchant_id=MerchantId(merchant.id), scopes=frozenset({Scope.ADMIN}))
    return Shop(services=services, principal=principal, broker=broker)


@pytest.fixture
def anonymous() -> Principal:
    return ANONYMOUS
