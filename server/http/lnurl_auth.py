"""The door of wallets that log in (LUD-04): always 200, because wallets read the body alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from quittance.domain.errors import InvalidSignature, LoginChallengeNotFound, RateLimited
from quittance.domain.lnurl_login import CHALLENGE_BYTES, DOOR, KEY_BYTES, SIGNATURE_BYTES_MAX, TAG
from quittance.gql.masking import unexpected
from quittance.resolvers.lnurl_logins import sign_lnurl_login
from quittance.resolvers.services import Services
from quittance.server.access import ADDRESS_BUDGET
from quittance.server.http.addresses import ClientAddress

log = structlog.get_logger("quittance.lnurl_auth")

_HEADERS: Final = {"Access-Control-Allow-Origin": "*", "Cache-Control": "no-store"}
_FAILED: Final = "something went wrong here; try again"


class _Refused(Exception):
    """A request that is answered by an error; the sentence is for the person with the wallet."""


@dataclass(frozen=True, slots=True)
class _Door:
    services: Services
    client_address: ClientAddress

    async def __call__(self, request: Request) -> Response:
        if request.method != "GET":  # a preview must not use a signature up
            return Response(status_code=405, headers={"Allow": "GET"})
        try:
            await self._sign(request)
        except (_Refused, RateLimited) as refused:
            return _error(str(refused))
        except LoginChallengeNotFound:
            return _error("this code was used or has expired; let the page show a new one")
        except InvalidSignature:
            return _error("this is no signature of k1 by this key")
        except Exception as error:  # noqa: BLE001 - the last line before the wallet: logged there and masked
            unexpected(error, log=log)
            return _error(_FAILED)
        return JSONResponse({"status": "OK"}, headers=_HEADERS)

    async def _sign(self, request: Request) -> None:
        """Count the caller before anything is read, so that guessing is counted too."""
        await self.services.limiter.hit(ADDRESS_BUDGET, self.client_address(request.scope))
        said = request.query_params
        if said.get("tag", TAG) != TAG:
            raise _Refused(f"tag is not {TAG}")
        challenge = _bytes(said, "k1", CHALLENGE_BYTES, CHALLENGE_BYTES)
        key = _bytes(said, "key", KEY_BYTES, KEY_BYTES)
        signature = _bytes(said, "sig", 1, SIGNATURE_BYTES_MAX)
        await sign_lnurl_login(self.services, challenge=challenge, signature=signature, key=key)


def _bytes(said: Mapping[str, str], name: str, size_min: int, size_max: int) -> bytes:
    """Return what a parameter says in hex.

    Raises:
        _Refused: it is missing, no hex, or of another length.
    """
    text = said.get(name, "")
    if 2 * size_min <= len(text) <= 2 * size_max and text.isalnum():
        try:
            return bytes.fromhex(text)
        except ValueError:
            pass
    raise _Refused(f"{name} is not {size_max} bytes in hex" if size_min == size_max else f"{name} is no hex")


def _error(reason: str) -> Response:
    return JSONResponse({"status": "ERROR", "reason": reason}, headers=_HEADERS)


def lnurl_auth_routes(services: Services, client_address: ClientAddress) -> list[Route]:
    """Return the route that the codes of ``createLnurlLogin`` lead to."""
    return [Route(DOOR, _Door(services, client_address).__call__, methods=["GET"], name="lnurl_auth")]
