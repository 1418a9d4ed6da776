"""The connected rails and how they are."""

import asyncio

from quittance.providers.base import HoldsInvoices, ProviderHealth
from quittance.resolvers.services import Services

HEALTH_KEPT_S = 1.0


async def health(services: Services, name: str) -> ProviderHealth:
    """Tell how one rail is; strangers may ask often, so the rail itself is asked at most once a second.

    Raises:
        UnknownProvider: none has this name.
    """
    rail = services.rail(name)
    now = asyncio.get_running_loop().time()
    known = services.healths.get(name)
    if known is None or now - known[0] > HEALTH_KEPT_S:
        asked = asyncio.ensure_future(rail.health())
        known = services.healths[name] = now, asked
    return await asyncio.shield(known[1])


async def health_of_all(services: Services) -> dict[str, ProviderHealth]:
    found = await asyncio.gather(*(health(services, name) for name in services.rails))
    return dict(zip(services.rails, found, strict=True))


def may_hold(services: Services, name: str) -> bool:
    """Tell whether invoices of this rail can be held."""
    return isinstance(services.rails.get(name), HoldsInvoices)


def may_pay(services: Services, name: str) -> bool:
    """Tell whether this rail was given the means to pay."""
    return name in services.payers
