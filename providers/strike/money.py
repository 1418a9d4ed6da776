"""Between Strike's decimal texts and our integers (1.2)."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from quittance.domain.errors import InvalidAmount, ProviderMisconfigured
from quittance.domain.money import BTC_SAT, Asset, Money, money_from_decimal
from quittance.providers.strike.bodies import MoneyBody

MSAT_PER_SAT: Final = 1_000
ASSETS: Final[Mapping[str, Asset]] = {
    "BTC": BTC_SAT,
    **{code: Asset(code, 2) for code in ("USD", "EUR", "GBP", "AUD", "USDT")},
}


def written(money: Money) -> Mapping[str, str]:
    """Return money as Strike reads it: plain digits with all the asset's places, never an exponent."""
    return {"amount": f"{money.decimal:f}", "currency": money.asset.code}


def read(body: MoneyBody, *, asset: Asset, provider: str) -> Money:
    """Return an amount exactly.

    Raises:
        ProviderMisconfigured: it is of another currency, or finer than that has places.
    """
    if body.currency != asset.code:
        raise ProviderMisconfigured(provider, f"Strike answers in {body.currency[:12]}, and was asked in {asset.code}")
    try:
        return money_from_decimal(Decimal(body.amount), asset)
    except InvalidAmount as error:
        raise ProviderMisconfigured(provider, f"Strike names an amount that cannot be: {error.message}") from error
