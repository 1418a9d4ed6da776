"""One suite for every rail over Lightning: each speaks its own protocol over its own wire, and all behave the same.

A Strike account is no node, and differs where it must: its invoices have a name of ours instead of a payment hash, give
a payer something new each time they are asked, have no end of their own, take exactly what they ask for in whole
satoshi, hold nothing back, and are told as paid by time instead of by number. What of the suite that leaves out takes
``till``, which is a node; the rest takes ``any_till``.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import pytest
from pydantic import SecretStr

from quittance.domain.money import Money, msat
from quittance.providers.cln.connection import ClnConnection, open_client
from quittance.providers.cln.provider import ClnProvider
from quittance.providers.lnd.channel import LndConnection, open_channel
from quittance.providers.lnd.provider import LndProvider
from quittance.providers.strike.budget import Budget
from quittance.providers.strike.client import StrikeClient
from quittance.providers.strike.connection import StrikeConnection
from quittance.providers.strike.connection import open_client as open_strike
from quittance.providers.strike.provider import StrikeProvider
from quittance.sandbox.rails import SandboxNode, SandboxRails

TIMEOUT_S = 2.0
CALLS: Final[Mapping[str, Mapping[str, str | None]]] = {
    "lnd": {"create": "AddInvoice", "look up": "LookupInvoice", "cancel": "CancelInvoice", "list": "ListInvoices"},
    "cln": {"create": "invoice", "look up": "listinvoices", "cancel": "delinvoice", "list": "listinvoices"},
    "strike": {
        "create": "issue_invoice",
        "look up": None,  # by name at first, by Strike's own id then
        "cancel": "cancel_invoice",
        "list": "list_invoices",
    },
}
NODES: Final[Mapping[str, str]] = {"lnd": "merchant", "cln": "cln", "strike": "strike"}


Receiver: TypeAlias = LndProvider | ClnProvider | StrikeProvider


@dataclass(frozen=True, slots=True, kw_only=True)
class Till:
    """A node that is paid, and the adapter in front of it."""

    rail: str
    rails: SandboxRails
    provider: Receiver

    @property
    def node(self) -> SandboxNode:
        return self.rails.nodes[NODES[self.rail]]

    def money(self, value_msat: int) -> Money:
        """Return an amount as this rail counts it."""
        return msat(value_msat).rescaled_exactly(self.provider.asset)

    async def held(self) -> int:
        """Return how many invoices the rail holds."""
        return len([invoice async for invoice in self.provider.invoices()])

    async def fail(self, fault: str, *, call: str | None = None, calls: int = 1, seconds: float | None = None) -> None:
        """Let the node fail, by the name that the suite has for a call."""
        method = CALLS[self.rail][call] if call is not None else None
        await self.rails.faults.arm(self.rail, fault, calls=calls, method=method, seconds=seconds)


def connect(rail: str, rails: SandboxRails, *, network: str = "regtest", timeout_s: float = TIMEOUT_S) -> Receiver:
    """Return an adapter as the server makes it, with the credential that only receives."""
    if rail == "lnd":
        where = rails.lnd
        channel = open_channel(
            LndConnection(
                address=where.address,
                tls_cert=where.tls_cert_path.read_bytes(),
                macaroon=SecretStr(where.macaroon_path.read_bytes().hex()),
            )
        )
        return LndProvider(channel, network=network, timeout_s=timeout_s)
    if rail == "strike":
        account = StrikeConnection(url=rails.strike.url, api_key=SecretStr(rails.strike.receive_key_path.read_text()))
        asking = StrikeClient(open_strike(account), budget=Budget(), timeout_s=timeout_s)
        return StrikeProvider(asking, network=network, now=rails.clock.now, poll_s=0.05)
    client = open_client(
        ClnConnection(
            url=rails.cln.url,
            ca=None if rails.cln.ca_path is None else rails.cln.ca_path.read_bytes(),
            rune=SecretStr(rails.cln.rune_path.read_text()),
        )
    )
    return ClnProvider(client, network=network, timeout_s=timeout_s)


@pytest.fixture(params=["lnd", "cln", "strike"])
async def any_till(request: pytest.FixtureRequest, rails: SandboxRails) -> AsyncIterator[Till]:
    provider = connect(request.param, rails)
    yield Till(rail=request.param, rails=rails, provider=provider)
    await provider.aclose()


@pytest.fixture(params=["lnd", "cln"])
async def till(request: pytest.FixtureRequest, rails: SandboxRails) -> AsyncIterator[Till]:
    provider = connect(request.param, rails)
    yield Till(rail=request.param, rails=rails, provider=provider)
    await provider.aclose()
