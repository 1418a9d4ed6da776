"""What contract tests share: running sandbox rails, and plain clients of their nodes."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import grpc
import pytest
from tests.contract.lightning.tills import any_till, till  # noqa: F401 - fixtures
from tests.contract.outgoing_receivers import inner, outer, receiver  # noqa: F401 - fixtures

from quittance.providers.lnd._proto.invoicesrpc_pb2_grpc import InvoicesStub
from quittance.providers.lnd._proto.lnrpc_pb2_grpc import LightningStub
from quittance.providers.lnd._proto.routerrpc_pb2_grpc import RouterStub
from quittance.providers.lnd._proto.staterpc_pb2_grpc import StateStub
from quittance.sandbox.clock import SandboxClock
from quittance.sandbox.rails import LndCoordinates, SandboxRails


class NodeClient:
    """The stubs of one node, with one macaroon."""

    def __init__(self, coordinates: LndCoordinates) -> None:
        tls = grpc.ssl_channel_credentials(coordinates.tls_cert_path.read_bytes())
        backoff = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.min_reconnect_backoff_ms", 50)]
        self.channel = grpc.aio.secure_channel(coordinates.address, tls, options=backoff)
        self.auth = (("macaroon", coordinates.macaroon_path.read_bytes().hex()),)
        self.lightning = LightningStub(self.channel)
        self.invoices = InvoicesStub(self.channel)
        self.router = RouterStub(self.channel)
        self.state = StateStub(self.channel)


Connect = Callable[..., NodeClient]


@pytest.fixture
async def rails(tmp_path: Path) -> AsyncIterator[SandboxRails]:
    directory = tmp_path / "sandbox"
    running = await SandboxRails.start(directory=directory, clock=SandboxClock(directory / "clock.json"))
    yield running
    await running.stop()


@pytest.fixture
async def connect(rails: SandboxRails) -> AsyncIterator[Connect]:
    clients: list[NodeClient] = []

    def open_client(node: str = "merchant", macaroon: str = "admin.macaroon") -> NodeClient:
        clients.append(NodeClient(rails.node_coordinates(node, macaroon)))
        return clients[-1]

    yield open_client
    for client in clients:
        await client.channel.close(None)


@pytest.fixture
def merchant(connect: Connect) -> NodeClient:
    return connect()


@pytest.fixture
def alice(connect: Connect) -> NodeClient:
    return connect("alice")
