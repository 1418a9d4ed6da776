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


PAGE: Final = 100  # as many items as a list gives at once
_CREATED: Final = frozenset({201})

ISSUE_INVOICE: Final = Call(
    method="POST",
    path="/v1/invoices",
    scope="partner.invoice.create",
    bucket=Bucket.ISSUE_INVOICE,
    statuses=_CREATED,
)
ISSUE_INVOICE_FOR_HANDLE: Final = Call(
    method="POST",
    path="/v1/invoices/handle/{id}",
    scope="partner.invoice.create-for-receiver",
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

QUOTE_LNURL: Final = Call(
    method="POST",
    path="/v1/payment-quotes/lightning/lnurl",
    scope="partner.payment-quote.lightning.create",
    bucket=Bucket.PAYMENT_QUOTE,
    statuses=frozenset({200, 201}),
)
LNURL_DETAILS: Final = Call(
    method="GET", path="/v1/payment-quotes/lightning/lnurl/{id}", scope="partner.payment-quote.lightning.create"
)
ONCHAIN_TIERS: Final = Call(
    method="POST", path="/v1/payment-quotes/onchain/tiers", scope="partner.payment-quote.onchain.create"
)
QUOTE_ONCHAIN: Final = Call(
    method="POST",
    path="/v1/payment-quotes/onchain",
    scope="partner.payment-quote.onchain.create",
    bucket=Bucket.PAYMENT_QUOTE,
    statuses=frozenset({200, 201}),
)

CREATE_RECEIVE_REQUEST: Final = Call(
    method="POST", path="/v1/receive-requests", scope="partner.receive-request.create", statuses=_CREATED
)
FIND_RECEIVE_REQUEST: Final = Call(method="GET", path="/v1/receive-requests/{id}", scope="partner.receive-request.read")
LIST_RECEIVE_REQUESTS: Final = Call(method="GET", path="/v1/receive-requests", scope="partner.receive-request.read")
LIST_RECEIVES: Final = Call(
    method="GET", path="/v1/receive-requests/{id}/receives", scope="partner.receive-request.read"
)

_EXCHANGE: Final = "partner.currency-exchange-quote"
QUOTE_EXCHANGE: Final = Call(
    method="POST",
    path="/v1/currency-exchange-quotes",
    scope=f"{_EXCHANGE}.create",
    statuses=frozenset({200, 201}),
)
FIND_EXCHANGE: Final = Call(method="GET", path="/v1/currency-exchange-quotes/{id}", scope=f"{_EXCHANGE}.read")
EXECUTE_EXCHANGE: Final = Call(
    method="PATCH",
    path="/v1/currency-exchange-quotes/{id}/execute",
    scope=f"{_EXCHANGE}.execute",
    statuses=frozenset({200, 202}),
)

_WEBHOOKS: Final = "partner.webhooks.manage"
CREATE_SUBSCRIPTION: Final = Call(method="POST", path="/v1/subscriptions", scope=_WEBHOOKS, statuses=_CREATED)
LIST_SUBSCRIPTIONS: Final = Call(method="GET", path="/v1/subscriptions", scope=_WEBHOOKS)
UPDATE_SUBSCRIPTION: Final = Call(method="PATCH", path="/v1/subscriptions/{id}", scope=_WEBHOOKS)
DELETE_SUBSCRIPTION: Final = Call(
    method="DELETE", path="/v1/subscriptions/{id}", scope=_WEBHOOKS, statuses=frozenset({204})
)

PROFILE: Final = Call(method="GET", path="/v1/accounts/{id}/profile", scope="partner.account.profile.read")
PROFILE_OF_HANDLE: Final = Call(
    method="GET", path="/v1/accounts/handle/{id}/profile", scope="partner.account.profile.read"
)
