"""Exchange rates, as the connected source gives them."""

from quittance.domain.errors import ProviderUnavailable
from quittance.domain.rate import Rate
from quittance.resolvers.services import Services


async def find_rate(services: Services, *, base: str, quote: str) -> Rate | None:
    """Return the rate, or None when no source knows the pair or answers now."""
    if services.rates is None:
        return None
    try:
        return await services.rates.rate(base, quote)
    except ProviderUnavailable:
        return None
