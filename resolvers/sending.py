"""Sending what was set aside: written down before a rail is asked, looked up when its answer was lost."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256

import structlog

from quittance.domain.errors import ProviderMisconfigured, ProviderUnavailable, QuittanceError
from quittance.domain.ids import TransferId
from quittance.domain.job import Job, JobEnd, JobKind, JobState
from quittance.domain.outgoing_errors import CannotPayFrom, SendRefused
from quittance.domain.transfer import (
    FINAL,
    AttemptState,
    DestinationKind,
    Transfer,
    TransferAttempt,
    TransferState,
)
from quittance.providers.base import (
    KeysendRequest,
    SendFailure,
    SendingProvider,
    SendRequest,
    SendsKeysend,
    SentPayment,
    SentStatus,
)
from quittance.resolvers.jobs import JobRun
from quittance.resolvers.payees import Prepared, prepare, shown
from quittance.resolvers.services import Services
from quittance.resolvers.transfers import ASKED, announce, give_back, pay_out, transfer_job
from quittance.store import jobs, transfers
from quittance.store.transaction import Transaction

log = structlog.get_logger("quittance.sending")

SEND_WITHIN_S = 5.0  # of writing a try down: nobody else looks it up before, so a process that slept leaves it alone
CERTAIN_AFTER_S = 60.0  # behind a call, nobody's can still be on its way to the rail
WITHOUT_PAYER_S = 3_600.0  # how long money stays set aside for a rail that may not pay any more
RETRY_DELAYS_S = (10.0, 60.0, 300.0, 1_800.0, 3_600.0)
LOOK_AGAIN_S_MIN, LOOK_AGAIN_S_MAX = 1.0, 600.0
_MAY_PASS = frozenset({SendFailure.NO_ROUTE, SendFailure.TIMEOUT, SendFailure.INSUFFICIENT_BALANCE})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Try:
    """A transfer, its live try and the rail that it is made on."""

    transfer: Transfer
    attempt: TransferAttempt
    payer: SendingProvider


async def advance_transfer(services: Services, job: Job) -> JobRun:
    """Take a transfer one step further: begin a try, or find out what became of the one that was begun."""
    transfer, attempt = await services.database.read(lambda t: _found(t, TransferId(job.subject)))
    if transfer is None or transfer.state in FINAL:
        return JobRun(end=JobEnd(state=JobState.DONE))
    payer = services.payers.get(transfer.provider)
    if payer is None:
        return _without_payer(services, transfer, attempt)
    if attempt is None:
        return await _begin(services, transfer, payer)
    return await _find_out(services, _Try(transfer=transfer, attempt=attempt, payer=payer))


def _without_payer(services: Services, transfer: Transfer, attempt: TransferAttempt | None) -> JobRun:
    """Wait for the rail that pays to come back; give the money back where nothing can be on its way."""
    log.warning("cannot_pay", provider=transfer.provider, transfer=transfer.id)
    if attempt is None and services.now() - transfer.modified_at > timedelta(seconds=WITHOUT_PAYER_S):
        return _ended(services, transfer, None, reason=CannotPayFrom.code)
    return _later(services, LOOK_AGAIN_S_MAX, error=CannotPayFrom.code)


def _found(transaction: Transaction, transfer_id: TransferId) -> tuple[Transfer | None, TransferAttempt | None]:
    transfer = transfers.transfers_by_id(transaction, [transfer_id])[0]
    return transfer, transfers.live_attempt(transaction, transfer_id)


async def ask_payee(services: Services, transfer: Transfer) -> Transfer:
    """Ask the payee of a new transfer for an invoice while its caller waits, so that they hear at once what is wrong.

    A try is written down with what the payee gave, and a job sends it. A payee that does not answer is asked again
    by the job.

    Raises:
        InvalidDestination, InvalidPayee, ForbiddenAddress, PayeeRefused, AmountOutOfBounds, PayeeInvoiceMismatch:
            the transfer has FAILED, and what was set aside is given back.
    """
    if transfer.state is not TransferState.PENDING or transfer.attempts or transfer.destination.kind not in ASKED:
        return transfer
    try:
        prepared = await prepare(services, transfer, services.payer(transfer.provider))
    except QuittanceError as error:
        if error.retryable:
            return transfer
        code = error.code
        begun_by_another = await services.database.write(lambda t: _refuse(t, services, transfer, code))
        if begun_by_another is not None:
            return begun_by_another
        raise

    def unit(transaction: Transaction) -> Transfer | None:
        begun = _written_down(transaction, services, transfer, prepared, asked_at=None)
        if begun is not None:
            jobs.plan_job(transaction, transfer_job(services, transfer, due_at=services.now()))
        return None if begun is None else begun[0]

    return await services.database.write(unit) or transfer


def _refuse(transaction: Transaction, services: Services, transfer: Transfer, code: str) -> Transfer | None:
    """Fail a transfer of which nothing was sent; where another call or its job went on with it, return how it is."""
    after = _given_up(services, transfer, reason=code)
    if not transfers.change_transfer(transaction, transfer, after):
        return transfers.transfers_by_id(transaction, [transfer.id])[0]
    jobs.drop_job(transaction, JobKind.TRANSFER, transfer.id)
    announce(transaction, after)
    give_back(transaction, services, after)
    return None


async def _begin(services: Services, transfer: Transfer, payer: SendingProvider) -> JobRun:
    """Write a try down, then send; what was written but not sent is found by the next look."""
    try:
        prepared = await prepare(services, transfer, payer)
    except QuittanceError as error:
        return _unprepared(services, transfer, error)
    asked_at = services.now()
    begun = await services.database.write(lambda t: _written_down(t, services, transfer, prepared, asked_at=asked_at))
    if begun is None:
        return _ended(services, transfer, None, reason="ALREADY_PAID_BY_ANOTHER")
    sending, attempt = begun
    one = _Try(transfer=sending, attempt=attempt, payer=payer)
    return await _ask(services, one, asked_at=asked_at, is_alone=True)


def _written_down(
    transaction: Transaction,
    services: Services,
    transfer: Transfer,
    prepared: Prepared,
    *,
    asked_at: datetime | None,
) -> tuple[Transfer, TransferAttempt] | None:
    """Write down what a rail is about to be asked; None where the same invoice is paid for another transfer.

    Raises:
        RuntimeError: another run was faster, and holds the claim; nothing is stored.
    """
    attempt = _attempt(transfer, prepared, begun_at=services.now(), asked_at=asked_at)
    if not transfers.begin_attempt(transaction, attempt):
        return None
    sending = replace(
        transfer,
        state=TransferState.SENDING,
        state_reason=None,
        attempts=attempt.number,
        modified_at=attempt.begun_at,
    )
    _move(transaction, transfer, sending)
    return sending, attempt


def _attempt(
    transfer: Transfer, prepared: Prepared, *, begun_at: datetime, asked_at: datetime | None
) -> TransferAttempt:
    return TransferAttempt(
        transfer_id=transfer.id,
        number=transfer.attempts + 1,
        provider=transfer.provider,
        reference=prepared.reference,
        payment_request=prepared.payment_request,
        expires_at=prepared.expires_at,
        state=AttemptState.SENDING,
        failure=None,
        asset=transfer.amount.asset,
        fee=None,
        success_action=prepared.success_action,
        begun_at=begun_at,
        asked_at=asked_at,
        ended_at=None,
    )


async def _ask(services: Services, one: _Try, *, asked_at: datetime, is_alone: bool) -> JobRun:
    """Ask the rail to pay, once that is written down.

    ``is_alone``: no earlier call for this try can still reach the rail, so that what it says now is all there is. A
    payment that failed, or was refused, may otherwise begin after all: a rail tries a hash again that has failed.
    """
    if services.now() - asked_at > timedelta(seconds=SEND_WITHIN_S):
        return _later(services, LOOK_AGAIN_S_MIN, error="TOO_SLOW_TO_SEND")
    certain_at = asked_at + timedelta(seconds=CERTAIN_AFTER_S)
    try:
        sent = await _asked(services, one)
    except ProviderUnavailable as error:
        return _unknown(services, one, error)
    except (SendRefused, ProviderMisconfigured) as error:
        if not is_alone:
            return _again_at(certain_at, error=error.code)
        return _failed(services, one, failure=error.code, may_pass=isinstance(error, ProviderMisconfigured))
    if sent.status is SentStatus.FAILED and not (is_alone and await _is_first(services, one.attempt)):
        return _again_at(certain_at, error="FAILED_OR_STILL_TO_BEGIN")
    return _told(services, one, sent)


async def _is_first(services: Services, attempt: TransferAttempt) -> bool:
    """Tell whether the rail cannot be speaking of an earlier payment of the same invoice."""
    return not await services.database.read(lambda t: transfers.has_failed(t, attempt.provider, attempt.reference))


async def _find_out(services: Services, one: _Try) -> JobRun:
    """Look a try up. One that the rail never began is sent again: the same invoice, which it pays once."""
    try:
        sent = await one.payer.lookup_sent(one.attempt.reference)
    except (ProviderUnavailable, ProviderMisconfigured) as error:
        return _unknown(services, one, error)
    if sent.status is SentStatus.MISSING:
        return await _ask_again(services, one)
    if sent.status is SentStatus.FAILED and not _is_alone(services, one.attempt):
        return _again_at(_certain_at(one.attempt), error="FAILED_OR_STILL_TO_BEGIN")
    return _told(services, one, sent)


async def _ask_again(services: Services, one: _Try) -> JobRun:
    is_alone, asked_at = _is_alone(services, one.attempt), services.now()
    if not await services.database.write(lambda t: transfers.note_asking(t, one.attempt, at=asked_at)):
        return _later(services, LOOK_AGAIN_S_MIN, error="ASKED_MEANWHILE")
    asking = replace(one, attempt=replace(one.attempt, asked_at=asked_at))
    return await _ask(services, asking, asked_at=asked_at, is_alone=is_alone)


def _is_alone(services: Services, attempt: TransferAttempt) -> bool:
    """Tell whether nobody's call for this try can still be on its way to the rail."""
    return attempt.asked_at is None or services.now() >= _certain_at(attempt)


