"""Payment quotes: what a payment would cost, once for every idempotency key (sheet 1.4, 1.6)."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from quittance.domain.bolt11 import Bolt11
from quittance.providers.lnd._proto import lnrpc_pb2 as ln
from quittance.sandbox.lnd import paying, refusals
from quittance.sandbox.strike import moments
from quittance.sandbox.strike.account import Account
from quittance.sandbox.strike.calls import Answer, Call
from quittance.sandbox.strike.entities import Invoice, InvoiceQuote, PaymentQuote, ReceiveRequest
from quittance.sandbox.strike.money import (
    BTC,
    MSAT_PER_SAT,
    Money,
    btc_of_msat,
    check_amount,
    converted,
    msat_of_btc,
    rate,
)
from quittance.sandbox.strike.reading import Given, read_id
from quittance.sandbox.strike.refusals import BAD_CURRENCY, invalid_field, unprocessable

QUOTE_S: Final = 60
USED_KEY: Final = UUID("4822bd76-7f73-45c2-8788-69cc9017cf75")
_USED_QUOTE: Final = "5f0f4b7e-9a0d-4a55-8a1f-2f6f4f3f7c11"
_BOLT11_MAX: Final = 7_089
INCLUSIVE: Final = "INCLUSIVE"
EXCLUSIVE: Final = "EXCLUSIVE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What is sent, and what that costs in the currency that pays."""

    msat: int
    amount: Money
    fee: Money


def lightning_fee(msat: int) -> Money:
    """Return what the network charges for a payment of ``msat``; a part of a satoshi counts as one."""
    return Money(value=btc_of_msat(paying.route_fee_msat(msat)), currency=BTC)


def key_of(call: Call) -> str | None:
    """Return the idempotency key of a call.

    Raises:
        Refused: it is no UUID.
    """
    return read_id(call.idempotency_key, name="idempotency-key") if call.idempotency_key is not None else None


def amount_with_policy(given: Given) -> tuple[Money, str] | None:
    """Return an amount, and whether the fee is taken out of it or comes on top."""
    amount, within = given.money("amount"), given.within("amount")
    policy = within.choice("feePolicy", INCLUSIVE, EXCLUSIVE) if within is not None else None
    return (amount, policy or EXCLUSIVE) if amount is not None else None


def check_beneficiary(given: Given) -> None:
    """Note what is wrong with the person who is paid; nothing else is done with it."""
    person = given.within("beneficiary")
    if person is not None:
        person.required("type")
        person.choice("type", "SELF", "INDIVIDUAL", "BUSINESS", "UNKNOWN")
        person.choice("destinationType", "EXCHANGE_OR_PLATFORM", "SELF_CUSTODY_WALLET")


