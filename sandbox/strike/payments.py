"""Executing quotes: money leaves once, and comes back or arrives (sheet 1.4, 1.6)."""

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from quittance.providers.lnd._proto import lnrpc_pb2 as ln
from quittance.sandbox.lnd import paying, refusals
from quittance.sandbox.strike import moments
from quittance.sandbox.strike.account import Account
from quittance.sandbox.strike.calls import ACCEPTED, OK, Answer, Call
from quittance.sandbox.strike.entities import Entity, Payment, PaymentQuote, State
from quittance.sandbox.strike.quoting import Quoting
from quittance.sandbox.strike.refusals import not_found, unprocessable

EXECUTE_WAIT_S: Final = 2.0
_RESULTS: Final = {State.PENDING: "PENDING", State.COMPLETED: "SUCCESS", State.FAILED: "FAILURE"}


class Payments:
    """Payments of the account. One that is pending has left the balance; one that failed is back in it."""

    def __init__(self, account: Account, quoting: Quoting) -> None:
        self._account = account
        self._book = account.book
        self._quoting = quoting
        self._open = {payment.id for payment in self._book.all(Payment) if payment.state is State.PENDING}
        for payment_id in tuple(self._open):
            self._catch_up(self._payment(payment_id))

    async def execute(self, call: Call) -> Answer:
        """Pay what was quoted, once. Lightning is waited for; a chain is not."""
        quote = self._book.find(PaymentQuote, call.id("paymentQuoteId"))
        if quote is None:
            raise not_found()
        self._check(quote)
        fault = self._account.fault("execute_failed", "pending_forever", method=call.operation)
        payment = self._begun(quote, fault)
        if payment.state is State.PENDING and not payment.held and quote.payment_hash is not None:
            self._send(payment, quote)
            await self._waited(payment.id, quote.payment_hash)
        payment = self._payment(payment.id)
        status = ACCEPTED if payment.state is State.PENDING else OK
        return Answer(body=self._shown(payment, call), status=status)

    def find(self, call: Call) -> Answer:
        payment = self._book.find(Payment, call.id("paymentId"))
        if payment is None:
            raise not_found()
        return Answer(body=self._shown(payment, call))

    def sweep(self, *, release: bool = False) -> None:
        """End what has ended: at the other node, on the chain by time, or because a fault lets it go."""
        now = self._account.now()
        for payment in [self._payment(payment_id) for payment_id in self._open]:
            if payment.due is not None:
                if release or (not payment.held and payment.due <= now):
                    self._complete(payment, transaction_id=self._book.new_id().replace("-", "") * 2)
            elif not payment.held:
                self._follow(payment)
            elif release:
                self._send(replace(payment, held=False), self._quote(payment))

    def give_up(self) -> None:
        """Let fail what is pending at Strike or on a chain; what is on its way over Lightning is not in its hands."""
        for payment in [self._payment(payment_id) for payment_id in self._open]:
            if payment.held or payment.due is not None:
                self._fail(payment)

    def _check(self, quote: PaymentQuote) -> None:
        earlier = self._book.keyed(Payment, quote.id)
        if earlier is not None and earlier.state is State.PENDING:
            raise unprocessable("PROCESSING_PAYMENT", "The payment is being processed.")
        if earlier is not None:
            raise unprocessable("PAYMENT_PROCESSED", "The payment was processed already.")
        if quote.valid_until < self._account.now():
            raise unprocessable("PAYMENT_QUOTE_EXPIRED", "The payment quote has expired.")
        if quote.bolt11 is not None and quote.payment_hash is not None:
            self._quoting.check_unexpired(paying.read_invoice(quote.bolt11))
            self._quoting.check_unpaid(quote.payment_hash)
            if any(self._quote(self._payment(one)).payment_hash == quote.payment_hash for one in self._open):
                raise unprocessable("LN_INVOICE_PROCESSED", "The lightning invoice was processed already.")

    def _begun(self, quote: PaymentQuote, fault: str) -> Payment:
        """Write down that the money leaves, before it does.

        Raises:
            Refused: there is not enough of it.
        """
        now, owner = self._account.now(), self._account.owner
        payment = Payment(
            id=self._book.new_id(),
            created=now,
            quote_id=quote.id,
            state=State.PENDING,
            held=fault == "pending_forever",
            due=now + timedelta(minutes=quote.duration_min) if quote.duration_min is not None else None,
        )
        charged = self._account.charged(owner, quote.total)
        happened = self._account.happened("payment.created", payment.id)
        if fault == "execute_failed":
            payment = replace(payment, state=State.FAILED)
            self._account.commit(payment, *happened, *self._changed(payment))
        else:
            self._account.commit(payment, charged, *happened)
            self._open.add(payment.id)
        return payment

    def _send(self, payment: Payment, quote: PaymentQuote) -> None:
        """Let the node pay. A node that refuses to begin has paid nothing."""
        assert quote.bolt11 is not None, "a quote of a Lightning payment"
        self._book.save(payment)
        invoice = paying.read_invoice(quote.bolt11)
        order = paying.PaymentOrder(
            destination=bytes.fromhex(invoice.payee),
            payment_hash=bytes.fromhex(invoice.payment_hash),
            payment_addr=bytes.fromhex(invoice.payment_secret or ""),
            amount_msat=quote.msat,
            fee_msat_max=paying.route_fee_msat(quote.msat),
            payment_request=quote.bolt11,
            allow_self=True,
            settles_own=True,
        )
        try:
            paying.start(self._account.network, self._account.node, order)
        except refusals.Refused:
            self._fail(payment)
        else:
            self._follow(payment)

    async def _waited(self, payment_id: str, payment_hash: str) -> None:
        if payment_id in self._open:
            await paying.outcome(self._account.node, bytes.fromhex(payment_hash), wait_s=EXECUTE_WAIT_S)
            payment = self._payment(payment_id)
            if payment.state is State.PENDING:
                self._follow(payment)

    def _follow(self, payment: Payment) -> None:
        """End a payment that has ended at the node."""
        payment_hash = self._quote(payment).payment_hash
        assert payment_hash is not None, "a quote of a Lightning payment"
        record = self._account.node.payments[bytes.fromhex(payment_hash)]
        if record.status == ln.Payment.SUCCEEDED:
            self._complete(payment, preimage=record.preimage.hex())
        elif record.status == ln.Payment.FAILED:
            self._fail(payment)

    def _catch_up(self, payment: Payment) -> None:
        """Go on where a process ended: one that the node never began has not been paid."""
        payment_hash = self._quote(payment).payment_hash
        if payment_hash is None or payment.held:
            return
        if bytes.fromhex(payment_hash) in self._account.node.payments:
            self._follow(payment)
        else:
            self._fail(payment)

    def _complete(self, payment: Payment, *, preimage: str | None = None, transaction_id: str | None = None) -> None:
        done = replace(
            payment,
            state=State.COMPLETED,
            held=False,
            due=None,
            completed=self._account.now(),
            preimage=preimage,
            transaction_id=transaction_id,
        )
        self._account.commit(done, *self._changed(done))
        self._open.discard(done.id)

    def _fail(self, payment: Payment) -> None:
        """Give the money back."""
        failed = replace(payment, state=State.FAILED, held=False, due=None)
        back = self._account.credited(self._account.owner, self._quote(payment).total)
        self._account.commit(failed, back, *self._changed(failed))
        self._open.discard(failed.id)

    def _changed(self, payment: Payment) -> list[Entity]:
        return self._account.happened("payment.updated", payment.id, changes=["state"])

    def _payment(self, payment_id: str) -> Payment:
        payment = self._book.find(Payment, payment_id)
        assert payment is not None, "it was saved"
        return payment

    def _quote(self, payment: Payment) -> PaymentQuote:
        quote = self._book.find(PaymentQuote, payment.quote_id)
        assert quote is not None, "payments have quotes"
        return quote

    def _shown(self, payment: Payment, call: Call) -> dict[str, Any]:
        quote = self._quote(payment)
        body: dict[str, Any] = {
            "paymentId": payment.id,
            "state": payment.state.value,
            "result": _RESULTS[payment.state],
            "amount": quote.amount.shown(),
            "totalFee": quote.fee.shown(),
            "totalAmount": quote.total.shown(),
        }
        if payment.completed is not None:
            body["completed"] = body["delivered"] = moments.listed(payment.completed)
        if quote.rate is not None:
            body["conversionRate"] = quote.rate.shown()
        if quote.bolt11 is not None:
            body["lightningNetworkFee"] = quote.fee.shown()
            lightning: dict[str, Any] = {"networkFee": quote.fee.shown()}
            if payment.preimage is not None and not self._account.fault("omit_preimage", method=call.operation):
                lightning["preImage"] = payment.preimage
            body["lightning"] = lightning
        elif payment.transaction_id is not None:
            body["onchain"] = {"txnId": payment.transaction_id}
        return body
