"""Money is exact: to smallest units and back, between scales, and as people write it."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quittance.domain.errors import InvalidAmount
from quittance.domain.money import (
    ASSET_SCALE_MAX,
    BTC_MSAT,
    BTC_SAT,
    LTC_LITOSHI,
    LTC_MSAT,
    MONEY_VALUE_MAX,
    Asset,
    Money,
    money_from_decimal,
    msat,
)

ASSETS = [Asset("JPY", 0), Asset("HUF", 2), Asset("USD", 2), Asset("KWD", 3), BTC_SAT, BTC_MSAT, Asset("ETH", 18)]
assets = st.sampled_from(ASSETS)
values = st.integers(min_value=-MONEY_VALUE_MAX, max_value=MONEY_VALUE_MAX)


@given(value=values, asset=assets)
def test_a1_smallest_units_to_decimal_and_back_is_exact(value: int, asset: Asset) -> None:
    money = Money(value, asset)

    assert money_from_decimal(money.decimal, asset) == money


@pytest.mark.parametrize(
    ("text", "asset", "value"),
    [
        ("1234", Asset("JPY", 0), 1234),
        ("12.34", Asset("USD", 2), 1234),
        ("0.010", Asset("USD", 2), 1),
        ("1.234", Asset("KWD", 3), 1234),
        ("0.00000001", BTC_SAT, 1),
        ("0.00000000001", BTC_MSAT, 1),
        ("21000000", BTC_MSAT, 2_100_000_000_000_000_000),
        ("-0.5", Asset("USD", 2), -50),
        ("1E+2", Asset("JPY", 0), 100),
        ("0E+999999", Asset("USD", 2), 0),
        ("-0", Asset("USD", 2), 0),
    ],
)
def test_whole_units_become_smallest_units(text: str, asset: Asset, value: int) -> None:
    assert money_from_decimal(Decimal(text), asset) == Money(value, asset)


@pytest.mark.parametrize(
    "text",
    [
        "0.5",
        "1.005",
        "NaN",
        "sNaN",
        "-NaN",
        "Infinity",
        "-Infinity",
        "1E+999999",
        "1E+500000",
        "1E-999999",
        "9223372036854775808",
        "1." + "0" * 80 + "1",
        "0." + "9" * 80,
    ],
)
def test_what_an_asset_cannot_hold_is_refused(text: str) -> None:
    with pytest.raises(InvalidAmount):
        money_from_decimal(Decimal(text), Asset("JPY", 0))


@given(amount=st.decimals(), asset=assets)
def test_every_decimal_is_held_exactly_or_refused(amount: Decimal, asset: Asset) -> None:
    try:
        money = money_from_decimal(amount, asset)
    except InvalidAmount:
        return

    assert money.decimal == amount
    assert abs(money.value) <= MONEY_VALUE_MAX


@given(value=values, scale=st.integers(0, ASSET_SCALE_MAX), more=st.integers(0, ASSET_SCALE_MAX))
def test_a_finer_scale_and_back_loses_nothing(value: int, scale: int, more: int) -> None:
    money = Money(value, Asset("BTC", scale))
    finer = Asset("BTC", min(ASSET_SCALE_MAX, scale + more))

    rescaled = money.rescaled_exactly(finer)

    assert rescaled.decimal == money.decimal
    assert rescaled.rescaled_exactly(money.asset) == money


def test_a_coarser_scale_never_rounds() -> None:
    assert msat(3_000).rescaled_exactly(BTC_SAT) == Money(3, BTC_SAT)
    assert msat(-3_000).rescaled_exactly(BTC_SAT) == Money(-3, BTC_SAT)
    for value in (1, 999, 3_001, -1, -3_001):
        with pytest.raises(InvalidAmount, match="more than 8 decimal places"):
            msat(value).rescaled_exactly(BTC_SAT)


def test_assets_do_not_mix() -> None:
    dollars, yen = Money(1, Asset("USD", 2)), Money(1, Asset("JPY", 0))

    with pytest.raises(ValueError, match="cannot mix"):
        dollars + yen
    with pytest.raises(ValueError, match="cannot mix"):
        msat(1) - Money(1, BTC_SAT)
    with pytest.raises(ValueError, match="without a rate"):
        dollars.rescaled_exactly(Asset("JPY", 0))


@given(one=values, other=values)
def test_sums_are_those_of_integers(one: int, other: int) -> None:
    assert (msat(one) + msat(other)).value == one + other
    assert msat(one) - msat(other) + msat(other) == msat(one)


@pytest.mark.parametrize(
    ("money", "text"),
    [
        (msat(1_000_000), "1,000 sat"),
        (msat(1_500), "1.5 sat"),
        (msat(1), "0.001 sat"),
        (msat(-1_001), "-1.001 sat"),
        (msat(0), "0 sat"),
        (Money(1, BTC_SAT), "1 sat"),
        (Money(1, Asset("BTC", 0)), "100,000,000 sat"),
        (Money(100, LTC_LITOSHI), "0.000001 LTC"),
        (Money(123_456_789_000, LTC_LITOSHI), "1,234.56789 LTC"),
        (Money(1, LTC_MSAT), "0.00000000001 LTC"),
        (Money(300 * 10**11, LTC_MSAT), "300 LTC"),
        (Money(0, LTC_MSAT), "0 LTC"),
        (Money(123_456, Asset("USD", 2)), "1,234.56 USD"),
        (Money(5, Asset("JPY", 0)), "5 JPY"),
        (Money(-1, Asset("KWD", 3)), "-0.001 KWD"),
    ],
)
def test_people_read_satoshi_litecoin_and_whole_units(money: Money, text: str) -> None:
    assert money.formatted == text


@given(value=values, scale=st.integers(0, ASSET_SCALE_MAX))
def test_every_amount_of_bitcoin_can_be_shown(value: int, scale: int) -> None:
    assert Money(value, Asset("BTC", scale)).formatted.endswith(" sat")


@given(value=values, scale=st.integers(0, ASSET_SCALE_MAX))
def test_litecoin_is_shown_exactly_without_needless_zeros(value: int, scale: int) -> None:
    money = Money(value, Asset("LTC", scale))
    shown, unit = money.formatted.split(" ")

    assert unit == "LTC"
    assert Decimal(shown.replace(",", "")) == money.decimal
    assert "." not in shown or shown[-1] != "0"


@pytest.mark.parametrize("code", ["", "usd", "US D", "A" * 13, "ÄÖÜ", "B\x00"])
def test_an_asset_code_is_capital_letters_and_digits(code: str) -> None:
    with pytest.raises(InvalidAmount, match="asset code"):
        Asset(code, 2)


@pytest.mark.parametrize("scale", [-1, ASSET_SCALE_MAX + 1])
def test_an_asset_scale_has_bounds(scale: int) -> None:
    with pytest.raises(InvalidAmount, match="asset scale"):
        Asset("USD", scale)