def _certain_at(attempt: TransferAttempt) -> datetime:
    return (attempt.asked_at or attempt.begun_at) + timedelta(seconds=CERTAIN_AFTER_S)


async def _asked(services: Services, one: _Try) -> SentPayment:
    transfer, attempt = one.transfer, one.attempt
    if attempt.payment_request is not None:
        is_open = one.payer.read_invoice(attempt.payment_request).amount_msat is None
        amount = transfer.amount if is_open else None
        return await one.payer.send(
            SendRequest(payment_request=attempt.payment_request, amount=amount, fee_max=transfer.fee_max)
        )
    if not isinstance(one.payer, SendsKeysend):
        raise SendRefused(transfer.provider, "it pays invoices alone")
    return await one.payer.keysend(
        KeysendRequest(
            destination=transfer.destination.text,
            amount=transfer.amount,
            fee_max=transfer.fee_max,
            preimage=services.derive.transfer_preimage(transfer.id, attempt.number),
        )
    )


def _told(services: Services, one: _Try, sent: SentPayment) -> JobRun:
    """Do what follows from what the rail says of a try."""
    match sent.status:
        case SentStatus.SUCCEEDED:
            return _succeeded(services, one, sent)
        case SentStatus.FAILED:
            failure = sent.failure or SendFailure.OTHER
            return _failed(services, one, failure=failure.value, may_pass=failure in _MAY_PASS)
        case SentStatus.IN_FLIGHT:
            return _in_flight(services, one)
        case SentStatus.MISSING:
            return _later(services, LOOK_AGAIN_S_MIN, error="MISSING")


