"""Wallets of the tests: they read the code that a browser shows, and call the door of logins."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import coincurve
import httpx
from starlette.applications import Starlette

from quittance.domain import lnurl
from quittance.domain.access import ANONYMOUS
from quittance.resolvers.services import Services
from quittance.server.http.addresses import peer_address
from quittance.server.http.lnurl_auth import lnurl_auth_routes

ACCOUNT = "id username identityPubkey lnurlKey"
CREATE = """
mutation ($input: CreateLnurlLoginInput) { createLnurlLogin(input: $input) { __typename
  ... on CreateLnurlLoginSuccess { lnurl k1 loginSecret expiresAt qrCode png: qrCode(format: PNG) }
  ... on UserError { code message retryable } } }
"""
FINISH = f"""
mutation ($input: FinishLoginInput!) {{ finishLogin(input: $input) {{ __typename
  ... on FinishLoginSuccess {{ token account {{ {ACCOUNT} }} session {{ id current }} }}
  ... on LinkWalletSuccess {{ account {{ {ACCOUNT} }} }}
  ... on UserError {{ code message retryable }} }} }}
"""
COMPLETED = f"""
subscription ($secret: String!) {{ loginCompleted(loginSecret: $secret) {{ __typename
  ... on FinishLoginSuccess {{ token account {{ {ACCOUNT} }} }}
  ... on WalletSigned {{ key }}
  ... on UserError {{ code }} }} }}
"""


def key(number: int = 1) -> coincurve.PrivateKey:
    return coincurve.PrivateKey(number.to_bytes(32))


def public(number: int = 1) -> str:
    return key(number).public_key.format(compressed=True).hex()


async def begin(shop: Any, *, as_: Any = ANONYMOUS, **input_: Any) -> dict[str, Any]:
    made: dict[str, Any] = await shop.mutate("createLnurlLogin", CREATE, {"input": input_ or None}, as_=as_)
    return made


async def finish(shop: Any, begun: dict[str, Any], *, as_: Any = ANONYMOUS, **more: Any) -> dict[str, Any]:
    given = {"loginSecret": begun["loginSecret"]} | more
    done: dict[str, Any] = await shop.mutate("finishLogin", FINISH, {"input": given}, as_=as_)
    return done


def door_of(services: Services) -> httpx.AsyncClient:
    app = Starlette(routes=lnurl_auth_routes(services, peer_address))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://shop.test")


def signed(begun: dict[str, Any], number: int = 1, **more: str) -> dict[str, str]:
    """Return what the wallet with this key says to the door that the code leads to."""
    said = {name: values[0] for name, values in parse_qs(urlsplit(lnurl.decode(begun["lnurl"])).query).items()}
    signature = key(number).sign(bytes.fromhex(said["k1"]), hasher=None)
    return said | {"sig": signature.hex(), "key": public(number)} | more


async def sign(door: httpx.AsyncClient, begun: dict[str, Any], number: int = 1, **more: str) -> dict[str, str]:
    return await say(door, signed(begun, number, **more))


async def say(door: httpx.AsyncClient, parameters: Any) -> dict[str, str]:
    """Return the door's answer, which has the same form whatever was said, and never is that of a crash."""
    answer = await door.get("/lnurl/auth", params=parameters)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    body: dict[str, str] = answer.json()
    assert body == {"status": "OK"} or (body.keys() == {"status", "reason"} and body["status"] == "ERROR")
    assert not body.get("reason", "").startswith("something went wrong")
    return body
