"""The price of a payment in a national currency, and the rate that converted it: columns in, facts out."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from quittance.domain.money import Asset, Money
from quittance.domain.payment import Payment
from quittance.domain.rate import CombinedRate
from quittance.store.transaction import from_us, to_us

_NOTHING: dict[str, object] = {
    "fiat_code": None,
    "fiat_scale": None,
    "fiat_value": None,
    "rate_value": None,
    "rate_spread_ppm": None,
    "rate_sources": None,
    "rate_observed_at_us": None,
}
_BETWEEN = ","


def fiat_columns(payment: Payment) -> dict[str, object]:
    """Return the values of the columns that say how a payment was priced; a rate's value as exact digits."""
    fiat, rate = payment.fiat_amount, payment.rate
    if fiat is None:
        return _NOTHING
    columns = _NOTHING | {"fiat_code": fiat.asset.code, "fiat_scale": fiat.asset.scale, "fiat_value": fiat.value}
    if rate is None:
        return columns
    return columns | {
        "rate_value": f"{rate.value:f}",
        "rate_spread_ppm": rate.spread_ppm,
        "rate_sources": _BETWEEN.join(rate.sources),
        "rate_observed_at_us": to_us(rate.observed_at),
    }


def fiat_of(columns: Sequence[Any], *, base: str) -> tuple[Money | None, CombinedRate | None]:
    """Return the price and the rate that the columns hold; ``base`` is the asset that was asked for."""
    code, scale, value, rate_value, spread_ppm, sources, observed_at = columns
    if code is None:
        return None, None
    fiat = Money(value, Asset(code, scale))
    if rate_value is None:
        return fiat, None
    rate = CombinedRate(
        base=base,
        quote=code,
        value=Decimal(rate_value),
        spread_ppm=spread_ppm,
        sources=tuple(sources.split(_BETWEEN)),
        observed_at=from_us(observed_at),
    )
    return fiat, rate
