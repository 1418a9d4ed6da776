"""zbase32: the text form of a node's signature."""

from typing import Final

_ALPHABET: Final = "ybndrfg8ejkmcpqxot1uwisza345h769"
_VALUES: Final = {symbol: value for value, symbol in enumerate(_ALPHABET)}


def encode(content: bytes) -> str:
    """Return ``content`` in symbols of five bits, zero bits filling the last one."""
    symbols = (len(content) * 8 + 4) // 5
    value = int.from_bytes(content) << symbols * 5 - len(content) * 8
    return "".join(_ALPHABET[value >> 5 * place & 31] for place in range(symbols - 1, -1, -1))


def decode(text: str) -> bytes:
    """Return the whole bytes that ``text`` holds.

    Raises:
        ValueError: a symbol outside the alphabet, or filling bits that are not zero.
    """
    value = 0
    for symbol in text:
        if symbol not in _VALUES:
            raise ValueError(f"{symbol!r} is no zbase32 symbol")
        value = value << 5 | _VALUES[symbol]
    size, filling = divmod(len(text) * 5, 8)
    if filling >= 5 or value & (1 << filling) - 1:
        raise ValueError("the last symbol is not filled with zero bits")
    return (value >> filling).to_bytes(size)
