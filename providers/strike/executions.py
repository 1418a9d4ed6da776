"""Executing quotes, and finding out what became of that: a payment is taken for ours by a proof, or by Strike's word.

Three things end an execution whose answer was lost:

- the preimage of a payment among Strike's events is the invoice's (:func:`search`);
- Strike says that the quote was executed, and just one payment shows that this can be, with no preimage;
- Strike refuses the quote as one that was never executed, and no payment shows that it can have begun.

The last two only count when every event of that time has shown: :data:`NEVER_RAN_AFTER_S` behind the last execution.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from time import monotonic
from typing import Final

import structlog

from quittance.providers.base import SendFailure, SentPayment, SentStatus
from quittance.providers.lightning import NodeUnavailable
from quittance.providers.strike.bodies import PaymentBody
from quittance.providers.strike.client import StrikeClient
from quittance.providers.strike.errors import Meaning, NotAsked, StrikeRefusal
from quittance.providers.strike.finding import Search, Wanted, search
from quittance.providers.strike.notebook import Notebook
from quittance.providers.strike.notes import NEVER_RAN_AFTER_S, Note, owner_of
from quittance.providers.strike.payments import FAILURE, failed, missing, stands

log = structlog.get_logger("quittance.providers")

BEGIN_WITHIN_S: Final = 15.0  # of being asked: a process that slept longer executes nothing
PAID_BEFORE: Final = "LN_INVOICE_PROCESSED"
EXECUTED: Final = frozenset({"PAYMENT_PROCESSED", "PROCESSING_PAYMENT"})
_IS_OVER: Final = "PAYMENT_PROCESSED"
_SEARCH_S_MAX: Final = 30 * 86_400.0  # how far back a payment is looked for that we know nothing of
_QUOTE_LASTS_S: Final = 120.0  # where Strike does not say how long
_NOT_TOLD: Final = "Strike has executed the quote, and does not show the payment yet"
_NOT_SETTLED: Final = "Strike refuses to execute the quote; whether it did before is not certain yet"
_NOT_READ: Final = "Strike shows payments that cannot be read; one of them may be this one"
_AMBIGUOUS: Final = "Strike shows payments that may be this one, and proves none"
_PAID_LATELY: Final = "the invoice has been paid; whether by us is not certain yet"
_TOO_SLOW: Final = "it took too long to begin; nothing was executed"


class Executions:
    """What was executed out of one account."""

    def __init__(self, client: StrikeClient, notebook: Notebook, *, now: Callable[[], datetime]) -> None:
        self._name = client.name
        self._client = client
        self._notebook = notebook
        self._now = now

    async def execute(self, reference: str, note: Note, *, until: float) -> SentPayment:
        """Pay a quote that is noted as begun, and return how that stands. ``until`` is by the monotonic clock.

        Raises:
            NotAsked: nothing was executed.
            StrikeRefusal: Strike said no.
            ProviderUnavailable: what was executed is unknown.
            ProviderMisconfigured: likewise, and the operator must act.
        """
        assert note.quote_id is not None, "a quote to execute"
        await self._notebook.list_open(reference, note)
        if monotonic() > until:
            raise NotAsked(self._name, _TOO_SLOW)
        payment = await self._client.execute_quote(note.quote_id)
        return await self._bound(reference, note, payment, is_proved=True)

    async def find_out(self, reference: str, note: Note) -> SentPayment:
        """Find out what became of an execution whose answer was lost; if nothing proves it, execute the same quote.

        Raises:
            ProviderUnavailable: no answer, or it is not certain yet.
            ProviderMisconfigured: the operator must act; the outcome stays unknown.
        """
        until = monotonic() + BEGIN_WITHIN_S
        found = await search(self._client, self._notebook, _begun_as(reference, note))
        if found.proved is not None:
            return await self._bound(reference, note, found.proved, is_proved=True)
        again = await self._notebook.change(reference, note, note.begun(at=self._now()))
        try:
            return await self.execute(reference, again, until=until)
        except NotAsked:
            await self._notebook.change(reference, again, again.refused(before=note))
            raise
        except StrikeRefusal as refusal:
            if refusal.meaning is Meaning.MAYBE_ACTED and refusal.strike_code not in {*EXECUTED, PAID_BEFORE}:
                raise NodeUnavailable(self._name, refusal.said) from refusal
            said = refusal
        settled = await self._notebook.change(reference, again, again.refused(before=note))
        if said.strike_code in EXECUTED:
            return await self.executed(reference, settled, found, said)
        if said.strike_code == PAID_BEFORE:
            raise NodeUnavailable(self._name, _NOT_TOLD) from said
        if said.meaning is Meaning.MISCONFIGURED:
            raise said
        return await self._never_ran(reference, settled, found, said)

    async def executed_by_another(self, reference: str, note: Note, refusal: StrikeRefusal) -> SentPayment:
        """Return how a payment stands of a quote that was executed when we did so first."""
        found = await search(self._client, self._notebook, _begun_as(reference, note))
        if found.proved is not None:
            return await self._bound(reference, note, found.proved, is_proved=True)
        return await self.executed(reference, note, found, refusal)

    async def executed(self, reference: str, note: Note, found: Search, refusal: StrikeRefusal) -> SentPayment:
        """Return how a payment stands of a quote that Strike says it has executed, though none proves to be it.

        The only one that it can be is it, when every other has shown, and none of ours that is begun can be that one.

        Raises:
            ProviderUnavailable: there is none, or not just one, or that is not certain yet.
        """
        if found.unread:
            raise NodeUnavailable(self._name, _NOT_READ) from refusal
        if not found.alike:
            raise NodeUnavailable(self._name, _NOT_TOLD) from refusal
        if len(found.alike) > 1 or not await self._notebook.is_alone(reference, note):
            raise NodeUnavailable(self._name, _AMBIGUOUS) from refusal
        only = next(iter(found.alike))
        if only.state == "PENDING":
            return SentPayment(reference=reference, status=SentStatus.IN_FLIGHT)
        if refusal.strike_code != _IS_OVER or not note.is_told(at=self._now()):
            raise NodeUnavailable(self._name, _NOT_TOLD) from refusal
        return await self._bound(reference, note, only, is_proved=False)

    async def _never_ran(self, reference: str, note: Note, found: Search, refusal: StrikeRefusal) -> SentPayment:
        """Return that a quote failed which Strike refuses for another reason than that it was executed.

        Raises:
            ProviderUnavailable: an execution of it may show still.
        """
        if not note.is_told(at=self._now()):
            raise NodeUnavailable(self._name, _NOT_SETTLED) from refusal
        if not found.shows_nothing:
            raise NodeUnavailable(self._name, _NOT_READ if found.unread else _AMBIGUOUS) from refusal
        failure = FAILURE.get(refusal.strike_code, SendFailure.OTHER)
        await self._notebook.change(reference, note, note.spent(failure, at=self._now()))
        return failed(reference, failure)

    async def paid_before(self, reference: str, note: Note, *, made_at: datetime) -> SentPayment:
        """Look for a payment that we know nothing of, of an invoice that was ``made_at``, as its payee says.

        MISSING: this account made none, or none has shown yet.

        Raises:
            ProviderUnavailable: there is one that may be it.
        """
        earliest = note.noted_at - timedelta(seconds=_SEARCH_S_MAX)
        wanted = Wanted(
            reference=reference,
            owner=owner_of(reference, number=note.number),
            amount_sat=note.amount_sat,
            fee_sat=None,
            since=max(min(made_at, note.noted_at), earliest),
            until=self._now(),
        )
        found = await search(self._client, self._notebook, wanted)
        if found.proved is not None:
            return await self._bound(reference, note, found.proved, is_proved=True)
        if found.shows_nothing:
            return missing(reference)
        if [one.state for one in found.alike] == ["PENDING"] and not found.unread:
            return SentPayment(reference=reference, status=SentStatus.IN_FLIGHT)
        raise NodeUnavailable(self._name, _NOT_READ if found.unread else _AMBIGUOUS)

    async def paid_by_others(self, reference: str, note: Note, *, made_at: datetime) -> SentPayment:
        """As ``paid_before``, of an invoice that Strike says has been paid: MISSING is certain.

        Raises:
            ProviderUnavailable: there is one that may be it, or it may show still.
        """
        told = note.failed(None).model_copy(update={"paid_before_at": note.paid_before_at or self._now()})
        told = await self._notebook.change(reference, note, told)
        found = await self.paid_before(reference, told, made_at=made_at)
        if found.status is not SentStatus.MISSING:
            return found
        assert told.paid_before_at is not None, "it was set above"
        if self._now() - told.paid_before_at < timedelta(seconds=NEVER_RAN_AFTER_S):
            raise NodeUnavailable(self._name, _PAID_LATELY)
        return found

    async def _bound(self, reference: str, note: Note, payment: PaymentBody, *, is_proved: bool) -> SentPayment:
        """Note which payment this is, and return how it stands. Both states and answers decide: 200 or 202."""
        owner = owner_of(reference, number=note.number)
        await self._notebook.claim(payment.payment_id, owner=owner, is_proved=is_proved)
        await self._notebook.change(reference, note, note.paid_as(payment.payment_id))
        return stands(payment, reference=reference, provider=self._name)


def _begun_as(reference: str, note: Note) -> Wanted:
    assert note.executed_at is not None, "an execution that was begun"
    ends_at = note.valid_until or (note.lost_at or note.executed_at) + timedelta(seconds=_QUOTE_LASTS_S)
    return Wanted(
        reference=reference,
        owner=owner_of(reference, number=note.number),
        amount_sat=note.amount_sat,
        fee_sat=note.fee_sat,
        since=note.executed_at,
        until=ends_at,
    )
