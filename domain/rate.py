"""An exchange rate, with its age and its source."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """``value`` units of ``quote`` for one whole unit of ``base``, as ``source`` observed it."""

    base: str
    quote: str
    value: Decimal
    observed_at: datetime
    source: str
