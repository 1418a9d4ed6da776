"""A whole server without its sockets: both databases, the sandbox rails over real gRPC, the schema."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import select
from tests.integration.callback_door import door, new_door  # noqa: F401 - fixtures
from tests.integration.litecoin import both, counter, lnd_ltc, ltc_payer  # noqa: F401 - fixtures
from tests.integration.lnpay_shop import lnpay, new_lnpay  # noqa: F401 - fixtures
from tests.integration.outgoing_money import rail  # noqa: F401 - fixtures
from tests.integration.payee_doors import doors  # noqa: F401 - fixtures
from tests.integration.pricing import counted, priced  # noqa: F401 - fixtures
from tests.integration.provider_account import account, managed, new_managed  # noqa: F401 - fixtures
from tests.integration.runners import runner_of
from tests.integration.strike_account import strike, strike_currency, strike_stack  # noqa: F401 - fixtures
from tests.integration.strike_door import strike_door  # noqa: F401 - fixtures
from tests.integration.tenants import tenants  # noqa: F401 - fixtures
from tests.integration.webhook_post import post, receiver  # noqa: F401 - fixtures

from quittance.domain.access import ANONYMOUS, Principal, Scope
from quittance.domain.errors import RateLimited
from quittance.domain.ids import EVENT, MerchantId, PaymentId, new_id
from quittance.domain.job import JobKind
from quittance.domain.money import msat
from quittance.domain.payment import Payment, PaymentOption
from quittance.domain.secrets import SecretDeriver
from quittance.gql.context import Context
from quittance.gql.loaders import Loaders
from quittance.gql.schema import schema
from quittance.providers.base import Settlement
from quittance.providers.lnd.channel import LndConnection, open_channel
from quittance.providers.lnd.payer import LndPayer
from quittance.providers.lnd.provider import LndProvider
from quittance.providers.lnurl.directory import LnurlDirectory
from quittance.providers.outgoing import LOOPBACK, OutgoingClient, OutgoingRules
from quittance.resolvers.invoices import GeneratedInvoice, generate_invoice
from quittance.resolvers.ledger import discrepancies
from quittance.resolvers.merchants import (
    MerchantChange,
    PolicyChange,
    create_merchant,
    ensure_bootstrap,
    update_merchant,
)
from quittance.resolvers.orders import InvoiceOrder
from quittance.resolvers.services import PaymentRules, Services
from quittance.resolvers.settlements import Booking, report_settlement
from quittance.sandbox.clock import SandboxClock
from quittance.sandbox.rails import SandboxRails
from quittance.server.broker import EventBroker
from quittance.store import options, payments
from quittance.store.database import open_database
from quittance.store.models import Row
from quittance.store.statement import Statement
from quittance.workers.work import transfer_work

PRICE_MSAT = 5_000
SECRET_KEY = b"a secret key of the tests, 32 bytes"


class CountingLimiter:
    """Lets everything through, until it is told how much is enough."""

    def __init__(self) -> None:
        self.left: int | None = None

    async def hit(self, budget: str, label: str) -> None:
        del budget, label
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


@dataclass(frozen=True)
class Till:
    """A shop at work in one process: it asks for money, hears of money, and its books are read."""

    shop: Shop
    rails: SandboxRails
    clock: SandboxClock

    @property
    def services(self) -> Services:
        return self.shop.services

    def on(self, services: Services) -> "Till":
        """Return the same shop as another process serves it."""
        return replace(self, shop=self.shop.with_services(services))

    def of(self, shop: Shop) -> "Till":
        return replace(self, shop=shop)

    async def order(self, **fields: Any) -> GeneratedInvoice:
        asked = InvoiceOrder(**({} if "article_id" in fields else {"amount": msat(PRICE_MSAT)}) | fields)
        return await generate_invoice(self.services, self.shop.principal, asked)

    async def payment(self, payment_id: str) -> Payment:
        found = await self.services.database.read(lambda t: payments.payments_by_id(t, [PaymentId(payment_id)]))
        assert found[0] is not None
        return found[0]

    async def options(self, payment_id: str) -> list[PaymentOption]:
        return (await self.services.database.read(lambda t: options.options_of_payments(t, [PaymentId(payment_id)])))[0]

    async def pay(self, payment_id: str, *, option: int = -1, **more: Any) -> Settlement:
        """Let Alice pay one of the payment's invoices, and return what a feed would report of it."""
        paid = (await self.options(payment_id))[option]
        assert paid.payment_request is not None
        await self.rails.pay(paid.payment_request, **more)
        invoice = self.rails.nodes["merchant"].invoices[bytes.fromhex(paid.reference)]
        return Settlement(
            reference=paid.reference,
            received=msat(invoice.paid_msat),
            settled_at=datetime.fromtimestamp(invoice.settled_at_s, UTC),
            position=None,
        )

    async def money(
        self, payment_id: str, *, amount_msat: int = PRICE_MSAT, at: datetime | None = None, option: int = -1
    ) -> Settlement:
        """Return a report of money that a rail could make, whether or not a node would."""
        on = (await self.options(payment_id))[option]
        settled_at = self.clock.now() if at is None else at
        return Settlement(reference=on.reference, received=msat(amount_msat), settled_at=settled_at, position=None)

    async def report(self, settlement: Settlement, *, provider: str = "lnd") -> Booking:
        return await report_settlement(self.services, provider=provider, settlement=settlement)

    async def reconcile(self) -> None:
        """Look up what is due, until nothing is."""
        runner = runner_of(self.services, JobKind.PROVIDER_CHECK)
        for _ in range(50):
            if await runner.begin_due() == 0:
                return
            await runner.idle()
        raise AssertionError("attempts stay due for ever")

    async def send(self) -> None:
        """Do what can be done at once for money on its way out, until nothing is due."""
        runner = runner_of(self.services, *transfer_work())
        for _ in range(50):
            if await runner.begin_due() == 0:
                return
            await runner.idle()
        raise AssertionError("transfers stay due for ever")

    async def sold(self, *, amount_msat: int = PRICE_MSAT, **fields: Any) -> Payment:
        """Return a payment that Alice has paid, in full unless its fields say otherwise, and that is booked."""
        made = await self.order(amount=msat(amount_msat), **fields)
        await self.report(await self.pay(made.payment.id))
        return await self.payment(made.payment.id)

    async def set_policy(self, **policy: Any) -> None:
        merchant_id = self.shop.principal.merchant_id
        assert merchant_id is not None
        change = MerchantChange(policy=PolicyChange(**policy))
        await update_merchant(self.services, self.shop.principal, merchant_id, change)

    async def rows(self, table: str) -> list[dict[str, Any]]:
        """Return everything a table holds, in the order of its key."""
        columns = Row.metadata.tables[table]
        statement = Statement(lambda _: select(*columns.c).order_by(*columns.primary_key))
        names = [column.name for column in columns.c]
        found = await self.services.database.scan(lambda t: t.all(statement))
        return [dict(zip(names, row, strict=True)) for row in found]

    async def events(self, payment_id: str) -> list[tuple[str, str]]:
        """Return what happened to a payment: kinds and statuses, the oldest first."""
        return [(row["kind"], row["status"]) for row in await self.rows("event") if row["payment_id"] == payment_id]

    async def balances(self) -> dict[str, int]:
        """Return what the ledger says, after it was audited: owner and kind to millisatoshi, debits positive."""
        assert await discrepancies(self.services) == []
        accounts = await self.rows("ledger_account")
        assert sum(row["balance_value"] for row in accounts) == 0
        return {
            row["kind"] if row["owner"] in {"lnd", self.shop.principal.merchant_id} else row["id"]: row["balance_value"]
            for row in accounts
        }


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


