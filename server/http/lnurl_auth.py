"""The door of wallets that log in (LUD-04)."""

from collections.abc import Mapping
from dataclasses import dataclass

import structlog
from starlette.requests import Request
from starlette.routing import Route

from quittance.domain.errors import InvalidInput, InvalidSignature, LoginChallengeNotFound, QuittanceError, RateLimited
from quittance.domain.lnurl_login import CHALLENGE_BYTES, DOOR, KEY_BYTES, SIGNATURE_BYTES_MAX, TAG
from quittance.resolvers.lnurl_logins import sign_lnurl_login
from quittance.resolvers.services import Services
from quittance.server.http.addresses import ClientAddress
from quittance.server.http.wallet_doors import WalletDoor, hex_bytes

log = structlog.get_logger("quittance.lnurl_auth")


@dataclass(frozen=True, slots=True)
class _Doors:
    services: Services

    async def sign(self, request: Request) -> Mapping[str, object]:
        said = request.query_params
        if said.get("tag", TAG) != TAG:
            raise InvalidInput("tag", f"tag is not {TAG}")
        challenge = hex_bytes(said, "k1", CHALLENGE_BYTES, CHALLENGE_BYTES)
        key = hex_bytes(said, "key", KEY_BYTES, KEY_BYTES)
        signature = hex_bytes(said, "sig", 1, SIGNATURE_BYTES_MAX)
        await sign_lnurl_login(self.services, challenge=challenge, signature=signature, key=key)
        return {"status": "OK"}


def _reason(error: QuittanceError) -> str | None:
    match error:
        case LoginChallengeNotFound():
            return "this code was used or has expired; let the page show a new one"
        case InvalidSignature():
            return "this is no signature of k1 by this key"
        case InvalidInput() | RateLimited():
            return error.message
        case _:
            return None


def lnurl_auth_routes(services: Services, client_address: ClientAddress) -> list[Route]:
    """Return the route that the codes of ``createLnurlLogin`` lead to."""
    door = WalletDoor(
        services=services,
        client_address=client_address,
        log=log,
        reason=_reason,
        failed=("something went wrong here; try again", 200),
    )
    return [Route(DOOR, door.answering(_Doors(services).sign), methods=["GET"], name="lnurl_auth")]
