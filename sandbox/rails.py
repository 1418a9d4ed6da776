"""The sandbox as a whole: nodes of two kinds on two chains, and what stands beside them; started, failing, stopped."""

import asyncio
import fcntl
import json
import os
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, Final

from quittance.providers.lnd._proto import lnrpc_pb2 as ln
from quittance.sandbox import payees, prices
from quittance.sandbox.cln import kinds as cln_kinds
from quittance.sandbox.cln.rail import ClnRail
from quittance.sandbox.clock import SandboxClock
from quittance.sandbox.coordinates import ClnCoordinates, LndCoordinates, SandboxCoordinates, StrikeCoordinates
from quittance.sandbox.faults import ArmedFault, Faults
from quittance.sandbox.files import write_private
from quittance.sandbox.http import LoopbackServer
from quittance.sandbox.lnd import certificates, kinds, macaroons, paying, permissions, sending
from quittance.sandbox.lnd.chains import BITCOIN, LITECOIN
from quittance.sandbox.lnd.invoices import HASH_BYTES, InvoiceOrder
from quittance.sandbox.lnd.network import Network
from quittance.sandbox.lnd.node import SandboxNode
from quittance.sandbox.lnd.refusals import Refused
from quittance.sandbox.lnd.server import NodeServer
from quittance.sandbox.strike import kinds as strike_kinds
from quittance.sandbox.strike.rail import StrikeRail

__all__ = ["LndCoordinates", "SandboxBusy", "SandboxCoordinates", "SandboxNode", "SandboxRails", "SandboxRefused"]

_SWEEP_S: Final = 0.5
_WAIT_S: Final = 60.0
_FILES: Final = {BITCOIN: "lnd.sqlite3", LITECOIN: "lnd-ltc.sqlite3"}
_MACAROONS: Final = {
    "admin.macaroon": permissions.ADMIN,
    "invoice.macaroon": permissions.INVOICE,
    "receive.macaroon": permissions.RECEIVE,
    "spend.macaroon": permissions.SPEND,
}


class SandboxBusy(Exception):
    """Another process runs the rails of this directory."""


