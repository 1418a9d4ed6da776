"""Who calls and how often: the transports' questions, answered by the use cases."""

from collections.abc import Callable
from dataclasses import replace

from quittance.domain.access import Principal
from quittance.domain.errors import Unauthenticated
from quittance.gql.context import Context, Credentials
from quittance.gql.loaders import Loaders
from quittance.gql.streams import EventSource
from quittance.gql.waiting import SignedLogins
from quittance.resolvers import access
from quittance.resolvers.services import Services

KEY_BUDGET = "requests_by_key"
ADDRESS_BUDGET = "requests_by_address"


class ServerAccess:
    """Implements ``quittance.gql.context.Access``."""

    def __init__(self, services: Services, events: EventSource, *, key_used: Callable[[Principal], None]) -> None:
        self._services = services
        self._events = events
        self._key_used = key_used
        self._signed_logins = SignedLogins()

    async def authenticate(self, credentials: Credentials) -> Principal:
        try:
            principal = await access.authenticate(
                self._services, authorization=credentials.authorization, client_secret=credentials.client_secret
            )
        except Unauthenticated:
            await self._services.limiter.hit(ADDRESS_BUDGET, credentials.address)  # guessing is counted too
            raise
        if principal.key_id is not None or principal.session_id is not None:
            self._key_used(principal)
        return principal if principal.key_id is not None else replace(principal, address=credentials.address)

    async def admit(self, principal: Principal, address: str) -> None:
        if principal.key_id is not None:
            await self._services.limiter.hit(KEY_BUDGET, principal.key_id)
        else:  # readers too: whoever signs has as many accounts and tokens as they like
            await self._services.limiter.hit(ADDRESS_BUDGET, address)

    async def still_valid(self, principal: Principal) -> bool:
        return await access.still_valid(self._services, principal)

    def new_context(self, principal: Principal) -> Context:
        return Context(
            services=self._services,
            principal=principal,
            loaders=Loaders(self._services, viewer=principal.viewer),
            events=self._events,
            signed_logins=self._signed_logins,
        )
