"""A node's gRPC server: TLS, macaroons, faults, and the services behind them."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any, Final, TypeAlias

import grpc
import grpc.aio
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from quittance.providers.lnd._proto import invoicesrpc_pb2, lnrpc_pb2, routerrpc_pb2, staterpc_pb2
from quittance.sandbox.lnd import macaroons, permissions
from quittance.sandbox.lnd.network import Network
from quittance.sandbox.lnd.node import SandboxNode
from quittance.sandbox.lnd.refusals import Refused
from quittance.sandbox.lnd.services import STREAMS, UNARY, At

_LOCKED: Final = "wallet locked, unlock it to enable full RPC access"
_STARTING: Final = "the RPC server is in the process of starting up, but not yet ready to accept calls"
_STATE: Final = "/lnrpc.State/GetState"
_MESSAGE_BYTES_MAX: Final = 200 * 2**20
_MACAROONS_KNOWN_MAX: Final = 1_024
_BIND_TRIES: Final = 100
_BIND_PAUSE_S: Final = 0.02
_OPTIONS: Final = (
    ("grpc.so_reuseport", 0),  # two servers must never share a port without a word
    ("grpc.max_receive_message_length", _MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", _MESSAGE_BYTES_MAX),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),  # as LND: quicker pings end in too_many_pings
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
)
_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"  # generic only to a type checker


class NodeServer:
    """Serves one node on loopback; it can stop and come back on the same port."""

    def __init__(self, *, network: Network, node: SandboxNode, certificate: bytes, key: bytes) -> None:
        self._at = At(network, node)
        self._faults = network.faults
        self._faulty = node.earns
        self._rail = network.chain.rail
        self._credentials = grpc.ssl_server_credentials([(key, certificate)])
        self._granted: dict[str, frozenset[macaroons.Permission]] = {}
        self._server: grpc.aio.Server | None = None
        self.port = 0

    async def start(self, port: int = 0) -> None:
        """Listen on ``port``, or on any free one when it is 0 or taken."""
        try:
            await self._listen(port)
        except RuntimeError:
            await self._listen(0)

    async def stop(self) -> None:
        """End every call and stop listening."""
        if self._server is not None:
            await self._server.stop(grace=None)
            self._server = None

    async def restart(self, *, after_s: float) -> None:
        """Stop, wait, and come back on the same port."""
        await self.stop()
        await asyncio.sleep(after_s)
        for _ in range(_BIND_TRIES):
            try:
                await self._listen(self.port)
            except RuntimeError:
                await asyncio.sleep(_BIND_PAUSE_S)
            else:
                return
        raise RuntimeError(f"port {self.port} stayed taken")

    async def _listen(self, port: int) -> None:
        server = grpc.aio.server(options=_OPTIONS)
        server.add_generic_rpc_handlers(tuple(self._handlers()))
        self.port = server.add_secure_port(f"127.0.0.1:{port}", self._credentials)
        await server.start()
        self._server = server

    def _handlers(self) -> "Iterator[grpc.GenericRpcHandler[Any, Any]]":
        for module in (lnrpc_pb2, staterpc_pb2, invoicesrpc_pb2, routerrpc_pb2):
            for service in module.DESCRIPTOR.services_by_name.values():
                methods = {method.name: self._handler(method) for method in service.methods}
                yield grpc.method_handlers_generic_handler(service.full_name, methods)

    def _handler(self, method: MethodDescriptor) -> "grpc.RpcMethodHandler[Any, Any]":
        path = f"/{method.containing_service.full_name}/{method.name}"
        parse = message_factory.GetMessageClass(method.input_type).FromString
        serialize = message_factory.GetMessageClass(method.output_type).SerializeToString
        if path in STREAMS:
            return grpc.unary_stream_rpc_method_handler(self._streaming(path), parse, serialize)
        return grpc.unary_unary_rpc_method_handler(self._answering(path), parse, serialize)

    def _answering(self, path: str) -> Any:
        behaviour = UNARY[path]
        name = path.rpartition("/")[2]

        async def answer(request: Message, context: _Context) -> Message:
            try:
                await self._admit(path, name, context)
                response = behaviour(self._at, request)
                self._lose_answer(name)
            except Refused as refusal:
                await context.abort(refusal.code, refusal.text)
            return response

        return answer

    def _streaming(self, path: str) -> Any:
        behaviour = STREAMS[path]
        name = path.rpartition("/")[2]

        async def stream(request: Message, context: _Context) -> AsyncIterator[Message]:
            try:
                await self._admit(path, name, context)
                async with aclosing(behaviour(self._at, request)) as messages:
                    async for message in messages:
                        self._lose_answer(name)
                        yield message
            except Refused as refusal:
                await context.abort(refusal.code, refusal.text)

        return stream

    async def _admit(self, path: str, name: str, context: _Context) -> None:
        """Let a call in when its macaroon opens the method and no fault stands in its way.

        Raises:
            Refused: in LND's words.
        """
        if self._faulty and path != _STATE:
            if self._faults.take(self._rail, "unavailable", method=name):
                raise Refused("failed to connect to all addresses", grpc.StatusCode.UNAVAILABLE)
            if self._faults.take(self._rail, "locked", method=name):
                raise Refused(_LOCKED)
            if self._faults.take(self._rail, "starting", method=name):
                raise Refused(_STARTING)
        if permissions.NEEDED[path] is not None and not permissions.allows(self._permissions(context), path):
            raise Refused("permission denied")
        if self._faulty:
            delay = self._faults.take(self._rail, "delay", method=name)
            if delay is not None:
                await asyncio.sleep(delay.seconds)

    def _lose_answer(self, name: str) -> None:
        if self._faulty and self._faults.take(self._rail, "lost_answer", method=name):
            raise Refused("Socket closed", grpc.StatusCode.UNAVAILABLE)

    def _permissions(self, context: _Context) -> frozenset[macaroons.Permission]:
        given = [value for key, value in context.invocation_metadata() or () if key == "macaroon"]
        if len(given) != 1:
            raise Refused(f"expected 1 macaroon, got {len(given)}")
        text = str(given[0])
        if text not in self._granted:
            granted, lasting = self._verified(text)
            if not lasting or len(self._granted) >= _MACAROONS_KNOWN_MAX:
                return granted
            self._granted[text] = granted
        return self._granted[text]

    def _verified(self, text: str) -> tuple[frozenset[macaroons.Permission], bool]:
        try:
            raw = bytes.fromhex(text)
        except ValueError as error:
            odd = len(text) % 2 and all(digit in "0123456789abcdefABCDEF" for digit in text)
            raise Refused("encoding/hex: odd length hex string" if odd else "encoding/hex: invalid byte") from error
        now = self._at.network.clock.now()
        try:
            granted = macaroons.verify(raw, root_key=self._at.node.record.root_key, now=now)
        except macaroons.MacaroonRefused as refusal:
            raise Refused(str(refusal)) from refusal
        return granted, macaroons.is_lasting(raw)
