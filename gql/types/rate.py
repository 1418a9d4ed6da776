"""Exchange rates on the wire."""

from datetime import datetime
from decimal import Decimal

import strawberry

from quittance.domain import rate


@strawberry.type(description="How much of `quote` one whole unit of `base` is worth: the median of several sources.")
class Rate:
    base: str = strawberry.field(description="The asset that is priced, such as BTC.")
    quote: str = strawberry.field(description="The asset it is priced in, such as USD.")
    value: Decimal = strawberry.field(description="Units of `quote` for one unit of `base`, as the sources say.")
    spread: Decimal = strawberry.field(description="What is taken off for the merchant, as a fraction: 0.01 is 1 %.")
    applied: Decimal = strawberry.field(description="What prices are converted at: `value` less `spread`.")
    sources: list[str] = strawberry.field(description="Whose prices were believed.")
    observed_at: datetime = strawberry.field(description="When the oldest of these prices was observed.")

    @staticmethod
    def from_domain(subject: rate.CombinedRate) -> "Rate":
        return Rate(
            base=subject.base,
            quote=subject.quote,
            value=subject.value,
            spread=subject.spread,
            applied=subject.applied,
            sources=list(subject.sources),
            observed_at=subject.observed_at,
        )
