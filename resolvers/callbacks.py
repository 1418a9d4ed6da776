"""What providers tell us of their own accord: proved, stored once, and answered; then the provider itself is asked."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from enum import StrEnum

from quittance.domain.access import Principal
from quittance.domain.callback import (
    BODY_KEPT_DAYS,
    CALLBACK_NEXT,
    TEXT_MAX,
    Callback,
    CallbackReason,
    CallbackState,
    pause_s,
)
from quittance.domain.errors import ProviderMisconfigured, ProviderUnavailable, UnknownProvider
from quittance.domain.ids import CALLBACK, CallbackId, new_id
from quittance.domain.job import CRASHED, Job, JobEnd, JobKind, JobState
from quittance.domain.payment import UNDECIDED, OptionState, PaymentOption
from quittance.domain.text import is_storable
from quittance.providers.base import InvoiceStatus
from quittance.providers.callbacks import CallbackRefused, NamesEntities, ProviderCallback, ReadsCallbacks
from quittance.resolvers.callback_readers import callback_reader
from quittance.resolvers.jobs import JobRun, new_job
from quittance.resolvers.reconciliation import apply_lookup, reconcile_option
from quittance.resolvers.services import Services
from quittance.store import callbacks, jobs, options
from quittance.store.transaction import Transaction, to_us

FORGOTTEN_AT_ONCE = 8
_BEING_MADE = "INVOICE_BEING_MADE"


class ReaderFailed(CallbackRefused):
    """The reader failed in a way that nobody foresaw, which is its cause. Refused all the same: nothing was proved."""


class Receipt(StrEnum):
    """What was done with a callback. REPEATED: known, nothing changed. DIFFERS: known, but with another body."""

    STORED = "STORED"
    REPEATED = "REPEATED"
    DIFFERS = "DIFFERS"


def reads_callbacks(services: Services, provider: str) -> bool:
    return provider in services.callbacks or provider in services.callback_tools


async def receive(
    services: Services, *, provider: str, headers: Mapping[str, str], body: bytes
) -> tuple[ProviderCallback, Receipt]:
    """Prove a callback and remember it, with the job that asks the provider; nothing of it is believed.

    An event id that is known changes nothing, whatever its body says now: a provider tells the same thing again until
    we answer, with what it knows at that moment, and all we take from it is where to look.

    Raises:
        UnknownProvider: none of this name reads callbacks.
        CallbackRefused: it proves nothing, or says nothing that can be read. Nothing is stored.
    """
    reader = await callback_reader(services, provider)
    said = _read(services, reader, headers=headers, body=body)
    receipt = await services.database.write(lambda t: _store(t, services, said, provider=provider, body=body))
    if receipt is Receipt.STORED:
        services.wake_jobs()
    return said, receipt


async def take_in(services: Services, *, provider: str, told: Sequence[ProviderCallback]) -> list[Receipt]:
    """Remember what the provider itself lists, each as if it had come to our door; a receipt for each, in order.

    The provider was asked, so there is no signature to prove and no raw body to keep. What is no text that can be
    stored is left out, and its receipt says REPEATED: nothing changed.
    """

    def unit(transaction: Transaction) -> list[Receipt]:
        return [
            _store(transaction, services, _nameable(said), provider=provider, body=None)
            if _is_name(said.event_id) and _is_name(said.kind)
            else Receipt.REPEATED
            for said in told
        ]

    receipts = await services.database.write(unit)
    services.wake_jobs()
    return receipts


def _read(services: Services, reader: ReadsCallbacks, *, headers: Mapping[str, str], body: bytes) -> ProviderCallback:
    try:
        said = reader.read_callback(headers=headers, body=body, at=services.now())
    except CallbackRefused:
        raise
    except Exception as error:
        raise ReaderFailed("the reader failed") from error
    for text in (said.event_id, said.kind):
        if not _is_name(text):
            raise CallbackRefused("its event id or its type is no text that can be stored")
    return _nameable(said)


def _nameable(said: ProviderCallback) -> ProviderCallback:
    """Return it without a name that cannot be stored: that names nothing of ours."""
    named = said.reference or said.entity
    known = named is not None and _is_name(named)
    return said if known else replace(said, reference=None, entity=None)


def _is_name(text: str) -> bool:
    return 0 < len(text) <= TEXT_MAX and is_storable(text)


def _store(
    transaction: Transaction, services: Services, said: ProviderCallback, *, provider: str, body: bytes | None
) -> Receipt:
    now = services.now()
    named = said.reference or said.entity
    concerns = named is not None
    callback = Callback(
        id=CallbackId(services.new_id(CALLBACK)),
        provider=provider,
        event_id=said.event_id,
        kind=said.kind,
        reference=named,
        payment_id=None,
        state=CallbackState.RECEIVED if concerns else CallbackState.IGNORED,
        reason=None if concerns else CallbackReason.NO_REFERENCE,
        received_at=now,
        processed_at=None if concerns else now,
    )
    if not callbacks.insert_callback(transaction, callback, body=body):
        first = callbacks.body_of_event(transaction, provider=provider, event_id=said.event_id)
        return Receipt.REPEATED if body is None or first in (None, body) else Receipt.DIFFERS
    oldest = new_id(CALLBACK, at=now - timedelta(days=BODY_KEPT_DAYS), entropy=bytes(10))
    callbacks.forget_bodies(transaction, before_id=CallbackId(oldest), limit=FORGOTTEN_AT_ONCE)
    if concerns:
        jobs.add_job(transaction, _job(services, callback))
    return Receipt.STORED


def _job(services: Services, callback: Callback) -> Job:
    lane = f"callbacks/{callback.provider}"
    return new_job(
        services,
        JobKind.PROVIDER_CALLBACK,
        subject=callback.id,
        lane=lane,
        order=(f"{lane}/{callback.reference}", to_us(callback.received_at)),
        due_at=callback.received_at,
    )


async def process_callback(services: Services, job: Job) -> JobRun:
    """Ask the provider about what a callback named, and book what the provider says."""
    callback, option = await services.database.read(lambda t: _found(t, CallbackId(job.subject)))
    if callback is None or not CALLBACK_NEXT[callback.state]:
        return JobRun(end=JobEnd(state=JobState.DONE))
    try:
        option = option or await _named(services, callback)
    except (ProviderUnavailable, ProviderMisconfigured) as error:
        return _later(services, job, callback, reason=error.code)
    if option is None:
        return _ended(services, callback, CallbackState.IGNORED, reason=CallbackReason.UNKNOWN_REFERENCE)
    about = replace(callback, payment_id=option.payment_id)
    try:
        decided = await _ask(services, option)
    except (ProviderUnavailable, ProviderMisconfigured, UnknownProvider) as error:
        return _later(services, job, about, reason=error.code)
    if not decided:
        return _later(services, job, about, reason=_BEING_MADE)
    return _ended(services, about, CallbackState.PROCESSED, reason=None)


def abandon_callback(services: Services, job: Job, transaction: Transaction) -> None:
    """Let the operator see a callback whose job crashed too often."""
    callback, option = _found(transaction, CallbackId(job.subject))
    if callback is not None and callback.state is CallbackState.RECEIVED:
        about = callback if option is None else replace(callback, payment_id=option.payment_id)
        _given_up(services, about, reason=CRASHED).also(transaction)


def _found(transaction: Transaction, callback_id: CallbackId) -> tuple[Callback | None, PaymentOption | None]:
    callback = callbacks.callback_by_id(transaction, callback_id)
    if callback is None or callback.reference is None:
        return callback, None
    option = options.option_by_reference(transaction, provider=callback.provider, reference=callback.reference)
    return callback, option


async def _named(services: Services, callback: Callback) -> PaymentOption | None:
    """Return the attempt that a provider tells of by a name of its own; None where it is nothing of ours.

    Raises:
        ProviderUnavailable, ProviderMisconfigured: the provider, who alone knows, did not say.
    """
    rail, named = services.rails.get(callback.provider), callback.reference
    if named is None or rail is None or not isinstance(rail, NamesEntities):
        return None
    reference = await rail.reference_of(kind=callback.kind, entity_id=named)
    if reference is None:
        return None
    return await services.database.read(
        lambda t: options.option_by_reference(t, provider=callback.provider, reference=reference)
    )


async def _ask(services: Services, option: PaymentOption) -> bool:
    """Bring our books to what the provider says; False while its invoice is being made and nobody could be asked.

    Raises:
        ProviderUnavailable, ProviderMisconfigured, UnknownProvider: nobody answered.
    """
    if option.state is OptionState.SETTLED:  # booked; what is left to do is the reconciler's, in its time
        return True
    rail = services.rail(option.provider)
    if option.state is OptionState.FAILED:  # it stays so unless money came on it
        invoice = await rail.lookup_invoice(option.reference)
        if invoice.status is InvoiceStatus.SETTLED:
            await apply_lookup(services, option, invoice)
        return True
    await reconcile_option(services, option)
    if option.state not in UNDECIDED:
        return True
    after = await services.database.read(
        lambda t: options.option_by_reference(t, provider=option.provider, reference=option.reference)
    )
    return after is not None and after.state not in UNDECIDED


def _later(services: Services, job: Job, callback: Callback, *, reason: str) -> JobRun:
    delay_s = pause_s(job.attempts)
    if delay_s is None:
        return _given_up(services, callback, reason=reason)
    after = replace(callback, reason=reason)

    def also(transaction: Transaction) -> None:
        callbacks.move_callback(transaction, callback, after)

    again_at = services.now() + timedelta(seconds=delay_s)
    return JobRun(end=JobEnd(state=JobState.WAITING, error=reason, again_at=again_at), also=also)


def _given_up(services: Services, callback: Callback, *, reason: str) -> JobRun:
    run = _ended(services, callback, CallbackState.FAILED, reason=reason)
    return replace(run, end=JobEnd(state=JobState.DEAD, error=reason))


def _ended(services: Services, callback: Callback, state: CallbackState, *, reason: str | None) -> JobRun:
    after = replace(callback, state=state, reason=reason, processed_at=services.now())

    def also(transaction: Transaction) -> None:
        callbacks.move_callback(transaction, callback, after)

    return JobRun(end=JobEnd(state=JobState.DONE), also=also)


async def list_callbacks(
    services: Services, principal: Principal, *, after_id: str | None, limit: int
) -> Sequence[Callback]:
    """Return what every provider told us, the newest first.

    Raises:
        PermissionDenied: only the operator, for whom all merchants' are one list.
    """
    principal.require_operator()
    return await services.database.scan(lambda t: callbacks.list_callbacks(t, after_id=after_id, limit=limit))


async def count_callbacks(services: Services, principal: Principal) -> int:
    principal.require_operator()
    return await services.database.scan(callbacks.count_callbacks)
