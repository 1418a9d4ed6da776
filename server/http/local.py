"""Telling a person at this machine from the rest of the world."""

import ipaddress

from starlette.requests import Request

_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")  # a proxy on this machine speaks for strangers
_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})


def is_local(request: Request) -> bool:
    """Tell whether the peer is this machine and was asked for by a local name, which rules out DNS rebinding."""
    if request.client is None or any(name in request.headers for name in _FORWARDED):
        return False
    try:
        peer = ipaddress.ip_address(request.client.host)
    except ValueError:
        return False
    host = request.headers.get("host", "")
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    return peer.is_loopback and name in _HOSTS
