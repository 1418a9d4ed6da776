"""The chains that the sandbox's nodes live on: how each is called, and who is on it."""

from dataclasses import dataclass
from typing import Final

import grpc

NETWORK: Final = "regtest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """``name`` is what GetInfo says, ``rail`` what faults are armed by; ``merchant`` earns and ``payers`` pay.

    ``cln`` earns too; it speaks Core Lightning's protocol. ``strike`` is the node by which a Strike account is paid and
    pays, and nobody reaches it but by that account. ``begun_code`` is how a node of this version refuses to
    begin a payment twice.
    """

    name: str
    currency: str
    prefix: str
    rail: str
    merchant: str
    payers: tuple[str, ...]
    version: str
    cln: str | None = None
    strike: str | None = None
    begun_code: grpc.StatusCode = grpc.StatusCode.ALREADY_EXISTS

    @property
    def nodes(self) -> tuple[str, ...]:
        others = (name for name in (self.cln, self.strike) if name is not None)
        return self.merchant, *self.payers, *others


BITCOIN: Final = Chain(
    name="bitcoin",
    currency="BTC",
    prefix="bcrt",
    rail="lnd",
    merchant="merchant",
    payers=("alice", "bob", "carol"),
    version="0.21.2-beta commit=v0.21.2-beta",
    cln="cln",
    strike="strike",
)
LITECOIN: Final = Chain(
    name="litecoin",
    currency="LTC",
    prefix="rltc",
    rail="lnd-ltc",
    merchant="merchant-ltc",
    payers=("dave",),
    version="0.17.3-beta commit=v0.17.3-beta",
    begun_code=grpc.StatusCode.UNKNOWN,
)
