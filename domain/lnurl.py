"""LNURL: how an address to call is written for people to scan and type (LUD-01, LUD-16, LUD-17)."""

import re
from ipaddress import IPv4Address
from typing import Final
from urllib.parse import parse_qs, urlsplit

from quittance.domain import bech32
from quittance.domain.errors import InvalidInput
from quittance.domain.outgoing_errors import InvalidPayee
from quittance.domain.reader import check_lightning_address

WELL_KNOWN: Final = "/.well-known/lnurlp/"

_PREFIX: Final = "lnurl"
_PAYEE_CHARACTERS_MAX: Final = 4_096  # an LNURL of the longest address that is called, with room for a scheme
_FILLING_BITS_MAX: Final = 4
_LIGHTNING: Final = "lightning:"
_PAY_SCHEME: Final = "lnurlp"
_OTHER_SCHEMES: Final = frozenset({"lnurlw", "lnurlc", "keyauth"})
_PAY_TAG: Final = "payRequest"
_WEB_SCHEMES: Final = frozenset({"http", "https"})
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.ASCII | re.DOTALL)


def encode(url: str) -> str:
    """Return the LNURL of an address, in the upper case that makes small QR codes."""
    content = url.encode()
    count = (len(content) * 8 + 4) // 5
    value = int.from_bytes(content) << count * 5 - len(content) * 8
    return bech32.encode(_PREFIX, bech32.symbols_from_int(value, count=count)).upper()


def decode(text: str) -> str:
    """Return the address in an LNURL.

    Raises:
        InvalidPayee: it is none, whatever the text is.
    """
    try:
        prefix, symbols = bech32.decode(text)
    except bech32.MalformedBech32 as error:
        raise InvalidPayee(f"is not a valid LNURL: {error}") from error
    filling = len(symbols) * 5 % 8
    if prefix != _PREFIX or filling > _FILLING_BITS_MAX or bech32.int_from_symbols(symbols[-1:]) % 2**filling:
        raise InvalidPayee("is not a valid LNURL")
    try:
        return bech32.bytes_from_symbols(symbols).decode()
    except UnicodeDecodeError as error:
        raise InvalidPayee("is an LNURL of something that is not UTF-8") from error


def payee_url(payee: str) -> str:
    """Return where a payee says what can be paid: of a Lightning Address, an LNURL, ``lnurlp://…``, or a link.

    Whether that address may be called is for the caller of it to check.

    Raises:
        InvalidPayee: it is none of these.
    """
    said = payee.strip()
    if len(said) > _PAYEE_CHARACTERS_MAX:
        raise InvalidPayee("is too long")
    if said[: len(_LIGHTNING)].lower() == _LIGHTNING:
        said = said[len(_LIGHTNING) :].removeprefix("//")
    found = _SCHEME.fullmatch(said)
    if found is not None:
        return _url_of_link(found[1].lower(), found[2])
    if "@" in said:
        return address_url(said)
    return _checked(decode(said))


def address_url(address: str) -> str:
    """Return what a Lightning Address stands for (LUD-16).

    Raises:
        InvalidPayee: it is none.
    """
    try:
        name, _, host = check_lightning_address(address).partition("@")
    except InvalidInput as error:
        raise InvalidPayee(f"is wrong: {error.message}") from error
    return _checked(f"{_scheme_for(host)}://{host}{WELL_KNOWN}{name}")


def is_same_site(url: str, other: str) -> bool:
    """Tell whether two addresses are of one host; an address that cannot be read is of none."""
    host = _host_of(url)
    return bool(host) and host == _host_of(other)


def scheme_of(url: str) -> str:
    """Return the scheme of an address in small letters, or an empty text."""
    found = _SCHEME.fullmatch(url)
    return found[1].lower() if found is not None else ""


def _url_of_link(scheme: str, rest: str) -> str:
    """Read ``lnurlp://`` (LUD-17), and the links of web pages that carry an LNURL as a fallback (LUD-01)."""
    if scheme == _PAY_SCHEME:
        return _checked(f"{_scheme_for(re.split('[/?#]', rest, maxsplit=1)[0].rpartition('@')[2])}://{rest}")
    if scheme in _OTHER_SCHEMES:
        raise InvalidPayee("is an LNURL for something else than to be paid")
    if scheme not in _WEB_SCHEMES:
        raise InvalidPayee("begins with a scheme that is not known; give name@example.com, LNURL1… or lnurlp://…")
    for value in _query_of(f"{scheme}://{rest}").get("lightning", []):
        return _checked(decode(value))
    raise InvalidPayee("is a link without an LNURL; give name@example.com, LNURL1… or lnurlp://…")


def _checked(url: str) -> str:
    """Return an address of the web that offers to be paid, as far as it says itself.

    Raises:
        InvalidPayee: it is another, or has a tag that means something else (LUD-01).
    """
    if scheme_of(url) not in _WEB_SCHEMES or not _host_of(url):
        raise InvalidPayee("leads to something else than https://host/path")
    if any(tag != _PAY_TAG for tag in _query_of(url).get("tag", [])):
        raise InvalidPayee("is an LNURL for something else than to be paid")
    return url


def _scheme_for(host: str) -> str:
    """Return https; http for what can have no certificate: hidden services (LUD-17) and this machine."""
    name = host.partition(":")[0].lower()
    try:
        is_here = IPv4Address(name).is_loopback
    except ValueError:
        is_here = name == "localhost"
    return "http" if is_here or name.endswith(".onion") else "https"


def _query_of(url: str) -> dict[str, list[str]]:
    try:
        return parse_qs(urlsplit(url).query, max_num_fields=100)
    except ValueError as error:
        raise InvalidPayee("leads to an address that cannot be read") from error


def _host_of(url: str) -> str:
    if not url.isprintable() or " " in url or "\\" in url:
        return ""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return "" if "@" in parts.netloc else parts.hostname or ""
