"""What a wallet's camera reads is what we were asked to draw."""

import math
import re
import struct
import zlib

import pytest
import zxingcpp

from quittance.web.qr import TEXT_LENGTH_MAX, qr_png, qr_png_as_written, qr_svg

INVOICE = "lnbcrt25u1p5hdxz4pp5q9hyj8rcaqa8kefd29r8nq2wvvlhunuxjtkwyxjj5ypl6ke5mnus" + "dqqcqzpgxqyz5vqsp5w6tyd2g2k" * 7
WALLET_LINK = "https://Wallet.example/Pay?id=Ab1&name=caf\u00e9"


def read_png(png: bytes) -> memoryview:
    """Parse a 1-bit greyscale PNG into one byte a pixel."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    chunks: dict[bytes, bytes] = {}
    position = 8
    while position < len(png):
        (length,) = struct.unpack(">I", png[position : position + 4])
        kind, body = png[position + 4 : position + 8], png[position + 8 : position + 8 + length]
        assert struct.unpack(">I", png[position + 8 + length : position + 12 + length]) == (zlib.crc32(kind + body),)
        chunks[kind] = body
        position += 12 + length
    width, height, *form = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert form == [1, 0, 0, 0, 0]
    rows = zlib.decompress(chunks[b"IDAT"])
    stride = -(-width // 8) + 1
    assert len(rows) == stride * height
    assert {rows[row * stride] for row in range(height)} == {0}
    lines = ("".join(f"{byte:08b}" for byte in rows[row * stride + 1 : (row + 1) * stride]) for row in range(height))
    bits = "".join(line[:width] for line in lines)
    return memoryview(bytes(255 * int(bit) for bit in bits)).cast("B", (height, width))


def draw_svg(svg: str, *, scale: int = 4) -> memoryview:
    """Draw the rectangles of our own path into one byte a pixel."""
    side = int(re.search(r'viewBox="0 0 (\d+) \1"', svg)[1])  # type: ignore[index]
    pixels = bytearray(b"\xff" * (side * scale) ** 2)
    for x, y, length in re.findall(r"M(\d+) (\d+)h(\d+)v1h-\3z", svg):
        for row in range(int(y) * scale, (int(y) + 1) * scale):
            start = row * side * scale + int(x) * scale
            pixels[start : start + int(length) * scale] = bytes(int(length) * scale)
    return memoryview(bytes(pixels)).cast("B", (side * scale, side * scale))


def decode(image: memoryview) -> zxingcpp.Barcode:
    (found,) = zxingcpp.read_barcodes(image, formats=zxingcpp.barcode_formats_from_str("QRCode"))
    return found


@pytest.mark.parametrize("text", [INVOICE, f"lightning:{INVOICE}"])
def test_an_invoice_is_drawn_in_capitals(text: str) -> None:
    assert decode(read_png(qr_png(text))).text == text.upper()
    assert decode(draw_svg(qr_svg(text))).text == text.upper()


@pytest.mark.parametrize(
    "text", [WALLET_LINK, "lnbc not an invoice", "lnbc1Mixed2case3qqqqqqqq", "x" * TEXT_LENGTH_MAX]
)
def test_any_other_text_keeps_its_letters(text: str) -> None:
    assert decode(read_png(qr_png(text))).text == text
    assert decode(draw_svg(qr_svg(text))).text == text


def test_l8_s5_as_written_it_keeps_its_letters_has_ten_pixels_a_module_and_stays_small() -> None:
    text = INVOICE[:340]
    png = qr_png_as_written(text)
    image = read_png(png)
    side = image.nbytes // len(image)

    assert decode(image).text == text
    assert side % 10 == 0
    pixels = image.tobytes()
    rows = [pixels[start : start + side] for start in range(0, len(pixels), side)]
    assert set(b"".join(rows[:40])) == {255}
    assert {row[:40] for row in rows} == {b"\xff" * 40}
    assert rows[40][40] == 0
    assert all(rows[n] == rows[n // 10 * 10] for n in range(side))
    assert len(png) <= 2_400


@pytest.mark.parametrize("text", ["", "x" * (TEXT_LENGTH_MAX + 1)])
def test_as_written_too_what_no_symbol_can_hold_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="QR code"):
        qr_png_as_written(text)


def test_capitals_make_an_invoice_coarser_to_scan() -> None:
    def side(svg: str) -> int:
        return int(re.search(r'viewBox="0 0 (\d+)', svg)[1])  # type: ignore[index]

    assert side(qr_svg(INVOICE)) < side(qr_svg(f"{INVOICE} "))


def test_a_drawing_has_a_quiet_zone_a_role_and_its_own_colours() -> None:
    svg = qr_svg(INVOICE)
    pixels = draw_svg(svg, scale=1).tobytes()

    assert 'role="img"' in svg
    assert 'fill="#fff"' in svg
    assert 'fill="#000"' in svg
    width = math.isqrt(len(pixels))
    assert set(pixels[: 4 * width]) == {255}
    assert all(set(pixels[row * width : row * width + 4]) == {255} for row in range(width))
    assert pixels[4 * width + 4] == 0


@pytest.mark.parametrize("text", ["", "x" * (TEXT_LENGTH_MAX + 1), "\u00e9" * 2_000])
def test_what_no_symbol_can_hold_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="QR code"):
        qr_svg(text)
    with pytest.raises(ValueError, match="QR code"):
        qr_png(text)


def test_a_second_drawing_comes_from_a_bounded_memory() -> None:
    assert qr_svg(INVOICE) is qr_svg(INVOICE)
    assert qr_png(INVOICE) is qr_png(INVOICE)
    assert qr_svg.cache_info().maxsize == 256
    assert qr_png.cache_info().maxsize == 256
