"""Rails that pay, each with another node to pay and a way to make trouble. A new one joins ``RAILS``."""

from collections.abc import AsyncIterator, Mapping
from enum import StrEnum
from typing import Final, Protocol

import pytest
from pydantic import SecretStr
from tests.contract.conftest import Connect, NodeClient

from quittance.providers.base import SendingProvider
from quittance.providers.lnd._proto import lnrpc_pb2
from quittance.providers.lnd.channel import LndConnection, open_channel
from quittance.providers.lnd.payer import LndPayer
from quittance.sandbox.lnd.node import SandboxNode
from quittance.sandbox.lnd.paying import route_fee_msat
from quittance.sandbox.rails import SandboxRails

EXPIRES_S: Final = 3_600
WAIT_S: Final = 0.5  # how long the payers of these tests wait for the end of a payment
OWN: Final = "merchant"
PAYEE: Final = "bob"


class Trouble(StrEnum):
    """What can go wrong; each happens to the next payment, or now."""

    DOWN = "DOWN"
    LOST_ANSWER = "LOST_ANSWER"
    PENDING = "PENDING"
    ARRIVE = "ARRIVE"
    GIVE_UP = "GIVE_UP"
    CUT = "CUT"
    NO_ROUTE = "NO_ROUTE"
    PAYEE_REFUSES = "PAYEE_REFUSES"
    NO_KEYSEND = "NO_KEYSEND"


class PayingRail(Protocol):
    """A payer that starts with nothing, and what surrounds it."""

    @property
    def payer(self) -> SendingProvider: ...

    @property
    def payee(self) -> str:
        """The public key of the node that takes payments without an invoice."""
        ...

    async def earn(self, amount_msat: int) -> None:
        """Give the payer's node money, as a customer would."""
        ...

    async def invoice(self, *, amount_msat: int | None = 100_000, own: bool = False) -> str:
        """Make an invoice at the payee's node, or at the payer's own; it lives for EXPIRES_S."""
        ...

    def let_time_pass(self, seconds: int) -> None: ...

    async def trouble(self, kind: Trouble) -> None: ...

    def balance_msat(self) -> int:
        """What the payer's node can spend."""
        ...

    def received_msat(self) -> int:
        """What the payee's node got so far."""
        ...

    def fee_msat(self, amount_msat: int) -> int:
        """What the only way to the payee costs."""
        ...

    def is_settled(self, reference: str, *, own: bool = False) -> bool: ...


class LndRail:
    """The merchant's node of the sandbox, with the macaroon that may spend."""

    _FAULTS: Final[Mapping[Trouble, str]] = {
        Trouble.DOWN: "unavailable",
        Trouble.LOST_ANSWER: "lost_answer",
        Trouble.PENDING: "pending_forever",
        Trouble.ARRIVE: "release_pending",
        Trouble.GIVE_UP: "fail_pending",
        Trouble.CUT: "dropped_payments",
        Trouble.NO_ROUTE: "no_route",
        Trouble.PAYEE_REFUSES: "payee_refuses",
        Trouble.NO_KEYSEND: "no_keysend",
    }

    def __init__(self, rails: SandboxRails, *, payee: NodeClient, own: NodeClient) -> None:
        where = rails.lnd
        assert where.spend_macaroon_path is not None
        connection = LndConnection(
            address=where.address,
            tls_cert=where.tls_cert_path.read_bytes(),
            macaroon=SecretStr(where.spend_macaroon_path.read_bytes().hex()),
        )
        self.payer = LndPayer(open_channel(connection), network="regtest", timeout_s=2, wait_s=WAIT_S)
        self._rails = rails
        self._clients = {False: payee, True: own}
        self._start_msat = rails.nodes[PAYEE].balance_msat

    @property
    def payee(self) -> str:
        return self._rails.nodes[PAYEE].pubkey

    async def earn(self, amount_msat: int) -> None:
        await self._rails.pay(await self.invoice(amount_msat=amount_msat, own=True))

    async def invoice(self, *, amount_msat: int | None = 100_000, own: bool = False) -> str:
        client = self._clients[own]
        order = lnrpc_pb2.Invoice(value_msat=amount_msat or 0, expiry=EXPIRES_S)
        return (await client.lightning.AddInvoice(order, metadata=client.auth)).payment_request

    def let_time_pass(self, seconds: int) -> None:
        self._rails.clock.advance(seconds)

    async def trouble(self, kind: Trouble) -> None:
        method = "SendPaymentV2" if kind in {Trouble.DOWN, Trouble.LOST_ANSWER} else None
        await self._rails.faults.arm("lnd", self._FAULTS[kind], method=method)

    def balance_msat(self) -> int:
        return self._node(own=True).balance_msat

    def received_msat(self) -> int:
        return self._node(own=False).balance_msat - self._start_msat

    def fee_msat(self, amount_msat: int) -> int:
        return route_fee_msat(amount_msat)

    def is_settled(self, reference: str, *, own: bool = False) -> bool:
        invoice = self._node(own=own).invoices.get(bytes.fromhex(reference))
        return invoice is not None and invoice.state == lnrpc_pb2.Invoice.SETTLED

    def _node(self, *, own: bool) -> SandboxNode:
        return self._rails.nodes[OWN if own else PAYEE]


RAILS: Final = ("lnd",)


@pytest.fixture(params=RAILS)
async def rail(request: pytest.FixtureRequest, rails: SandboxRails, connect: Connect) -> AsyncIterator[PayingRail]:
    assert request.param == "lnd"
    paying = LndRail(rails, payee=connect(PAYEE), own=connect(OWN))
    yield paying
    await paying.payer.aclose()
