"""Bech32 (BIP-173) without its length limit, as invoices use it: five-bit symbols, an alphabet and a checksum."""

from base64 import b32encode
from typing import Final

_ALPHABET: Final = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_RFC4648: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_BASE_32: Final = b"0123456789abcdefghijklmnopqrstuv"  # the digits that int(text, 32) reads
_VALUES: Final = bytes(range(32))
_FOREIGN: Final = 0xFF
_CHECKSUM_SYMBOLS: Final = 6

_TO_ALPHABET: Final = bytes.maketrans(_VALUES, _ALPHABET)
_TO_BASE_32: Final = bytes.maketrans(_VALUES, _BASE_32)
_FROM_RFC4648: Final = bytes.maketrans(_RFC4648, _VALUES)
_FROM_ALPHABET: Final = bytes(_ALPHABET.find(code) if code in _ALPHABET else _FOREIGN for code in range(256))


class MalformedBech32(ValueError):
    """The text is not Bech32; the sentence says why."""


def _one_step(top: int) -> int:
    """Return what the five bits that leave the checksum's 30 bits feed back into it."""
    generators = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
    back = 0
    for bit, generator in enumerate(generators):
        if top >> bit & 1:
            back ^= generator
    return back


_ONE: Final = tuple(_one_step(top) for top in range(32))
# Two symbols at a time: one look-up for the ten bits that leave.
_TWO: Final = tuple(
    ((_ONE[top >> 5] ^ (top & 31) << 25) & 0x1FFFFFF) << 5 ^ _ONE[(_ONE[top >> 5] ^ (top & 31) << 25) >> 25]
    for top in range(1024)
)


def _polymod(symbols: bytes) -> int:
    check = 1
    if len(symbols) % 2:
        check = check << 5 ^ symbols[0]
        symbols = symbols[1:]
    for first, second in zip(symbols[::2], symbols[1::2], strict=True):
        check = (check & 0xFFFFF) << 10 ^ first << 5 ^ second ^ _TWO[check >> 20]
    return check


def _expanded(prefix: bytes) -> bytes:
    return bytes(code >> 5 for code in prefix) + b"\x00" + bytes(code & 31 for code in prefix)


def symbols_from_int(value: int, *, count: int) -> bytes:
    """Return ``value`` as ``count`` five-bit symbols, most significant first."""
    size = (count + 7) // 8 * 5
    return b32encode((value << size * 8 - count * 5).to_bytes(size)).translate(_FROM_RFC4648)[:count]


def int_from_symbols(symbols: bytes) -> int:
    """Return the number that the symbols write, zero for none."""
    return int(symbols.translate(_TO_BASE_32), 32) if symbols else 0


def bytes_from_symbols(symbols: bytes) -> bytes:
    """Return the whole bytes in the symbols; bits that fill the last symbol are dropped."""
    size, rest = divmod(len(symbols) * 5, 8)
    return (int_from_symbols(symbols) >> rest).to_bytes(size)


def encode(prefix: str, symbols: bytes) -> str:
    """Return the text of ``symbols`` behind a lower-case ``prefix``, with its checksum."""
    check = _polymod(_expanded(prefix.encode()) + symbols + bytes(_CHECKSUM_SYMBOLS)) ^ 1
    tail = symbols_from_int(check, count=_CHECKSUM_SYMBOLS)
    return f"{prefix}1{(symbols + tail).translate(_TO_ALPHABET).decode()}"


def decode(text: str) -> tuple[str, bytes]:
    """Return the prefix in lower case, and the symbols without their checksum.

    Raises:
        MalformedBech32: mixed case, foreign characters, no separator, or a wrong checksum.
    """
    lower = text.lower()
    if not text.isascii() or not text.isprintable():
        raise MalformedBech32("it holds characters that are not printable ASCII")
    if text not in (lower, text.upper()):
        raise MalformedBech32("it mixes upper and lower case")
    prefix, separator, tail = lower.rpartition("1")
    if not separator or not prefix or len(tail) < _CHECKSUM_SYMBOLS:
        raise MalformedBech32("it has no prefix, separator and checksum")
    symbols = tail.encode().translate(_FROM_ALPHABET)
    if _FOREIGN in symbols:
        raise MalformedBech32("it holds a character outside the alphabet")
    if _polymod(_expanded(prefix.encode()) + symbols) != 1:
        raise MalformedBech32("its checksum is wrong")
    return prefix, symbols[:-_CHECKSUM_SYMBOLS]
