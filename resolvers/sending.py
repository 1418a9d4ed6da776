"""Sending what was set aside: written down before a rail is asked, looked up when its answer was lost."""

from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from quittance.domain.errors import ProviderMisconfigured, ProviderUnavailable, QuittanceError
from quittance.domain.ids import TransferId
from quittance.domain.job import Job, JobEnd, JobState
from quittance.domain.outgoing_errors import CannotPayFrom, SendRefused
from quittance.domain.transfer import (
    FINAL,
    AttemptState,
    Transfer,
    TransferAttempt,
    TransferState,
)
from quittance.providers.base import (
    KeysendRequest,
    SendingProvider,
    SendRequest,
    SendsKeysend,
    SentPayment,
    SentStatus,
)
from quittance.resolvers.jobs import JobRun
from quittance.resolvers.payees import Prepared, prepare
from quittance.resolvers.services import Services
from quittance.resolvers.transfer_outcomes import (
    LOOK_AGAIN_S_MAX,
    SendingTry,
    ended,
    failed,
    move,
    soon,
    told,
    unknown,
    unprepared,
    waits,
)
from quittance.store import transfers
from quittance.store.transaction import Transaction

log = structlog.get_logger("quittance.sending")

SEND_WITHIN_S = 5.0  # of writing a try down: nobody else looks it up before, so a process that slept leaves it alone
CERTAIN_AFTER_S = 60.0  # behind a call, nobody's can still be on its way to the rail
WITHOUT_PAYER_S = 3_600.0  # how long money stays set aside for a rail that may not pay any more


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
    return await _find_out(services, SendingTry(transfer=transfer, attempt=attempt, payer=payer))


def _without_payer(services: Services, transfer: Transfer, attempt: TransferAttempt | None) -> JobRun:
    """Wait for the rail that pays to come back; give the money back where nothing can be on its way."""
    log.warning("cannot_pay", provider=transfer.provider, transfer=transfer.id)
    if attempt is None and services.now() - transfer.modified_at > timedelta(seconds=WITHOUT_PAYER_S):
        return ended(services, transfer, None, reason=CannotPayFrom.code)
    return waits(services.now() + timedelta(seconds=LOOK_AGAIN_S_MAX), error=CannotPayFrom.code)


def _found(transaction: Transaction, transfer_id: TransferId) -> tuple[Transfer | None, TransferAttempt | None]:
    transfer = transfers.transfers_by_id(transaction, [transfer_id])[0]
    return transfer, transfers.live_attempt(transaction, transfer_id)


async def _begin(services: Services, transfer: Transfer, payer: SendingProvider) -> JobRun:
    """Write a try down, then send; what was written but not sent is found by the next look."""
    try:
        prepared = await prepare(services, transfer, payer)
    except QuittanceError as error:
        return unprepared(services, transfer, error)
    asked_at = services.now()
    begun = await services.database.write(lambda t: written_down(t, services, transfer, prepared, asked_at=asked_at))
    if begun is None:
        return ended(services, transfer, None, reason="ALREADY_PAID_BY_ANOTHER")
    sending, attempt = begun
    one = SendingTry(transfer=sending, attempt=attempt, payer=payer)
    return await _ask(services, one, asked_at=asked_at, is_alone=True)


def written_down(
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
    move(transaction, transfer, sending)
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


async def _ask(services: Services, one: SendingTry, *, asked_at: datetime, is_alone: bool) -> JobRun:
    """Ask the rail to pay, once that is written down.

    ``is_alone``: no earlier call for this try can still reach the rail, so that what it says now is all there is. A
    payment that failed, or was refused, may otherwise begin after all: a rail tries a hash again that has failed.
    """
    if services.now() - asked_at > timedelta(seconds=SEND_WITHIN_S):
        return soon(services, error="TOO_SLOW_TO_SEND")
    certain_at = asked_at + timedelta(seconds=CERTAIN_AFTER_S)
    try:
        sent = await _asked(services, one)
    except ProviderUnavailable as error:
        return unknown(services, one, error)
    except (SendRefused, ProviderMisconfigured) as error:
        if not is_alone:
            return waits(certain_at, error=error.code)
        return failed(services, one, failure=error.code, may_pass=isinstance(error, ProviderMisconfigured))
    if sent.status is SentStatus.FAILED and not (is_alone and await _is_first(services, one.attempt)):
        return waits(certain_at, error="FAILED_OR_STILL_TO_BEGIN")
    return told(services, one, sent)


async def _is_first(services: Services, attempt: TransferAttempt) -> bool:
    """Tell whether the rail cannot be speaking of an earlier payment of the same invoice."""
    return not await services.database.read(lambda t: transfers.has_failed(t, attempt.provider, attempt.reference))


async def _find_out(services: Services, one: SendingTry) -> JobRun:
    """Look a try up. One that the rail never began is sent again: the same invoice, which it pays once."""
    try:
        sent = await one.payer.lookup_sent(one.attempt.reference)
    except (ProviderUnavailable, ProviderMisconfigured) as error:
        return unknown(services, one, error)
    if sent.status is SentStatus.MISSING:
        return await _ask_again(services, one)
    if sent.status is SentStatus.FAILED and not _is_alone(services, one.attempt):
        return waits(_certain_at(one.attempt), error="FAILED_OR_STILL_TO_BEGIN")
    return told(services, one, sent)


async def _ask_again(services: Services, one: SendingTry) -> JobRun:
    is_alone, asked_at = _is_alone(services, one.attempt), services.now()
    if not await services.database.write(lambda t: transfers.note_asking(t, one.attempt, at=asked_at)):
        return soon(services, error="ASKED_MEANWHILE")
    asking = replace(one, attempt=replace(one.attempt, asked_at=asked_at))
    return await _ask(services, asking, asked_at=asked_at, is_alone=is_alone)


def _is_alone(services: Services, attempt: TransferAttempt) -> bool:
    """Tell whether nobody's call for this try can still be on its way to the rail."""
    return attempt.asked_at is None or services.now() >= _certain_at(attempt)


def _certain_at(attempt: TransferAttempt) -> datetime:
    return (attempt.asked_at or attempt.begun_at) + timedelta(seconds=CERTAIN_AFTER_S)


async def _asked(services: Services, one: SendingTry) -> SentPayment:
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
