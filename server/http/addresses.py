"""The address a caller is counted by: the peer's own, unless a proxy that is trusted speaks for somebody else."""

import ipaddress
from collections.abc import Callable, MutableMapping
from typing import Any

from starlette.datastructures import Headers

from quittance.server.http.door import peer_address

ClientAddress = Callable[[MutableMapping[str, Any]], str]


def client_address_behind(proxies: frozenset[str]) -> ClientAddress:
    """Return what finds a caller's address behind these proxies.

    ``X-Forwarded-For`` is read from its right end, which the nearest proxy wrote: the first address that is not a
    trusted proxy's counts. What anybody else writes into the header is never believed.
    """

    def address(scope: MutableMapping[str, Any]) -> str:
        peer = peer_address(scope)
        if peer not in proxies:
            return peer
        told = ",".join(Headers(scope=scope).getlist("x-forwarded-for")).split(",")
        for candidate in (part.strip() for part in reversed(told)):
            if not _is_address(candidate):
                break
            if candidate not in proxies:
                return candidate
        return peer

    return address


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
