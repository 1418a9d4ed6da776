"""What a wallet does with codes: it signs a login (LUD-04), or brings an invoice and takes money (LUD-03)."""

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import coincurve
import httpx

from quittance.domain import lnurl
from quittance.domain.errors import QuittanceError

_TIMEOUT_S: Final = 10.0
_CHALLENGE_BYTES: Final = 32


class DoorRefused(Exception):
    """The door did not take what the wallet brought; the sentence is its reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WalletLogin:
    url: str
    host: str
    challenge: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """The invoice that a wallet brought, and that the door promised to pay."""

    payment_request: str
    amount_msat: int


def read_login(text: str) -> WalletLogin:
    """Return the login in an LNURL, of a server on this machine: the sandbox calls nobody else.

    Raises:
        ValueError: it is none.
    """
    url = _decoded(text)
    parts = urlsplit(url)
    said, host = parse_qs(parts.query), parts.hostname or ""
    challenge = bytes.fromhex(said.get("k1", [""])[0])
    if said.get("tag") != ["login"] or len(challenge) != _CHALLENGE_BYTES:
        raise ValueError("it is no login")
    if not _is_here(url):
        raise ValueError("it leads to another machine")
    return WalletLogin(url=url, host=host, challenge=challenge)


def read_withdrawal(text: str) -> str:
    """Return where an LNURL that is no login leads, if that is on this machine, as :func:`read_login`.

    Raises:
        ValueError: it is none, or leads elsewhere.
    """
    url = _decoded(text)
    if "tag" in parse_qs(urlsplit(url).query):
        raise ValueError("it is no withdrawal")
    if not _is_here(url):
        raise ValueError("it leads to another machine")
    return url


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
    answer = await _called(login.url, said)
    if answer.get("status") != "OK":
        raise DoorRefused(str(answer.get("reason")))
    return {"status": "OK", "key": public}


async def take_withdrawal(url: str, *, amount_msat: int | None, invoice_of: Callable[[int, str], str]) -> Taken:
    """Read what can be taken, and bring an invoice of that, or of less.

    ``invoice_of`` is given the amount in millisatoshi and a description.

    Raises:
        DoorRefused: the door did not promise to pay.
    """
    offer = await _called(url, {})
    if offer.get("tag") != "withdrawRequest":
        raise DoorRefused(str(offer.get("reason") or "it offers no withdrawal"))
    callback, most = str(offer.get("callback")), offer.get("maxWithdrawable")
    if not _is_here(callback) or not isinstance(most, int):
        raise DoorRefused("its offer makes no sense, or leads to another machine")
    amount = most if amount_msat is None else amount_msat
    invoice = invoice_of(amount, str(offer.get("defaultDescription") or ""))
    answer = await _called(callback, {"k1": str(offer.get("k1")), "pr": invoice})
    if answer.get("status") != "OK":
        raise DoorRefused(str(answer.get("reason")))
    return Taken(payment_request=invoice, amount_msat=amount)


async def _called(url: str, said: Mapping[str, str]) -> Mapping[str, Any]:
    """Return what a door answers; its status code says nothing.

    Raises:
        DoorRefused: it does not answer, or not with a JSON object.
    """
    try:
        async with httpx.AsyncClient(timeout=_TIMEOUT_S, trust_env=False) as client:
            answer = (await client.get(httpx.URL(url).copy_merge_params(said))).json()
    except (httpx.HTTPError, ValueError) as error:
        raise DoorRefused(f"the door does not answer ({type(error).__name__})") from error
    if not isinstance(answer, dict):
        raise DoorRefused("the door answers no JSON object")
    return answer


def _decoded(text: str) -> str:
    try:
        return lnurl.decode(text.strip())
    except QuittanceError as error:
        raise ValueError(error.message) from error


def _is_here(url: str) -> bool:
    """Tell whether an address is on this machine: the sandbox calls nobody else."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        return parts.scheme == "http" and (host == "localhost" or ip_address(host).is_loopback)
    except ValueError:
        return False
