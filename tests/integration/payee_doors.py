"""The doors of payees over a whole shop on a real port, and payers who know nothing but an address."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from quittance.domain.money import msat
from quittance.domain.payment import Payment
from quittance.providers.lnurl.directory import LnurlDirectory
from quittance.providers.outgoing import LOOPBACK, OutgoingClient, OutgoingRules
from quittance.providers.payees import PayeeInvoice
from quittance.resolvers.services import Services
from quittance.sandbox.http import LoopbackServer
from quittance.server.http.addresses import peer_address
from quittance.server.http.checkout import checkout_routes
from quittance.server.http.payees import payee_routes

SET = """
mutation ($input: SetLightningAddressInput!) { setLightningAddress(input: $input) { __typename
  ... on SetLightningAddressSuccess { merchant { id lightningAddress lnurl lnurlQrCode } }
  ... on UserError { code } ... on InvalidInputError { field } ... on LightningNameTakenError { name } } }
"""
ARTICLE = """
mutation ($input: CreateArticleInput!) { createArticle(input: $input) {
  ... on CreateArticleSuccess { article { id lightningAddress lnurl lnurlQrCode } } } }
"""


@dataclass
class PayeeDoors:
    """The shop behind its doors, and the client that payouts use."""

    till: Any
    http: httpx.AsyncClient
    directory: LnurlDirectory
    root: str

    @property
    def services(self) -> Services:
        services: Services = self.till.services
        return services

    async def named(self, name: str | None, **more: Any) -> Any:
        merchant_id = more.pop("id", self.till.shop.principal.merchant_id)
        given = {"input": {"id": merchant_id, "name": name}}
        return await self.till.shop.mutate("setLightningAddress", SET, given, **more)

    async def article(self, *, price_msat: int = 7_000, title: str = "A story", **more: Any) -> Any:
        given = {"title": title, "content": "Once upon a time.", "price": {"msat": price_msat}} | more
        return (await self.till.shop.mutate("createArticle", ARTICLE, {"input": given}))["article"]

    async def ask(self, address: str, *, amount_msat: int = 12_345, comment: str | None = None) -> PayeeInvoice:
        """Ask for an invoice as a payout does, strictly."""
        payee = await self.directory.resolve(address)
        return await self.directory.request_invoice(payee, amount=msat(amount_msat), comment=comment)

    async def payment_of(self, invoice: PayeeInvoice) -> Payment:
        rows = await self.till.rows("payment_option")
        (option,) = [row for row in rows if row["reference"] == invoice.payment_hash]
        found: Payment = await self.till.payment(option["payment_id"])
        return found

    async def paid(self, invoice: PayeeInvoice, *, node: str = "alice") -> bytes:
        """Let a sandbox node pay, and the shop hear of it."""
        preimage = await self.till.rails.pay(invoice.payment_request, node=node)
        payment = await self.payment_of(invoice)
        await self.till.reconcile()
        await self.till.report(await self.till.money(payment.id, amount_msat=invoice.amount.value))
        return bytes(preimage)

    async def told(self, path: str, **query: object) -> Any:
        """Return what a door answers, which is JSON for everybody and never a redirect."""
        said = {name: str(value) for name, value in query.items()}
        answer = await self.http.get(path, params=said or None)  # no parameters at all would take away the path's own
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["cache-control"] == "no-store"
        return answer.json()


@pytest.fixture
async def doors(till: Any) -> AsyncIterator[PayeeDoors]:
    services: Services = till.services
    routes = [*payee_routes(services, peer_address), *checkout_routes(services, peer_address)]
    server = LoopbackServer(Starlette(routes=routes))
    await server.start()
    services.public_url = root = f"http://127.0.0.1:{server.port}"
    rules = OutgoingRules(private_networks=LOOPBACK, plain_http=True)
    async with OutgoingClient(rules) as outgoing, httpx.AsyncClient(base_url=root) as http:
        directory = LnurlDirectory(outgoing, prefix="bcrt", now=services.now)
        yield PayeeDoors(till=till, http=http, directory=directory, root=root)
    await server.stop()
