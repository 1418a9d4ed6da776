"""Pays over Lightning with an LND node of one's own. Nothing else in the process holds a macaroon that may spend."""

import asyncio
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from typing import Final, TypeAlias

import grpc
import grpc.aio

from quittance.domain.bolt11 import Bolt11, without_scheme
from quittance.domain.errors import ProviderMisconfigured, ProviderUnavailable, QuittanceError
from quittance.domain.money import Asset, Money
from quittance.domain.outgoing_errors import SendRefused
from quittance.providers.base import KeysendRequest, ProviderHealth, SendRequest, SentPayment, SentStatus
from quittance.providers.lightning import NodeUnavailable
from quittance.providers.lightning_paying import NOT_SEEN, fee_cap, positive, read_order, read_payable
from quittance.providers.lnd._proto import lnrpc_pb2, routerrpc_pb2
from quittance.providers.lnd._proto.routerrpc_pb2_grpc import RouterStub
from quittance.providers.lnd.currencies import BITCOIN, Currency
from quittance.providers.lnd.errors import Fault, NodeRefusal
from quittance.providers.lnd.node import wire_errors
from quittance.providers.lnd.payments import (
    FINAL,
    MAY_NOT_PAY,
    AlreadyBegun,
    NeverBegun,
    sending_error,
    to_sent,
    tracking_error,
    unknown_outcome,
)

TRIES_S: Final = 60  # how long the node looks for routes; what is on its way by then may take hours
SEND_WAIT_S: Final = 20.0
KEYSEND_RECORD: Final = 5_482_373_484  # where the payee of a payment without an invoice finds its preimage
_PUBKEY_BYTES: Final = 33
_NOBODYS_HASH: Final = bytes(32)
_SILENT: Final = "the node does not answer in time"
_CUT: Final = "the node stopped telling of the payment before it was final"

_Payments: TypeAlias = "grpc.aio.UnaryStreamCall[routerrpc_pb2.SendPaymentRequest, lnrpc_pb2.Payment]"
_Tracking: TypeAlias = "grpc.aio.UnaryStreamCall[routerrpc_pb2.TrackPaymentRequest, lnrpc_pb2.Payment]"


