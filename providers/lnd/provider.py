"""Receives over Lightning with an LND node of one's own."""

from collections.abc import AsyncGenerator, Awaitable, Mapping
from hashlib import sha256
from typing import Final, TypeVar

import grpc.aio

from quittance.domain.errors import ProviderMisconfigured, QuittanceError
from quittance.domain.ids import Preimage
from quittance.domain.money import Asset
from quittance.providers.base import (
    FeedPosition,
    Invoice,
    InvoiceRequest,
    ProviderHealth,
    Settlement,
)
from quittance.providers.lightning import (
    NodeUnavailable,
    Terms,
    asked_amount,
    description_hash,
    memo_of,
    missing,
    other_network,
    verified,
)
from quittance.providers.lnd import feed
from quittance.providers.lnd._proto import invoicesrpc_pb2, lnrpc_pb2, staterpc_pb2
from quittance.providers.lnd.currencies import BITCOIN, Currency
from quittance.providers.lnd.errors import Fault, NodeRefusal
from quittance.providers.lnd.identity import newest_invoice
from quittance.providers.lnd.invoices import to_invoice
from quittance.providers.lnd.node import Node

_STANDS: Final = frozenset({Fault.MISSING, Fault.FINAL, Fault.NOT_HELD})  # refusals after which a lookup tells all
_MAY_NOT_RECEIVE: Final = "the macaroon may not receive; it needs invoices:read and invoices:write"
_NOT_ACTIVE: Final[Mapping[int, str]] = {
    staterpc_pb2.NON_EXISTING: "the node has no wallet; create one",
    staterpc_pb2.LOCKED: "the node's wallet is locked; unlock it",
    staterpc_pb2.UNLOCKED: "the node is starting",
    staterpc_pb2.RPC_ACTIVE: "the node is starting",
    staterpc_pb2.WAITING_TO_START: "the node waits to become the leader of its cluster",
}

Order = TypeVar("Order", lnrpc_pb2.Invoice, invoicesrpc_pb2.AddHoldInvoiceRequest)
Added = TypeVar("Added", lnrpc_pb2.AddInvoiceResponse, invoicesrpc_pb2.AddHoldInvoiceResp)


