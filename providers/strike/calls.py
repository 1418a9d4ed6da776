"""The calls that Strike offers and we use: what each needs and how it is counted (1.3, 1.7)."""

from dataclasses import dataclass
from typing import Final

from quittance.providers.strike.budget import Bucket


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """``scope``: what the API key must allow. ``statuses``: the answers that are a yes."""

    method: str
    path: str
    scope: str
    bucket: Bucket = Bucket.OTHER
    statuses: frozenset[int] = frozenset({200})


_CREATED: Final = frozenset({201})

ISSUE_INVOICE: Final = Call(
    method="POST",
    path="/v1/invoices",
    scope="partner.invoice.create",
    bucket=Bucket.ISSUE_INVOICE,
    statuses=_CREATED,
)
LIST_INVOICES: Final = Call(method="GET", path="/v1/invoices", scope="partner.invoice.read")
FIND_INVOICE: Final = Call(method="GET", path="/v1/invoices/{id}", scope="partner.invoice.read")
ISSUE_QUOTE: Final = Call(
    method="POST",
    path="/v1/invoices/{id}/quote",
    scope="partner.invoice.quote.generate",
    bucket=Bucket.ISSUE_QUOTE,
    statuses=_CREATED,
)
CANCEL_INVOICE: Final = Call(method="PATCH", path="/v1/invoices/{id}/cancel", scope="partner.invoice.cancel")
QUOTE_LIGHTNING: Final = Call(
    method="POST",
    path="/v1/payment-quotes/lightning",
    scope="partner.payment-quote.lightning.create",
    bucket=Bucket.PAYMENT_QUOTE,
    statuses=frozenset({200, 201}),
)
EXECUTE_QUOTE: Final = Call(
    method="PATCH",
    path="/v1/payment-quotes/{id}/execute",
    scope="partner.payment-quote.execute",
    bucket=Bucket.EXECUTE,
    statuses=frozenset({200, 202}),
)
FIND_PAYMENT: Final = Call(method="GET", path="/v1/payments/{id}", scope="partner.payment.read")
LIST_EVENTS: Final = Call(method="GET", path="/v1/events", scope="partner.webhooks.manage")
RATES_TICKER: Final = Call(method="GET", path="/v1/rates/ticker", scope="partner.rates.ticker", bucket=Bucket.RATES)
BALANCES: Final = Call(method="GET", path="/v1/balances", scope="partner.balances.read")
LIST_SUBSCRIPTIONS: Final = Call(method="GET", path="/v1/subscriptions", scope="partner.webhooks.manage")
SUBSCRIBE: Final = Call(method="POST", path="/v1/subscriptions", scope="partner.webhooks.manage", statuses=_CREATED)
CHANGE_SUBSCRIPTION: Final = Call(method="PATCH", path="/v1/subscriptions/{id}", scope="partner.webhooks.manage")
UNSUBSCRIBE: Final = Call(
    method="DELETE",
    path="/v1/subscriptions/{id}",
    scope="partner.webhooks.manage",
    statuses=frozenset({204}),
)