@pytest.fixture
async def payer(rails: SandboxRails) -> AsyncIterator[LndPayer]:
    where = rails.lnd
    assert where.spend_macaroon_path is not None
    connection = LndConnection(
        address=where.address,
        tls_cert=where.tls_cert_path.read_bytes(),
        macaroon=SecretStr(where.spend_macaroon_path.read_bytes().hex()),
    )
    paying = LndPayer(open_channel(connection), network="regtest", timeout_s=2.0, wait_s=2.0)
    yield paying
    await paying.aclose()


@pytest.fixture
async def payees(clock: SandboxClock) -> AsyncIterator[LnurlDirectory]:
    rules = OutgoingRules(private_networks=LOOPBACK, plain_http=True, timeout_s=2.0)
    async with OutgoingClient(rules) as outgoing:
        yield LnurlDirectory(outgoing, prefix="bcrt", now=clock.now, timeout_s=2.0)


ServicesFactory = Callable[[], Services]


@pytest.fixture
async def new_services(
    database_url: str, lnd: LndProvider, payer: LndPayer, payees: LnurlDirectory, clock: SandboxClock
) -> AsyncIterator[ServicesFactory]:
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
                payers={"lnd": payer},
                payee_directory=payees,
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
    async with asyncio.timeout(2):  # an end that was not heard is said again
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
    merchant = (await create_merchant(services, name="Other shop")).merchant
    principal = Principal(merchant_id=MerchantId(merchant.id), scopes=frozenset({Scope.ADMIN}))
    return Shop(services=services, principal=principal, broker=broker)


@pytest.fixture
def anonymous() -> Principal:
    return ANONYMOUS


@pytest.fixture
async def till(shop: Shop, rails: SandboxRails, clock: SandboxClock) -> Till:
    return Till(shop=shop, rails=rails, clock=clock)
