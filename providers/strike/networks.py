"""The networks whose invoices a Strike environment makes and pays."""

from collections.abc import Mapping
from typing import Final

PREFIXES: Final[Mapping[str, str]] = {"mainnet": "bc", "testnet": "tb", "signet": "tbs", "regtest": "bcrt"}


def prefix_of(network: str) -> str:
    """Return what invoices of a network begin with.

    Raises:
        ValueError: there is no such network.
    """
    if network not in PREFIXES:
        raise ValueError(f"{network!r} is not one of {', '.join(PREFIXES)}")
    return PREFIXES[network]
