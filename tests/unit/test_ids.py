"""Identifiers: UUIDs of version 7 that sort by time and say what they name."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quittance.domain import ids

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
moments = st.integers(0, 2**47).map(lambda us_by_1024: EPOCH + timedelta(microseconds=us_by_1024 * 1_024))
entropies = st.binary(min_size=10, max_size=10)


@given(at=moments, entropy=entropies)
def test_an_id_is_a_uuid_of_version_7_with_its_time(at: datetime, entropy: bytes) -> None:
    made = ids.new_id(ids.PAYMENT, at=at, entropy=entropy)

    value = uuid.UUID(made.removeprefix("pay_"))
    assert (value.version, value.variant) == (7, uuid.RFC_4122)
    assert abs((value.int >> 80) - (at - EPOCH) // timedelta(milliseconds=1)) <= 1
    assert ids.prefix_of(made) == ids.PAYMENT


def test_the_example_of_the_standard() -> None:
    at = datetime.fromtimestamp(0x017F22E279B0 / 1000, tz=UTC)
    entropy = bytes.fromhex("0cc398c4dc0c0c07398f")

    assert ids.new_id("x", at=at, entropy=entropy) == "x_017f22e279b07cc398c4dc0c0c07398f"


@given(at=moments, later=st.integers(2, 10**9), one=entropies, other=entropies)
def test_ids_sort_by_time(at: datetime, later: int, one: bytes, other: bytes) -> None:
    first = ids.new_id("evt", at=at, entropy=one)
    second = ids.new_id("evt", at=at + timedelta(milliseconds=later), entropy=other)

    assert first < second


@given(at=moments, one=entropies, other=entropies)
def test_74_random_bits_tell_ids_of_one_moment_apart(at: datetime, one: bytes, other: bytes) -> None:
    def random_bits(entropy: bytes) -> int:
        return int.from_bytes(entropy, "big") & ~(0xF << 76) & ~(0x3 << 62)

    same = ids.new_id("evt", at=at, entropy=one) == ids.new_id("evt", at=at, entropy=other)

    assert same is (random_bits(one) == random_bits(other))


@given(st.lists(st.tuples(st.integers(-5, 5), entropies), min_size=2, max_size=50))
def test_ids_of_one_sequence_sort_in_their_order_whatever_the_clock_does(steps: list[tuple[int, bytes]]) -> None:
    sequence, at = ids.IdSequence(), datetime(2026, 1, 1, tzinfo=UTC)
    made = []
    for step_ms, entropy in steps:
        at += timedelta(milliseconds=step_ms)
        made.append(sequence.new_id(ids.AUDIT_ENTRY, at=at, entropy=entropy))

    assert made == sorted(set(made))
    assert {uuid.UUID(one.removeprefix("aud_")).version for one in made} == {7}
    assert {uuid.UUID(one.removeprefix("aud_")).variant for one in made} == {uuid.RFC_4122}


def test_more_ids_than_are_counted_within_a_millisecond_borrow_from_the_next() -> None:
    sequence, at = ids.IdSequence(), datetime(2026, 1, 1, tzinfo=UTC)

    made = [sequence.new_id("aud", at=at, entropy=bytes(10)) for _ in range(4_097)]

    milliseconds = [uuid.UUID(one.removeprefix("aud_")).int >> 80 for one in made]
    assert made == sorted(set(made))
    assert {one - milliseconds[0] for one in milliseconds[:-1]} == {0}
    assert milliseconds[-1] - milliseconds[0] == 1


@pytest.mark.parametrize("size", [0, 9, 11, 16])
def test_other_entropy_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="10 bytes"):
        ids.new_id("pay", at=datetime(2026, 1, 1, tzinfo=UTC), entropy=b"x" * size)
    with pytest.raises(ValueError, match="10 bytes"):
        ids.IdSequence().new_id("pay", at=datetime(2026, 1, 1, tzinfo=UTC), entropy=b"x" * size)


@pytest.mark.parametrize(
    "foreign",
    ["", "_", "pay", "pay_", "pay_" + "0" * 31, "pay_" + "0" * 33, "pay_" + "G" * 32, "pay_" + "A" * 32, "\x00"],
)
def test_a_foreign_text_names_nothing(foreign: str) -> None:
    assert ids.prefix_of(foreign) == ""
