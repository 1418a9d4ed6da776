"""The doors of wallets that withdraw (LUD-03)."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import structlog
from starlette.requests import Request
from starlette.routing import Route

from quittance.domain.errors import QuittanceError
from quittance.domain.outgoing_errors import CannotPayFrom
from quittance.domain.withdrawal import CALLBACK, DOOR, SECRET_BYTES, TAG
from quittance.resolvers.services import Services
from quittance.resolvers.withdrawals import offer_withdrawal, withdraw
from quittance.server.http.addresses import ClientAddress
from quittance.server.http.wallet_doors import WalletDoor, hex_bytes

log = structlog.get_logger("quittance.withdrawals")


@dataclass(frozen=True, slots=True)
class _Doors:
    services: Services

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


def _secret(request: Request) -> bytes:
    return hex_bytes(request.query_params, "k1", SECRET_BYTES, SECRET_BYTES)


def _reason(error: QuittanceError) -> str:
    return "nothing can be paid just now; try again later" if isinstance(error, CannotPayFrom) else error.message


def withdrawal_routes(services: Services, client_address: ClientAddress) -> list[Route]:
    """Return the routes that the codes of ``createWithdrawal`` lead to."""
    doors = _Doors(services)
    door = WalletDoor(services=services, client_address=client_address, log=log, reason=_reason)
    return [
        Route(DOOR, door.answering(doors.offer), methods=["GET"], name="withdrawal"),
        Route(CALLBACK, door.answering(doors.take), methods=["GET"], name="withdrawal-callback"),
    ]
