"""What an LNPay backend and its shops write to each other (strike.md, L1 to L14, L22, S1 to S6)."""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from quittance.domain.bolt11 import amount_msat_in
from quittance.domain.currency import is_currency
from quittance.domain.errors import InvalidAmount, InvalidInput
from quittance.domain.money import BTC_MSAT, BTC_SAT, Money
from quittance.domain.payment import Payment, PaymentOption, PaymentStatus

NOTICE_MESSAGE: Final = "Payment processed successfully!"
AMOUNT: Final = "amount_fiat"
_TEXTS: Final = ("ln_address", "description", "correlation_id")
_NUMBER: Final = re.compile(r"[0-9]{1,15}([.,][0-9]{1,8})?", re.ASCII)
_UNPAID: Final = "UNPAID"
_STATES: Final = {PaymentStatus.COMPLETE: "PAID", PaymentStatus.CANCELED: "CANCELLED"}


def shop_notice(payment_request: str) -> bytes:
    """Return the body of the notice that a shop is sent once its invoice is paid (L22, S6); always the same bytes."""
    members = {"status": "success", "message": NOTICE_MESSAGE, "invoice": payment_request}
    return json.dumps(members, separators=(",", ":")).encode()


def read_amount(said: object) -> Decimal:
    """Return what ``amount_fiat`` says: digits with a point or a comma before the last ones (L1, S1).

    Raises:
        InvalidAmount: it is no text, no plain number, or zero (L3, L4).
    """
    if not isinstance(said, str):
        raise InvalidAmount(f'{AMOUNT} is a text of digits, such as "12.50"')
    text = said.strip()
    if not _NUMBER.fullmatch(text):
        raise InvalidAmount(f"{AMOUNT} is a plain number above zero, such as 12.50 or 12,50, without other signs")
    amount = Decimal(text.replace(",", "."))
    if not amount:
        raise InvalidAmount(f"{AMOUNT} is greater than zero")
    return amount


def read_texts(members: Mapping[str, Any]) -> Mapping[str, str | None]:
    """Return the other members of an order by name; None for one that is missing, null or empty (L5, W15).

    Raises:
        InvalidInput: one is no text.
    """
    found: dict[str, str | None] = {}
    for name in _TEXTS:
        said = members.get(name)
        if said is not None and not isinstance(said, str):
            raise InvalidInput(name, f"{name} is a text")
        found[name] = said.strip() or None if said is not None else None
    return found


def order_answer(payment: Payment, option: PaymentOption, *, qr_code: str) -> Mapping[str, object]:
    """Return ``data`` of the answer to an order (L2, S3): of Strike's members those that are true here.

    ``invoiceId`` is the payment's id and ``quoteId`` that of its attempt; ``issuerId`` and ``receiverId`` are the
    merchant's. What the payer sends is a coin, whatever the rail books; and it ends with the invoice that is shown.
    """
    ends_at = option.expires_at if option.payable_until is None else min(option.expires_at, option.payable_until)
    source = _sent(option)
    return {
        "invoice": _invoice(payment),
        "quote": {
            "quoteId": option.id,
            **_described(payment),
            "lnInvoice": option.payment_request,
            "expiration": _moment(ends_at),
            "expirationInSec": _granted_s(payment, option, ends_at),
            "targetAmount": _amount(payment.amount),
            "sourceAmount": _amount(source),
            "conversionRate": {
                "amount": _rate(payment.amount, source),
                "sourceCurrency": source.asset.code,
                "targetCurrency": payment.amount.asset.code,
            },
        },
        "qr_code": qr_code,
        "expiration_time": _moment(ends_at),
    }


def _granted_s(payment: Payment, option: PaymentOption, ends_at: datetime) -> int:
    """Return how long the invoice that is shown can be paid: what the merchant grants, unless it ends sooner."""
    if ends_at == option.expires_at:
        return payment.expires_in_s
    return int((ends_at - option.created_at).total_seconds())


def _sent(option: PaymentOption) -> Money:
    """Return what the payer sends: of a rail that books a national currency, what its invoice asks for."""
    if option.payment_request is None or not is_currency(option.amount.asset.code):
        return option.amount
    return Money(amount_msat_in(option.payment_request) or 0, BTC_MSAT)


def _rate(target: Money, source: Money) -> str:
    """Write units of the one for a whole unit of the other, with four places as Strike does."""
    if target.asset.code == source.asset.code or not source.value:
        return "1.0000"
    return f"{target.decimal / source.decimal:.4f}"


def _invoice(payment: Payment) -> Mapping[str, object]:
    named = {} if payment.correlation_id is None else {"correlationId": payment.correlation_id}
    return {
        "invoiceId": payment.id,
        "amount": _amount(payment.amount),
        "state": _STATES.get(payment.status, _UNPAID),
        "created": _moment(payment.created_at),
        **named,
        **_described(payment),
        "issuerId": payment.merchant_id,
        "receiverId": payment.merchant_id,
    }


def _described(payment: Payment) -> Mapping[str, object]:
    return {} if payment.description is None else {"description": payment.description}


def _amount(money: Money) -> Mapping[str, str]:
    """Write money as Strike does: plain digits, a coin with eight places, or more for a part of a satoshi."""
    if is_currency(money.asset.code):
        return {"amount": f"{money.decimal:f}", "currency": money.asset.code}
    whole, point, places = f"{money.decimal:f}".partition(".")
    kept = places.rstrip("0").ljust(BTC_SAT.scale, "0")
    return {"amount": f"{whole}{point}{kept}" if point else whole, "currency": money.asset.code}


def _moment(at: datetime) -> str:
    """Write a moment so that JavaScript reads it, with its offset (S4)."""
    return at.isoformat(timespec="milliseconds")