def _succeeded(services: Services, one: _Try, sent: SentPayment) -> JobRun:
    amount, fee, preimage = sent.amount, sent.fee, sent.preimage
    if amount is None or fee is None or preimage is None or sha256(preimage).hexdigest() != one.attempt.reference:
        log.error("success_without_proof", provider=one.transfer.provider, transfer=one.transfer.id)
        return _unknown(services, one, ProviderUnavailable(one.transfer.provider))
    asset, now = one.transfer.amount.asset, services.now()
    cost = amount.rescaled_exactly(asset), fee.rescaled_exactly(asset)
    if cost[0] != one.transfer.amount or cost[1].value > one.transfer.fee_max.value:
        log.error("paid_otherwise_than_asked", transfer=one.transfer.id, amount=cost[0].value, fee=cost[1].value)
    message = shown(services, one.attempt.success_action, preimage)

    def also(transaction: Transaction) -> None:
        _end_attempt(
            transaction, one.attempt, replace(one.attempt, state=AttemptState.SUCCEEDED, fee=cost[1], ended_at=now)
        )
        after = replace(
            one.transfer, state=TransferState.SUCCEEDED, state_reason=None, fee=cost[1], message=message,
            modified_at=now, ended_at=now,
        )  # fmt: skip
        _move(transaction, one.transfer, after)
        pay_out(transaction, services, after, sent=cost[0], fee=cost[1])

    return JobRun(end=JobEnd(state=JobState.DONE), also=also)


def _failed(services: Services, one: _Try, *, failure: str, may_pass: bool) -> JobRun:
    """End a try that moved nothing; make another, later each time, where that may help."""
    number = one.attempt.number
    if not may_pass and one.transfer.destination.kind in {DestinationKind.INVOICE, DestinationKind.NODE}:
        return _ended(services, one.transfer, one.attempt, reason=failure)
    if number > len(RETRY_DELAYS_S):
        return _ended(services, one.transfer, one.attempt, reason=failure)
    now = services.now()

    def also(transaction: Transaction) -> None:
        _end_attempt(
            transaction, one.attempt, replace(one.attempt, state=AttemptState.FAILED, failure=failure, ended_at=now)
        )
        after = replace(one.transfer, state=TransferState.PENDING, state_reason=failure, modified_at=now)
        _move(transaction, one.transfer, after)

    again_at = now + timedelta(seconds=RETRY_DELAYS_S[number - 1])
    return JobRun(end=JobEnd(state=JobState.WAITING, error=failure, again_at=again_at), also=also)