class LndPayer:
    """The router of an LND node. The macaroon needs offchain:read and offchain:write, and nothing else."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        *,
        network: str,
        name: str = "lnd",
        timeout_s: float = 10.0,
        wait_s: float = SEND_WAIT_S,
        currency: Currency = BITCOIN,
    ) -> None:
        if network not in currency.prefixes:
            raise ValueError(f"{network!r} is not one of {', '.join(currency.prefixes)}")
        self.name = name
        self.asset: Asset = currency.asset
        self._set_to = f"{currency.chain} {network}"
        self._prefix = currency.prefixes[network]
        self._channel = channel
        self._router = RouterStub(channel)
        self._timeout_s = timeout_s
        self._wait_s = wait_s

    async def aclose(self) -> None:
        """Close the channel; payments that are on their way stay there."""
        await self._channel.close(grace=None)

    def read_invoice(self, payment_request: str) -> Bolt11:
        """Return what an invoice says, its signature verified.

        Raises:
            MalformedInvoice: it is none.
            SendRefused: it is not for the network that this node pays on.
        """
        return read_payable(payment_request, provider=self.name, prefix=self._prefix, network=self._set_to)

    async def send(self, request: SendRequest) -> SentPayment:
        """Pay an invoice, and return how that stands when it is final, or when we waited long enough.

        An invoice of this very node needs a way that leads back to it, which LND seldom finds: FAILED, NO_ROUTE.

        Raises:
            ProviderUnavailable: the outcome is unknown; look up the reference, and do not send again before that.
            SendRefused: the node did not begin, and nothing moved.
            ProviderMisconfigured: likewise, and the operator must act.
        """
        invoice = read_order(request, provider=self.name, prefix=self._prefix, network=self._set_to, asset=self.asset)
        message = self._order(request.fee_max)
        message.payment_request = without_scheme(request.payment_request)
        if request.amount is not None:
            message.amt_msat = request.amount.rescaled_exactly(self.asset).value
        return await self._sent(message, reference=invoice.payment_hash)

    async def keysend(self, request: KeysendRequest) -> SentPayment:
        """Pay a node; the same preimage again pays nothing. As :meth:`send` otherwise."""
        try:
            destination = bytes.fromhex(request.destination)
        except ValueError:
            destination = b""
        if len(destination) != _PUBKEY_BYTES:
            raise SendRefused(self.name, "the payee is no public key of a node")
        message = self._order(request.fee_max)
        message.dest = destination
        message.amt_msat = positive(request.amount, provider=self.name, asset=self.asset)
        message.payment_hash = sha256(request.preimage).digest()
        message.dest_custom_records[KEYSEND_RECORD] = request.preimage
        message.dest_features.append(lnrpc_pb2.TLV_ONION_OPT)
        message.max_parts = 1  # without an invoice the payee has no address by which it could put parts together
        return await self._sent(message, reference=message.payment_hash.hex())

    async def lookup_sent(self, reference: str) -> SentPayment:
        """Return how a payment stands now; status MISSING when the node never began it.

        Raises:
            ProviderUnavailable: no answer.
            ProviderMisconfigured: the operator must act; the outcome stays unknown.
        """
        # With news of what is in flight: the first answer comes at once, and says how the payment stands.
        question = routerrpc_pb2.TrackPaymentRequest(payment_hash=bytes.fromhex(reference))
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._first(question, reference=reference)
        except TimeoutError:
            raise NodeUnavailable(self.name, _SILENT) from None
        except NeverBegun:
            return SentPayment(reference=reference, status=SentStatus.MISSING)

    async def paying_health(self) -> ProviderHealth:
        """Tell whether the macaroon may pay. Nothing is begun: we follow no payment, and order one without a payee."""
        try:
            await self.lookup_sent(_NOBODYS_HASH.hex())
            may_pay = await self._takes_orders()
        except NodeUnavailable as error:
            return ProviderHealth(ready=False, detail=error.reason)
        except NodeRefusal as refusal:
            detail = MAY_NOT_PAY if refusal.fault is Fault.FORBIDDEN else refusal.message
            return ProviderHealth(ready=False, detail=detail)
        except QuittanceError as error:
            return ProviderHealth(ready=False, detail=error.message)
        return ProviderHealth(ready=may_pay, detail="may pay" if may_pay else MAY_NOT_PAY)

    async def _takes_orders(self) -> bool:
        nothing = routerrpc_pb2.SendPaymentRequest()
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._final(nothing, reference="")
        except TimeoutError:
            raise NodeUnavailable(self.name, _SILENT) from None
        except (AlreadyBegun, ProviderUnavailable, SendRefused):
            return True  # it was let in, and found to be no order
        except ProviderMisconfigured:
            return False
        return False

    def _order(self, fee_max: Money) -> routerrpc_pb2.SendPaymentRequest:
        """Return what every order says. A cap of zero is sent as it is, and lets only free routes pass."""
        return routerrpc_pb2.SendPaymentRequest(
            timeout_seconds=TRIES_S,
            fee_limit_msat=fee_cap(fee_max, asset=self.asset),
            no_inflight_updates=True,
            allow_self_payment=True,
        )

    async def _sent(self, message: routerrpc_pb2.SendPaymentRequest, *, reference: str) -> SentPayment:
        try:
            async with asyncio.timeout(self._wait_s):
                return await self._final(message, reference=reference)
        except (TimeoutError, AlreadyBegun):
            return await self._followed(reference)

    async def _followed(self, reference: str) -> SentPayment:
        """Return how a payment stands that we asked for, or that was asked for before.

        Raises:
            ProviderUnavailable: it is not known; not even MISSING, for what we asked for may still begin.
        """
        try:
            found = await self.lookup_sent(reference)
        except ProviderMisconfigured as error:
            raise NodeUnavailable(self.name, error.reason) from error
        if found.status is SentStatus.MISSING:
            raise NodeUnavailable(self.name, NOT_SEEN)
        return found

    async def _final(self, message: routerrpc_pb2.SendPaymentRequest, *, reference: str) -> SentPayment:
        """Order a payment and read what the node tells of it until it is final.

        Leaving ends the telling, not the payment: it is not cancelable.
        """
        begun = False

        def meaning(error: grpc.aio.AioRpcError) -> Exception:
            translate = unknown_outcome if begun else sending_error
            return translate(error, provider=self.name)

        with wire_errors(self.name, meaning):
            stream: _Payments = self._router.SendPaymentV2(message)
            try:
                async for news in stream:
                    begun = True
                    sent = self._read(news, reference=reference, otherwise=NodeUnavailable)
                    if sent.status in FINAL:
                        return sent
            finally:
                stream.cancel()
        raise NodeUnavailable(self.name, _CUT)

    async def _first(self, question: routerrpc_pb2.TrackPaymentRequest, *, reference: str) -> SentPayment:
        with wire_errors(self.name, partial(tracking_error, provider=self.name)):
            stream: _Tracking = self._router.TrackPaymentV2(question)
            try:
                async for news in stream:
                    return self._read(news, reference=reference, otherwise=ProviderMisconfigured)
            finally:
                stream.cancel()
        raise NodeUnavailable(self.name, _CUT)

    def _read(
        self,
        news: lnrpc_pb2.Payment | None,
        *,
        reference: str,
        otherwise: Callable[[str, str], QuittanceError],
    ) -> SentPayment:
        """Return what the node tells; what makes no sense is raised as ``otherwise``."""
        if news is None:  # grpcio's way to say that the bytes are no such message
            raise otherwise(self.name, "what answers does not speak LND's protocol")
        try:
            return to_sent(news, reference=reference, provider=self.name, asset=self.asset)
        except ProviderMisconfigured as error:
            raise otherwise(self.name, error.reason) from error
