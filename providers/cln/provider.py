"""Receives over Lightning with a Core Lightning node of one's own."""

from collections.abc import AsyncGenerator, Mapping
from hashlib import sha256
from typing import Final

import httpx

from quittance.domain.errors import InvoiceRejected, ProviderMisconfigured, QuittanceError
from quittance.domain.ids import Preimage
from quittance.domain.money import BTC_MSAT, Asset
from quittance.providers.base import FeedPosition, Invoice, InvoiceRequest, InvoiceStatus, ProviderHealth, Settlement
from quittance.providers.cln import feed
from quittance.providers.cln.errors import Fault, NodeRefusal
from quittance.providers.cln.invoices import canceled, description_of, label_of, to_invoice
from quittance.providers.cln.networks import NETWORKS
from quittance.providers.cln.node import Node
from quittance.providers.cln.rows import InvoiceRow, InvoiceRows, NewInvoice, Nothing
from quittance.providers.lightning import NodeUnavailable, Terms, asked_amount, description_hash, missing, verified

_MAY_NOT_RECEIVE: Final = (
    "the rune may not receive; it needs getinfo, invoice, listinvoices, delinvoice and waitanyinvoice"
)


class ClnProvider:
    """A Core Lightning node, 25.02 or later, behind its clnrest plugin. The rune may do no more than receive."""

    asset: Asset = BTC_MSAT

    def __init__(self, http: httpx.AsyncClient, *, network: str, name: str = "cln", timeout_s: float = 10.0) -> None:
        if network not in NETWORKS:
            raise ValueError(f"{network!r} is not one of {', '.join(NETWORKS)}")
        self.name = name
        self._set_to = f"bitcoin {network}"
        self._chain, self._prefix = NETWORKS[network]
        self._http = http
        self._node = Node(http, name=name, timeout_s=timeout_s)

    async def aclose(self) -> None:
        """Close the connections; calls under way and feeds end as if the node had gone."""
        await self._http.aclose()

    def reference(self, preimage: Preimage) -> str:
        return sha256(preimage).hexdigest()

    async def create_invoice(self, request: InvoiceRequest) -> Invoice:
        """Make an invoice and verify it; the same preimage again returns the first one, as it stands now.

        Raises:
            ProviderUnavailable: the outcome is unknown; look up the reference or repeat with the same preimage.
            InvoiceRejected: the node refuses the terms, or holds other terms for the same preimage.
            ProviderMisconfigured: the operator must act; no invoice of such a node is handed out.
        """
        amount_msat = asked_amount(request, provider=self.name, asset=BTC_MSAT)
        reference = self.reference(request.preimage)
        terms = Terms(
            reference=reference,
            amount_msat=amount_msat,
            description_hash=description_hash(request),
            prefix=self._prefix,
            network=self._set_to,
        )
        question = {
            "amount_msat": amount_msat,
            "label": label_of(reference),
            **_described(request),
            "expiry": request.expires_in_s,
            "preimage": request.preimage.hex(),
        }
        try:
            made = await self._node.ask("invoice", question, NewInvoice)
        except NodeRefusal as refusal:
            if refusal.fault is Fault.WRONG_PARAMETERS:
                raise InvoiceRejected(self.name, refusal.said) from refusal
            if refusal.fault is not Fault.DUPLICATE:
                raise
            return await self._held(terms)
        return verified(made.bolt11, terms=terms, provider=self.name)

    async def _held(self, terms: Terms) -> Invoice:
        """Return the invoice that the node has for a preimage which it will not use twice."""
        row = await self._find(terms.reference)
        if row is None:
            raise ProviderMisconfigured(self.name, "the node has given our name for an invoice to another one")
        verified(row.bolt11 or "", terms=terms, provider=self.name)
        return to_invoice(row, provider=self.name)

    async def lookup_invoice(self, reference: str) -> Invoice:
        """Return what the node holds; status MISSING when it holds nothing, which is never read as paid.

        An invoice that was cancelled is among those that the node no longer holds.

        Raises:
            ProviderUnavailable: no answer.
            ProviderMisconfigured: the operator must act.
        """
        row = await self._find(reference)
        return missing(reference) if row is None else to_invoice(row, provider=self.name)

    async def _find(self, reference: str) -> InvoiceRow | None:
        rows = (await self._node.ask("listinvoices", {"payment_hash": reference}, InvoiceRows)).invoices
        if any(row.payment_hash != reference for row in rows):
            raise ProviderMisconfigured(self.name, "the node answers with another invoice than the one asked for")
        return rows[0] if rows else None

    async def cancel_invoice(self, reference: str) -> Invoice:
        """Delete an open invoice and return how it stands afterwards; a settled one stays settled.

        The node deletes it only while it is unpaid, and sends back whatever comes for it afterwards.

        Raises:
            ProviderUnavailable: the outcome is unknown; look up the reference.
            ProviderMisconfigured: the operator must act.
        """
        row = await self._find(reference)
        if row is None:
            return missing(reference)
        invoice = to_invoice(row, provider=self.name)
        if invoice.status is not InvoiceStatus.OPEN:
            return invoice
        try:
            await self._node.ask("delinvoice", {"label": row.label, "status": row.status}, Nothing)
        except NodeRefusal as refusal:
            if refusal.fault not in {Fault.MISSING, Fault.OTHER_STATUS}:
                raise
            return await self.lookup_invoice(reference)
        return canceled(invoice)

    def settlements(self, *, resume: FeedPosition | None) -> AsyncGenerator[Settlement | FeedPosition]:
        """Yield what settled after ``resume``, then what settles from now on, until the connection ends.

        Raises:
            ProviderUnavailable: the connection broke; call again with the last stored position.
            ProviderMisconfigured: the operator must act.
        """
        return feed.follow(self._node, resume=resume)

    async def invoices(self) -> AsyncGenerator[Invoice]:
        """Yield every invoice of the node, ours or not, the oldest first.

        Raises:
            ProviderUnavailable: no answer; what was yielded before is not the whole list.
            ProviderMisconfigured: the operator must act; likewise.
        """
        async for page in self._node.pages(index="created"):
            for row in page:
                yield to_invoice(row, provider=self.name)

    async def health(self) -> ProviderHealth:
        """Tell whether the node can take money now, on the right network; never raises."""
        try:
            return await self._health()
        except NodeUnavailable as error:
            return ProviderHealth(ready=False, detail=error.reason)
        except NodeRefusal as refusal:
            forbidden = refusal.fault is Fault.FORBIDDEN
            return ProviderHealth(ready=False, detail=_MAY_NOT_RECEIVE if forbidden else refusal.message)
        except QuittanceError as error:
            return ProviderHealth(ready=False, detail=error.message)

    async def _health(self) -> ProviderHealth:
        facts = await self._node.facts()
        if facts.network != self._chain:
            detail = f"the node is on {_named(facts.network)}, we are set to {self._set_to}"
            return ProviderHealth(ready=False, detail=detail, wrong_network=True)
        if not await self._node.may_receive():
            return ProviderHealth(ready=False, detail=_MAY_NOT_RECEIVE)
        if facts.warning_bitcoind_sync or facts.warning_lightningd_sync:
            return ProviderHealth(ready=False, detail="the node is not synced to the chain")
        return ProviderHealth(ready=True, detail=f"synced on {self._set_to}")


def _described(request: InvoiceRequest) -> Mapping[str, object]:
    """Return what the invoice says it is for: a text, or the hash of one, which this node takes itself."""
    if request.described_by is None:
        return {"description": description_of(request.description)}
    return {"description": request.described_by, "deschashonly": True}


def _named(chain: str) -> str:
    """Return Bitcoin's networks as we call them; the node calls the main one by the chain's name."""
    return "bitcoin mainnet" if chain == "bitcoin" else f"bitcoin {chain}" if chain in NETWORKS else chain
