"""Invoices and the quotes by which they are paid (sheet 1.4)."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from quittance.sandbox.lnd.records import InvoiceRecord
from quittance.sandbox.strike import bolt11, filters, moments
from quittance.sandbox.strike.account import Account
from quittance.sandbox.strike.calls import Answer, Call
from quittance.sandbox.strike.entities import Entity, Holder, Invoice, InvoiceQuote, InvoiceState
from quittance.sandbox.strike.kinds import RAIL, SETTLEMENT
from quittance.sandbox.strike.money import BTC, HELD, check_amount, converted, msat_of_btc, rate
from quittance.sandbox.strike.reading import Given
from quittance.sandbox.strike.refusals import Refused, not_found, unprocessable

QUOTE_BTC_S: Final = 3_600
QUOTE_FIAT_S: Final = 30
_CORRELATION_MAX: Final = 40
_DESCRIPTION_MAX: Final = 200
_FIELDS: Final[dict[str, filters.Field[Invoice]]] = {
    "invoiceId": lambda invoice: invoice.id,
    "created": lambda invoice: invoice.created,
    "currency": lambda invoice: invoice.amount.currency,
    "state": lambda invoice: invoice.state.value,
    "issuerId": lambda invoice: invoice.issuer_id,
    "receiverId": lambda invoice: invoice.receiver_id,
    "payerId": lambda _: None,
    "correlationId": lambda invoice: invoice.correlation_id,
}


class Invoices:
    """What the account asks for, or asks for in the name of another."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._book = account.book
        self._pending: set[str] = set()
        for invoice in self._book.all(Invoice):
            self._catch_up(invoice)

    def issue(self, call: Call) -> Answer:
        return self._issued(call, receiver=self._account.owner)

    def issue_for_handle(self, call: Call) -> Answer:
        receiver = self._book.keyed(Holder, call.path["handle"])
        if receiver is None:
            raise not_found()
        if receiver.id == self._account.owner.id:
            raise unprocessable("INVALID_RECIPIENT", "The receiver is the issuer.")
        return self._issued(call, receiver=receiver)

    def listing(self, call: Call) -> Answer:
        return Answer(body=filters.page(self._book.all(Invoice), call.query, fields=_FIELDS, shown=_shown))

    def find(self, call: Call) -> Answer:
        invoice = self._found(call)
        body = _shown(invoice)
        if call.query.get("includeTransactions", "").lower() == "true":
            body["transactions"] = _transactions(invoice)
        return Answer(body=body)

    def quote(self, call: Call) -> Answer:
        """Make one more BOLT11 invoice; those made before stay payable until they expire."""
        in_query = {name: value for name, value in call.query.items() if name.lower() == "descriptionhash"}
        given = Given(in_query) if in_query else call.given
        description_hash = given.hash("descriptionHash")
        given.check()
        invoice = self._found(call)
        _check_unpaid(invoice)
        quote = self._quoted(invoice, description_hash)
        self._account.commit(quote, replace(invoice, quote_ids=(*invoice.quote_ids, quote.id)))
        return call.created(_shown_quote(quote), at=f"/v1/quotes/{quote.id}")

    def cancel(self, call: Call) -> Answer:
        invoice = self._found(call)
        _check_unpaid(invoice)
        self._close(invoice)
        self._save(replace(invoice, state=InvoiceState.CANCELLED))
        return Answer(body=_shown(self._found(call)))

    def settle(self, record: InvoiceRecord) -> None:
        """Hear of an invoice of the node: one that was paid pays what it was a quote of."""
        quote = self._book.keyed(InvoiceQuote, record.payment_hash.hex())
        invoice = self._book.find(Invoice, quote.invoice_id) if quote is not None else None
        if invoice is not None and bolt11.settled(self._account, record.payment_hash.hex()) is not None:
            self._receive(invoice, at=datetime.fromtimestamp(record.settled_at_s, UTC))

    def sweep(self, *, release: bool = False) -> None:
        """Credit what was pending for long enough, or all of it."""
        now = self._account.now()
        for invoice_id in tuple(self._pending):
            invoice = self._book.find(Invoice, invoice_id)
            assert invoice is not None, "it was saved"
            if release or invoice.due is None or invoice.due <= now:
                self._credit(invoice)

    def _issued(self, call: Call, *, receiver: Holder) -> Answer:
        given, now = call.given, self._account.now()
        correlation_id = given.text("correlationId", size_max=_CORRELATION_MAX)
        description = given.text("description", size_max=_DESCRIPTION_MAX)
        amount = given.needed_money("amount")
        if amount.currency not in HELD:
            raise unprocessable("CURRENCY_UNSUPPORTED", f"{amount.currency} is not supported.")
        if amount.currency not in receiver.invoiceable:
            raise unprocessable("USER_CURRENCY_UNAVAILABLE", f"The receiver takes no {amount.currency}.")
        check_amount(amount, at=now)
        if correlation_id is not None and self._book.keyed(Invoice, correlation_id) is not None:
            raise Refused(409, "DUPLICATE_INVOICE", "An invoice with this correlationId exists.")
        invoice = Invoice(
            id=self._book.new_id(),
            created=now,
            amount=amount,
            issuer_id=self._account.owner.id,
            receiver_id=receiver.id,
            correlation_id=correlation_id,
            description=description,
        )
        self._account.commit(invoice, *self._account.happened("invoice.created", invoice.id))
        body = _shown(invoice) | {"created": moments.created(now)}
        return call.created(body, at=f"/v1/invoices/{invoice.id}")

    def _quoted(self, invoice: Invoice, description_hash: str | None) -> InvoiceQuote:
        now = self._account.now()
        source = converted(invoice.amount, BTC, at=now, up=True)
        expiry_s = QUOTE_BTC_S if invoice.amount.currency == BTC else QUOTE_FIAT_S
        record = bolt11.make(
            self._account,
            amount_msat=msat_of_btc(source.value),
            expiry_s=expiry_s,
            description=invoice.description or "",
            description_hash=description_hash,
        )
        return InvoiceQuote(
            id=self._book.new_id(),
            created=now,
            invoice_id=invoice.id,
            payment_hash=record.payment_hash.hex(),
            bolt11=record.payment_request,
            description=invoice.description,
            expires=datetime.fromtimestamp(record.created_at_s + expiry_s, UTC),
            expires_in_s=expiry_s,
            source=source,
            target=invoice.amount,
            rate=rate(BTC, invoice.amount.currency, at=now),
        )

    def _receive(self, invoice: Invoice, *, at: datetime) -> None:
        """Take note of money that came, and let nobody pay a second time."""
        if invoice.state is not InvoiceState.UNPAID:
            return
        invoice = replace(invoice, transaction_id=self._book.new_id(), received=at)
        fault = self._account.network.faults.take(RAIL, "invoice_pending", method=SETTLEMENT)
        if fault is None:
            self._credit(invoice)
        else:
            due = self._account.now() + timedelta(seconds=fault.seconds)
            self._save(replace(invoice, state=InvoiceState.PENDING, due=due))
            self._pending.add(invoice.id)
        self._close(invoice)

    def _credit(self, invoice: Invoice) -> None:
        paid = replace(invoice, state=InvoiceState.PAID, completed=self._account.now(), due=None)
        receiver = self._book.find(Holder, invoice.receiver_id)
        assert receiver is not None, "invoices are for holders"
        self._save(paid, self._account.credited(receiver, invoice.amount))
        self._pending.discard(invoice.id)

    def _save(self, invoice: Invoice, *others: Entity) -> None:
        happened = self._account.happened("invoice.updated", invoice.id, changes=["state"])
        self._account.commit(invoice, *others, *happened)

    def _close(self, invoice: Invoice) -> None:
        """Let no quote of an invoice be paid any longer."""
        for quote_id in invoice.quote_ids:
            quote = self._book.find(InvoiceQuote, quote_id)
            assert quote is not None, "saved with its invoice"
            bolt11.withdraw(self._account, quote.payment_hash)

    def _catch_up(self, invoice: Invoice) -> None:
        """Do what a process that ended left undone."""
        if invoice.state is InvoiceState.UNPAID:
            for quote_id in invoice.quote_ids:
                quote = self._book.find(InvoiceQuote, quote_id)
                record = bolt11.settled(self._account, quote.payment_hash) if quote is not None else None
                if record is not None:
                    self.settle(record)
        else:
            self._close(invoice)
        if invoice.state is InvoiceState.PENDING:
            self._pending.add(invoice.id)

    def _found(self, call: Call) -> Invoice:
        invoice = self._book.find(Invoice, call.id("invoiceId"))
        if invoice is None:
            raise not_found()
        return invoice


