"""The sandbox's Core Lightning node as it is found, opened and told to fail."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from quittance.sandbox.cln import certificates, kinds, runes
from quittance.sandbox.cln.server import ClnServer
from quittance.sandbox.coordinates import ClnCoordinates
from quittance.sandbox.faults import ArmedFault
from quittance.sandbox.files import write_private
from quittance.sandbox.lnd.network import Network

_RUNES: Final[Mapping[str, tuple[str, ...]]] = {
    "admin.rune": (),
    "receive.rune": ("getinfo", "invoice", "listinvoices", "delinvoice", "waitanyinvoice"),
    "spend.rune": ("xpay", "listpays"),
}


class ClnRail:
    """One node of a network, its certificates and runes in ``home``, and its server."""

    def __init__(self, network: Network, *, home: Path) -> None:
        assert network.chain.cln is not None, "a chain with such a node"
        node = network.nodes[network.chain.cln]
        certificates.load_or_make(home, now=datetime.now(UTC))
        for number, (name, methods) in enumerate(_RUNES.items()):
            if not (home / name).exists():
                rune = runes.create(node.record.root_key, number=number, methods=methods)
                write_private(home / name, rune.encode())
        self._home = home
        self._server = ClnServer(network=network, node=node, home=home)
        network.faults.offer(*kinds.KINDS, methods=kinds.METHODS)
        network.faults.perform(
            kinds.RAIL, {"dropped_calls": self._drop, "restart": self._restart, "index_reset": self._reset}
        )

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def coordinates(self) -> ClnCoordinates:
        return ClnCoordinates(
            url=f"https://127.0.0.1:{self.port}",
            ca_path=self._home / "ca.pem",
            rune_path=self._home / "receive.rune",
            spend_rune_path=self._home / "spend.rune",
        )

    async def start(self, port: int) -> None:
        """Listen on ``port``, or on any free one when it is 0 or taken."""
        await self._server.start(port)

    async def stop(self) -> None:
        """End every call and stop listening."""
        await self._server.stop()

    async def _drop(self, _: ArmedFault) -> None:
        self._server.drop_calls()

    async def _restart(self, fault: ArmedFault) -> None:
        await self._server.restart(after_s=fault.seconds)

    async def _reset(self, fault: ArmedFault) -> None:
        await self._server.reset(after_s=fault.seconds)