class LndProvider:
    """An LND node, 0.18 or later, or one of its Litecoin fork, 0.17.

    The macaroon may do as little as ``invoice.macaroon``; ``info:read`` adds checks.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        *,
        network: str,
        name: str = "lnd",
        timeout_s: float = 10.0,
        currency: Currency = BITCOIN,
    ) -> None:
        if network not in currency.prefixes:
            raise ValueError(f"{network!r} is not one of {', '.join(currency.prefixes)}")
        self.name = name
        self.asset: Asset = currency.asset
        self._currency = currency
        self._network = network
        self._prefix = currency.prefixes[network]
        self._channel = channel
        self._node = Node(channel, name=name, timeout_s=timeout_s, asset=currency.asset)

    async def aclose(self) -> None:
        """Close the channel; calls under way and feeds end as if the node had gone."""
        await self._channel.close(grace=None)

    def reference(self, preimage: Preimage) -> str:
        return sha256(preimage).hexdigest()

    async def create_invoice(self, request: InvoiceRequest) -> Invoice:
        """Make an invoice and verify it; the same preimage again returns the first one, as it stands now.

        Raises:
            ProviderUnavailable: the outcome is unknown; look up the reference or repeat with the same preimage.
            InvoiceRejected: the node refuses the terms, or holds other terms for the same preimage.
            ProviderMisconfigured: the operator must act; no invoice of such a node is handed out.
        """
        amount_msat = asked_amount(request, provider=self.name, asset=self.asset)
        message = lnrpc_pb2.Invoice(
            memo=memo_of(request.description),
            r_preimage=request.preimage,
            value_msat=amount_msat,
            expiry=request.expires_in_s,
            description_hash=bytes.fromhex(description_hash(request) or ""),
        )
        added = self._add(self._node.lightning.AddInvoice, message)
        return await self._made(added, self._terms(request, amount_msat=amount_msat))

    async def create_held_invoice(self, request: InvoiceRequest) -> Invoice:
        """Make an invoice that is not settled when it is paid; as :meth:`create_invoice` otherwise.

        The node learns the hash of the preimage alone, so it cannot take the money before we say so.
        """
        amount_msat = asked_amount(request, provider=self.name, asset=self.asset)
        message = invoicesrpc_pb2.AddHoldInvoiceRequest(
            memo=memo_of(request.description),
            hash=sha256(request.preimage).digest(),
            value_msat=amount_msat,
            expiry=request.expires_in_s,
            description_hash=bytes.fromhex(description_hash(request) or ""),
        )
        added = self._add(self._node.invoices.AddHoldInvoice, message)
        return await self._made(added, self._terms(request, amount_msat=amount_msat))

    async def settle_invoice(self, preimage: Preimage) -> Invoice:
        """Take what a held invoice holds, and return how it stands afterwards; one that is final stays as it is.

        Raises:
            ProviderUnavailable: the outcome is unknown; look up the reference.
            ProviderMisconfigured: the operator must act; likewise.
        """
        try:
            await self._node.ask(self._node.invoices.SettleInvoice, invoicesrpc_pb2.SettleInvoiceMsg(preimage=preimage))
        except NodeRefusal as refusal:
            if refusal.fault not in _STANDS:
                raise
        return await self.lookup_invoice(self.reference(preimage))

    def _terms(self, request: InvoiceRequest, *, amount_msat: int) -> Terms:
        return Terms(
            reference=self.reference(request.preimage),
            amount_msat=amount_msat,
            description_hash=description_hash(request),
            prefix=self._prefix,
            network=self._set_to,
        )

    async def _made(self, added: Awaitable[str], terms: Terms) -> Invoice:
        """Return the invoice that ``added`` makes, or the one that was made of the same preimage before."""
        try:
            payment_request = await added
        except NodeRefusal as refusal:
            if refusal.fault is not Fault.DUPLICATE:
                raise
            held = await self._find(terms.reference)
            verified(held.payment_request or "", terms=terms, provider=self.name)
            return held
        return verified(payment_request, terms=terms, provider=self.name)

    async def _add(self, method: grpc.aio.UnaryUnaryMultiCallable[Order, Added], order: Order) -> str:
        """Return the text of a new invoice; a payment address that the node drew twice is drawn once more."""
        try:
            answer = await self._node.ask(method, order)
        except NodeRefusal as refusal:
            if refusal.fault is not Fault.COLLISION:
                raise
            answer = await self._node.ask(method, order)
        return answer.payment_request

    async def lookup_invoice(self, reference: str) -> Invoice:
        """Return what the node holds; status MISSING when it holds nothing, which is never read as paid.

        Raises:
            ProviderUnavailable: no answer.
            ProviderMisconfigured: the operator must act.
        """
        try:
            return await self._find(reference)
        except NodeRefusal as refusal:
            if refusal.fault is Fault.MISSING:
                return missing(reference)
            raise

    async def _find(self, reference: str) -> Invoice:
        question = lnrpc_pb2.PaymentHash(r_hash=bytes.fromhex(reference))
        message = await self._node.ask(self._node.lightning.LookupInvoice, question)
        if message.r_hash != question.r_hash:
            raise ProviderMisconfigured(self.name, "the node answers with another invoice than the one asked for")
        return to_invoice(message, provider=self.name, asset=self.asset)

    async def cancel_invoice(self, reference: str) -> Invoice:
        """Cancel an open invoice and return how it stands afterwards; a settled one stays settled.

        Raises:
            ProviderUnavailable: the outcome is unknown; look up the reference.
            ProviderMisconfigured: the operator must act.
        """
        question = invoicesrpc_pb2.CancelInvoiceMsg(payment_hash=bytes.fromhex(reference))
        try:
            await self._node.ask(self._node.invoices.CancelInvoice, question)
        except NodeRefusal as refusal:
            if refusal.fault is Fault.MISSING:
                return missing(reference)
            if refusal.fault is not Fault.FINAL:
                raise
        return await self.lookup_invoice(reference)

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
        async for page in self._node.pages(newest_first=False):
            for message in page:
                yield to_invoice(message, provider=self.name, asset=self.asset)

    async def health(self) -> ProviderHealth:
        """Tell whether the node can take money now, on the right network; never raises."""
        try:
            return await self._health()
        except NodeUnavailable as error:
            return ProviderHealth(ready=False, detail=error.reason)
        except QuittanceError as error:
            return ProviderHealth(ready=False, detail=error.message)

    async def _health(self) -> ProviderHealth:
        state = await self._node.wallet_state()
        if state != staterpc_pb2.SERVER_ACTIVE:
            return ProviderHealth(ready=False, detail=_NOT_ACTIVE.get(state, "the node is in a state we do not know"))
        if not await self._node.may_receive():
            return ProviderHealth(ready=False, detail=_MAY_NOT_RECEIVE)
        facts = await self._node.facts()
        if facts is None:
            return await self._health_without_facts()
        found = sorted({_named(chain) for chain in facts.chains})
        if found != [self._set_to]:
            detail = f"the node is on {', '.join(found) or 'no network'}, we are set to {self._set_to}"
            return ProviderHealth(ready=False, detail=detail, wrong_network=True)
        if not facts.synced_to_chain:
            return ProviderHealth(ready=False, detail="the node is not synced to the chain")
        return ProviderHealth(ready=True, detail=f"synced on {self._set_to}")

    async def _health_without_facts(self) -> ProviderHealth:
        """Judge a node whose macaroon may not ask for facts, by its newest invoice."""
        invoice = await newest_invoice(self._node)
        if invoice is None:
            return ProviderHealth(ready=True, detail="network not verified: macaroon lacks info:read")
        if invoice.prefix != self._prefix:
            return ProviderHealth(ready=False, detail=other_network(self._set_to), wrong_network=True)
        return ProviderHealth(ready=True, detail=f"makes invoices for {self._set_to}; macaroon lacks info:read")

    @property
    def _set_to(self) -> str:
        return f"{self._currency.chain} {self._network}"


def _named(chain: lnrpc_pb2.Chain) -> str:
    """Return chain and network; a node that no longer names its chain is on Bitcoin's."""
    return f"{chain.chain or BITCOIN.chain} {chain.network}"
