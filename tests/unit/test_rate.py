"""What several sources are worth together, and what an amount comes to: exact, rounded once, for the merchant."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quittance.domain.currency import currency_asset, is_currency
from quittance.domain.errors import InvalidAmount
from quittance.domain.money import BTC_MSAT, BTC_SAT, LTC_MSAT, Money, money_from_decimal
from quittance.domain.rate import PLAUSIBLE, CombinedRate, Rate, RateFlaw, RateRules, RateUnavailable, combine, convert

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
RULES = RateRules()
CURRENCIES = ("JPY", "HUF", "USD", "KWD", "CLF")
FRESH = timedelta(seconds=10)


def quote(value: str | int | Decimal, source: str = "a", *, age: timedelta = FRESH) -> Rate:
    return Rate(base="BTC", quote="USD", value=Decimal(value), observed_at=NOW - age, source=source)


def quotes(*values: str | int) -> list[Rate]:
    return [quote(value, source) for value, source in zip(values, "abcdefgh", strict=False)]


def rate(value: str | Decimal = "95000", *, spread_ppm: int = 0, currency: str = "USD") -> CombinedRate:
    return CombinedRate(
        base="BTC",
        quote=currency,
        value=Decimal(value),
        spread_ppm=spread_ppm,
        sources=("a", "b"),
        observed_at=NOW - FRESH,
    )


@pytest.mark.parametrize(
    ("code", "scale"), [("JPY", 0), ("HUF", 2), ("USD", 2), ("EUR", 2), ("KWD", 3), ("CLF", 4), ("ISK", 0), ("TND", 3)]
)
def test_currencies_have_the_places_of_iso_4217(code: str, scale: int) -> None:
    assert is_currency(code)
    assert currency_asset(code).scale == scale


@pytest.mark.parametrize("code", ["", "usd", "BTC", "XAU", "XXX", "USDT", "US", "ÜSD", "LTC"])
def test_what_is_no_currency_is_refused(code: str) -> None:
    assert not is_currency(code)
    with pytest.raises(InvalidAmount, match="no such currency"):
        currency_asset(code)


@given(value=st.integers(0, 2**63 - 1), code=st.sampled_from(CURRENCIES))
def test_to_minor_units_and_back_is_exact(value: int, code: str) -> None:
    amount = Money(value, currency_asset(code))

    assert money_from_decimal(amount.decimal, amount.asset) == amount


@given(
    cents=st.integers(1, 10**12),
    code=st.sampled_from(CURRENCIES),
    asset=st.sampled_from([BTC_MSAT, BTC_SAT]),
    value=st.decimals("0.000001", "1000000000", places=8).filter(lambda value: value > 0),
    spread_ppm=st.integers(0, 500_000),
)
def test_the_merchant_never_gets_less_than_quoted_and_never_a_unit_more(
    cents: int, code: str, asset: object, value: Decimal, spread_ppm: int
) -> None:
    used = rate(value, spread_ppm=spread_ppm, currency=code)
    amount = Money(cents, currency_asset(code))
    try:
        asked = convert(amount, used, asset)  # type: ignore[arg-type]
    except InvalidAmount:
        return

    def worth(units: int) -> Fraction:
        return Fraction(units, 10**asked.asset.scale) * Fraction(value) * (1_000_000 - spread_ppm) / 1_000_000

    quoted = Fraction(cents, 10**amount.asset.scale)
    assert worth(asked.value) >= quoted
    assert worth(asked.value - 1) < quoted


@pytest.mark.parametrize(
    ("amount", "value", "spread_ppm", "asked_msat"),
    [
        ("95000", "95000", 0, 10**11),
        ("0.01", "95000", 0, 10_527),  # 10526.3…
        ("1", "3", 0, 33_333_333_334),
        ("1", "100000", 10_000, 1_010_102),  # 1 % less is 99000: 1010101.01…
        ("1", "100000", 500_000, 2_000_000),
    ],
)
def test_an_amount_comes_to(amount: str, value: str, spread_ppm: int, asked_msat: int) -> None:
    used = rate(value, spread_ppm=spread_ppm)

    asked = convert(money_from_decimal(Decimal(amount), currency_asset("USD")), used, BTC_MSAT)

    assert asked == Money(asked_msat, BTC_MSAT)


def test_what_no_64_bits_hold_is_refused() -> None:
    with pytest.raises(InvalidAmount, match="too large"):
        convert(Money(2**63 - 1, currency_asset("JPY")), rate("0.000001", currency="JPY"), BTC_MSAT)


@pytest.mark.parametrize(("currency", "asset"), [("EUR", BTC_MSAT), ("USD", LTC_MSAT)])
def test_a_rate_is_for_one_pair(currency: str, asset: object) -> None:
    with pytest.raises(ValueError, match="turns no"):
        convert(Money(1, currency_asset(currency)), rate(), asset)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "median"),
    [
        ((100, 102), "101"),
        ((100, 101, 103), "101"),
        ((100, "100.5", 101, 102), "100.75"),
        (("95000.12345678901234567891", "95000.12345678901234567890"), "95000.123456789012345678905"),
    ],
)
def test_the_median_is_exact(values: tuple[str | int, ...], median: str) -> None:
    found = combine(quotes(*values), now=NOW, rules=RULES)

    assert found.rate is not None
    assert found.rate.value == Decimal(median)
    assert found.dropped == {}


def test_a_combined_rate_is_as_old_as_its_oldest_price() -> None:
    early = quote(100, "b", age=timedelta(seconds=200))

    found = combine([quote(100, "z"), early], now=NOW, rules=RULES)

    assert found.rate is not None
    assert found.rate.observed_at == early.observed_at
    assert found.rate.sources == ("b", "z")


@pytest.mark.parametrize(
    ("wrong", "flaw"),
    [
        (quote("0", "w"), RateFlaw.NO_PRICE),
        (quote("-100", "w"), RateFlaw.NO_PRICE),
        (quote("NaN", "w"), RateFlaw.NO_PRICE),
        (quote("Infinity", "w"), RateFlaw.NO_PRICE),
        (quote("1000", "w"), RateFlaw.SOURCES_DISAGREE),
        (quote("10", "w"), RateFlaw.SOURCES_DISAGREE),
        (quote("0.01", "w"), RateFlaw.SOURCES_DISAGREE),  # inverted
        (quote("107", "w"), RateFlaw.SOURCES_DISAGREE),
        (quote(100, "w", age=timedelta(seconds=301)), RateFlaw.STALE),
        (quote(100, "w", age=-timedelta(seconds=61)), RateFlaw.STALE),
    ],
)
def test_of_three_the_wrong_one_is_dropped(wrong: Rate, flaw: RateFlaw) -> None:
    found = combine([*quotes(100, 101), wrong], now=NOW, rules=RULES)

    assert found.rate is not None
    assert found.rate.value == Decimal("100.5")
    assert found.rate.sources == ("a", "b")
    assert found.dropped == {"w": flaw}


@pytest.mark.parametrize(
    ("given_", "flaw"),
    [
        ([], RateFlaw.NO_ANSWER),
        (quotes(100), RateFlaw.TOO_FEW_SOURCES),
        ([quote(100), quote(100)], RateFlaw.TOO_FEW_SOURCES),  # one source, twice
        (quotes(100, 1000), RateFlaw.SOURCES_DISAGREE),
        (quotes(100, 100, 1000, 1000), RateFlaw.SOURCES_DISAGREE),
        (quotes("NaN", 0), RateFlaw.NO_PRICE),
        ([quote(100, each, age=timedelta(days=1)) for each in "abc"], RateFlaw.STALE),
        ([quote(100), quote(100, "b", age=timedelta(days=1))], RateFlaw.TOO_FEW_SOURCES),
    ],
)
def test_there_is_no_rate_of(given_: list[Rate], flaw: RateFlaw) -> None:
    found = combine(given_, now=NOW, rules=RULES)

    assert found.rate is None
    assert found.flaw is flaw


@pytest.mark.parametrize("factor", ["10", "0.1", "2.01", "0.0000000001"])
def test_what_every_source_says_is_not_believed_when_it_jumps(factor: str) -> None:
    jumped = [quote(Decimal(95_000) * Decimal(factor), each) for each in "abc"]

    found = combine(jumped, now=NOW, rules=RULES, last=rate("95000"))

    assert (found.rate, found.flaw) == (None, RateFlaw.JUMPED)


def test_a_jump_is_believed_once_the_last_rate_is_forgotten() -> None:
    last = rate("1000")
    later = NOW + timedelta(seconds=RULES.memory_s)

    now_believed = combine(
        [Rate(base="BTC", quote="USD", value=Decimal(100), observed_at=later, source=each) for each in "ab"],
        now=later,
        rules=RULES,
        last=last,
    )

    assert now_believed.rate is not None


def test_one_source_is_enough_where_the_rules_say_so() -> None:
    found = combine(quotes(100), now=NOW, rules=RateRules(sources_min=1))

    assert found.rate is not None
    assert found.rate.sources == ("a",)


@given(
    values=st.lists(st.decimals("99", "101", places=4), min_size=2, max_size=6),
    wrong=st.one_of(st.decimals(allow_nan=True, allow_infinity=True), st.decimals("0.0001", "90", places=4)),
)
def test_one_wrong_source_moves_nothing_out_of_what_the_others_say(values: list[Decimal], wrong: Decimal) -> None:
    honest = [quote(value, f"s{number}") for number, value in enumerate(values)]

    found = combine([*honest, quote(wrong, "w")], now=NOW, rules=RULES)

    assert found.rate is not None or len(values) == 2
    if found.rate is not None:
        assert min(values) * Decimal("0.95") <= found.rate.value <= max(values) * Decimal("1.05")


def test_the_spread_is_told_as_a_fraction() -> None:
    used = rate("95000", spread_ppm=12_500)

    assert used.spread == Decimal("0.0125")
    assert used.applied == Decimal("93812.5")


@pytest.mark.parametrize("flaw", list(RateFlaw))
def test_every_flaw_is_told_in_words(flaw: RateFlaw) -> None:
    told = RateUnavailable("BTC", "USD", flaw)

    assert (told.code, told.retryable, told.reason) == ("RATE_UNAVAILABLE", True, flaw)
    assert "BTC to USD" in told.message


def test_two_that_are_kept_are_no_further_apart_than_the_rules_say() -> None:
    """One of two moves the price by half of that at most."""
    assert combine(quotes(100_000, 105_200), now=NOW, rules=RULES).flaw is RateFlaw.SOURCES_DISAGREE
    kept = combine(quotes(100_000, 104_900), now=NOW, rules=RULES).rate
    assert kept is not None
    assert kept.value == 102_450


@pytest.mark.parametrize("value", ["0.00001", "4000", "9000000"])
def test_a_price_that_nobody_ever_heard_of_is_not_believed_though_all_say_it(value: str) -> None:
    rules = replace(RULES, plausible=PLAUSIBLE)

    found = combine(quotes(value, value, value), now=NOW, rules=rules)

    assert (found.rate, found.flaw) == (None, RateFlaw.IMPLAUSIBLE)
    assert combine(quotes(95_000, 95_000), now=NOW, rules=rules).rate is not None
