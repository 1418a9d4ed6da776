"""QR codes of payment requests, as SVG and PNG, without an imaging library."""

import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Literal

import qrcode  # type: ignore[import-untyped]
from qrcode import constants, util
from qrcode.exceptions import DataOverflowError  # type: ignore[import-untyped]

TEXT_LENGTH_MAX = 2_900
_MEDIUM_LENGTH_MAX = 800  # a longer text makes modules too fine for a phone's camera, so it spends less on correction
_QUIET_MODULES = 4  # ISO/IEC 18004, 9.1
_ALPHANUMERIC: Literal[2] = 2
_BYTES: Literal[4] = 4
_MASK = 0  # each of the eight masks is a valid symbol; searching the prettiest costs three times the rest
_CACHE_SIZE = 256
_WIDE_PIXELS = 10  # of a module where LNPay shops show it
_DARK, _LIGHT = b"\x00", b"\xff"  # eight pixels of a 1-bit PNG: one byte is one module

_INVOICE = re.compile(r"(?:lightning:)?ln[a-z0-9]+1[02-9ac-hj-np-z]{6,}", re.ASCII)


@lru_cache(maxsize=_CACHE_SIZE)
def qr_svg(text: str) -> str:
    """Return the QR code of ``text`` as an ``<svg>`` element: dark on white, quiet zone included.

    Raises:
        ValueError: the text is empty or too long for one symbol.
    """
    matrix = _matrix(text)
    side = len(matrix) + 2 * _QUIET_MODULES
    path = "".join(
        f"M{start + _QUIET_MODULES} {row + _QUIET_MODULES}h{length}v1h-{length}z"
        for row, modules in enumerate(matrix)
        for start, length in _dark_runs(modules)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {side} {side}" role="img" aria-label="QR code" '
        f'shape-rendering="crispEdges"><path fill="#fff" d="M0 0h{side}v{side}H0z"/>'
        f'<path fill="#000" d="{path}"/></svg>'
    )


@lru_cache(maxsize=_CACHE_SIZE)
def qr_png(text: str) -> bytes:
    """Return the QR code of ``text`` as a 1-bit greyscale PNG, eight pixels a module, quiet zone included.

    Raises:
        ValueError: the text is empty or too long for one symbol.
    """
    matrix = _matrix(text)
    side = len(matrix) + 2 * _QUIET_MODULES
    margin = _LIGHT * _QUIET_MODULES
    quiet = _png_rows(_LIGHT * side) * _QUIET_MODULES
    rows = b"".join(
        _png_rows(margin + b"".join(_DARK if dark else _LIGHT for dark in modules) + margin) for modules in matrix
    )
    return _png(quiet + rows + quiet, side=side * 8)


@lru_cache(maxsize=_CACHE_SIZE)
def qr_png_as_written(text: str) -> bytes:
    """Return the QR code of ``text`` in its own letters, as a 1-bit greyscale PNG, ten pixels a module (L8).

    Raises:
        ValueError: the text is empty or too long for one symbol.
    """
    matrix = _matrix(text, as_written=True)
    quiet_row = [False] * (len(matrix) + 2 * _QUIET_MODULES)
    quiet_side = [False] * _QUIET_MODULES
    rows = [quiet_row] * _QUIET_MODULES
    rows += [[*quiet_side, *modules, *quiet_side] for modules in matrix]
    rows += [quiet_row] * _QUIET_MODULES
    return _png(b"".join(_packed_rows(row) for row in rows), side=len(quiet_row) * _WIDE_PIXELS)


def _packed_rows(modules: Sequence[bool]) -> bytes:
    """Return ten scan lines of one row of modules; a module ends inside a byte, and the last byte is filled up."""
    bits = "".join(("0" if dark else "1") * _WIDE_PIXELS for dark in modules)
    filled = bits.ljust(-(-len(bits) // 8) * 8, "1")
    return (b"\x00" + int(filled, 2).to_bytes(len(filled) // 8, "big")) * _WIDE_PIXELS


def _matrix(text: str, *, as_written: bool = False) -> Sequence[Sequence[bool]]:
    if not 0 < len(text) <= TEXT_LENGTH_MAX:
        raise ValueError(f"a QR code here holds 1 to {TEXT_LENGTH_MAX:,} characters, not {len(text):,}")
    medium = len(text) <= _MEDIUM_LENGTH_MAX
    symbol = qrcode.QRCode(
        error_correction=constants.ERROR_CORRECT_M if medium else constants.ERROR_CORRECT_L, mask_pattern=_MASK
    )
    # bech32 means the same in capitals, which a QR code packs in 5.5 bits instead of 8
    if not as_written and _INVOICE.fullmatch(text):
        symbol.add_data(util.QRData(text.upper(), mode=_ALPHANUMERIC))
    else:
        symbol.add_data(util.QRData(text.encode(), mode=_BYTES))
    try:
        symbol.make(fit=True)
    except (DataOverflowError, ValueError) as error:  # the library's own search ends in a ValueError of its own
        raise ValueError("the text has too many bytes for one QR code") from error
    return [[bool(module) for module in row] for row in symbol.modules]


def _dark_runs(modules: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """Yield start and length of each run of dark modules."""
    start = 0
    for dark, run in groupby(modules):
        length = sum(1 for _ in run)
        if dark:
            yield start, length
        start += length


def _png_rows(modules: bytes) -> bytes:
    """Return eight scan lines of one row of modules, each with filter type 0."""
    return (b"\x00" + modules) * 8


def _png(scan_lines: bytes, *, side: int) -> bytes:
    return (
        b"\x89PNG\r\n\x1a\n"
        + _png_chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
        + _png_chunk(b"IDAT", zlib.compress(scan_lines, level=9))
        + _png_chunk(b"IEND", b"")
    )


def _png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
