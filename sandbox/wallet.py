"""What a wallet does with the code of a login (LUD-04): signs the challenge with its key for that domain name."""

import hmac
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import ip_address
from typing import Final
from urllib.parse import parse_qs, urlsplit

import coincurve
import httpx

from quittance.domain import lnurl
from quittance.domain.errors import QuittanceError

_TIMEOUT_S: Final = 10.0
_CHALLENGE_BYTES: Final = 32


class DoorRefused(Exception):
    """The door did not take the signature; the sentence is its reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WalletLogin:
    url: str
    host: str
    challenge: bytes


def read_login(text: str) -> WalletLogin:
    """Return the login in an LNURL, of a server on this machine: the sandbox calls nobody else.

    Raises:
        ValueError: it is none.
    """
    try:
        url = lnurl.decode(text.strip())
    except QuittanceError as error:
        raise ValueError(error.message) from error
    parts = urlsplit(url)
    said, host = parse_qs(parts.query), parts.hostname or ""
    challenge = bytes.fromhex(said.get("k1", [""])[0])
    if said.get("tag") != ["login"] or len(challenge) != _CHALLENGE_BYTES:
        raise ValueError("it is no login")
    if parts.scheme != "http" or not _is_here(host):
        raise ValueError("it leads to another machine")
    return WalletLogin(url=url, host=host, challenge=challenge)


def linking_key(secret: bytes, *, host: str) -> coincurve.PrivateKey:
    """Return the key for one domain name, as LUD-05 ends: an HMAC of the name, which tells nothing of the secret."""
    return coincurve.PrivateKey(hmac.digest(secret, host.encode(), sha256))


async def answer_login(login: WalletLogin, *, secret: bytes) -> dict[str, object]:
    """Sign the challenge, tell the door, and return the key that signed.

    Raises:
        DoorRefused: nobody is logged in.
    """
    key = linking_key(secret, host=login.host)
    public = key.public_key.format(compressed=True).hex()
    said = {"sig": key.sign(login.challenge, hasher=None).hex(), "key": public}
    try:
        async with httpx.AsyncClient(timeout=_TIMEOUT_S, trust_env=False) as client:
            answer = (await client.get(httpx.URL(login.url).copy_merge_params(said))).json()
    except (httpx.HTTPError, ValueError) as error:
        raise DoorRefused(f"the door does not answer ({type(error).__name__})") from error
    if answer.get("status") != "OK":
        raise DoorRefused(str(answer.get("reason")))
    return {"status": "OK", "key": public}


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
