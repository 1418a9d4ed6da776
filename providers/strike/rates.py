"""Rates from Strike's ticker (4.2). What an invoice is converted at stands in its quote alone."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Final

from quittance.domain.errors import ProviderMisconfigured, ProviderUnavailable
from quittance.domain.rate import Rate
from quittance.providers.strike.bodies import RateBody
from quittance.providers.strike.client import StrikeClient

_VALUE_MAX: Final = Decimal(10) ** 18
_VALUE_MIN: Final = Decimal(10) ** -18


class StrikeTicker:
    """The rates of every pair that Strike exchanges. The API key needs the scope partner.rates.ticker.

    The ticker names no time: a rate is as old as the answer.
    """

    name = "strike"

    def __init__(self, client: StrikeClient, *, now: Callable[[], datetime]) -> None:
        self._client = client
        self._now = now

    async def rate(self, base: str, quote: str) -> Rate | None:
        """Return the newest rate, exactly as written, or None for a pair that Strike does not know.

        Raises:
            ProviderUnavailable: no answer, or one that cannot be a rate.
        """
        try:
            rows = await self._client.ticker()
        except ProviderMisconfigured as error:
            raise ProviderUnavailable(self.name) from error
        row = next((row for row in rows if (row.source_currency, row.target_currency) == (base, quote)), None)
        if row is None:
            return None
        return Rate(base=base, quote=quote, value=self._value(row), observed_at=self._now(), source=self.name)

    def _value(self, row: RateBody) -> Decimal:
        value = Decimal(row.amount)
        if not _VALUE_MIN <= value <= _VALUE_MAX:
            raise ProviderUnavailable(self.name)
        return value
