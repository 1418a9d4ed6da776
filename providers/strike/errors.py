"""What Strike's errors mean for us (1.5): by the code in the body, never by the message, which may change."""

import json
import ssl
from collections.abc import Iterator, Mapping
from enum import StrEnum
from http import HTTPStatus
from typing import Final

import httpx
from pydantic import ValidationError

from quittance.domain.errors import ProviderMisconfigured, QuittanceError
from quittance.providers.lightning import NodeUnavailable
from quittance.providers.strike.bodies import ErrorBody

NO_STRIKE: Final = "what answers does not speak Strike's protocol"
SILENT: Final = "Strike does not answer"
SLOW: Final = "Strike does not answer in time"
EDGE: Final = "Strike's edge refused the call before Strike saw it"
NOBODY: Final = "nobody listens at Strike's address"
_NOT_TRUSTED: Final = "the connection to Strike cannot be trusted; check the address and this machine's certificates"
_NOT_ACCEPTED: Final = "Strike does not accept the API key"
_DEPTH_MAX: Final = 8


class Meaning(StrEnum):
    """What a refusal says of the call."""

    RETRY = "RETRY"  # nothing was done, and the same call may succeed later
    REFUSED = "REFUSED"  # nothing was done, and the same call will be refused again
    MISCONFIGURED = "MISCONFIGURED"  # nothing was done, and the operator must act
    MAYBE_ACTED = "MAYBE_ACTED"  # this call or an earlier one may have done it: find out


_RETRY, _REFUSED, _OPERATOR, _MAYBE = Meaning.RETRY, Meaning.REFUSED, Meaning.MISCONFIGURED, Meaning.MAYBE_ACTED
MEANINGS: Final[Mapping[str, tuple[Meaning, str]]] = {
    "INVALID_DATA": (_REFUSED, "Strike does not understand what we ask"),
    "INVALID_DATA_QUERY": (_REFUSED, "Strike does not understand what we ask for"),
    "UNAUTHORIZED": (_OPERATOR, _NOT_ACCEPTED),
    "FORBIDDEN": (_OPERATOR, "the API key lacks a scope"),
    "NOT_FOUND": (_REFUSED, "Strike knows no such thing"),
    "PROCESSING_CONFLICT": (_MAYBE, "Strike is at work on this already"),
    "DUPLICATE_INVOICE": (_MAYBE, "an invoice of this name exists"),
    "UNPROCESSABLE_ENTITY": (_REFUSED, "Strike refuses this"),
    "INVALID_STATE_FOR_INVOICE_PAID": (_REFUSED, "the invoice has been paid"),
    "INVALID_STATE_FOR_INVOICE_CANCELLED": (_REFUSED, "the invoice has been cancelled"),
    "INVALID_STATE_FOR_INVOICE_REVERSED": (_REFUSED, "the payment of the invoice was taken back"),
    "INVALID_RECIPIENT": (_REFUSED, "the receiver cannot be paid"),
    "SELF_PAYMENT_NOT_ALLOWED": (_REFUSED, "an account does not pay itself"),
    "USER_CURRENCY_UNAVAILABLE": (_OPERATOR, "the account does not have this currency"),
    "CURRENCY_UNSUPPORTED": (_OPERATOR, "Strike does not take this currency for that"),
    "EXCHANGE_RATE_NOT_AVAILABLE": (_RETRY, "Strike has no exchange rate at the moment"),
    "INVALID_AMOUNT": (_REFUSED, "the amount is not one that Strike takes"),
    "AMOUNT_TOO_HIGH": (_REFUSED, "the amount is higher than Strike takes"),
    "AMOUNT_TOO_LOW": (_REFUSED, "the amount is lower than Strike takes"),
    "BALANCE_TOO_LOW": (_REFUSED, "the account has too little to pay with"),
    "INVALID_LN_INVOICE": (_REFUSED, "Strike cannot pay this invoice"),
    "INVALID_STATE_FOR_INVOICE_EXPIRED": (_REFUSED, "the invoice has expired"),
    "LN_INVOICE_PROCESSED": (_MAYBE, "the invoice has been paid before"),
    "LN_ROUTE_NOT_FOUND": (_REFUSED, "there is no way to the payee"),
    "INVALID_BITCOIN_ADDRESS": (_REFUSED, "that is no bitcoin address"),
    "PAYMENT_QUOTE_EXPIRED": (_REFUSED, "the quote has expired"),
    "PAYMENT_PROCESSED": (_MAYBE, "the quote has been executed"),
    "PROCESSING_PAYMENT": (_MAYBE, "the quote is being executed"),
    "DUPLICATE_PAYMENT_QUOTE": (_MAYBE, "a quote with this key exists"),
    "TOO_MANY_TRANSACTIONS": (_REFUSED, "the account's limit of transactions is reached"),
    "UNSUPPORTED_PAYMENT_METHOD": (_REFUSED, "Strike does not pay that way"),
    "INVALID_PAYMENT_METHOD": (_REFUSED, "the payment method is not a valid one"),
    "PAYMENT_METHOD_NOT_READY": (_REFUSED, "the payment method is not ready"),
    "DUPLICATE_CURRENCY_EXCHANGE_QUOTE": (_MAYBE, "an exchange quote with this key exists"),
    "CURRENCY_EXCHANGE_QUOTE_PROCESSED": (_MAYBE, "the exchange quote has been executed"),
    "CURRENCY_EXCHANGE_QUOTE_EXPIRED": (_REFUSED, "the exchange quote has expired"),
    "CURRENCY_EXCHANGE_PAIR_NOT_SUPPORTED": (_REFUSED, "Strike does not exchange these currencies"),
    "CURRENCY_EXCHANGE_AMOUNT_TOO_LOW": (_REFUSED, "the amount is lower than Strike exchanges"),
    "DEPOSIT_LIMIT_EXCEEDED": (_REFUSED, "the account's limit of deposits is reached"),
    "DUPLICATE_DEPOSIT": (_MAYBE, "a deposit with this key exists"),
    "PAYOUT_ALREADY_INITIATED": (_MAYBE, "the payout has been begun"),
    "PAYOUT_ORIGINATOR_NOT_APPROVED": (_OPERATOR, "Strike has not approved who pays out"),
    "PLAID_LINKING_FAILED": (_OPERATOR, "the bank account could not be linked"),
    "ACCOUNT_NOT_READY": (_RETRY, "the account is not ready yet"),
    "RATE_LIMIT_EXCEEDED": (_RETRY, "Strike has locked us out, because it was asked too often"),
    "TOO_MANY_ATTEMPTS": (_RETRY, "Strike has locked us out, because it was asked too often"),
    "INTERNAL_SERVER_ERROR": (_MAYBE, SILENT),
    "BAD_GATEWAY": (_MAYBE, SILENT),
    "MAINTENANCE_MODE": (_MAYBE, "Strike is under maintenance"),
    "SERVICE_UNAVAILABLE": (_MAYBE, SILENT),
    "LN_UNAVAILABLE": (_MAYBE, "Strike's way into Lightning is out of order"),
    "GATEWAY_TIMEOUT": (_MAYBE, SILENT),
}
_BUSY: Final = "PROCESSING_CONFLICT"
_ORIGINAL_ID: Final = frozenset({"paymentquoteid", "currencyexchangequoteid"})


