"""What one GraphQL execution knows: the services, who asks, and loaders that live as long as it does."""

from dataclasses import dataclass, field
from typing import Protocol

import strawberry

from quittance.domain.access import Principal
from quittance.gql.loaders import Loaders
from quittance.gql.streams import EventSource
from quittance.gql.waiting import SignedLogins
from quittance.resolvers.services import Services


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What a caller shows: the ``Authorization`` header, or a ``clientSecret`` from ``connection_init``."""

    authorization: str | None = field(default=None, repr=False)
    client_secret: str | None = field(default=None, repr=False)
    address: str = ""


class Access(Protocol):
    """What a transport asks of the server; the context it gets is opaque to it."""

    async def authenticate(self, credentials: Credentials) -> Principal:
        """Return who calls; no credential at all is the anonymous reader.

        Raises:
            Unauthenticated: a credential was given and is not valid.
        """
        ...

    async def admit(self, principal: Principal, address: str) -> None:
        """Count one request.

        Raises:
            RateLimited: the budget of this key or address is used up.
        """
        ...

    async def still_valid(self, principal: Principal) -> bool:
        """Tell whether a long-lived caller's credential still holds (a key may have been revoked)."""
        ...

    def new_context(self, principal: Principal) -> object:
        """Return a fresh execution context, with loaders of its own."""
        ...


@dataclass(slots=True, kw_only=True)
class Context:
    """Handed to every resolver of one execution."""

    services: Services
    principal: Principal
    loaders: Loaders
    events: EventSource
    signed_logins: SignedLogins = field(default_factory=SignedLogins)


QuittanceInfo = strawberry.Info[Context, None]
