"""The doors of payers who know an address: what can be paid, an invoice for it, and whether it was paid.

Errors are answers with status 200, as LUD-01 wants them; nothing is ever redirected.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import structlog
from starlette.requests import Request
from starlette.routing import Route

from quittance.domain.errors import (
    InvalidInput,
    InvoiceRejected,
    ProviderMisconfigured,
    ProviderUnavailable,
    QuittanceError,
    UnknownProvider,
)
from quittance.domain.lnurl import WELL_KNOWN
from quittance.domain.lnurl_pay import PAY_TAG, MessageAction, SuccessAction, UrlAction
from quittance.resolvers.lightning_addresses import PayRequest, pay_offer, request_payment, verify_payment
from quittance.resolvers.services import Services
from quittance.server.http.addresses import ClientAddress
from quittance.server.http.wallet_doors import WalletDoor

log = structlog.get_logger("quittance.payees")

PAY, VERIFY = "/lnurl/pay/", "/lnurl/verify"
_AMOUNT_DIGITS_MAX: Final = 19
_OF_RAILS: Final = (InvoiceRejected, ProviderMisconfigured, ProviderUnavailable, UnknownProvider)


@dataclass(frozen=True, slots=True)
class _Doors:
    services: Services
    client_address: ClientAddress

    async def offer(self, request: Request) -> Mapping[str, object]:
        offer = await pay_offer(self.services, request.path_params["name"])
        return {
            "tag": PAY_TAG,
            "callback": f"{self.services.public_url}{PAY}{offer.name}",
            "minSendable": offer.amount_msat_min,
            "maxSendable": offer.amount_msat_max,
            "metadata": offer.metadata,
            "commentAllowed": offer.comment_characters_max,
        }

    async def pay(self, request: Request) -> Mapping[str, object]:
        asked = PayRequest(
            name=request.path_params["name"],
            amount_msat=_amount_msat(request.query_params.get("amount", "")),
            comment=request.query_params.get("comment", ""),
            address=self.client_address(request.scope),
        )
        reply = await request_payment(self.services, asked)
        return {
            "pr": reply.payment_request,
            "routes": [],
            "disposable": False,
            "successAction": _written(reply.success_action),
            "verify": f"{self.services.public_url}{VERIFY}?token={reply.verify_token}",
        }

    async def verify(self, request: Request) -> Mapping[str, object]:
        found = await verify_payment(self.services, request.query_params.get("token", ""))
        return {
            "status": "OK",
            "settled": found.preimage is not None,
            "preimage": None if found.preimage is None else found.preimage.hex(),
            "pr": found.payment_request,
        }


def _amount_msat(said: str) -> int:
    if said.isascii() and said.isdigit() and len(said) <= _AMOUNT_DIGITS_MAX:
        return int(said)
    raise InvalidInput("amount", "amount is a whole number of millisatoshi")


def _written(action: SuccessAction) -> Mapping[str, str]:
    match action:
        case MessageAction(message=message):
            return {"tag": "message", "message": message}
        case UrlAction(description=description, url=url):
            return {"tag": "url", "description": description, "url": url}
        case _:
            raise NotImplementedError("we seal no texts")


def _reason(error: QuittanceError) -> str:
    of_rails = isinstance(error, _OF_RAILS)  # not for strangers
    return "no invoice can be made just now; try again later" if of_rails else error.message


def payee_routes(services: Services, client_address: ClientAddress) -> list[Route]:
    """Return the doors of Lightning Addresses and LNURLs. A name takes the whole rest of a path: none is redirected."""
    doors = _Doors(services, client_address)
    door = WalletDoor(
        services=services, client_address=client_address, log=log, reason=_reason, failed=("Unexpected error.", 500)
    )
    return [
        Route(f"{WELL_KNOWN}{{name:path}}", door.answering(doors.offer), methods=["GET"], name="payee"),
        Route(f"{PAY}{{name:path}}", door.answering(doors.pay), methods=["GET"], name="payee-invoice"),
        Route(VERIFY, door.answering(doors.verify), methods=["GET"], name="payee-verify"),
    ]
