"""Between Strike's decimal texts and our integers (1.2)."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from quittance.domain.errors import InvalidAmount, ProviderMisconfigured
from quittance.domain.money import BTC_MSAT, BTC_SAT, Asset, Money, money_from_decimal
from quittance.providers.strike.bodies import MoneyBody

MSAT_PER_SAT: Final = 1_000
ASSETS: Final[Mapping[str, Asset]] = {
    "BTC": BTC_MSAT,
    **{code: Asset(code, 2) for code in ("USD", "EUR", "GBP", "AUD", "USDT")},
}
UNITS: Final[Mapping[str, Asset]] = {**ASSETS, "BTC": BTC_SAT}


def written(money: Money) -> Mapping[str, str]:
    """Return money as Strike reads it: plain digits with all the places of its unit, never an exponent.

    Raises:
        InvalidAmount: it is no whole number of the unit, such as of satoshi.
    """
    return {"amount": f"{money.rescaled_exactly(UNITS[money.asset.code]).decimal:f}", "currency": money.asset.code}


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
