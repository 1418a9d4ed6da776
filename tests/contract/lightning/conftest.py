"""Rails that pay, each with another node to pay and a way to make trouble. A new one joins ``RAILS``."""

import os
from collections.abc import AsyncIterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol

import httpx
import pytest
from pydantic import SecretStr
from tests.contract.conftest import Connect, NodeClient

from quittance.providers.base import SendingProvider
from quittance.providers.cln.connection import ClnConnection, open_client
from quittance.providers.cln.payer import ClnPayer
from quittance.providers.lnd._proto import lnrpc_pb2
from quittance.providers.lnd.channel import LndConnection, open_channel
from quittance.providers.lnd.payer import LndPayer
from quittance.sandbox.lnd.paying import route_fee_msat
from quittance.sandbox.rails import SandboxRails

EXPIRES_S: Final = 3_600
WAIT_S: Final = 0.5  # how long the payers of these tests wait for the end of a payment
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


class PayingRail(Protocol):
    """A payer that starts with nothing, and what surrounds it."""

    @property
    def payer(self) -> SendingProvider: ...

    @property
    def payee(self) -> str:
        """The public key of the node that takes payments without an invoice."""
        ...

    @property
    def settles_own(self) -> bool:
        """Whether the payer's node settles its own invoices, without any way that leads back to it."""
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


class SandboxRail:
    """A node of the sandbox that pays, and its surroundings."""

    own = "merchant"
    settles_own = False
    payer: LndPayer | ClnPayer

    def __init__(self, rails: SandboxRails, *, payee: NodeClient) -> None:
        self._rails = rails
        self._payee = payee
        self._start_msat = rails.nodes[PAYEE].balance_msat

    @property
    def payee(self) -> str:
        return self._rails.nodes[PAYEE].pubkey

    async def earn(self, amount_msat: int) -> None:
        await self._rails.pay(await self.invoice(amount_msat=amount_msat, own=True))

    async def invoice(self, *, amount_msat: int | None = 100_000, own: bool = False) -> str:
        return await (self._own_invoice(amount_msat) if own else added(self._payee, amount_msat))

    async def _own_invoice(self, amount_msat: int | None) -> str:
        raise NotImplementedError

    def let_time_pass(self, seconds: int) -> None:
        self._rails.clock.advance(seconds)

    def balance_msat(self) -> int:
        return self._rails.nodes[self.own].balance_msat

    def received_msat(self) -> int:
        return self._rails.nodes[PAYEE].balance_msat - self._start_msat

    def fee_msat(self, amount_msat: int) -> int:
        return route_fee_msat(amount_msat)

    def is_settled(self, reference: str, *, own: bool = False) -> bool:
        invoice = self._rails.nodes[self.own if own else PAYEE].invoices.get(bytes.fromhex(reference))
        return invoice is not None and invoice.state == lnrpc_pb2.Invoice.SETTLED


class LndRail(SandboxRail):
    """The merchant's node, with the macaroon that may spend."""

    def __init__(self, rails: SandboxRails, *, payee: NodeClient, own: NodeClient) -> None:
        super().__init__(rails, payee=payee)
        where = rails.lnd
        assert where.spend_macaroon_path is not None
        connection = LndConnection(
            address=where.address,
            tls_cert=where.tls_cert_path.read_bytes(),
            macaroon=SecretStr(where.spend_macaroon_path.read_bytes().hex()),
        )
        self.payer = LndPayer(open_channel(connection), network="regtest", timeout_s=2, wait_s=WAIT_S)
        self._own_client = own

    async def _own_invoice(self, amount_msat: int | None) -> str:
        return await added(self._own_client, amount_msat)

    async def trouble(self, kind: Trouble) -> None:
        method = "SendPaymentV2" if kind in {Trouble.DOWN, Trouble.LOST_ANSWER} else None
        await self._rails.faults.arm("lnd", _FAULTS[kind], method=method)


class ClnRail(SandboxRail):
    """The merchant's Core Lightning node, with the rune that may spend; its payments meet the network's faults."""

    own = "cln"
    settles_own = True

    def __init__(self, rails: SandboxRails, *, payee: NodeClient) -> None:
        super().__init__(rails, payee=payee)
        where = rails.cln
        assert where.spend_rune_path is not None
        self._till = self._client(where.rune_path)
        self.payer = ClnPayer(
            self._client(where.spend_rune_path), network="regtest", timeout_s=2, wait_s=WAIT_S, tries_s=0
        )

    def _client(self, rune_path: Path) -> httpx.AsyncClient:
        where = self._rails.cln
        assert where.ca_path is not None
        rune = SecretStr(rune_path.read_text())
        return open_client(ClnConnection(url=where.url, ca=where.ca_path.read_bytes(), rune=rune))

    async def aclose(self) -> None:
        await self._till.aclose()

    async def _own_invoice(self, amount_msat: int | None) -> str:
        amount = "any" if amount_msat is None else amount_msat
        asked = {"amount_msat": amount, "label": os.urandom(8).hex(), "description": "", "expiry": EXPIRES_S}
        return str((await self._till.post("/v1/invoice", json=asked)).json()["bolt11"])

    async def trouble(self, kind: Trouble) -> None:
        if kind is Trouble.CUT:
            await self._rails.faults.arm("cln", "dropped_calls")
        elif kind in {Trouble.DOWN, Trouble.LOST_ANSWER}:
            await self._rails.faults.arm("cln", _FAULTS[kind], method="xpay")
        else:
            await self._rails.faults.arm("lnd", _FAULTS[kind])


async def added(client: NodeClient, amount_msat: int | None) -> str:
    order = lnrpc_pb2.Invoice(value_msat=amount_msat or 0, expiry=EXPIRES_S)
    return (await client.lightning.AddInvoice(order, metadata=client.auth, wait_for_ready=True)).payment_request


RAILS: Final = ("lnd", "cln")


@pytest.fixture(params=RAILS)
async def rail(request: pytest.FixtureRequest, rails: SandboxRails, connect: Connect) -> AsyncIterator[PayingRail]:
    if request.param == "lnd":
        paying: LndRail | ClnRail = LndRail(rails, payee=connect(PAYEE), own=connect(LndRail.own))
    else:
        paying = ClnRail(rails, payee=connect(PAYEE))
    yield paying
    await paying.payer.aclose()
    if isinstance(paying, ClnRail):
        await paying.aclose()


@pytest.fixture
async def gifting(rails: SandboxRails, connect: Connect) -> AsyncIterator[PayingRail]:
    """Yield a rail that pays without an invoice, too."""
    paying = LndRail(rails, payee=connect(PAYEE), own=connect(LndRail.own))
    yield paying
    await paying.payer.aclose()
