"""What nodes of LND's kind move: one currency a node, and the prefix of its invoices on each network."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from quittance.domain.money import BTC_MSAT, LTC_MSAT, Asset


@dataclass(frozen=True, slots=True, kw_only=True)
class Currency:
    """``asset`` counts what the protocol calls a millisatoshi; ``chain`` is the node's own name for the chain."""

    chain: str
    asset: Asset
    prefixes: Mapping[str, str]


BITCOIN: Final = Currency(
    chain="bitcoin",
    asset=BTC_MSAT,
    prefixes={
        "mainnet": "bc",
        "testnet": "tb",
        "testnet4": "tb",
        "signet": "tbs",
        "simnet": "sb",
        "regtest": "bcrt",
    },
)
LITECOIN: Final = Currency(
    chain="litecoin",
    asset=LTC_MSAT,
    prefixes={"mainnet": "ltc", "testnet": "tltc", "regtest": "rltc"},  # its node calls every testnet "testnet"
)
