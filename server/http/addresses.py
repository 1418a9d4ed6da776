"""What a caller is counted by: the peer's own address, unless a proxy that is trusted speaks for somebody else.

An IPv6 address counts as its /64: that is what one subscriber gets, and may write any address of.
"""

import ipaddress
from collections.abc import Callable, MutableMapping
from typing import Any, Final

from starlette.datastructures import Headers

ClientAddress = Callable[[MutableMapping[str, Any]], str]

_SUBSCRIBER_BITS: Final = 64


def client_address_behind(proxies: frozenset[str]) -> ClientAddress:
    """Return what finds a caller's address behind these proxies.

    ``X-Forwarded-For`` is read from its right end, which the nearest proxy wrote: the first address that is not a
    trusted proxy's counts. What anybody else writes into the header is never believed.
    """

    def address(scope: MutableMapping[str, Any]) -> str:
        peer = _peer(scope)
        if peer not in proxies:
            return _counted(peer)
        told = ",".join(Headers(scope=scope).getlist("x-forwarded-for")).split(",")
        for candidate in (part.strip() for part in reversed(told)):
            if not _is_address(candidate):
                break
            if candidate not in proxies:
                return _counted(candidate)
        return _counted(peer)

    return address


def peer_address(scope: MutableMapping[str, Any]) -> str:
    """Return what the TCP peer is counted by; what a client writes into headers is not asked."""
    return _counted(_peer(scope))


def _peer(scope: MutableMapping[str, Any]) -> str:
    client = scope.get("client")
    return client[0] if client else ""


def _counted(address: str) -> str:
    """Return an IPv4 address as it is, also one that is written as IPv6, and the network of any other."""
    try:
        read = ipaddress.ip_address(address)
    except ValueError:
        return address  # no address at all, as of a Unix socket
    if isinstance(read, ipaddress.IPv4Address):
        return address
    if read.ipv4_mapped is not None:
        return str(read.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(read), _SUBSCRIBER_BITS), strict=False))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
