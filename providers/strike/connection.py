"""The connection to Strike: https, and an API key on every call."""

from dataclasses import dataclass
from typing import Final

import httpx
from pydantic import SecretStr

from quittance.domain.errors import ProviderMisconfigured

PRODUCTION_URL: Final = "https://api.strike.me"
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_CONNECT_S: Final = 5.0
_CONNECTIONS_MAX: Final = 20
_KEY_LENGTH_MAX: Final = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class StrikeConnection:
    """Where Strike listens, such as ``https://api.strike.me``, without a path, and the key that opens the account."""

    url: str
    api_key: SecretStr


def open_client(connection: StrikeConnection) -> httpx.AsyncClient:
    """Return a client that connects when it is first used.

    Raises:
        ProviderMisconfigured: no https (only a sandbox on this machine may do without), or what is no API key.
    """
    return httpx.AsyncClient(
        base_url=_checked_url(connection.url),
        headers={"Authorization": f"Bearer {_checked_key(connection.api_key)}", "Accept": "application/json"},
        timeout=httpx.Timeout(None, connect=_CONNECT_S),  # each call has a deadline of its own
        limits=httpx.Limits(max_connections=_CONNECTIONS_MAX),
        trust_env=False,
        follow_redirects=False,
    )


def _checked_url(text: str) -> httpx.URL:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise ProviderMisconfigured("strike", "Strike's address is no URL") from error
    if not (url.scheme == "https" or (url.scheme == "http" and url.host in _LOOPBACK)):
        raise ProviderMisconfigured("strike", "Strike's address must begin with https://")
    if not url.host or url.path not in {"", "/"} or url.query or url.userinfo:
        raise ProviderMisconfigured("strike", f"give Strike's address without a path, such as {PRODUCTION_URL}")
    return url


def _checked_key(key: SecretStr) -> str:
    """Return the key without the line end that a file has; it must fit into a header."""
    text = key.get_secret_value().strip()
    if not (text.isascii() and text.isprintable() and " " not in text and 0 < len(text) <= _KEY_LENGTH_MAX):
        raise ProviderMisconfigured("strike", "what we were given is no API key; make one in Strike's dashboard")
    return text
