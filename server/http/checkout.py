"""The checkout door: one payment's page, for whoever holds its client secret."""

import asyncio
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from quittance.domain.access import Principal
from quittance.domain.article import Article, ArticleStatus
from quittance.domain.errors import RateLimited
from quittance.domain.ids import PaymentId
from quittance.domain.money import LTC_LITOSHI
from quittance.domain.payment import Payment, PaymentPurpose, PaymentStatus
from quittance.resolvers.batches import Batches
from quittance.resolvers.payments import find_payment
from quittance.resolvers.services import Services
from quittance.server.access import ADDRESS_BUDGET
from quittance.server.http.addresses import ClientAddress
from quittance.web.pages import CheckoutView, checkout_csp, render_checkout, render_message

_COINS = {LTC_LITOSHI.code: "Litecoin"}
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
    "Content-Security-Policy": checkout_csp(),
}


@dataclass(frozen=True, slots=True)
class _Door:
    services: Services
    client_address: ClientAddress

    async def __call__(self, request: Request) -> Response:
        client_secret = request.query_params.get("client_secret", "")
        payment_id = PaymentId(request.path_params["payment_id"])
        try:
            await self.services.limiter.hit(ADDRESS_BUDGET, self.client_address(request.scope))
        except RateLimited as error:
            return _message("One moment", f"Too many requests. Try again in {error.retry_after_s} seconds.", 429)
        payment = await find_payment(self.services, Principal(), payment_id, client_secret)
        if payment is None:
            return _message(
                "This link does not open a payment",
                "It may be cut short. Ask whoever sent it for the whole link.",
                404,
            )
        article = None
        if payment.article_id is not None:
            article = (await Batches(self.services, viewer="").articles([payment.article_id]))[0]
        removed = article is not None and article.status is ArticleStatus.REMOVED
        if removed and payment.status is not PaymentStatus.COMPLETE:
            return _message(
                "This article was removed",
                "Please do not pay for it any more. Money that still arrives is recorded under this link.",
                410,
            )
        view = await self._view(payment, client_secret, article=article, readable=not removed)
        return HTMLResponse(await asyncio.to_thread(render_checkout, view), headers=_HEADERS)

    async def _view(
        self, payment: Payment, client_secret: str, *, article: Article | None, readable: bool
    ) -> CheckoutView:
        options = (await Batches(self.services, viewer="").options([payment.id]))[0]
        bought = payment.status is PaymentStatus.COMPLETE and payment.purpose is PaymentPurpose.VIEW
        return CheckoutView(
            payment_id=payment.id,
            client_secret=client_secret,
            status=payment.status,
            title=_title(payment, article),
            description=payment.description if article is not None and payment.description != article.title else None,
            amount_formatted=payment.amount.formatted,
            coin=_COINS.get(payment.amount.asset.code),
            payment_request=options[-1].payment_request if options else None,
            expires_at=payment.expires_at,
            server_now=self.services.now(),
            settled_at=payment.settled_at,
            received_formatted=None if payment.received is None else payment.received.formatted,
            article_title=None if article is None else article.title,
            article_content=article.content if article is not None and bought and readable else None,
        )


def _title(payment: Payment, article: Article | None) -> str:
    if article is not None:
        return article.title
    return payment.description or "Payment"


def _message(title: str, text: str, status: int) -> Response:
    return HTMLResponse(render_message(title, text, status), status_code=status, headers=_HEADERS)


def checkout_routes(services: Services, client_address: ClientAddress) -> list[Route]:
    """Return the route of ``checkoutUrl``."""
    return [Route("/pay/{payment_id}", _Door(services, client_address).__call__, methods=["GET"], name="checkout")]
