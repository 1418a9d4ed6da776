"""Who can be paid, read from what a person gives: an invoice, a Lightning Address, an LNURL, or a node's key."""

import re
from typing import Final

from quittance.domain.lnurl import payee_url
from quittance.domain.outgoing_errors import InvalidDestination, InvalidPayee
from quittance.domain.transfer import Destination, DestinationKind

TEXT_MAX: Final = 7_089  # as long as an invoice may be
_SCHEME: Final = "lightning:"
_LNURL_FORMS: Final = ("lnurl1", "lnurlp://", "https://", "http://")
_NODE_KEY: Final = re.compile(r"0[23][0-9a-f]{64}")


def read_destination(text: str) -> Destination:
    """Return whom a text names. An invoice is not read yet.

    Raises:
        InvalidDestination: it names nobody.
    """
    said = text.strip()
    if said[: len(_SCHEME)].lower() == _SCHEME:
        said = said[len(_SCHEME) :]
    if not said or len(said) > TEXT_MAX or not said.isascii() or not said.isprintable():
        raise InvalidDestination("MALFORMED", "it is empty, too long, or holds characters that no destination has")
    small = said.lower()
    if small.startswith(_LNURL_FORMS):
        return Destination(kind=DestinationKind.LNURL, text=_payee(said))
    if _NODE_KEY.fullmatch(small):
        return Destination(kind=DestinationKind.NODE, text=small)
    if "@" in said:
        return Destination(kind=DestinationKind.ADDRESS, text=_payee(small))
    if small.startswith("ln"):
        return Destination(kind=DestinationKind.INVOICE, text=small if said in {small, said.upper()} else said)
    raise InvalidDestination("MALFORMED", "give a Lightning Address, a BOLT11 invoice, an LNURL, or a node's key")


def _payee(said: str) -> str:
    try:
        payee_url(said)
    except InvalidPayee as error:
        raise InvalidDestination("MALFORMED", f"the payee {error.reason}") from None
    return said