class SandboxRefused(Exception):
    """The payment was not made; ``reason`` says why in LND's words. ``pending``: it is in flight, not refused."""

    def __init__(self, reason: str, *, pending: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.pending = pending


class SandboxRails:
    """Running rails. One process runs them; others find them by :class:`SandboxCoordinates`."""

    def __init__(self, *, directory: Path, clock: SandboxClock, faults: Faults, networks: Sequence[Network]) -> None:
        self.clock = clock
        self.faults = faults
        self.nodes: Mapping[str, SandboxNode] = {name: node for one in networks for name, node in one.nodes.items()}
        self._networks = networks
        self._directory = directory
        self._servers: dict[str, NodeServer] = {}
        self._cln: ClnRail | None = None
        self._strike: StrikeRail | None = None
        self._prices = LoopbackServer(prices.PriceSource(clock=clock, faults=faults).app())
        bitcoin = next(network for network in networks if network.chain is BITCOIN)
        self._payees = payees.PayeeServer(network=bitcoin, faults=faults)
        self._addresses = LoopbackServer(self._payees.app())
        self._stack = AsyncExitStack()

    @classmethod
    async def start(cls, *, directory: Path | None, clock: SandboxClock) -> "SandboxRails":
        """Start every rail on a free loopback port; without a directory nothing outlives the process.

        Raises:
            SandboxBusy: another process runs the rails of this directory.
        """
        async with AsyncExitStack() as stack:
            if directory is None:
                home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="quittance-sandbox-")))
            else:
                home = _made(directory)
            stack.enter_context(_locked(home / "rails.lock"))
            faults = Faults()
            networks: list[Network] = []
            for chain, file in _FILES.items():
                path = home / file if directory is not None else None
                networks.append(Network(chain=chain, path=path, clock=clock, faults=faults))
                stack.callback(networks[-1].close)
            rails = cls(directory=home, clock=clock, faults=faults, networks=networks)
            await rails._start(stack)
            rails._stack = stack.pop_all()
        return rails

    @classmethod
    async def try_start(cls, *, directory: Path, clock: SandboxClock) -> "SandboxRails | None":
        """Start every rail, or return ``None`` when another process runs them already."""
        try:
            return await cls.start(directory=directory, clock=clock)
        except SandboxBusy:
            return None

    @property
    def lnd(self) -> LndCoordinates:
        return self.node_coordinates(BITCOIN.merchant, "receive.macaroon")

    @property
    def lnd_ltc(self) -> LndCoordinates:
        return self.node_coordinates(LITECOIN.merchant, "receive.macaroon")

    @property
    def cln(self) -> ClnCoordinates:
        assert self._cln is not None, "rails that were started have it"
        return self._cln.coordinates

    @property
    def strike(self) -> StrikeCoordinates:
        assert self._strike is not None, "rails that were started have it"
        return self._strike.coordinates

    @property
    def prices_url(self) -> str:
        return f"http://127.0.0.1:{self._prices.port}{prices.ROOT}"

    @property
    def coordinates(self) -> SandboxCoordinates:
        return SandboxCoordinates(
            pid=os.getpid(),
            lnd=self.lnd,
            lnd_ltc=self.lnd_ltc,
            cln=self.cln,
            strike=self.strike,
            prices_url=self.prices_url,
        )

    def network_of(self, node: str) -> Network:
        """Return the nodes of one chain.

        Raises:
            KeyError: no such node.
        """
        chain = self.nodes[node].chain
        return next(network for network in self._networks if network.chain == chain)

    def node_coordinates(self, node: str, macaroon: str = "admin.macaroon") -> LndCoordinates:
        """Return how to reach one node with one of its macaroons: admin, invoice, receive or spend."""
        home = self._home_of(node)
        return LndCoordinates(
            address=f"127.0.0.1:{self._servers[node].port}",
            tls_cert_path=home / "tls.cert",
            macaroon_path=home / macaroon,
            spend_macaroon_path=home / "spend.macaroon",
        )

    async def pay(
        self,
        payment_request: str,
        *,
        node: str | None = None,
        amount_msat: int | None = None,
        wait_s: float = _WAIT_S,
    ) -> bytes:
        """Pay an invoice and return the preimage that proves it; unless said, the first payer of its chain pays.

        An amount for an invoice that names one is sent as it is: more is taken, less is refused by the payee.

        Raises:
            SandboxRefused: nothing was paid, or the payment is still in flight after ``wait_s``.
            KeyError: no such node.
        """
        network = self._network_that_pays(payment_request) if node is None else self.network_of(node)
        payer = network.nodes[node or network.chain.payers[0]]
        try:
            paying.check_network(paying.read_invoice(payment_request), network.chain)
            sent = sending.payment_of(payment_request, amount_msat=amount_msat)
            order = paying.order_from(sent, chain=network.chain, now_s=network.now_s())
            payment = paying.start(network, payer, order)
            final = await paying.outcome(payer, payment.payment_hash, wait_s=wait_s)
        except Refused as refusal:
            raise SandboxRefused(refusal.text) from refusal
        if final is None:
            raise SandboxRefused("the payment is in flight", pending=True)
        if final.status != ln.Payment.SUCCEEDED:
            raise SandboxRefused(sending.why_failed(network, order, final.failure_reason))
        return final.preimage

    def new_invoice(self, node: str, *, amount_msat: int | None, expiry_s: int = 3_600, memo: str = "") -> str:
        """Return a BOLT11 invoice of a node, to be paid by anybody; one without an amount leaves it to the payer.

        Raises:
            SandboxRefused: the node would not make it.
            KeyError: no such node.
        """
        preimage = os.urandom(HASH_BYTES)
        order = InvoiceOrder(
            memo=memo,
            value=0,
            value_msat=amount_msat or 0,
            description_hash=b"",
            expiry_s=expiry_s,
            cltv_expiry=0,
            private=False,
            payment_hash=sha256(preimage).digest(),
            preimage=preimage,
        )
        try:
            return self.network_of(node).add_invoice(self.nodes[node], order).payment_request
        except Refused as refusal:
            raise SandboxRefused(refusal.text) from refusal

    def sign_message(self, message: bytes, *, node: str) -> tuple[str, str]:
        """Return a node's signature over ``message`` in zbase32, and the node's public key in hex."""
        signer = self.nodes[node]
        return signer.key.sign_message(message), signer.pubkey

    def status(self) -> dict[str, object]:
        """Return what GET /sandbox says."""
        return {
            "rails": [
                *(network.chain.rail for network in self._networks),
                cln_kinds.RAIL,
                strike_kinds.RAIL,
                payees.RAIL,
                prices.RAIL,
            ],
            "nodes": [self._status_of(node) for node in self.nodes.values()],
            "clock": {"now": self.clock.now().isoformat(), "offsetSeconds": self.clock.offset_s},
            "faults": self.faults.describe(),
        }

    def _status_of(self, node: SandboxNode) -> dict[str, object]:
        """Return one node; where a Strike account is at it, its balances are the account's."""
        status: dict[str, object] = {
            "name": node.name,
            "currency": node.chain.currency,
            "pubkey": node.pubkey,
            "balanceMsat": node.balance_msat,
            "lightningAddress": self.address_of(node.name),
        }
        if self._strike is not None and node.name == node.chain.strike:
            status |= {"balanceMsat": self._strike.balance_msat, "balances": self._strike.balances}
        return status

    def strike_deliveries(self) -> list[dict[str, Any]]:
        """Return the newest webhooks of the Strike account, sent and to be sent."""
        return self._strike.deliveries() if self._strike is not None else []

    def address_of(self, node: str) -> str | None:
        """Return the Lightning Address of a node; the merchant's has none, the server answers for it."""
        return self._payees.address_of(node, port=self._addresses.port)

    async def stop(self) -> None:
        """Stop every rail; what was answered is kept for the next start."""
        await self._stack.aclose()

    async def _start(self, stack: AsyncExitStack) -> None:
        earlier = self._earlier_ports()
        self.faults.offer(*prices.KINDS, methods=prices.METHODS)
        self.faults.offer(*payees.KINDS, methods=payees.METHODS)
        stops: list[Callable[[], Awaitable[None]]] = []
        stack.push_async_callback(_all_at_once, stops)
        for network in self._networks:
            self._offer_faults(network)
            for node in network.nodes.values():
                server = self._server_of(network, node)
                await server.start(earlier.get(node.name, 0))
                stops.append(server.stop)
            stack.callback(self.clock.on_advance(network.sweep))
        for name, listener in self._listeners().items():
            await listener.start(earlier.get(name, 0))
            stops.append(listener.stop)
        sweeper = asyncio.create_task(self._sweep(), name="sandbox-sweep")
        stack.push_async_callback(_end, sweeper)
        ports = {name: server.port for name, server in self._servers.items()}
        ports |= {name: listener.port for name, listener in self._listeners().items()}
        ports[cln_kinds.RAIL] = self._cln.port if self._cln is not None else 0
        ports[strike_kinds.RAIL] = self._strike.port if self._strike is not None else 0
        write_private(self._directory / "ports.json", json.dumps(ports).encode())
        self.coordinates.save(self._directory)
        stack.callback(SandboxCoordinates.forget, self._directory)

    def _listeners(self) -> Mapping[str, LoopbackServer]:
        return {prices.RAIL: self._prices, payees.RAIL: self._addresses}

    def _server_of(self, network: Network, node: SandboxNode) -> NodeServer | ClnRail | StrikeRail:
        if node.name == network.chain.cln:
            self._cln = ClnRail(network, home=self._directory / "cln")
            return self._cln
        if node.name == network.chain.strike:
            self._strike = StrikeRail(network, home=self._directory / "strike")
            return self._strike
        return self._serve(network, node)

    def _serve(self, network: Network, node: SandboxNode) -> NodeServer:
        home = self._home_of(node.name)
        certificate, key = certificates.load_or_make(
            certificate_path=home / "tls.cert", key_path=home / "tls.key", now=datetime.now(UTC)
        )
        for name, granted in _MACAROONS.items():
            if not (home / name).exists():
                write_private(home / name, macaroons.bake(node.record.root_key, granted))
        server = NodeServer(network=network, node=node, certificate=certificate, key=key)
        self._servers[node.name] = server
        return server

    def _offer_faults(self, network: Network) -> None:
        rail, merchant = network.chain.rail, network.merchant

        async def release(_: ArmedFault) -> None:
            paying.release(network)

        async def fail(_: ArmedFault) -> None:
            paying.give_up(network)

        async def drop(_: ArmedFault) -> None:
            merchant.listeners.drop_all()

        async def drop_payments(_: ArmedFault) -> None:
            merchant.listeners.drop_payments()

        async def restart(fault: ArmedFault) -> None:
            await self._servers[merchant.name].restart(after_s=fault.seconds)

        async def reset(fault: ArmedFault) -> None:
            await self._servers[merchant.name].stop()
            network.restart_settle_indexes(merchant)
            await self._servers[merchant.name].restart(after_s=fault.seconds)

        self.faults.offer(*kinds.kinds_of(rail), methods=kinds.METHODS)
        actions = {"release_pending": release, "fail_pending": fail, "dropped_stream": drop, "restart": restart}
        self.faults.perform(rail, actions | {"dropped_payments": drop_payments, "index_reset": reset})

    def _earlier_ports(self) -> Mapping[str, int]:
        """Return the ports of the last run, so that a client that reconnects finds the rails again."""
        try:
            content = json.loads((self._directory / "ports.json").read_bytes())
        except (FileNotFoundError, ValueError):
            return {}
        return {str(name): int(port) for name, port in content.items()}

    async def _sweep(self) -> None:
        while True:
            for network in self._networks:
                network.sweep()
            await asyncio.sleep(_SWEEP_S)

    def _network_that_pays(self, payment_request: str) -> Network:
        """Return the network of an invoice; what is an invoice of none is left to the first to refuse."""
        try:
            prefix = paying.read_invoice(payment_request).prefix
        except Refused:
            return self._networks[0]
        return next((one for one in self._networks if one.chain.prefix == prefix), self._networks[0])

    def _home_of(self, node: str) -> Path:
        return self._directory / "lnd" / node


def _made(directory: Path) -> Path:
    home = directory.absolute()
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    return home


def _locked(path: Path) -> IO[str]:
    lock = path.open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise SandboxBusy(f"another process runs the rails in {path.parent}") from None
    return lock


async def _all_at_once(stops: Sequence[Callable[[], Awaitable[None]]]) -> None:
    """Stop servers together: each waits a moment for its connections."""
    await asyncio.gather(*(stop() for stop in stops))


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
