"""The doors of LNPay shops and of the notices that their backend was sent (strike.md, L1 to L14, S1 to S6)."""

import asyncio
import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from quittance.domain.access import Principal
from quittance.domain.errors import (
    InvoiceRejected,
    PermissionDenied,
    ProviderMisconfigured,
    ProviderUnavailable,
    QuittanceError,
    RateLimited,
    Unauthenticated,
    UnknownProvider,
)
from quittance.domain.lnpay import AMOUNT, order_answer, read_amount, read_texts
from quittance.gql.context import Access, Credentials
from quittance.gql.masking import unexpected
from quittance.resolvers.services import Services
from quittance.resolvers.shop_orders import ShopOrder, ShopTerms, admit_shop_without_key, order_invoice
from quittance.server.http.callbacks import CallbackDoor
from quittance.server.http.door import DoorSettings
from quittance.server.http.graphql_request import HttpRefusal, check_content_type, read_body
from quittance.web.qr import qr_png_as_written

log = structlog.get_logger("quittance.lnpay")

ORDERS, NOTICES = "/generate-invoice", "/webhook"
PROVIDER: Final = "strike"
TOLD_KIND: Final = "invoice.updated"
REPLAYED: Final = {"Idempotent-Replayed": "true"}
_HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_FAILED: Final = 500  # whatever is wrong with an order (L3)
_STATUS: Final[Mapping[type[QuittanceError], int]] = {Unauthenticated: 401, PermissionDenied: 403, RateLimited: 429}
_OF_RAILS: Final = (ProviderMisconfigured, ProviderUnavailable, UnknownProvider)


@dataclass(frozen=True, slots=True, kw_only=True)
class LnpayDoor:
    """``requires_key``: only a sandbox lets shops in without one, as they come."""

    services: Services
    settings: DoorSettings
    access: Access
    callbacks: CallbackDoor
    terms: ShopTerms
    requires_key: bool

    async def order(self, request: Request) -> Response:
        """Answer an order: always JSON, with ``data`` where there is an invoice to show (S2)."""
        try:
            return await self._ordered(request)
        except HttpRefusal as refused:
            status = _FAILED if refused.status == 415 else refused.status
            return _error(refused.problem["message"], status=status)
        except RateLimited as error:
            return _error(error.message, status=429, headers={"Retry-After": str(error.retry_after_s)})
        except QuittanceError as error:
            return _error(_sentence(error), status=_STATUS.get(type(error), _FAILED))
        except ClientDisconnect:
            return Response(status_code=400)  # which nobody reads
        except Exception as error:  # noqa: BLE001 - the last line before the shop: logged there and masked
            return _error(str(unexpected(error, log=log)["message"]), status=_FAILED)

    async def _ordered(self, request: Request) -> Response:
        principal = await self._caller(request)
        check_content_type(request.headers)
        body = await read_body(request, bytes_max=self.settings.limits.body_bytes_max)
        order = _read_order(body, idempotency_key=_key_of(request))
        made = await order_invoice(self.services, principal, order, self.terms)
        drawn = await asyncio.to_thread(qr_png_as_written, made.payment_request)
        data = order_answer(made.payment, made.option, qr_code=base64.b64encode(drawn).decode())
        headers = _HEADERS | (REPLAYED if made.replayed else {})
        return JSONResponse({"status": "success", "data": data}, headers=headers)

    async def _caller(self, request: Request) -> Principal:
        """Return who asks; each is counted before anything is read.

        Raises:
            Unauthenticated, RateLimited: nobody who may, or too often.
        """
        address = self.settings.client_address(request.scope)
        authorization = request.headers.get("authorization")
        if authorization is None and not self.requires_key:
            return await admit_shop_without_key(self.services, address=address)
        principal = await self.access.authenticate(Credentials(authorization=authorization, address=address))
        await self.access.admit(principal, address)
        if principal.merchant_id is None:
            raise Unauthenticated
        return principal

    async def notice(self, request: Request) -> Response:
        """Take a notice of Strike's; what it says is only where to look, and one that comes twice has one effect."""
        try:
            said, _ = await self.callbacks.take(request, provider=PROVIDER)
        except HttpRefusal as refused:
            told = {"error": "Invalid signature" if refused.status == 401 else refused.problem["message"]}
            status = 400 if refused.status == 401 else refused.status
            headers = {name: value for name, value in refused.headers.items() if name == "Retry-After"}
            return JSONResponse(told, status_code=status, headers=headers)
        except ClientDisconnect:
            return Response(status_code=400)  # which nobody reads
        except Exception as error:  # noqa: BLE001 - the last line before Strike, which then sends it again (L14)
            unexpected(error, log=log)
            return JSONResponse({"error": "Webhook handling failed"}, status_code=_FAILED)
        if said.kind != TOLD_KIND:  # it was stored all the same, and looked into if it names an invoice
            return JSONResponse({"message": "Event ignored"})
        return JSONResponse({"status": "success"})


def _read_order(body: bytes, *, idempotency_key: str | None) -> ShopOrder:
    """Read what a shop sends on from its browser (L1, S1); members that it does not know are ignored.

    Raises:
        InvalidAmount, InvalidInput: a member makes no sense.
        HttpRefusal: it is no JSON object.
    """
    try:
        members: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise _no_order("the body is not valid JSON in UTF-8") from None
    if not isinstance(members, dict):
        raise _no_order("an order is a JSON object")
    texts = read_texts(members)
    return ShopOrder(
        amount=read_amount(members.get(AMOUNT)),
        refund_address=texts["ln_address"],
        description=texts["description"],
        correlation_id=texts["correlation_id"],
        idempotency_key=idempotency_key,
    )


def _no_order(message: str) -> HttpRefusal:
    return HttpRefusal(_FAILED, {"message": message})


def _key_of(request: Request) -> str | None:
    """Return an ``Idempotency-Key``, bare or quoted as its draft writes it (strike.md, 6.2)."""
    said = request.headers.get("idempotency-key")
    if said is None:
        return None
    quoted = len(said) > 1 and said[0] == said[-1] == '"'
    return said[1:-1] if quoted else said


def _sentence(error: QuittanceError) -> str:
    """Return what a shop may show to its customers; how our rails are is not theirs to know."""
    if isinstance(error, _OF_RAILS):
        return "no invoice can be made just now; nothing was charged, so try again"
    if isinstance(error, InvoiceRejected):
        return "no invoice can be made for this order; nothing was charged"
    return error.message


def _error(message: str, *, status: int, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse(
        {"status": "error", "message": message}, status_code=status, headers={**_HEADERS, **(headers or {})}
    )


def lnpay_routes(door: LnpayDoor) -> list[Route]:
    """Return the routes that an LNPay backend has."""
    return [
        Route(ORDERS, door.order, methods=["POST"], name="lnpay-order"),
        Route(NOTICES, door.notice, methods=["POST"], name="lnpay-notice"),
    ]
