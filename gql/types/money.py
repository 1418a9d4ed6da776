"""Money on the wire, in and out."""

from decimal import Decimal

import strawberry

from quittance.domain import money
from quittance.domain.currency import currency_asset
from quittance.domain.errors import InvalidAmount
from quittance.domain.money import BTC_MSAT, BTC_SAT, Asset
from quittance.gql.scalars import BigInt


@strawberry.type(description="An amount: an integer count of an asset's smallest unit.")
class Money:
    value: BigInt = strawberry.field(
        description="How many smallest units; for Lightning thousandths of a satoshi or litoshi."
    )
    asset_code: str = strawberry.field(description="The asset, such as BTC, LTC or USD.")
    asset_scale: int = strawberry.field(description="How many decimal places the smallest unit has: BTC at 11 is msat.")

    @strawberry.field(description="The exact amount in whole units of the asset.")
    def decimal(self) -> Decimal:
        return self._domain().decimal

    @strawberry.field(description="The amount for people, such as `1,000 sat` or `0.001 LTC`.")
    def formatted(self) -> str:
        return self._domain().formatted

    def _domain(self) -> money.Money:
        return money.Money(self.value, Asset(self.asset_code, self.asset_scale))

    @staticmethod
    def from_domain(amount: money.Money) -> "Money":
        return Money(value=BigInt(amount.value), asset_code=amount.asset.code, asset_scale=amount.asset.scale)


@strawberry.input(
    description="An amount of a national currency. Where money is asked for it is converted at the current rate, "
    "unless the rail takes the currency itself; see `Payment.rate`."
)
class FiatInput:
    currency: str = strawberry.field(description="An ISO 4217 code, such as USD.")
    value: Decimal = strawberry.field(
        description="The amount in whole units, such as `12.34`; not finer than the currency's minor unit."
    )


@strawberry.input(description="An amount as an integer count of an asset's smallest unit.")
class AssetAmountInput:
    asset_code: str = strawberry.field(description="The asset, such as BTC or LTC; a rail takes one.")
    asset_scale: int = strawberry.field(description="How many decimal places the smallest unit has.")
    value: BigInt = strawberry.field(description="How many smallest units.")


@strawberry.input(one_of=True, description="An amount, said in exactly one way.")
class AmountInput:
    sat: BigInt | None = strawberry.field(default=strawberry.UNSET, description="Satoshi, for rails of Bitcoin.")
    msat: BigInt | None = strawberry.field(default=strawberry.UNSET, description="Millisatoshi, for rails of Bitcoin.")
    fiat: FiatInput | None = strawberry.field(
        default=strawberry.UNSET, description="A national currency; not for money that goes out."
    )
    asset: AssetAmountInput | None = strawberry.field(
        default=strawberry.UNSET, description="Any asset, in its smallest unit."
    )

    def to_domain(self) -> money.Money:
        """Return the amount; one of a national currency in its minor unit, not converted yet.

        Raises:
            InvalidAmount: there is no such currency, or it is not counted as finely.
        """
        if self.sat is not None and self.sat is not strawberry.UNSET:
            return money.Money(self.sat, BTC_SAT)
        if self.msat is not None and self.msat is not strawberry.UNSET:
            return money.Money(self.msat, BTC_MSAT)
        if isinstance(self.asset, AssetAmountInput):
            return money.Money(self.asset.value, Asset(self.asset.asset_code, self.asset.asset_scale))
        if isinstance(self.fiat, FiatInput):
            return money.money_from_decimal(self.fiat.value, currency_asset(self.fiat.currency))
        raise InvalidAmount("an amount is said as sat, msat, fiat or asset")
