"""An LNPay shop at our door, and Strike telling of what was paid, as their wires are (strike.md, 1.8, 2.2 and 3)."""

import hmac
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any
from uuid import UUID

import httpx
import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from starlette.applications import Starlette
from tests.integration.racing import Wrapped
from tests.integration.runners import runner_of
from tests.integration.webhook_post import Post, fan_out_all
from tests.integration.webhook_receiver import Receiver

from quittance.domain.job import JobKind
from quittance.domain.rate import Rate, RateRules
from quittance.gql.limits import TransportLimits
from quittance.providers.base import Invoice, InvoiceRequest
from quittance.providers.lnd.provider import LndProvider
from quittance.providers.outgoing import EVERYWHERE, OutgoingClient, OutgoingRules
from quittance.providers.rates.board import RateBoard
from quittance.providers.strike.callbacks import StrikeCallbacks
from quittance.resolvers.services import Services
from quittance.resolvers.shop_orders import ShopInvoice, ShopOrder, ShopTerms, order_invoice
from quittance.server.access import ServerAccess
from quittance.server.http.callbacks import callback_door
from quittance.server.http.door import DoorSettings
from quittance.server.http.lnpay import LnpayDoor, lnpay_routes

KEY = "a-bootstrap-key"
SECRET = b"fake_secret"
PRICE = Decimal(50_000)
GRANTED_S = 120
BODY_BYTES_MAX = 4_096
ORDER = {"amount_fiat": "12.50", "description": "a book", "correlation_id": "order-1"}


class Prices:
    """A source of one price; None while it does not know."""

    name = "prices"

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.value: Decimal | None = PRICE
        self._now = now

    async def rate(self, base: str, quote: str) -> Rate | None:
        if self.value is None:
            return None
        return Rate(base=base, quote=quote, value=self.value, observed_at=self._now(), source=self.name)


class OnStrike(Wrapped):
    """The rail of the tests under the name of Strike, with ids of invoices as Strike gives them."""

    name = "strike"

    def __init__(self, inside: LndProvider) -> None:
        super().__init__(inside)
        self._references: dict[str, str] = {}

    async def create_invoice(self, request: InvoiceRequest) -> Invoice:
        made = await self._inside.create_invoice(request)
        self._references[id_at_strike(made.reference)] = made.reference
        return made

    async def reference_of(self, *, kind: str, entity_id: str) -> str | None:
        return self._references.get(entity_id) if kind.startswith("invoice.") else None


def id_at_strike(reference: str) -> str:
    """Return the id that Strike's invoice of this payment hash has."""
    return str(UUID(hex=reference[:32]))


def event(entity_id: str, *, kind: str = "invoice.updated", id_: str = "11111111-1111-1111-1111-111111111111") -> bytes:
    said = {"id": id_, "eventType": kind, "webhookVersion": "v1", "data": {"entityId": entity_id, "changes": ["state"]}}
    return json.dumps(said).encode()


def signature_of(body: bytes, *, secret: bytes = SECRET) -> str:
    return hmac.digest(secret, body, sha256).hex().upper()


@dataclass
class LnpayShop:
    """The door of one process, as a shop and as Strike reach it."""

    till: Any
    post: Post
    http: httpx.AsyncClient
    prices: Prices
    terms: ShopTerms
    app: Starlette
    key: str | None = KEY

    async def order(self, *, key: str | None = None, headers: dict[str, str] | None = None, **members: Any) -> Any:
        """Ask for an invoice; a member that is Ellipsis is left out."""
        said = {name: value for name, value in (ORDER | members).items() if value is not ...}
        shown = key or self.key
        own = {} if shown is None else {"Authorization": f"Bearer {shown}"}
        return await self.http.post("/generate-invoice", json=said, headers=own | (headers or {}))

    async def ordered(self, **more: Any) -> dict[str, Any]:
        answer = await self.order(**more)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert body["status"] == "success"
        data: dict[str, Any] = body["data"]
        return data

    async def order_here(self) -> ShopInvoice:
        """Order by the use case, under terms that the door was not opened with."""
        return await order_invoice(
            self.till.services, self.till.shop.principal, ShopOrder(amount=Decimal("12.50")), self.terms
        )

    async def hear(self, body: bytes, signature: str | bytes | None = None) -> Any:
        said = signature_of(body) if signature is None else signature
        raw = said if isinstance(said, bytes) else said.encode()
        return await self.http.post("/webhook", content=body, headers=[(b"X-Webhook-Signature", raw)])

    async def paid(self, **more: Any) -> dict[str, Any]:
        """Order, have it paid and booked, and tell nobody yet."""
        data = await self.ordered(**more)
        await self.till.report(await self.till.pay(data["invoice"]["invoiceId"]), provider=self.rail)
        return data

    @property
    def rail(self) -> str:
        return str(next(iter(self.till.services.rails)))

    async def tell(self) -> None:
        await self.post.tell()

    async def make_deliveries(self) -> None:
        await fan_out_all(self.post)

    async def work(self) -> None:
        """Look into what was heard."""
        runner = runner_of(self.till.services, JobKind.PROVIDER_CALLBACK)
        while await runner.begin_due():
            await runner.idle()

    async def assert_nothing_was_made(self) -> None:
        for table in ("payment", "payment_option", "given_invoice", "correlation_id", "idempotency"):
            assert await self.till.rows(table) == [], table
        assert self.till.rails.nodes["merchant"].invoices == {}


NewShop = Callable[..., LnpayShop]


@pytest.fixture
async def new_lnpay(till: Any, post: Post, receiver: Receiver) -> AsyncIterator[NewShop]:
    """Open the door of a process; ``another`` is that of a second one over the same database."""
    async with AsyncExitStack() as stack:
        to_shop = OutgoingClient(OutgoingRules(private_networks=EVERYWHERE, plain_http=True, timeout_s=2.0))
        stack.push_async_callback(to_shop.aclose)

        def make(
            *, services: Services | None = None, requires_key: bool = True, currency: str = "USD", hears: bool = True
        ) -> LnpayShop:
            own = till.services if services is None else services
            prices = Prices(own.now)
            own.rates = RateBoard(lambda: [prices], rules=RateRules(sources_min=1), now=own.now)
            post.till.services.webhook_tools = own.webhook_tools = replace(post.till.services.webhooks, shop=to_shop)
            own.callbacks = {"strike": StrikeCallbacks([SecretStr(SECRET.decode())])} if hears else {}
            terms = ShopTerms(currency=currency, notice_url=receiver.url, expires_in_s=GRANTED_S)
            settings = DoorSettings(limits=TransportLimits(body_bytes_max=BODY_BYTES_MAX))
            door = LnpayDoor(
                services=own,
                settings=settings,
                access=ServerAccess(own, till.shop.broker, key_used=lambda _: None),
                callbacks=callback_door(own, settings, CollectorRegistry()),
                terms=terms,
                requires_key=requires_key,
            )
            app = Starlette(routes=lnpay_routes(door))
            http = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1:5000")
            stack.push_async_callback(http.aclose)
            return LnpayShop(till.on(own), replace(post, till=till.on(own)), http, prices, terms, app)

        yield make


@pytest.fixture
def lnpay(new_lnpay: NewShop) -> LnpayShop:
    return new_lnpay()
