"""The networks that a Core Lightning node can be on."""

from collections.abc import Mapping
from typing import Final

NETWORKS: Final[Mapping[str, tuple[str, str]]] = {  # what the node calls it, and what its invoices begin with
    "mainnet": ("bitcoin", "bc"),
    "testnet": ("testnet", "tb"),
    "testnet4": ("testnet4", "tb"),
    "signet": ("signet", "tbs"),
    "regtest": ("regtest", "bcrt"),
}
