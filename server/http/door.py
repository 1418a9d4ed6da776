"""The GraphQL door: what its transports share, and how many connections they hold."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from quittance.gql.context import Access
from quittance.gql.execution import Executor
from quittance.gql.hub import Hub
from quittance.gql.limits import LimitExceeded, TransportLimits
from quittance.server.http.addresses import ClientAddress, peer_address

_ANY_ORIGIN = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorSettings:
    """``client_address`` may read forwarding headers only where a trusted proxy is configured."""

    limits: TransportLimits = field(default_factory=TransportLimits)
    allowed_origins: frozenset[str] = frozenset()
    client_address: ClientAddress = peer_address
    playground: Callable[[Request], Response] | None = None
    path: str = "/graphql"


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    executor: Executor
    hub: Hub
    access: Access
    settings: DoorSettings
    connections: "Connections"

    def trusts_origin(self, headers: Headers) -> bool:
        """Tell whether the page that connects is ours or allowed; what is not a browser names no origin."""
        origin = headers.get("origin")
        if origin is None:
            return True
        allowed = self.settings.allowed_origins
        if _ANY_ORIGIN in allowed or origin in allowed:
            return True
        try:
            return urlsplit(origin).netloc == headers.get("host")
        except ValueError:
            return False


class Connections:
    """Counts the connections that stay open: sockets and event streams, in all and by address."""

    def __init__(self, limits: TransportLimits) -> None:
        self._limits = limits
        self._by_address: Counter[str] = Counter()
        self.open = 0

    @contextmanager
    def one(self, address: str) -> Iterator[None]:
        """Hold one place.

        Raises:
            LimitExceeded: no place is left, for this address or at all.
        """
        if self.open >= self._limits.sockets_max:
            raise LimitExceeded("the server holds as many connections as it can; try again later")
        if self._by_address[address] >= self._limits.sockets_per_address_max:
            raise LimitExceeded("too many open connections from this address")
        self.open += 1
        self._by_address[address] += 1
        try:
            yield
        finally:
            self.open -= 1
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]
