"""The doors of wallets that withdraw (LUD-03): always 200, because wallets read the body alone."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from quittance.domain.errors import QuittanceError
from quittance.domain.outgoing_errors import CannotPayFrom
from quittance.domain.withdrawal import CALLBACK, DOOR, SECRET_BYTES, TAG, WithdrawalRefused
from quittance.gql.masking import unexpected
from quittance.resolvers.services import Services
from quittance.resolvers.withdrawals import offer_withdrawal, withdraw
from quittance.server.access import ADDRESS_BUDGET
from quittance.server.http.addresses import ClientAddress

log = structlog.get_logger("quittance.withdrawals")

_HEADERS: Final = {
    "Access-Control-Allow-Origin": "*",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}
_FAILED: Final = "something went wrong here; try the same again"

_Answer = Callable[[Request], Awaitable[Mapping[str, object]]]


@dataclass(frozen=True, slots=True)
class _Doors:
    services: Services
    client_address: ClientAddress

    async def offer(self, request: Request) -> Mapping[str, object]:
        secret = _secret(request)
        standing = await offer_withdrawal(self.services, secret)
        return {
            "tag": TAG,
            "callback": f"{self.services.public_url}{CALLBACK}",
            "k1": secret.hex(),
            "defaultDescription": f"Withdrawal from {urlsplit(self.services.public_url).hostname}",
            "minWithdrawable": standing.amount_msat_min,
            "maxWithdrawable": standing.amount_msat_max,
        }

    async def take(self, request: Request) -> Mapping[str, object]:
        await withdraw(self.services, _secret(request), request.query_params.get("pr", ""))
        return {"status": "OK"}

    def admitting(self, answer: _Answer) -> Callable[[Request], Awaitable[Response]]:
        """Count each caller by address before anything is read, so that guessing is counted too."""

        async def endpoint(request: Request) -> Response:
            if request.method != "GET":  # a preview must not take money
                return Response(status_code=405, headers={"Allow": "GET"})
            try:
                await self.services.limiter.hit(ADDRESS_BUDGET, self.client_address(request.scope))
                return JSONResponse(await answer(request), headers=_HEADERS)
            except CannotPayFrom:
                return _error("nothing can be paid just now; try again later")
            except QuittanceError as error:
                return _error(error.message)
            except Exception as error:  # noqa: BLE001 - the last line before the wallet: logged there and masked
                unexpected(error, log=log)
                return _error(_FAILED)

        return endpoint


def _secret(request: Request) -> bytes:
    """Return what ``k1`` says in hex.

    Raises:
        WithdrawalRefused: it is missing, no hex, or of another length.
    """
    text = request.query_params.get("k1", "")
    if len(text) == 2 * SECRET_BYTES and text.isalnum():
        try:
            return bytes.fromhex(text)
        except ValueError:
            pass
    raise WithdrawalRefused(f"k1 is not {SECRET_BYTES} bytes in hex")


def _error(reason: str) -> Response:
    return JSONResponse({"status": "ERROR", "reason": reason}, headers=_HEADERS)


def withdrawal_routes(services: Services, client_address: ClientAddress) -> list[Route]:
    """Return the routes that the codes of ``createWithdrawal`` lead to."""
    doors = _Doors(services, client_address)
    return [
        Route(DOOR, doors.admitting(doors.offer), methods=["GET"], name="withdrawal"),
        Route(CALLBACK, doors.admitting(doors.take), methods=["GET"], name="withdrawal-callback"),
    ]
