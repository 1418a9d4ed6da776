"""The pages that people look at, rendered on the server: playground, checkout and short messages."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from quittance.domain.payment import PaymentStatus
from quittance.web import documents
from quittance.web.assets import asset_url
from quittance.web.qr import qr_svg

_CHECKOUT_STATES: Mapping[PaymentStatus, str] = {
    PaymentStatus.PENDING_INVOICE: "preparing",
    PaymentStatus.PENDING_PAYMENT: "waiting",
    PaymentStatus.HELD: "held",
    PaymentStatus.COMPLETE: "paid",
    PaymentStatus.EXPIRED: "expired",
    PaymentStatus.CANCELED: "canceled",
    PaymentStatus.ERROR: "error",
}
assert _CHECKOUT_STATES.keys() == set(PaymentStatus)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaygroundView:
    """What the playground starts with. ``api_key`` and ``article_id`` are shown in sandbox mode only."""

    sandbox: bool
    api_key: str | None = None
    article_id: str | None = None
    endpoint: str = "/graphql"
    pay_url: str = "/sandbox/pay"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckoutView:
    """One payment as its payer sees it. ``article_content`` is given only once the payment is complete.

    ``coin`` is what the wallet must be for, where that is not Bitcoin.
    """

    payment_id: str
    client_secret: str
    status: PaymentStatus
    title: str
    description: str | None = None
    amount_formatted: str
    coin: str | None = None
    payment_request: str | None = None
    expires_at: datetime | None = None
    server_now: datetime
    settled_at: datetime | None = None
    received_formatted: str | None = None
    article_title: str | None = None
    article_content: str | None = None
    return_url: str | None = None
    endpoint: str = "/graphql"


def render_playground(view: PlaygroundView, *, nonce: str) -> str:
    """Return the playground's page; serve it with ``playground_csp(nonce)``."""
    return _render("playground.html", nonce=nonce, sandbox=view.sandbox, island=_island(_playground_island(view)))


def render_checkout(view: CheckoutView) -> str:
    """Return the page a person pays on; serve it with ``checkout_csp()``. It reads well without scripts."""
    island = {
        "endpoint": view.endpoint,
        "paymentId": view.payment_id,
        "clientSecret": view.client_secret,
        "status": view.status.value,
        "serverNow": _iso(view.server_now),
        "expiresAt": _iso(view.expires_at),
        "updates": documents.CHECKOUT_UPDATES,
        "state": documents.CHECKOUT_STATE,
    }
    return _render(
        "checkout.html",
        view=view,
        state=_CHECKOUT_STATES[view.status],
        qr=Markup(qr_svg(view.payment_request)) if view.payment_request else None,  # noqa: S704  # our own digits
        wallet_url=_wallet_url(view.payment_request),
        return_url=_web_url(view.return_url),
        island=_island(island),
    )


def render_message(title: str, text: str, status: int) -> str:
    """Return a short page in the same look, for a 404 and its kin; serve it with ``checkout_csp()``."""
    return _render("message.html", title=title, text=text, status=status)


def playground_csp(nonce: str) -> str:
    """Return the playground's Content-Security-Policy: this origin alone; the editor brings its fonts as data."""
    return (
        f"default-src 'none'; script-src 'self' 'nonce-{nonce}'; style-src 'self' 'nonce-{nonce}'; "
        "font-src 'self' data:; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def checkout_csp() -> str:
    """Return the Content-Security-Policy of checkout and messages: this origin alone, nothing inline, no frame."""
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _playground_island(view: PlaygroundView) -> dict[str, object]:
    invoice = {"input": {"articleId": view.article_id if view.sandbox and view.article_id else ""}}
    reading = {"id": "", "clientSecret": ""}
    return {
        "endpoint": view.endpoint,
        "sandbox": view.sandbox,
        "payUrl": view.pay_url if view.sandbox else None,
        "headers": {"Authorization": f"Bearer {view.api_key}"} if view.sandbox and view.api_key else None,
        "tabs": [
            {"query": documents.ARTICLES, "variables": None},
            {"query": documents.GENERATE_INVOICE, "variables": invoice},
            {"query": documents.PAYMENT_SETTLED, "variables": None},
            {"query": documents.SETTLED_ARTICLE, "variables": reading},
        ],
    }


def _wallet_url(payment_request: str | None) -> str | None:
    """Return the link that opens a wallet; the payment request is data of a provider, so it must look like one."""
    if payment_request is None or not (payment_request.isascii() and payment_request.isalnum()):
        return None
    return f"lightning:{payment_request}"


def _web_url(url: str | None) -> str | None:
    """Return ``url`` if it leads to a web page; a ``javascript:`` link never reaches the template."""
    if url is None:
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return url if parts.scheme in {"http", "https"} and parts.netloc else None


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _readable(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%d %B %Y, %H:%M UTC").removeprefix("0")


def _island(value: Mapping[str, object]) -> Markup:
    """Return JSON for a ``<script type="application/json">``: it holds no character that could end the element."""
    text = json.dumps(value)  # ASCII only, so U+2028 and U+2029 are escaped too
    for character in "<>&'":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704  # escaped above


def _render(template: str, **values: object) -> str:
    return _templates().get_template(template).render(values)


@lru_cache(maxsize=1)
def _templates() -> Environment:
    templates = Environment(
        loader=PackageLoader("quittance.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    named: dict[str, Any] = templates.globals
    named["asset_url"] = asset_url
    filters: dict[str, Any] = templates.filters
    filters |= {"iso": _iso, "readable": _readable}
    return templates
