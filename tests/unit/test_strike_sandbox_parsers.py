"""What strangers send to the sandbox's Strike account, however wrong, is read or refused."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from quittance.sandbox.strike import filters, moments
from quittance.sandbox.strike.money import (
    BTC,
    HELD,
    Money,
    btc_of_msat,
    check_amount,
    converted,
    msat_of_btc,
    places_of,
    plain,
    rounded,
)
from quittance.sandbox.strike.reading import Given
from quittance.sandbox.strike.refusals import Blocked, Refused

_AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
_WORDS = st.sampled_from(
    ["name", "created", "eq", "in", "and", "or", "gt", "(", ")", ",", "'a'", "'", "null", "2026-01-01T00:00:00Z", " "]
)


def _page(**query: str) -> dict[str, object]:
    fields: dict[str, filters.Field[str]] = {"name": lambda item: item, "created": lambda _: _AT}
    return filters.page(["a", "b"], QueryParams(query), fields=fields, shown=str)


def _refusal(act: Callable[[], object]) -> Refused | Blocked | None:
    try:
        act()
    except (Refused, Blocked) as refusal:
        return refusal
    return None


@given(st.one_of(st.text(), st.lists(_WORDS).map(" ".join)))
def test_every_filter_is_read_or_refused(text: str) -> None:
    refusal = _refusal(lambda: _page(**{"$filter": text}))

    if isinstance(refusal, Blocked):
        assert "or" in text.lower()
    else:
        assert refusal is None or (refusal.status, refusal.code) == (400, "INVALID_DATA_QUERY")


@given(st.dictionaries(st.sampled_from(["$top", "$skip", "$orderby"]), st.text()))
def test_every_page_is_found_or_refused(query: dict[str, str]) -> None:
    refusal = _refusal(lambda: _page(**query))

    assert refusal is None or (isinstance(refusal, Refused) and refusal.code == "INVALID_DATA_QUERY")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["amount", "Currency", "x"]), inner),
    max_leaves=6,
)


@given(_JSON)
def test_every_amount_is_read_or_refused(content: object) -> None:
    refusal = _refusal(lambda: check_amount(Given({"amount": content}).needed_money("amount"), at=_AT))

    assert refusal is None or (isinstance(refusal, Refused) and refusal.status in {400, 422})


@given(st.integers(min_value=1, max_value=7 * 10**7), st.sampled_from(HELD))
def test_an_amount_that_is_taken_can_be_changed_and_loses_nothing(units: int, currency: str) -> None:
    money = Money(value=Decimal(units).scaleb(-places_of(currency)), currency=currency)
    check_amount(money, at=_AT)

    coins = converted(money, BTC, at=_AT, up=True)

    assert converted(coins, currency, at=_AT, up=True).value >= money.value


@given(st.integers(min_value=0, max_value=10**13))
def test_a_satoshi_is_never_split(msat: int) -> None:
    up, down = btc_of_msat(msat), btc_of_msat(msat, up=False)

    assert 0 <= msat_of_btc(up) - msat < 1_000
    assert 0 <= msat - msat_of_btc(down) < 1_000


def test_cash_is_rounded_to_cents() -> None:
    assert plain(rounded(Decimal("1.001"), "USD", up=True)) == "1.01"
    assert plain(rounded(Decimal("1.009"), "USD", up=False)) == "1.00"


@pytest.mark.parametrize(
    ("microsecond", "created", "listed", "expiring"),
    [
        (505_494, ".5054941+00:00", ".505494+00:00", ".505+00:00"),
        (500_000, ".5000006+00:00", ".5+00:00", ".5+00:00"),
        (0, ".0000001+00:00", "+00:00", "+00:00"),
        (9, ".0000091+00:00", ".000009+00:00", "+00:00"),
    ],
)
def test_times_have_as_many_places_as_strike_writes(microsecond: int, created: str, listed: str, expiring: str) -> None:
    at, second = datetime(2022, 11, 5, 15, 14, 35, microsecond, UTC), "2022-11-05T15:14:35"

    assert moments.created(at) == second + created
    assert moments.listed(at) == second + listed
    assert moments.expiring(at) == second + expiring
