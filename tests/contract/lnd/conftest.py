"""A tiny LND node that can be told to answer as no node should, and the adapter on its channel."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from hashlib import sha256
from typing import Any

import grpc
import grpc.aio
import pytest
from coincurve import PrivateKey
from tests.contract.lnd.tls import tls_node  # noqa: F401 - fixtures

from quittance.domain.bolt11 import UnsignedInvoice, encode
from quittance.providers.lnd._proto import invoicesrpc_pb2, lnrpc_pb2, staterpc_pb2
from quittance.providers.lnd.provider import LndProvider

KEY = PrivateKey(b"\x07" * 32)
CREATED_AT = 1_700_000_000
SETTLED_AT = CREATED_AT + 30
INVOICE = lnrpc_pb2.Invoice
Handler = Callable[[Any], Awaitable[Any]]


class RefusalError(Exception):
    def __init__(self, text: str, code: grpc.StatusCode = grpc.StatusCode.UNKNOWN) -> None:
        super().__init__(text)
        self.code = code


class TinyNode:
    """As much of a node as the adapter meets, with answers that can be replaced call by call."""

    def __init__(self) -> None:
        self.key, self.prefix, self.chain, self.network = KEY, "bcrt", "bitcoin", "regtest"
        self.invoices: list[Any] = []
        self.settle_index = 0
        self.calls: list[str] = []
        self.faults: dict[str, Handler] = {}
        self.subscriptions: list[int] = []
        self.macaroons: list[str] = []
        self._live: list[asyncio.Queue[Any]] = []
        self._streaming = asyncio.Event()

    @property
    def pubkey(self) -> str:
        return self.key.public_key.format().hex()

    def add(
        self, preimage: bytes, *, amount_msat: int = 21_000, memo: str = "", expiry: int = 600, bound_to: bytes = b""
    ) -> Any:
        unsigned = UnsignedInvoice(
            prefix=self.prefix, amount_msat=amount_msat, timestamp=CREATED_AT, payment_hash=sha256(preimage).digest(),
            payment_secret=b"\x11" * 32, description=None if bound_to else memo,
            description_hash=bound_to or None, expiry_s=expiry,
        )  # fmt: skip
        text = encode(unsigned, sign=partial(self.key.sign_recoverable, hasher=None))
        invoice = INVOICE(
            memo=memo, description_hash=bound_to, r_preimage=preimage, r_hash=unsigned.payment_hash,
            value_msat=amount_msat, expiry=expiry, creation_date=CREATED_AT, payment_request=text,
            add_index=len(self.invoices) + 1,
        )  # fmt: skip
        self.invoices.append(invoice)
        return invoice

    def settle(self, invoice: Any, *, paid_msat: int = 21_000) -> None:
        self.settle_index += 1
        invoice.state, invoice.settle_index = INVOICE.SETTLED, self.settle_index
        invoice.amt_paid_msat, invoice.settle_date = paid_msat, SETTLED_AT
        self.tell(invoice)

    def tell(self, invoice: Any) -> None:
        for queue in self._live:
            queue.put_nowait(INVOICE.FromString(invoice.SerializeToString()))

    def hang_up(self) -> None:
        for queue in self._live:
            queue.put_nowait(None)

    def break_stream(self, text: str, code: grpc.StatusCode) -> None:
        for queue in self._live:
            queue.put_nowait(RefusalError(text, code))

    def refuse(self, name: str, text: str, code: grpc.StatusCode = grpc.StatusCode.UNKNOWN) -> None:
        """Answer a call with an error."""

        async def refuse(_: Any) -> Any:
            raise RefusalError(text, code)

        self.faults[name] = refuse

    def refuse_once(self, name: str, text: str) -> None:
        """Answer the next call with an error, and the following ones well."""

        async def refuse(_: Any) -> Any:
            del self.faults[name]
            raise RefusalError(text)

        self.faults[name] = refuse

    def hang_on(self, name: str) -> None:
        """Take a call and never answer."""

        async def hang(_: Any) -> Any:
            await asyncio.sleep(60)

        self.faults[name] = hang

    def answer_with(self, name: str, message: Any) -> None:
        """Answer a call with this message, or with these bytes."""

        async def answer(_: Any) -> Any:
            return message

        self.faults[name] = answer

    async def streaming(self) -> None:
        """Wait until somebody follows the settlements."""
        await self._streaming.wait()

    def held(self, payment_hash: bytes) -> Any:
        found = next((invoice for invoice in self.invoices if invoice.r_hash == payment_hash), None)
        if found is None:
            raise RefusalError("unable to locate invoice", grpc.StatusCode.NOT_FOUND)
        return found

    async def AddInvoice(self, asked: Any) -> Any:  # noqa: N802
        payment_hash = sha256(asked.r_preimage).digest()
        if any(invoice.r_hash == payment_hash for invoice in self.invoices):
            raise RefusalError("invoice with payment hash already exists")
        made = self.add(
            asked.r_preimage, amount_msat=asked.value_msat, memo=asked.memo, expiry=asked.expiry,
            bound_to=asked.description_hash,
        )  # fmt: skip
        return lnrpc_pb2.AddInvoiceResponse(r_hash=made.r_hash, payment_request=made.payment_request)

    async def LookupInvoice(self, asked: Any) -> Any:  # noqa: N802
        return self.held(asked.r_hash)

    async def CancelInvoice(self, asked: Any) -> Any:  # noqa: N802
        invoice = self.held(asked.payment_hash)
        if invoice.state == INVOICE.SETTLED:
            raise RefusalError("invoice already settled")
        invoice.state = INVOICE.CANCELED
        return invoicesrpc_pb2.CancelInvoiceResp()

    async def ListInvoices(self, asked: Any) -> Any:  # noqa: N802
        size = min(asked.num_max_invoices, 3)
        if asked.reversed:
            end = asked.index_offset - 1 if asked.index_offset else len(self.invoices)
            page = self.invoices[max(end - size, 0) : end]
        else:
            page = self.invoices[asked.index_offset :][:size]
        edges = (page[0].add_index, page[-1].add_index) if page else (0, 0)
        return lnrpc_pb2.ListInvoiceResponse(invoices=page, first_index_offset=edges[0], last_index_offset=edges[1])

    async def GetInfo(self, _: Any) -> Any:  # noqa: N802
        chain = lnrpc_pb2.Chain(chain=self.chain, network=self.network)
        return lnrpc_pb2.GetInfoResponse(identity_pubkey=self.pubkey, synced_to_chain=True, chains=[chain])

    async def GetState(self, _: Any) -> Any:  # noqa: N802
        return staterpc_pb2.GetStateResponse(state=staterpc_pb2.SERVER_ACTIVE)

    async def SubscribeInvoices(self, asked: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        self.calls.append("SubscribeInvoices")
        self.subscriptions.append(asked.settle_index)
        queue: asyncio.Queue[Any] = asyncio.Queue()
        settled = sorted((i for i in self.invoices if i.settle_index), key=lambda invoice: invoice.settle_index)
        for invoice in settled if asked.settle_index else []:
            if invoice.settle_index > asked.settle_index:
                queue.put_nowait(INVOICE.FromString(invoice.SerializeToString()))
        self._live.append(queue)
        self._streaming.set()
        try:
            while (told := await queue.get()) is not None:
                if isinstance(told, RefusalError):
                    await context.abort(told.code, str(told))
                yield told
        finally:
            self._live.remove(queue)
            self._streaming.clear()

    async def answer(self, name: str, asked: Any, context: Any) -> Any:
        self.calls.append(name)
        self.macaroons += [value for key, value in context.invocation_metadata() if key == "macaroon"]
        handler: Handler = self.faults.get(name) or getattr(self, name)
        try:
            return await handler(asked)
        except RefusalError as refusal:
            await context.abort(refusal.code, str(refusal))

    def serve_on(self, server: grpc.aio.Server) -> None:
        for module in (lnrpc_pb2, staterpc_pb2, invoicesrpc_pb2):
            for service in module.DESCRIPTOR.services_by_name.values():
                handlers = {
                    name: _handler(self, name, getattr(module, method.input_type.name))
                    for name, method in service.methods_by_name.items()
                    if hasattr(self, name)
                }
                server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))


def _handler(node: TinyNode, name: str, question: Any) -> Any:
    def to_bytes(answer: Any) -> bytes:
        return answer if isinstance(answer, bytes) else bytes(answer.SerializeToString())

    if name == "SubscribeInvoices":
        return grpc.unary_stream_rpc_method_handler(node.SubscribeInvoices, question.FromString, to_bytes)
    return grpc.unary_unary_rpc_method_handler(partial(node.answer, name), question.FromString, to_bytes)


@pytest.fixture
def node() -> TinyNode:
    return TinyNode()


@pytest.fixture
async def lnd(node: TinyNode) -> AsyncIterator[LndProvider]:
    server = grpc.aio.server()
    node.serve_on(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    provider = LndProvider(grpc.aio.insecure_channel(f"127.0.0.1:{port}"), network="regtest", timeout_s=2)
    yield provider
    await provider.aclose()
    await server.stop(grace=None)