class NotAsked(NodeUnavailable):
    """The call was not made, or was turned away unread: it certainly did nothing."""


class RateLimited(NotAsked):
    """Asked too often. ``wait_s``: when the next call may be made."""

    def __init__(self, provider: str, *, wait_s: float) -> None:
        super().__init__(
            provider, f"Strike was asked too often; the next call may be made in {max(1, round(wait_s))} s"
        )
        self.wait_s = wait_s


class StrikeRefusal(ProviderMisconfigured):
    """Strike said no with a code that some calls expect; a call that does not expect it is misconfigured.

    ``original_id``: what was made when the same idempotency key came first, where Strike names it (1.6).
    """

    def __init__(self, provider: str, code: str, *, said: str, original_id: str | None = None) -> None:
        super().__init__(provider, said)
        self.strike_code = code
        self.meaning = MEANINGS[code][0]
        self.said = said
        self.original_id = original_id


def to_quittance_error(status: int, content: bytes, *, scope: str, provider: str) -> QuittanceError:
    """Return our error for Strike's no. A code that is not known here leaves the outcome unknown: unavailable."""
    body = _read(content)
    if body is None:
        return _without_words(status, provider=provider)
    code = body.data.code
    meaning, said = MEANINGS.get(code, (Meaning.MAYBE_ACTED, SILENT))
    if meaning is Meaning.RETRY:
        return NotAsked(provider, said)
    if code not in MEANINGS or code == _BUSY or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return NodeUnavailable(provider, said)
    if code == "FORBIDDEN":
        said = f"the API key lacks the scope {scope}"
    return StrikeRefusal(provider, code, said=said, original_id=_original_id(content))


def _read(content: bytes) -> ErrorBody | None:
    try:
        return ErrorBody.model_validate_json(content)
    except ValidationError:
        return None


def _without_words(status: int, *, provider: str) -> QuittanceError:
    """Return our error for an answer that is not Strike's: of the edge before it, or of something else altogether."""
    if status == HTTPStatus.UNAUTHORIZED:
        return ProviderMisconfigured(provider, _NOT_ACCEPTED)
    if status == HTTPStatus.FORBIDDEN:  # an HTML page; it says nothing of the key
        return NodeUnavailable(provider, EDGE)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return NodeUnavailable(provider, SILENT)
    return ProviderMisconfigured(provider, NO_STRIKE)


def _original_id(content: bytes) -> str | None:
    """Return the id that a refusal of a repeated key carries, wherever it stands in the body (1.6)."""
    for name, value in _members(json.loads(content), depth=0):
        if name.lower() in _ORIGINAL_ID and isinstance(value, str):
            return value
    return None


def _members(value: object, *, depth: int) -> Iterator[tuple[str, object]]:
    if depth > _DEPTH_MAX:
        return
    if isinstance(value, dict):
        for name, member in value.items():
            yield name, member
            yield from _members(member, depth=depth + 1)
    elif isinstance(value, list):
        for member in value:
            yield from _members(member, depth=depth + 1)


def from_transport(error: Exception, *, provider: str) -> QuittanceError:
    """Return our error for a connection that failed; unless it was never there, whether Strike acted is not known."""
    if isinstance(error, httpx.ConnectError):
        return ProviderMisconfigured(provider, _NOT_TRUSTED) if _is_tls(error) else NotAsked(provider, NOBODY)
    if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
        return NotAsked(provider, SLOW)
    if isinstance(error, httpx.TimeoutException | TimeoutError):
        return NodeUnavailable(provider, SLOW)
    return NodeUnavailable(provider, SILENT)


def _is_tls(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    return error is not None
