"""Finds payees and their invoices over HTTP, through the one door for calls to addresses that somebody gave us."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final, NoReturn

from quittance.domain.bolt11 import Bolt11
from quittance.domain.ids import PaymentHash, Preimage
from quittance.domain.lnurl import payee_url
from quittance.domain.lnurl_pay import (
    AesAction,
    InvoiceFlaw,
    InvoiceTerms,
    NotAnAnswer,
    PayAnswer,
    Payee,
    bare_invoice,
    callback_url,
    check_invoice,
    check_refusal,
    read_json,
    read_pay_answer,
    read_payee,
)
from quittance.domain.money import BTC_MSAT, Money, msat
from quittance.domain.outgoing_errors import InvalidPayee, PayeeInvoiceMismatch, PayeeUnavailable
from quittance.providers.base import Outgoing, OutgoingAnswer, OutgoingFailed
from quittance.providers.lightning import signer
from quittance.providers.payees import PayeeInvoice

BODY_BYTES_MAX: Final = 300_000  # a first answer may carry an image of 136 536 characters
TIMEOUT_S: Final = 10.0
_HEADERS: Final[Mapping[str, str]] = {"accept": "application/json"}
_PREIMAGE_DIGITS: Final = 64
_OVERLOADED: Final = frozenset({408, 425, 429})


class LnurlDirectory:
    """Implements ``quittance.providers.payees.PayeeDirectory``. ``prefix`` is that of invoices on our network."""

    def __init__(
        self, outgoing: Outgoing, *, prefix: str, now: Callable[[], datetime], timeout_s: float = TIMEOUT_S
    ) -> None:
        self._outgoing = outgoing
        self._prefix = prefix
        self._now = now
        self._timeout_s = timeout_s

    async def resolve(self, payee: str) -> Payee:
        url = payee_url(payee)
        found = read_payee(await self._ask(url), url=url)
        self._outgoing.check(found.callback)
        return found

    async def request_invoice(
        self, payee: Payee, *, amount: Money, comment: str | None = None, strict: bool = True
    ) -> PayeeInvoice:
        exact = amount.rescaled_exactly(BTC_MSAT)
        url = callback_url(payee, amount_msat=exact.value, comment=comment)
        answer = read_pay_answer(await self._ask(url), callback=payee.callback)
        terms = InvoiceTerms(
            amount_msat=exact.value,
            metadata=payee.metadata,
            prefix=self._prefix,
            now_s=int(self._now().timestamp()),
            strict=strict,
        )
        return _checked(answer, check_invoice(answer.payment_request, terms=terms, recover=signer))

    async def proof(self, invoice: PayeeInvoice) -> Preimage | None:
        if invoice.verify_url is None:
            return None
        answer = await self._ask(invoice.verify_url)
        check_refusal(answer)
        said = answer.get("pr")
        if not isinstance(said, str) or bare_invoice(said) != invoice.payment_request:
            raise PayeeInvoiceMismatch(InvoiceFlaw.PROOF, "its server speaks of another invoice")
        preimage = _preimage(answer.get("preimage")) if answer.get("settled") is True else None
        if preimage is not None and sha256(preimage).hexdigest() != invoice.payment_hash:
            raise PayeeInvoiceMismatch(InvoiceFlaw.PROOF, "its server shows a preimage that is not this invoice's")
        return preimage

    def reveal(self, action: AesAction, preimage: Preimage) -> str | None:
        from quittance.providers.lnurl.aes import opened  # noqa: PLC0415 - megabytes that few payees need

        return opened(action, preimage)

    async def _ask(self, url: str) -> dict[str, Any]:
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await self._outgoing.get(url, headers=_HEADERS, body_bytes_max=BODY_BYTES_MAX)
        except TimeoutError as error:
            raise PayeeUnavailable("timeout") from error
        except OutgoingFailed as error:
            raise PayeeUnavailable(error.reason) from error
        if not answer.is_whole:
            _say_what_is_cut(answer)
        try:
            return read_json(answer.body_excerpt)
        except NotAnAnswer as error:
            raise _no_answer(answer.status_code) from error


def _checked(answer: PayAnswer, invoice: Bolt11) -> PayeeInvoice:
    return PayeeInvoice(
        payment_request=answer.payment_request,
        payment_hash=PaymentHash(invoice.payment_hash),
        amount=msat(invoice.amount_msat or 0),
        payee_key=invoice.payee,
        expires_at=datetime.fromtimestamp(invoice.expires_at_s, UTC),
        success_action=answer.success_action,
        verify_url=answer.verify_url,
    )


def _preimage(text: object) -> Preimage | None:
    """Return a preimage in hex; a claim without one proves nothing."""
    if not isinstance(text, str) or len(text) != _PREIMAGE_DIGITS:
        return None
    try:
        return Preimage(bytes.fromhex(text))
    except ValueError:
        return None


def _say_what_is_cut(answer: OutgoingAnswer) -> NoReturn:
    if len(answer.body_excerpt) >= BODY_BYTES_MAX:
        raise InvalidPayee(f"answers more than {BODY_BYTES_MAX} bytes")
    raise PayeeUnavailable("the answer broke off, or did not end in time")


def _no_answer(status_code: int) -> InvalidPayee | PayeeUnavailable:
    """Return what it means that a body is no JSON: then, and only then, the status counts."""
    if status_code >= 500 or status_code in _OVERLOADED:
        return PayeeUnavailable(f"status {status_code}")
    return InvalidPayee(f"leads to a server that does not know it: status {status_code}, and no JSON")
