"""Pays over Lightning out of a Strike account. Nothing else in the process holds a key that may spend.

Strike pays a quote once, and tells the payment's id only in the answer to that. So before each step it is written down
how far a payment is (see :class:`Note`), and there is one quote at a time for one invoice:

- the idempotency key of a quote is made of the payment hash and its number, so no number has two quotes;
- its fee is compared with the cap before it is executed; Strike itself knows no cap;
- the next number is only begun when the one before certainly moved nothing and nobody executes it any more.

When the answer to an execution was lost, the payment is looked for among Strike's events. If none proves to be it, the
same quote is executed once more, even by a lookup: it is what was ordered, at the price that was agreed to, and Strike
refuses it if it was executed before. What it refuses otherwise is only believed when no event can be missing any more.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Final
from weakref import WeakValueDictionary

import structlog

from quittance.domain.bolt11 import Bolt11, without_scheme
from quittance.domain.errors import InvalidAmount, ProviderMisconfigured, QuittanceError
from quittance.domain.money import BTC_MSAT, BTC_SAT, Asset, Money
from quittance.domain.outgoing_errors import SendRefused
from quittance.providers.base import (
    PaymentMemory,
    ProviderHealth,
    SendFailure,
    SendRequest,
    SentPayment,
    SentStatus,
)
from quittance.providers.lightning import NodeUnavailable, moment
from quittance.providers.lightning_paying import fee_cap, positive, read_order, read_payable
from quittance.providers.strike.bodies import PaymentQuoteBody
from quittance.providers.strike.client import StrikeClient
from quittance.providers.strike.errors import Meaning, NotAsked, StrikeRefusal
from quittance.providers.strike.executions import BEGIN_WITHIN_S, EXECUTED, PAID_BEFORE, Executions
from quittance.providers.strike.money import MSAT_PER_SAT
from quittance.providers.strike.networks import prefix_of
from quittance.providers.strike.notebook import OVERTAKEN, Notebook
from quittance.providers.strike.notes import Note, key_of
from quittance.providers.strike.payments import FAILURE, cost, failed, missing, stands

log = structlog.get_logger("quittance.providers")

_QUOTES_PER_TRY: Final = 3
_KEYS_USED: Final = "quotes were made for this invoice, and their answers were lost"
_PAID_BY_OTHERS: Final = "the invoice has been paid, and not by us"
_REPEATED: Final = "DUPLICATE_PAYMENT_QUOTE"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """One invoice to pay. ``amount`` is given for one that names none; ``until`` is by the monotonic clock."""

    reference: str
    payment_request: str
    amount: Money | None
    amount_sat: int
    fee_sat_max: int
    made_at: datetime
    until: float


class StrikePayer:
    """The Lightning payments of a Strike account, out of its bitcoin.

    The API key needs the scopes partner.payment-quote.lightning.create, partner.payment-quote.execute,
    partner.payment.read, partner.webhooks.manage (to find what an answer was lost of) and partner.balances.read.
    Amounts and fees are whole satoshi: an invoice for a part of one is refused.
    """

    asset: Asset = BTC_MSAT
    unit: Asset = BTC_SAT

    def __init__(
        self,
        client: StrikeClient,
        *,
        network: str,
        memory: PaymentMemory,
        now: Callable[[], datetime],
    ) -> None:
        self.name = client.name
        self._prefix = prefix_of(network)
        self._set_to = f"bitcoin {network}"
        self._client = client
        self._now = now
        self._notebook = Notebook(memory, provider=client.name)
        self._executions = Executions(client, self._notebook, now=now)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def aclose(self) -> None:
        """Close the connections; payments that are on their way stay there."""
        await self._client.aclose()

    def read_invoice(self, payment_request: str) -> Bolt11:
        """Return what an invoice says, its signature verified.

        Raises:
            MalformedInvoice: it is none.
            SendRefused: it is not for the network that this account pays on.
        """
        return read_payable(payment_request, provider=self.name, prefix=self._prefix, network=self._set_to)

    async def send(self, request: SendRequest) -> SentPayment:
        """Pay an invoice, and return how that stands; Strike says so at once, final or not.

        A quote that costs more than allowed is not executed: FAILED with NO_ROUTE, as of every way that is too dear.

        Raises:
            ProviderUnavailable: the outcome is unknown; look up the reference, and do not send again before that.
            SendRefused: Strike did not begin, and nothing moved.
            ProviderMisconfigured: likewise, and the operator must act.
        """
        order = self._order(request)
        async with self._lock(order.reference):
            note = await self._notebook.read(order.reference)
            if note is None:
                return await self._anew(order, None, number=1)
            earlier = await self._unless_misconfigured(self._earlier(order.reference, note))
            if earlier.status in {SentStatus.SUCCEEDED, SentStatus.IN_FLIGHT}:
                return earlier
            note = await self._closed(order.reference, note)
            if note.is_executable(at=self._now()) and note.amount_sat == order.amount_sat:
                return await self._executed(order, note)
            return await self._anew(order, note, number=note.number + (note.quote_id is not None))

    async def _closed(self, reference: str, note: Note) -> Note:
        """Return a note as it is after it was found out that nothing was moved.

        Raises:
            ProviderUnavailable: another process has begun something meanwhile.
        """
        if not note.is_open:
            return note
        closed = await self._notebook.read(reference)
        if closed is None or closed.is_open or closed.number != note.number:
            raise NodeUnavailable(self.name, OVERTAKEN)
        return closed

    def _order(self, request: SendRequest) -> _Order:
        invoice = read_order(request, provider=self.name, prefix=self._prefix, network=self._set_to, asset=BTC_MSAT)
        try:
            asked = Money(invoice.amount_msat, BTC_MSAT) if invoice.amount_msat is not None else request.amount
            amount_sat = 0 if asked is None else positive(asked, provider=self.name, asset=BTC_SAT)
        except InvalidAmount as error:
            raise SendRefused(self.name, "Strike pays whole satoshi alone") from error
        return _Order(
            reference=invoice.payment_hash,
            payment_request=without_scheme(request.payment_request),
            amount=None if request.amount is None else Money(amount_sat, BTC_SAT),
            amount_sat=amount_sat,
            fee_sat_max=fee_cap(request.fee_max, asset=BTC_MSAT) // MSAT_PER_SAT,
            made_at=moment(invoice.timestamp, provider=self.name),
            until=monotonic() + BEGIN_WITHIN_S,
        )

    def _lock(self, reference: str) -> asyncio.Lock:
        return self._locks.setdefault(reference, asyncio.Lock())

    async def _unless_misconfigured(self, asking: Awaitable[SentPayment]) -> SentPayment:
        """Await how a payment stands that may have begun: whatever keeps Strike from telling leaves that unknown."""
        try:
            return await asking
        except ProviderMisconfigured as error:
            raise NodeUnavailable(self.name, error.reason) from error

    async def _anew(self, order: _Order, before: Note | None, *, number: int) -> SentPayment:
        """Ask for a quote, and execute it if it is what was ordered.

        A number whose quote exists already (its answer was lost) is left: what that quote costs is not known, and it
        was never executed, or the note would say so. A note that was lost itself shows in Strike's events.
        """
        for tried in range(number, number + _QUOTES_PER_TRY):
            note = Note(
                number=tried,
                amount_sat=order.amount_sat,
                noted_at=self._now() if before is None else before.noted_at,
                paid_before_at=None if before is None else before.paid_before_at,
            )
            before = await self._notebook.change(order.reference, before, note)
            try:
                quote = await self._client.quote_lightning(
                    ln_invoice=order.payment_request,
                    amount=order.amount,
                    currency=BTC_SAT.code,
                    key=key_of(order.reference, number=tried),
                )
            except StrikeRefusal as refusal:
                if refusal.strike_code != _REPEATED:
                    return await self._refused(order, note, refusal)
                log.warning("quote_left", provider=self.name, reference=order.reference, quote=refusal.original_id)
                asking = self._executions.paid_before(order.reference, note, made_at=order.made_at)
                found = await self._unless_misconfigured(asking)
                if found.status is not SentStatus.MISSING:
                    return found
                continue
            return await self._quoted(order, note, quote)
        raise NodeUnavailable(self.name, _KEYS_USED)

    async def _quoted(self, order: _Order, note: Note, quote: PaymentQuoteBody) -> SentPayment:
        """Note a quote that is what was ordered, and execute it; of another, not even the id is kept."""
        amount, fee = cost(quote, provider=self.name)
        if amount.value != order.amount_sat:
            raise SendRefused(self.name, "Strike's quote pays another amount than the invoice asks for")
        quoted = note.model_copy(
            update={"quote_id": quote.payment_quote_id, "fee_sat": fee.value, "valid_until": quote.valid_until}
        )
        return await self._executed(order, await self._notebook.change(order.reference, note, quoted))

    async def _executed(self, order: _Order, note: Note) -> SentPayment:
        """Execute a quote that was never executed, or whose executions were all refused, if it is cheap enough."""
        reference = order.reference
        if note.fee_sat is None or note.fee_sat > order.fee_sat_max:
            await self._notebook.change(reference, note, note.failed(SendFailure.NO_ROUTE))
            return failed(reference, SendFailure.NO_ROUTE)
        begun = await self._notebook.change(reference, note, note.begun(at=self._now()))
        try:
            return await self._executions.execute(reference, begun, until=order.until)
        except NotAsked:
            await self._notebook.change(reference, begun, begun.failed(None))
            raise
        except StrikeRefusal as refusal:
            return await self._not_begun(order, begun, refusal)
        except ProviderMisconfigured as error:  # it may have paid, and told so in words that we do not understand
            raise NodeUnavailable(self.name, error.reason) from error

    async def _not_begun(self, order: _Order, note: Note, refusal: StrikeRefusal) -> SentPayment:
        """Return what follows from Strike's no to the only execution there was: it is certain at once."""
        code, reference = refusal.strike_code, order.reference
        if code in EXECUTED:  # by another process that was asked the same
            by_another = self._executions.executed_by_another(reference, note, refusal)
            return await self._unless_misconfigured(by_another)
        if code in FAILURE:
            is_over = code == "PAYMENT_QUOTE_EXPIRED"
            after = note.spent(FAILURE[code], at=self._now()) if is_over else note.failed(FAILURE[code])
            await self._notebook.change(reference, note, after)
            return failed(reference, FAILURE[code])
        if code == PAID_BEFORE:
            return await self._paid_by_others(order, note, refusal)
        if refusal.meaning is Meaning.MAYBE_ACTED:
            raise NodeUnavailable(self.name, refusal.said) from refusal
        await self._notebook.change(reference, note, note.failed(None))
        raise self._refusal(refusal) from refusal

    async def _refused(self, order: _Order, note: Note, refusal: StrikeRefusal) -> SentPayment:
        """Return what follows from Strike's no to a quote: nothing was begun."""
        failure = FAILURE.get(refusal.strike_code)
        if failure is not None:
            await self._notebook.change(order.reference, note, note.failed(failure))
            return failed(order.reference, failure)
        if refusal.strike_code == PAID_BEFORE:
            return await self._paid_by_others(order, note, refusal)
        if refusal.meaning is Meaning.MAYBE_ACTED:
            raise NodeUnavailable(self.name, refusal.said) from refusal
        raise self._refusal(refusal) from refusal

    def _refusal(self, refusal: StrikeRefusal) -> QuittanceError:
        return refusal if refusal.meaning is Meaning.MISCONFIGURED else SendRefused(self.name, refusal.said)

    async def _paid_by_others(self, order: _Order, note: Note, refusal: StrikeRefusal) -> SentPayment:
        """Return how our own payment stands of an invoice that Strike says has been paid."""
        asking = self._executions.paid_by_others(order.reference, note, made_at=order.made_at)
        found = await self._unless_misconfigured(asking)
        if found.status is SentStatus.MISSING:
            raise SendRefused(self.name, _PAID_BY_OTHERS) from refusal
        return found

    async def lookup_sent(self, reference: str) -> SentPayment:
        """Return how a payment stands now; status MISSING when nothing was ever executed for it.

        Where an answer to an execution was lost, and no event shows the payment, the same quote is executed once more.

        Raises:
            ProviderUnavailable: no answer, or it is not certain yet.
            ProviderMisconfigured: the operator must act; the outcome stays unknown.
        """
        async with self._lock(reference):
            note = await self._notebook.read(reference)
            return missing(reference) if note is None else await self._earlier(reference, note)

    async def _earlier(self, reference: str, note: Note) -> SentPayment:
        """Return how the tries stand that were made so far."""
        if note.payment_id is not None:
            payment = await self._client.find_payment(note.payment_id)
            return stands(payment, reference=reference, provider=self.name)
        if note.executed_at is not None:
            return await self._executions.find_out(reference, note)
        return missing(reference) if note.failure is None else failed(reference, note.failure)

    async def paying_health(self) -> ProviderHealth:
        """Tell whether Strike answers to the key that may spend; never raises, and nothing is begun."""
        try:
            rows = await self._client.balances()
        except NodeUnavailable as error:
            return ProviderHealth(ready=False, detail=error.reason)
        except QuittanceError as error:
            return ProviderHealth(ready=False, detail=error.message)
        if not any(row.currency == BTC_SAT.code for row in rows):
            return ProviderHealth(ready=False, detail="the account holds no bitcoin to pay with")
        return ProviderHealth(ready=True, detail=f"may pay on {self._set_to}")
