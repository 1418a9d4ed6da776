"""LNURL (LUD-01): a URL in Bech32, so that a QR code of it is small and a wallet knows it for one."""

from typing import Final

from quittance.domain import bech32

_PREFIX: Final = "lnurl"


def encode(url: str) -> str:
    """Return the LNURL of a URL, in capitals."""
    content = url.encode()
    count = (len(content) * 8 + 4) // 5
    value = int.from_bytes(content) << count * 5 - len(content) * 8
    return bech32.encode(_PREFIX, bech32.symbols_from_int(value, count=count)).upper()


def decode(text: str) -> str:
    """Return the URL that an LNURL holds.

    Raises:
        ValueError: it is none.
    """
    prefix, symbols = bech32.decode(text)
    if prefix != _PREFIX:
        raise ValueError("it does not begin with LNURL1")
    return bech32.bytes_from_symbols(symbols).decode()
