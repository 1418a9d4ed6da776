"""Cursors lead back to where they were made, and nowhere else."""

import base64
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quittance.domain.cursor import (
    CURSOR_CHARACTERS_MAX,
    decode_key,
    decode_position,
    encode_key,
    encode_position,
)
from quittance.domain.errors import InvalidCursor

POSITIONS = st.integers(0, 2**63 - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=40)
PARTS = st.lists(st.one_of(TEXTS, st.integers(-(2**63) + 1, 2**63 - 1)), min_size=1, max_size=4)


def wrapped(plain: str) -> str:
    return base64.urlsafe_b64encode(plain.encode()).rstrip(b"=").decode()


@given(POSITIONS)
def test_a_position_comes_back(position: int) -> None:
    cursor = encode_position(position)

    assert decode_position(cursor) == position
    assert all(character.isalnum() or character in "-_" for character in cursor)


@given(PARTS)
def test_a_key_comes_back(parts: list[str | int]) -> None:
    assert decode_key(encode_key(*parts)) == tuple(parts)


def assert_refused_or_canonical(text: str) -> None:
    with suppress(InvalidCursor):
        assert encode_position(decode_position(text)) == text
    with suppress(InvalidCursor):
        assert encode_key(*decode_key(text)) == text


@given(st.text(max_size=60))
def test_any_other_text_is_refused_in_one_way(text: str) -> None:
    assert_refused_or_canonical(text)


@given(st.binary(max_size=80))
def test_any_bytes_in_the_wrapping_are_refused_or_canonical(raw: bytes) -> None:
    for prefix in (b"", b"p1:", b"k1:"):
        assert_refused_or_canonical(base64.urlsafe_b64encode(prefix + raw).rstrip(b"=").decode())


@given(POSITIONS, st.integers(0, 40), st.characters(codec="ascii"))
def test_a_changed_cursor_is_refused_or_names_another_place(position: int, index: int, character: str) -> None:
    cursor = encode_position(position)
    index %= len(cursor)
    changed = cursor[:index] + character + cursor[index + 1 :]

    try:
        found = decode_position(changed)
    except InvalidCursor:
        return

    assert encode_position(found) == changed


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "p1:5", wrapped("p1:"), wrapped("p1:-1"), wrapped("p1:05"), wrapped("p1:+5"), wrapped("p1:1e3"),
        wrapped("p1:\u0665"), wrapped("p2:5"), wrapped("p1"), wrapped(f"p1:{2**63}"), wrapped("p1:" + "9" * 700),
        wrapped("p1:5") + "=", wrapped("p1:5") + "\n", encode_key(5), "a" * (CURSOR_CHARACTERS_MAX + 1), "A",
    ],
)  # fmt: skip
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(InvalidCursor):
        decode_position(text)


@pytest.mark.parametrize(
    "plain",
    [
        "k1:", "k1:[]", "k1:5", "k1:{}", "k1:[1.5]", "k1:[true]", "k1:[null]", "k1:[[1]]", "k1:[1, 2]",
        'k1:["\\u0000"]', 'k1:["\\ud800"]', 'k1:["\\u0061"]', f"k1:[{2**63}]", "k1:" + "[" * 600, "k1:[1]x",
        "p1:[1]", "k1:[NaN]", "k1:[" + "9" * 500 + "]",
    ],
)  # fmt: skip
def test_what_is_no_key_is_refused(plain: str) -> None:
    with pytest.raises(InvalidCursor):
        decode_key(wrapped(plain))


@pytest.mark.parametrize("parts", [(), ("\x00",), ("\ud800",), (2**63,), (True,), ("x" * 2_000,)])
def test_a_key_that_could_not_come_back_is_not_made(parts: tuple[str | int, ...]) -> None:
    with pytest.raises(ValueError):
        encode_key(*parts)


@pytest.mark.parametrize("position", [-1, 2**63])
def test_a_position_outside_the_log_is_not_made(position: int) -> None:
    with pytest.raises(ValueError):
        encode_position(position)
