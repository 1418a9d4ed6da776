"""The operations of Strike's API: where they are, and which scope a key needs for them (sheet 1.3)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Operation:
    """``limit`` names the group whose calls are counted together (sheet 1.7); none is that of everything else."""

    method: str
    path: str
    scope: str
    limit: str = ""


_INVOICE: Final = "partner.invoice"
_REQUEST: Final = "partner.receive-request"
_QUOTE: Final = "partner.payment-quote"
_EXCHANGE: Final = "partner.currency-exchange-quote"
_WEBHOOKS: Final = "partner.webhooks.manage"
_PROFILE: Final = "partner.account.profile.read"

OPERATIONS: Final[Mapping[str, Operation]] = {
    "issue_invoice": Operation("POST", "/invoices", f"{_INVOICE}.create", "issue_invoice"),
    "issue_invoice_for_handle": Operation(
        "POST", "/invoices/handle/{handle}", f"{_INVOICE}.create-for-receiver", "issue_invoice"
    ),
    "list_invoices": Operation("GET", "/invoices", f"{_INVOICE}.read"),
    "find_invoice": Operation("GET", "/invoices/{invoiceId}", f"{_INVOICE}.read"),
    "issue_quote": Operation("POST", "/invoices/{invoiceId}/quote", f"{_INVOICE}.quote.generate", "issue_quote"),
    "cancel_invoice": Operation("PATCH", "/invoices/{invoiceId}/cancel", f"{_INVOICE}.cancel"),
    "create_receive_request": Operation("POST", "/receive-requests", f"{_REQUEST}.create"),
    "list_receive_requests": Operation("GET", "/receive-requests", f"{_REQUEST}.read"),
    "list_receives": Operation("GET", "/receive-requests/receives", f"{_REQUEST}.read"),
    "find_receive_request": Operation("GET", "/receive-requests/{receiveRequestId}", f"{_REQUEST}.read"),
    "list_receives_of_request": Operation("GET", "/receive-requests/{receiveRequestId}/receives", f"{_REQUEST}.read"),
    "quote_lightning": Operation("POST", "/payment-quotes/lightning", f"{_QUOTE}.lightning.create", "payment_quote"),
    "quote_lnurl": Operation("POST", "/payment-quotes/lightning/lnurl", f"{_QUOTE}.lightning.create", "payment_quote"),
    "lnurl_details": Operation(
        "GET", "/payment-quotes/lightning/lnurl/{lnAddressOrUrl:path}", f"{_QUOTE}.lightning.create"
    ),
    "onchain_tiers": Operation("POST", "/payment-quotes/onchain/tiers", f"{_QUOTE}.onchain.create"),
    "quote_onchain": Operation("POST", "/payment-quotes/onchain", f"{_QUOTE}.onchain.create", "payment_quote"),
    "execute_quote": Operation("PATCH", "/payment-quotes/{paymentQuoteId}/execute", f"{_QUOTE}.execute", "execute"),
    "find_payment": Operation("GET", "/payments/{paymentId}", "partner.payment.read"),
    "rates_ticker": Operation("GET", "/rates/ticker", "partner.rates.ticker", "rates"),
    "create_exchange_quote": Operation("POST", "/currency-exchange-quotes", f"{_EXCHANGE}.create"),
    "find_exchange_quote": Operation("GET", "/currency-exchange-quotes/{quoteId}", f"{_EXCHANGE}.read"),
    "execute_exchange_quote": Operation("PATCH", "/currency-exchange-quotes/{quoteId}/execute", f"{_EXCHANGE}.execute"),
    "balances": Operation("GET", "/balances", "partner.balances.read"),
    "limits": Operation("GET", "/accounts/limits", f"{_PROFILE}-own"),
    "profile_by_id": Operation("GET", "/accounts/{id}/profile", _PROFILE),
    "profile_by_handle": Operation("GET", "/accounts/handle/{handle}/profile", _PROFILE),
    "create_subscription": Operation("POST", "/subscriptions", _WEBHOOKS),
    "list_subscriptions": Operation("GET", "/subscriptions", _WEBHOOKS),
    "find_subscription": Operation("GET", "/subscriptions/{subscriptionId}", _WEBHOOKS),
    "update_subscription": Operation("PATCH", "/subscriptions/{subscriptionId}", _WEBHOOKS),
    "delete_subscription": Operation("DELETE", "/subscriptions/{subscriptionId}", _WEBHOOKS),
    "list_events": Operation("GET", "/events", _WEBHOOKS),
    "find_event": Operation("GET", "/events/{eventId}", _WEBHOOKS),
}
SCOPES: Final = frozenset(operation.scope for operation in OPERATIONS.values())
RECEIVING: Final = frozenset(
    {f"{_INVOICE}.create", f"{_INVOICE}.read", f"{_INVOICE}.quote.generate", f"{_INVOICE}.cancel", _WEBHOOKS}
    | {f"{_REQUEST}.create", f"{_REQUEST}.read", "partner.rates.ticker", "partner.balances.read", _PROFILE}
)