def _unprepared(services: Services, transfer: Transfer, error: QuittanceError) -> JobRun:
    """Nobody was asked to pay yet: ask the payee again if that may help, as often as one tries to pay."""
    tried = transfer.attempts
    if not error.retryable or tried >= len(RETRY_DELAYS_S):
        return _ended(services, transfer, None, reason=error.code)
    now = services.now()

    def also(transaction: Transaction) -> None:
        after = replace(transfer, state_reason=error.code, attempts=tried + 1, modified_at=now)
        _move(transaction, transfer, after)

    again_at = now + timedelta(seconds=RETRY_DELAYS_S[tried])
    return JobRun(end=JobEnd(state=JobState.WAITING, error=error.code, again_at=again_at), also=also)


def _ended(services: Services, transfer: Transfer, attempt: TransferAttempt | None, *, reason: str) -> JobRun:
    """Give up, and give back what was set aside: nothing of it is on its way."""
    now = services.now()

    def also(transaction: Transaction) -> None:
        if attempt is not None:
            _end_attempt(
                transaction, attempt, replace(attempt, state=AttemptState.FAILED, failure=reason, ended_at=now)
            )
        after = _given_up(services, transfer, reason=reason)
        _move(transaction, transfer, after)
        give_back(transaction, services, after)

    return JobRun(end=JobEnd(state=JobState.DONE, error=reason), also=also)


def _given_up(services: Services, transfer: Transfer, *, reason: str) -> Transfer:
    now = services.now()
    return replace(transfer, state=TransferState.FAILED, state_reason=reason, modified_at=now, ended_at=now)


def _in_flight(services: Services, one: _Try) -> JobRun:
    also: Callable[[Transaction], None] = lambda _: None  # noqa: E731
    if one.transfer.state is TransferState.UNKNOWN:
        also = _state_mover(services, one, TransferState.SENDING, reason=None)
    return _look_again(services, one, error=None, also=also)


def _unknown(services: Services, one: _Try, error: QuittanceError) -> JobRun:
    log.warning("outcome_unknown", provider=one.transfer.provider, transfer=one.transfer.id, code=error.code)
    also: Callable[[Transaction], None] = lambda _: None  # noqa: E731
    if one.transfer.state is TransferState.SENDING:
        also = _state_mover(services, one, TransferState.UNKNOWN, reason=error.code)
    return _look_again(services, one, error=error.code, also=also)


def _state_mover(
    services: Services, one: _Try, to: TransferState, *, reason: str | None
) -> Callable[[Transaction], None]:
    now = services.now()
    state = AttemptState.UNKNOWN if to is TransferState.UNKNOWN else AttemptState.SENDING

    def also(transaction: Transaction) -> None:
        _end_attempt(transaction, one.attempt, replace(one.attempt, state=state))
        _move(transaction, one.transfer, replace(one.transfer, state=to, state_reason=reason, modified_at=now))

    return also


def _look_again(services: Services, one: _Try, *, error: str | None, also: Callable[[Transaction], None]) -> JobRun:
    """Ask again, the later the longer it takes: what is on its way may take hours."""
    waited_s = (services.now() - one.attempt.begun_at).total_seconds()
    delay_s = min(max(waited_s / 4, LOOK_AGAIN_S_MIN), LOOK_AGAIN_S_MAX)
    again_at = services.now() + timedelta(seconds=delay_s)
    return JobRun(end=JobEnd(state=JobState.WAITING, error=error, again_at=again_at), also=also)


def _later(services: Services, delay_s: float, *, error: str) -> JobRun:
    return _again_at(services.now() + timedelta(seconds=delay_s), error=error)


def _again_at(again_at: datetime, *, error: str) -> JobRun:
    return JobRun(end=JobEnd(state=JobState.WAITING, error=error, again_at=again_at))


def _move(transaction: Transaction, before: Transfer, after: Transfer) -> None:
    if not transfers.change_transfer(transaction, before, after):
        raise RuntimeError(f"transfer {before.id} changed under the run that holds its claim")
    announce(transaction, after)


def _end_attempt(transaction: Transaction, attempt: TransferAttempt, ended: TransferAttempt) -> None:
    if not transfers.end_attempt(transaction, attempt, ended):
        raise RuntimeError(f"try {attempt.number} of {attempt.transfer_id} ended under the run that holds its claim")
