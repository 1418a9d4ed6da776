"""Paying by name: LNURL and Lightning Addresses, of other customers or of servers on this machine (sheet 1.4)."""

from dataclasses import dataclass
from typing import Any, Final

import httpx

from quittance.domain import lnurl, lnurl_pay
from quittance.domain.errors import InvalidInput, QuittanceError
from quittance.domain.lnurl_pay import InvoiceTerms, Payee
from quittance.domain.outgoing_errors import AmountOutOfBounds, InvalidPayee, PayeeInvoiceMismatch
from quittance.sandbox.lnd.keys import recover
from quittance.sandbox.strike import bolt11
from quittance.sandbox.strike.account import Account
from quittance.sandbox.strike.calls import Answer, Call
from quittance.sandbox.strike.entities import Holder
from quittance.sandbox.strike.money import BTC, MSAT_PER_BTC, check_amount, converted, msat_of_btc
from quittance.sandbox.strike.quoting import Quoting, check_beneficiary
from quittance.sandbox.strike.refusals import BAD_CURRENCY, Refused, invalid_field, not_found, unprocessable
from quittance.sandbox.strike.subscriptions import is_here

_TIMEOUT_S: Final = 5.0
_ANSWER_BYTES_MAX: Final = 65_536
_PAYEE_MAX: Final = 4_096
_DOMAINS: Final = frozenset({"strike.me", "dev.strike.me"})
_FIELD: Final = "lnAddressOrUrl"
_OWN_MSAT_MIN: Final = 1_000
_OWN_COMMENT_MAX: Final = 140
_OWN_EXPIRY_S: Final = 3_600


@dataclass(frozen=True, slots=True, kw_only=True)
class _Offer:
    """What a payee takes; ``holder`` is who it is if Strike knows it itself."""

    payee: Payee
    holder: Holder | None = None


class Payees:
    """Finds payees as a wallet does. Servers of other machines are not called."""

    def __init__(self, account: Account, quoting: Quoting) -> None:
        self._account = account
        self._quoting = quoting

    async def details(self, call: Call) -> Answer:
        payee = (await self._offer(call.path[_FIELD])).payee
        body: dict[str, Any] = {
            "minSendable": payee.amount_msat_min,
            "maxSendable": payee.amount_msat_max,
            "metadata": payee.metadata,
            "tag": lnurl_pay.PAY_TAG,
        }
        if payee.comment_characters_max:
            body["commentAllowed"] = payee.comment_characters_max
        return Answer(body=body)

    async def quote(self, call: Call) -> Answer:
        """Get an invoice from a payee, and quote what it costs to pay it."""
        given = call.given
        text = given.needed_text(_FIELD, size_max=_PAYEE_MAX)
        given.required("sourceCurrency")
        source = self._quoting.source(given)
        comment = given.text("description", size_max=lnurl_pay.COMMENT_CHARACTERS_MAX)
        check_beneficiary(given)
        amount = given.needed_money("amount")
        self._quoting.check_key(call)
        if amount.currency not in {BTC, source}:
            raise invalid_field("amount.currency", f"The amount is in {source}.", code=BAD_CURRENCY)
        check_amount(amount, at=self._account.now())
        msat = msat_of_btc(converted(amount, BTC, at=self._account.now(), up=False).value)
        offer = await self._offer(text)
        request = await self._invoice(offer, msat=msat, comment=comment)
        self._quoting.check_key(call)
        invoice = self._quoting.payable(request)
        price = self._quoting.priced(invoice, source=source, msat=msat, amount=amount)
        return self._quoting.quoted(self._quoting.for_bolt11(call, invoice, request, price))

    async def _offer(self, text: str) -> _Offer:
        handle, _, domain = text.strip().rpartition("@")
        if handle and domain.lower() in _DOMAINS:
            return self._own_offer(handle.lower())
        try:
            url = lnurl.payee_url(text)
            answer = lnurl_pay.read_json(await _called(url))
            return _Offer(payee=lnurl_pay.read_payee(answer, url=url))
        except InvalidPayee as error:
            raise invalid_field(_FIELD, error.message) from error
        except (QuittanceError, lnurl_pay.NotAnAnswer) as error:
            raise _unanswered() from error

    def _own_offer(self, handle: str) -> _Offer:
        """Return what Strike itself says of a customer."""
        holder = self._account.book.keyed(Holder, handle)
        if holder is None:
            raise not_found()
        if holder.id == self._account.owner.id:
            raise unprocessable("SELF_PAYMENT_NOT_ALLOWED", "The payee is the payer.")
        metadata = lnurl_pay.metadata_text(f"Pay {handle}", identifier=f"{handle}@strike.me")
        payee = Payee(
            url="",
            callback="",
            amount_msat_min=_OWN_MSAT_MIN,
            amount_msat_max=MSAT_PER_BTC,
            metadata=metadata,
            description=f"Pay {handle}",
            identifier=None,
            comment_characters_max=_OWN_COMMENT_MAX,
        )
        return _Offer(payee=payee, holder=holder)

    async def _invoice(self, offer: _Offer, *, msat: int, comment: str | None) -> str:
        """Return an invoice that is the one asked for.

        Raises:
            Refused: the payee does not take this amount or comment, or answers something else.
        """
        payee = offer.payee
        try:
            url = lnurl_pay.callback_url(payee, amount_msat=msat, comment=comment)
            if offer.holder is not None:
                return self._own_invoice(payee, msat=msat)
            answer = lnurl_pay.read_json(await _called(url))
            request = lnurl_pay.read_pay_answer(answer, callback=payee.callback).payment_request
            lnurl_pay.check_invoice(request, terms=self._terms(payee, msat), recover=recover)
        except AmountOutOfBounds as error:
            too_low = msat < payee.amount_msat_min
            raise unprocessable("AMOUNT_TOO_LOW" if too_low else "AMOUNT_TOO_HIGH", error.message) from error
        except InvalidInput as error:
            raise invalid_field("description", error.message) from error
        except PayeeInvoiceMismatch as error:
            raise unprocessable("INVALID_LN_INVOICE", error.message) from error
        except (QuittanceError, lnurl_pay.NotAnAnswer) as error:
            raise _unanswered() from error
        return request

    def _terms(self, payee: Payee, msat: int) -> InvoiceTerms:
        return InvoiceTerms(
            amount_msat=msat,
            metadata=payee.metadata,
            prefix=self._account.network.chain.prefix,
            now_s=self._account.network.now_s(),
            strict=False,
        )

    def _own_invoice(self, payee: Payee, *, msat: int) -> str:
        bound = lnurl_pay.metadata_hash(payee.metadata)
        record = bolt11.make(
            self._account, amount_msat=msat, expiry_s=_OWN_EXPIRY_S, description="", description_hash=bound
        )
        return record.payment_request


async def _called(url: str) -> bytes:
    """Return what a server on this machine answers.

    Raises:
        Refused: it is on another, or does not answer.
    """
    if not is_here(url):
        raise invalid_field(_FIELD, "It leads to another machine, which the sandbox does not call.")
    try:
        async with httpx.AsyncClient(timeout=_TIMEOUT_S, trust_env=False) as client:
            content = (await client.get(url)).content
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _unanswered() from error
    if len(content) > _ANSWER_BYTES_MAX:
        raise _unanswered()
    return content


def _unanswered() -> Refused:
    return unprocessable("UNPROCESSABLE_ENTITY", "The payee does not answer as it should.")