class Quoting:
    """Quotes for BOLT11 invoices, and what other quotes have in common with them."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._book = account.book

    def lightning(self, call: Call) -> Answer:
        given = call.given
        text = given.needed_text("lnInvoice", size_max=_BOLT11_MAX)
        source = self.source(given)
        amount = amount_with_policy(given)
        check_beneficiary(given)
        given.check()
        self.check_key(call)
        invoice = self.payable(text)
        if invoice.amount_msat is not None:
            if amount is not None:
                raise invalid_field("amount", "The invoice has an amount.")
            price = self.priced(invoice, source=source)
        elif amount is None:
            raise invalid_field("amount", "The invoice has no amount.")
        else:
            check_amount(amount[0], at=self._account.now())
            price = self._price_of_amount(invoice, amount, source=source)
        return self.quoted(self.for_bolt11(call, invoice, text, price))

    def source(self, given: Given) -> str:
        """Return the currency that pays."""
        return given.currency("sourceCurrency") or self._account.owner.default_currency

    def check_key(self, call: Call) -> None:
        """Accept an idempotency key that was not used before, or none.

        Raises:
            Refused: it is no UUID; or the quote that was made for it, by its id.
        """
        key = key_of(call)
        quote = self._book.keyed(PaymentQuote, key) if key is not None else None
        if quote is not None or (key is not None and UUID(key) == USED_KEY):
            raise unprocessable(
                "DUPLICATE_PAYMENT_QUOTE",
                "A payment quote with this idempotency key exists.",
                values={"paymentQuoteId": quote.id if quote is not None else _USED_QUOTE},
            )

    def payable(self, text: str) -> Bolt11:
        """Return an invoice that this account may pay.

        Raises:
            Refused: it is none, expired, paid already, unreachable, or the account's own.
        """
        network = self._account.network
        try:
            invoice = paying.read_invoice(text)
            paying.check_network(invoice, network.chain)
        except refusals.Refused as refusal:
            raise unprocessable("INVALID_LN_INVOICE", refusal.text) from refusal
        self.check_unexpired(invoice)
        payee = network.node_at(bytes.fromhex(invoice.payee))
        if payee is None:
            raise unprocessable("LN_ROUTE_NOT_FOUND", "No route was found.")
        if payee is self._account.node and self._is_own(invoice.payment_hash):
            raise unprocessable("SELF_PAYMENT_NOT_ALLOWED", "The invoice is the payer's own.")
        self.check_unpaid(invoice.payment_hash)
        return invoice

    def check_unexpired(self, invoice: Bolt11) -> None:
        if invoice.expires_at_s < self._account.network.now_s():
            raise unprocessable("INVALID_STATE_FOR_INVOICE_EXPIRED", "The lightning invoice has expired.")

    def check_unpaid(self, payment_hash: str) -> None:
        """Accept an invoice that Strike's node has not paid, nor tries to."""
        earlier = self._account.node.payments.get(bytes.fromhex(payment_hash))
        if earlier is not None and earlier.status != ln.Payment.FAILED:
            raise unprocessable("LN_INVOICE_PROCESSED", "The lightning invoice was processed already.")

    def priced(self, invoice: Bolt11, *, source: str, msat: int | None = None, amount: Money | None = None) -> Price:
        """Return what it costs to send an invoice's amount, or ``msat``; ``amount`` is that as the caller said it."""
        now, sent = self._account.now(), msat or invoice.amount_msat or 0
        given = amount or Money(value=btc_of_msat(sent), currency=BTC)
        fee = Money(value=btc_of_msat(0), currency=BTC) if self._is_internal(invoice) else lightning_fee(sent)
        return Price(
            msat=sent,
            amount=converted(given, source, at=now, up=True),
            fee=converted(fee, source, at=now, up=True),
        )

    def for_bolt11(self, call: Call, invoice: Bolt11, text: str, price: Price) -> PaymentQuote:
        """Return the quote of a Lightning payment, not yet kept."""
        quote = self.of_price(call, price)
        return replace(quote, description=invoice.description, bolt11=text, payment_hash=invoice.payment_hash)

    def of_price(self, call: Call, price: Price) -> PaymentQuote:
        """Return a quote that says not yet where the money goes."""
        now, currency = self._account.now(), price.amount.currency
        return PaymentQuote(
            id=self._book.new_id(),
            created=now,
            idempotency_key=key_of(call),
            valid_until=now + timedelta(seconds=QUOTE_S),
            amount=price.amount,
            fee=price.fee,
            total=Money(value=price.amount.value + price.fee.value, currency=currency),
            rate=rate(currency, BTC, at=now) if currency != BTC else None,
            msat=price.msat,
        )

    def quoted(self, quote: PaymentQuote) -> Answer:
        """Keep a quote that the account can pay, and answer it.

        Raises:
            Refused: it cannot.
        """
        self._account.check_balance(self._account.owner, quote.total)
        self._account.commit(quote)
        return Answer(body=_shown(quote))

    def _price_of_amount(self, invoice: Bolt11, given: tuple[Money, str], *, source: str) -> Price:
        """Return what it costs to send an amount that the payer says."""
        now, (money, policy) = self._account.now(), given
        if money.currency not in {BTC, source}:
            raise invalid_field("amount.currency", f"The amount is in BTC or {source}.", code=BAD_CURRENCY)
        msat = msat_of_btc(converted(money, BTC, at=now, up=False).value)
        if policy == EXCLUSIVE:
            return self.priced(invoice, source=source, msat=msat, amount=money)
        total = converted(money, source, at=now, up=True)
        left = msat - (0 if self._is_internal(invoice) else msat_of_btc(lightning_fee(msat).value))
        if left < MSAT_PER_SAT:
            raise unprocessable("AMOUNT_TOO_LOW", "Amount is too low.")
        fee = self.priced(invoice, source=source, msat=msat).fee
        return Price(msat=left, amount=Money(value=total.value - fee.value, currency=source), fee=fee)

    def _is_internal(self, invoice: Bolt11) -> bool:
        return bytes.fromhex(invoice.payee) == self._account.node.key.public

    def _is_own(self, payment_hash: str) -> bool:
        """Tell whether the account itself would be paid, rather than another customer."""
        quote = self._book.keyed(InvoiceQuote, payment_hash)
        if quote is None:
            return self._book.keyed(ReceiveRequest, payment_hash) is not None
        invoice = self._book.find(Invoice, quote.invoice_id)
        return invoice is not None and invoice.receiver_id == self._account.owner.id


def _shown(quote: PaymentQuote) -> dict[str, Any]:
    body: dict[str, Any] = {
        "paymentQuoteId": quote.id,
        "validUntil": moments.expiring(quote.valid_until),
        "amount": quote.amount.shown(),
        "totalFee": quote.fee.shown(),
        "totalAmount": quote.total.shown(),
    }
    if quote.description is not None:
        body["description"] = quote.description
    if quote.rate is not None:
        body["conversionRate"] = quote.rate.shown()
    if quote.bolt11 is not None:
        body["lightningNetworkFee"] = quote.fee.shown()
    if quote.duration_min is not None:
        body["estimatedDeliveryDurationInMin"] = quote.duration_min
    return body
