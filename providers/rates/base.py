"""The port of price sources."""

from typing import Protocol

from quittance.domain.rate import Rate


class RateSource(Protocol):
    """Knows what one asset is worth in another."""

    @property
    def name(self) -> str: ...

    async def rate(self, base: str, quote: str) -> Rate | None:
        """Return the rate, or None for a pair this source does not know. It must end within a few seconds.

        Raises:
            ProviderUnavailable: no answer, or one that makes no sense.
        """
        ...
