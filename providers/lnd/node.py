"""Questions to one node: every call has a deadline, and no error of the wire gets past here."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Final, TypeAlias, TypeVar

import grpc
import grpc.aio

from quittance.domain.errors import ProviderMisconfigured, ProviderUnavailable
from quittance.domain.money import BTC_MSAT, Asset
from quittance.providers.lnd._proto import invoicesrpc_pb2, lnrpc_pb2, staterpc_pb2
from quittance.providers.lnd._proto.invoicesrpc_pb2_grpc import InvoicesStub
from quittance.providers.lnd._proto.lnrpc_pb2_grpc import LightningStub
from quittance.providers.lnd._proto.staterpc_pb2_grpc import StateStub
from quittance.providers.lnd.errors import Fault, NodeRefusal, to_quittance_error

_PAGE: Final = 1_000
_NOBODYS_HASH: Final = bytes(32)

Question = TypeVar("Question")
Answer = TypeVar("Answer")
InvoiceStream: TypeAlias = "grpc.aio.UnaryStreamCall[lnrpc_pb2.InvoiceSubscription, lnrpc_pb2.Invoice]"


class Node:
    """One LND node behind a channel. ``asset`` is what its amounts in "msat" count."""

    def __init__(self, channel: grpc.aio.Channel, *, name: str, timeout_s: float, asset: Asset = BTC_MSAT) -> None:
        self.name = name
        self.asset = asset
        self.lightning = LightningStub(channel)
        self.invoices = InvoicesStub(channel)
        self._state = StateStub(channel)
        self._timeout_s = timeout_s
        self._may_receive = False

    async def ask(self, method: grpc.aio.UnaryUnaryMultiCallable[Question, Answer], question: Question) -> Answer:
        """Return the node's answer within the deadline.

        Raises:
            ProviderUnavailable: no answer; what the call did is unknown.
            ProviderMisconfigured: the operator must act; a :class:`NodeRefusal` may mean something to this call.
            InvoiceRejected: the node refuses the terms.
        """
        with self._our_errors():
            return self._parsed(await method(question, timeout=self._timeout_s))

    def subscribe(self, *, settle_index: int) -> InvoiceStream:
        """Start a stream of what settles after ``settle_index``, with other news between; 0 means from now on."""
        with self._our_errors():
            return self.lightning.SubscribeInvoices(lnrpc_pb2.InvoiceSubscription(settle_index=settle_index))

    async def read(self, stream: InvoiceStream) -> AsyncGenerator[lnrpc_pb2.Invoice]:
        """Yield what the stream brings; cancel it when the reader leaves.

        Raises:
            ProviderUnavailable: the stream ended, with or without an error.
            ProviderMisconfigured: the operator must act.
        """
        try:
            with self._our_errors():
                async for invoice in stream:
                    yield self._parsed(invoice)
        finally:
            stream.cancel()
        raise ProviderUnavailable(self.name)

    async def pages(self, *, newest_first: bool) -> AsyncIterator[Sequence[lnrpc_pb2.Invoice]]:
        """Yield all invoices, in pages in the order they were made or the reverse, each page oldest first."""
        offset = 0
        while True:
            question = lnrpc_pb2.ListInvoiceRequest(index_offset=offset, num_max_invoices=_PAGE, reversed=newest_first)
            page = await self.ask(self.lightning.ListInvoices, question)
            following = page.first_index_offset if newest_first else page.last_index_offset
            if page.invoices:
                yield page.invoices
            if not page.invoices or following == 0:
                return
            advances = following < offset if newest_first else following > offset
            if offset and not advances:
                raise ProviderMisconfigured(self.name, "the node's list of invoices does not advance")
            offset = following

    async def wallet_state(self) -> staterpc_pb2.WalletState:
        answer = await self.ask(self._state.GetState, staterpc_pb2.GetStateRequest())
        return answer.state

    async def facts(self) -> lnrpc_pb2.GetInfoResponse | None:
        """Return what the node says of itself, None if the macaroon does not allow to ask."""
        try:
            return await self.ask(self.lightning.GetInfo, lnrpc_pb2.GetInfoRequest())
        except NodeRefusal as refusal:
            if refusal.fault is Fault.FORBIDDEN:
                return None
            raise

    async def may_receive(self) -> bool:
        """Tell whether the macaroon may read and change invoices. Nothing changes: we name one that cannot exist.

        A yes is remembered, for the node logs every such question as an error.
        """
        if not self._may_receive:
            lookup = lnrpc_pb2.PaymentHash(r_hash=_NOBODYS_HASH)
            cancel = invoicesrpc_pb2.CancelInvoiceMsg(payment_hash=_NOBODYS_HASH)
            self._may_receive = await self._allows(self.lightning.LookupInvoice, lookup) and await self._allows(
                self.invoices.CancelInvoice, cancel
            )
        return self._may_receive

    async def _allows(self, method: grpc.aio.UnaryUnaryMultiCallable[Question, Answer], question: Question) -> bool:
        try:
            await self.ask(method, question)
        except NodeRefusal as refusal:
            return refusal.fault is not Fault.FORBIDDEN
        return True

    def _parsed(self, answer: Answer | None) -> Answer:
        if answer is None:  # grpcio's way to say that the bytes are no such message
            raise ProviderMisconfigured(self.name, "what answers does not speak LND's protocol")
        return answer

    def _our_errors(self) -> AbstractContextManager[None]:
        """Turn the wire's errors into ours, so that none gets past this module."""
        return wire_errors(self.name, partial(to_quittance_error, provider=self.name))


@contextmanager
def wire_errors(name: str, meaning: Callable[[grpc.aio.AioRpcError], Exception]) -> Generator[None]:
    """Raise what an error of the wire means to this call; the end of its channel leaves its outcome unknown."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise meaning(error) from error
    except grpc.aio.UsageError as error:  # the channel is closed
        raise ProviderUnavailable(name) from error
    except asyncio.CancelledError as error:
        # grpcio cancels us, too, when the node answers CANCELLED or the channel is closed under a call.
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise ProviderUnavailable(name) from error
