"""One suite for every Lightning node: each speaks its own protocol over its own wire, and all behave the same."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TypeAlias

import pytest
from pydantic import SecretStr

from quittance.providers.cln.connection import ClnConnection, open_client
from quittance.providers.cln.provider import ClnProvider
from quittance.providers.lnd.channel import LndConnection, open_channel
from quittance.providers.lnd.provider import LndProvider
from quittance.sandbox.rails import SandboxNode, SandboxRails

TIMEOUT_S = 2.0
CALLS = {
    "lnd": {"create": "AddInvoice", "look up": "LookupInvoice", "cancel": "CancelInvoice", "list": "ListInvoices"},
    "cln": {"create": "invoice", "look up": "listinvoices", "cancel": "delinvoice", "list": "listinvoices"},
}


Receiver: TypeAlias = LndProvider | ClnProvider


@dataclass(frozen=True, slots=True, kw_only=True)
class Till:
    """A node that is paid, and the adapter in front of it."""

    rail: str
    rails: SandboxRails
    provider: Receiver

    @property
    def node(self) -> SandboxNode:
        return self.rails.nodes["merchant" if self.rail == "lnd" else "cln"]

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
    client = open_client(
        ClnConnection(
            url=rails.cln.url,
            ca=None if rails.cln.ca_path is None else rails.cln.ca_path.read_bytes(),
            rune=SecretStr(rails.cln.rune_path.read_text()),
        )
    )
    return ClnProvider(client, network=network, timeout_s=timeout_s)


@pytest.fixture(params=["lnd", "cln"])
async def till(request: pytest.FixtureRequest, rails: SandboxRails) -> AsyncIterator[Till]:
    provider = connect(request.param, rails)
    yield Till(rail=request.param, rails=rails, provider=provider)
    await provider.aclose()
