"""The connection to one node: https, the certificate that we trust, and a rune on every call."""

import ssl
from dataclasses import dataclass, field
from typing import Final

import httpx
from pydantic import SecretStr

from quittance.domain.errors import ProviderMisconfigured

_PEM: Final = b"-----BEGIN CERTIFICATE-----"
_CONNECT_S: Final = 5.0
_CONNECTIONS_MAX: Final = 50
_RUNE_LENGTH_MAX: Final = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class ClnConnection:
    """Where clnrest listens, as ``https://host:port``, and the rune that opens it.

    ``ca`` is the one authority that is trusted (PEM, the node's ca.pem); without it, those that the machine trusts.
    """

    url: str
    rune: SecretStr
    ca: bytes | None = field(default=None, repr=False)


def open_client(connection: ClnConnection) -> httpx.AsyncClient:
    """Return a client that connects when it is first used.

    Raises:
        ProviderMisconfigured: no https, no certificate in ``ca``, or what is no rune.
    """
    if not connection.url.startswith("https://"):  # a rune in clear opens the node to whoever listens
        raise ProviderMisconfigured("cln", "the node's address must begin with https://")
    return httpx.AsyncClient(
        base_url=connection.url,
        headers={"Rune": _checked(connection.rune), "Accept": "application/json"},
        verify=_trusting(connection.ca),
        timeout=httpx.Timeout(None, connect=_CONNECT_S),  # each call has a deadline of its own
        limits=httpx.Limits(max_connections=_CONNECTIONS_MAX),
        trust_env=False,
        follow_redirects=False,
    )


def _trusting(ca: bytes | None) -> ssl.SSLContext:
    if ca is None:
        return ssl.create_default_context()
    try:
        if _PEM in ca:  # of an empty text, ssl would make "trust what the machine trusts"
            return ssl.create_default_context(cadata=ca.decode("ascii"))
    except (ssl.SSLError, ValueError):
        pass
    raise ProviderMisconfigured("cln", "the ca.pem holds no certificate; give the node's own, in PEM")


def _checked(rune: SecretStr) -> str:
    """Return the rune without the line end that a file has; it must fit into a header."""
    text = rune.get_secret_value().strip()
    if not (text.isascii() and text.isprintable() and " " not in text and 0 < len(text) <= _RUNE_LENGTH_MAX):
        raise ProviderMisconfigured("cln", "what we were given is no rune; give the text that createrune returned")
    return text
