"""A node's clnrest: https, runes, faults, and the calls behind them."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from quittance.sandbox.cln import runes
from quittance.sandbox.cln.kinds import RAIL
from quittance.sandbox.cln.parameters import Parameters, check_names, text
from quittance.sandbox.cln.paying import Paying
from quittance.sandbox.cln.receiving import Receiving
from quittance.sandbox.cln.refusals import NO_SUCH_CALL, PLUGIN, Refused
from quittance.sandbox.http import CutOff, LoopbackServer
from quittance.sandbox.lnd import refusals as lnd
from quittance.sandbox.lnd.network import Network
from quittance.sandbox.lnd.node import SandboxNode
from quittance.sandbox.lnd.records import block_height

VERSION: Final = "v26.06.6"
_BODY_BYTES_MAX: Final = 65_536
_CREATED: Final = 201
_KNOWN: Final[Mapping[str, frozenset[str]]] = {
    "getinfo": frozenset(),
    "invoice": frozenset({"amount_msat", "label", "description", "expiry", "preimage", "cltv", "deschashonly"}),
    "listinvoices": frozenset({"label", "payment_hash", "index", "start", "limit"}),
    "delinvoice": frozenset({"label", "status"}),
    "waitanyinvoice": frozenset({"lastpay_index", "timeout"}),
    "xpay": frozenset({"invstring", "amount_msat", "maxfee", "retry_for", "label"}),
    "listpays": frozenset({"payment_hash"}),
    "signmessage": frozenset({"message"}),
}


class ClnServer:
    """Serves one node on loopback; it can stop and come back on the same port."""

    def __init__(self, *, network: Network, node: SandboxNode, home: Path) -> None:
        self._network = network
        self._node = node
        self._home = home
        self._faults = network.faults
        self._receiving = Receiving(network, node)
        self._paying = Paying(network, node)
        self._stopping = asyncio.Event()
        self._server: LoopbackServer | None = None
        self.port = 0
        self._calls: Mapping[str, Callable[[Parameters], Any]] = {
            "getinfo": self._getinfo,
            "invoice": self._receiving.invoice,
            "listinvoices": self._receiving.listinvoices,
            "delinvoice": self._receiving.delinvoice,
            "waitanyinvoice": self._receiving.waitanyinvoice,
            "xpay": self._paying.xpay,
            "listpays": self._paying.listpays,
            "signmessage": self._signmessage,
        }

    async def start(self, port: int = 0) -> None:
        """Listen on ``port``, or on any free one when it is 0 or taken."""
        app = Starlette(routes=[Route("/v1/{method}", self._answer, methods=["POST"])])
        self._stopping = asyncio.Event()
        self._server = LoopbackServer(app, certificate=self._home / "server.pem", key=self._home / "server-key.pem")
        await self._server.start(port)
        self.port = self._server.port

    async def stop(self) -> None:
        """End every call, also those that wait, and stop listening."""
        self._stopping.set()
        if self._server is not None:
            await self._server.stop()
            self._server = None

    async def restart(self, *, after_s: float) -> None:
        """Stop, wait, and come back on the same port."""
        await self.stop()
        await asyncio.sleep(after_s)
        await self.start(self.port)

    def drop_calls(self) -> None:
        """Cut off every call that waits."""
        self._stopping.set()
        self._stopping = asyncio.Event()

    async def reset(self, *, after_s: float) -> None:
        """Come back as from an older database: what was paid is forgotten, and payments count from 1."""
        await self.stop()
        self._receiving.labels.forget_paid()
        self._network.restart_settle_indexes(self._node)
        await asyncio.sleep(after_s)
        await self.start(self.port)

    async def _answer(self, request: Request) -> Response:
        method = request.path_params["method"]
        try:
            given = await _parameters(request)
            await self._admit(request.headers.get("rune"), method)
            answer = await self._acted(method, given)
        except Refused as refusal:
            body = {"code": refusal.code, "message": refusal.text, "data": None}
            return JSONResponse(body, status_code=refusal.status)
        if answer is None or self._faults.take(RAIL, "lost_answer", method=method):
            return CutOff(status_code=_CREATED)
        return JSONResponse(answer, status_code=_CREATED)

    async def _admit(self, rune: str | None, method: str) -> None:
        if self._faults.take(RAIL, "unavailable", method=method):
            raise Refused(None, "Connection refused (os error 111)")
        runes.check(rune, secret=self._node.record.root_key, method=method)
        if method not in self._calls:
            raise Refused(NO_SUCH_CALL, f"Unknown command '{method}'", status=404)
        delay = self._faults.take(RAIL, "delay", method=method)
        if delay is not None:
            await asyncio.sleep(delay.seconds)

    async def _acted(self, method: str, given: Parameters) -> Mapping[str, Any] | None:
        """Return what a call answers; None when the server stops while it waits."""
        check_names(given, known=_KNOWN[method])
        try:
            result = self._calls[method](given)
            return await self._unless_stopped(result) if isinstance(result, Awaitable) else result
        except lnd.Refused as refusal:
            raise Refused(PLUGIN, refusal.text) from refusal

    async def _unless_stopped(self, result: Awaitable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
        working, stopping = asyncio.ensure_future(result), asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return working.result() if working.done() else None
        finally:
            for task in (working, stopping):
                task.cancel()
                with suppress(asyncio.CancelledError, Refused):
                    await task

    def _getinfo(self, _: Parameters) -> Mapping[str, Any]:
        others = len(self._network.nodes) - 1
        facts: dict[str, Any] = {
            "id": self._node.pubkey,
            "alias": self._node.name,
            "color": "02bf81",
            "num_peers": others,
            "num_pending_channels": 0,
            "num_active_channels": others,
            "num_inactive_channels": 0,
            "address": [],
            "version": VERSION,
            "blockheight": block_height(self._network.now_s()),
            "network": "regtest",
            "fees_collected_msat": 0,
            "lightning-dir": str(self._home),
        }
        if self._faults.take(RAIL, "syncing", method="getinfo"):
            facts["warning_lightningd_sync"] = "Still loading latest blocks from bitcoind."
        return facts

    def _signmessage(self, given: Parameters) -> Mapping[str, Any]:
        return {"zbase": self._node.key.sign_message(text(given, "message").encode())}


async def _parameters(request: Request) -> Parameters:
    content = bytearray()
    try:
        async for chunk in request.stream():
            content += chunk
            if len(content) > _BODY_BYTES_MAX:
                raise Refused(None, "Could not read request body: too long")
        given = json.loads(content or b"{}")
    except (ClientDisconnect, RecursionError, ValueError) as error:
        raise Refused(None, f"Could not parse JSON request: {error}") from error
    if not isinstance(given, dict):
        raise Refused(None, "Could not parse JSON request: invalid type")
    return {name: value for name, value in given.items() if value is not None}
