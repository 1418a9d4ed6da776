"""Rails that pay, each with another node to pay and a way to make trouble. A new one joins ``RAILS``.

A Strike account differs where it must: it pays whole satoshi alone, never its own invoices and never without one; says
at once how a payment stands instead of telling of it for a while; and does not say why one failed. What of the suite
that leaves out takes ``rail``, which is a node; the rest takes ``any_rail``.
"""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol
from uuid import uuid4

import httpx
import pytest
from pydantic import SecretStr
from tests.contract.conftest import Connect, NodeClient
from tests.contract.strike.scripted import Memory

from quittance.domain.ids import Preimage
from quittance.domain.money import BTC_SAT, Money, msat
from quittance.providers.base import InvoiceRequest, SendingProvider
from quittance.providers.cln.connection import ClnConnection, open_client
from quittance.providers.cln.payer import ClnPayer
from quittance.providers.lnd._proto import lnrpc_pb2
from quittance.providers.lnd.channel import LndConnection, open_channel
from quittance.providers.lnd.payer import LndPayer
from quittance.providers.strike.budget import Budget
from quittance.providers.strike.client import StrikeClient
from quittance.providers.strike.connection import StrikeConnection
from quittance.providers.strike.connection import open_client as open_strike
from quittance.providers.strike.exchange import Exchange
from quittance.providers.strike.payer import StrikePayer
from quittance.providers.strike.provider import StrikeProvider
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

    def money(self, value_msat: int) -> Money:
        """Return an amount as this rail counts it."""
        ...

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
    payer: LndPayer | ClnPayer | StrikePayer

    def __init__(self, rails: SandboxRails, *, payee: NodeClient) -> None:
        self._rails = rails
        self._payee = payee
        self._start_msat = rails.nodes[PAYEE].balance_msat

    def money(self, value_msat: int) -> Money:
        return msat(value_msat).rescaled_exactly(self.payer.asset)

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


class StrikeRail(SandboxRail):
    """The merchant's Strike account, with the key that may do everything."""

    own = "strike"

    def __init__(self, rails: SandboxRails, *, payee: NodeClient) -> None:
        super().__init__(rails, payee=payee)
        key = SecretStr(rails.strike.api_key_path.read_text())
        self._client = StrikeClient(
            open_strike(StrikeConnection(url=rails.strike.url, api_key=key)), budget=Budget(), timeout_s=2
        )
        self._till = StrikeProvider(self._client, network="regtest", now=rails.clock.now)
        self.payer = StrikePayer(self._client, network="regtest", memory=Memory(), now=rails.clock.now)

    async def empty(self) -> None:
        """Let the account start with nothing: sell what it holds."""
        left = Money(self.balance_msat() // 1_000, BTC_SAT)
        exchange, key = Exchange(self._client), str(uuid4())
        quote = await exchange.quote(sell="BTC", buy="USD", amount=left, key=key, fee_policy="INCLUSIVE")
        await exchange.execute(quote.id)

    async def _own_invoice(self, amount_msat: int | None) -> str:
        assert amount_msat is not None, "an invoice of Strike's names its amount"
        preimage = Preimage(os.urandom(32))
        order = InvoiceRequest(amount=msat(amount_msat), description="", expires_in_s=EXPIRES_S, preimage=preimage)
        made = (await self._till.create_invoice(order)).payment_request
        assert made is not None
        return made

    async def trouble(self, kind: Trouble) -> None:
        method = {Trouble.DOWN: "quote_lightning", Trouble.LOST_ANSWER: "execute_quote"}.get(kind)
        await self._rails.faults.arm("strike", _FAULTS[kind], method=method)

    def balance_msat(self) -> int:
        nodes = self._rails.status()["nodes"]
        assert isinstance(nodes, list)
        return int(next(node for node in nodes if node["name"] == self.own)["balanceMsat"])

    def fee_msat(self, amount_msat: int) -> int:
        """Return what the only way costs; a part of a satoshi counts as one."""
        return -(-route_fee_msat(amount_msat) // 1_000) * 1_000


async def added(client: NodeClient, amount_msat: int | None) -> str:
    order = lnrpc_pb2.Invoice(value_msat=amount_msat or 0, expiry=EXPIRES_S)
    return (await client.lightning.AddInvoice(order, metadata=client.auth, wait_for_ready=True)).payment_request


RAILS: Final = ("lnd", "cln")


@pytest.fixture(params=(*RAILS, "strike"))
async def any_rail(request: pytest.FixtureRequest, rails: SandboxRails, connect: Connect) -> AsyncIterator[PayingRail]:
    async with _opened(request.param, rails, connect) as paying:
        yield paying


@pytest.fixture(params=RAILS)
async def rail(request: pytest.FixtureRequest, rails: SandboxRails, connect: Connect) -> AsyncIterator[PayingRail]:
    async with _opened(request.param, rails, connect) as paying:
        yield paying


@asynccontextmanager
async def _opened(name: str, rails: SandboxRails, connect: Connect) -> AsyncIterator[PayingRail]:
    paying: LndRail | ClnRail | StrikeRail
    if name == "lnd":
        paying = LndRail(rails, payee=connect(PAYEE), own=connect(LndRail.own))
    elif name == "cln":
        paying = ClnRail(rails, payee=connect(PAYEE))
    else:
        paying = StrikeRail(rails, payee=connect(PAYEE))
        await paying.empty()
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