def _check_unpaid(invoice: Invoice) -> None:
    if invoice.state is InvoiceState.PENDING:
        raise unprocessable("UNPROCESSABLE_ENTITY", "The invoice is being paid.")
    if invoice.state is not InvoiceState.UNPAID:
        raise unprocessable(f"INVALID_STATE_FOR_INVOICE_{invoice.state}", f"The invoice is {invoice.state}.")


def _shown(invoice: Invoice) -> dict[str, Any]:
    body: dict[str, Any] = {
        "invoiceId": invoice.id,
        "amount": invoice.amount.shown(),
        "state": invoice.state.value,
        "created": moments.listed(invoice.created),
    }
    if invoice.correlation_id is not None:
        body["correlationId"] = invoice.correlation_id
    if invoice.description is not None:
        body["description"] = invoice.description
    return body | {"issuerId": invoice.issuer_id, "receiverId": invoice.receiver_id}


def _transactions(invoice: Invoice) -> list[dict[str, Any]]:
    if invoice.transaction_id is None or invoice.received is None:
        return []
    row: dict[str, Any] = {
        "transactionId": invoice.transaction_id,
        "state": "COMPLETED" if invoice.completed is not None else "PENDING",
        "amountReceived": invoice.amount.shown(),
        "created": moments.listed(invoice.received),
    }
    if invoice.completed is not None:
        row["completed"] = moments.listed(invoice.completed)
    return [row]


def _shown_quote(quote: InvoiceQuote) -> dict[str, Any]:
    body: dict[str, Any] = {
        "quoteId": quote.id,
        "lnInvoice": quote.bolt11,
        "expiration": moments.expiring(quote.expires),
        "expirationInSec": quote.expires_in_s,
        "targetAmount": quote.target.shown(),
        "sourceAmount": quote.source.shown(),
        "conversionRate": quote.rate.shown(),
    }
    if quote.description is not None:
        body["description"] = quote.description
    return body
