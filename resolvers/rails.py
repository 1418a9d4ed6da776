"""The connected rails and how they are."""

from quittance.providers.base import ProviderHealth
from quittance.resolvers.services import Services


async def health(services: Services, name: str) -> ProviderHealth:
    """Ask one rail how it is.

    Raises:
        UnknownProvider: none has this name.
    """
    return await services.rail(name).health()


async def health_of_all(services: Services) -> dict[str, ProviderHealth]:
    return {name: await rail.health() for name, rail in services.rails.items()}
