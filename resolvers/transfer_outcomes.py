"""What becomes of a transfer: each answer of a rail, booked once, and when to look again where there is none."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from quittance.domain.errors import ProviderUnavailable, QuittanceError
from quittance.domain.job import JobEnd, JobState
from quittance.domain.transfer import AttemptState, DestinationKind, Transfer, TransferAttempt, TransferState
from quittance.providers.base import SendFailure, SendingProvider, SentPayment, SentStatus
from quittance.resolvers.jobs import JobRun
from quittance.resolvers.payees import hash_of, shown
from quittance.resolvers.services import Services
from quittance.resolvers.transfers import announce, give_back, pay_out
from quittance.store import transfers
from quittance.store.transaction import Transaction

log = structlog.get_logger("quittance.sending")

RETRY_DELAYS_S = (10.0, 60.0, 300.0, 1_800.0, 3_600.0)
LOOK_AGAIN_S_MIN, LOOK_AGAIN_S_MAX = 1.0, 600.0
_MAY_PASS = frozenset({SendFailure.NO_ROUTE, SendFailure.TIMEOUT, SendFailure.INSUFFICIENT_BALANCE})


@dataclass(frozen=True, slots=True, kw_only=True)
class SendingTry:
    """A transfer, its live try and the rail that it is made on."""

    transfer: Transfer
    attempt: TransferAttempt
    payer: SendingProvider


def told(services: Services, one: SendingTry, sent: SentPayment) -> JobRun:
    """Do what follows from what the rail says of a try."""
    match sent.status:
        case SentStatus.SUCCEEDED:
            return _succeeded(services, one, sent)
        case SentStatus.FAILED:
            failure = sent.failure or SendFailure.OTHER
            return failed(services, one, failure=failure.value, may_pass=failure in _MAY_PASS)
        case SentStatus.IN_FLIGHT:
            return _in_flight(services, one)
        case SentStatus.MISSING:
            return soon(services, error="MISSING")


def failed(services: Services, one: SendingTry, *, failure: str, may_pass: bool) -> JobRun:
    """End a try that moved nothing; make another, later each time, where that may help."""
    number = one.attempt.number
    if not may_pass and one.transfer.destination.kind in {DestinationKind.INVOICE, DestinationKind.NODE}:
        return ended(services, one.transfer, one.attempt, reason=failure)
    if number > len(RETRY_DELAYS_S):
        return ended(services, one.transfer, one.attempt, reason=failure)
    now = services.now()

    def also(transaction: Transaction) -> None:
        _end_attempt(
            transaction, one.attempt, replace(one.attempt, state=AttemptState.FAILED, failure=failure, ended_at=now)
        )
        after = replace(one.transfer, state=TransferState.PENDING, state_reason=failure, modified_at=now)
        move(transaction, one.transfer, after)

    return waits(now + timedelta(seconds=RETRY_DELAYS_S[number - 1]), error=failure, also=also)


def unprepared(services: Services, transfer: Transfer, error: QuittanceError) -> JobRun:
    """Nobody was asked to pay yet: ask the payee again if that may help, as often as one tries to pay."""
    tried = transfer.attempts
    if not error.retryable or tried >= len(RETRY_DELAYS_S):
        return ended(services, transfer, None, reason=error.code)
    now = services.now()

    def also(transaction: Transaction) -> None:
        after = replace(transfer, state_reason=error.code, attempts=tried + 1, modified_at=now)
        move(transaction, transfer, after)

    return waits(now + timedelta(seconds=RETRY_DELAYS_S[tried]), error=error.code, also=also)


def ended(services: Services, transfer: Transfer, attempt: TransferAttempt | None, *, reason: str) -> JobRun:
    """Give up, and give back what was set aside: nothing of it is on its way."""
    now = services.now()

    def also(transaction: Transaction) -> None:
        if attempt is not None:
            _end_attempt(
                transaction, attempt, replace(attempt, state=AttemptState.FAILED, failure=reason, ended_at=now)
            )
        after = given_up(services, transfer, reason=reason)
        move(transaction, transfer, after)
        give_back(transaction, services, after)

    return JobRun(end=JobEnd(state=JobState.DONE, error=reason), also=also)


def given_up(services: Services, transfer: Transfer, *, reason: str) -> Transfer:
    """Return a transfer as it is when it has failed for good."""
    now = services.now()
    return replace(transfer, state=TransferState.FAILED, state_reason=reason, modified_at=now, ended_at=now)


def unknown(services: Services, one: SendingTry, error: QuittanceError) -> JobRun:
    """Note that an answer was lost, and look again."""
    log.warning("outcome_unknown", provider=one.transfer.provider, transfer=one.transfer.id, code=error.code)
    if one.transfer.state is not TransferState.SENDING:
        return _look_again(services, one, error=error.code)
    also = _state_mover(services, one, TransferState.UNKNOWN, reason=error.code)
    return _look_again(services, one, error=error.code, also=also)


def soon(services: Services, *, error: str) -> JobRun:
    """Look again as soon as one does."""
    return waits(services.now() + timedelta(seconds=LOOK_AGAIN_S_MIN), error=error)


def waits(until: datetime, *, error: str | None, also: Callable[[Transaction], None] = lambda _: None) -> JobRun:
    """Leave the transfer's job for later."""
    return JobRun(end=JobEnd(state=JobState.WAITING, error=error, again_at=until), also=also)


def move(transaction: Transaction, before: Transfer, after: Transfer) -> None:
    """Store how a transfer stands by now, and tell of it.

    Raises:
        RuntimeError: another run was faster, and holds the claim; nothing is stored.
    """
    if not transfers.change_transfer(transaction, before, after):
        raise RuntimeError(f"transfer {before.id} changed under the run that holds its claim")
    announce(transaction, after)


def _succeeded(services: Services, one: SendingTry, sent: SentPayment) -> JobRun:
    amount, fee = sent.amount, sent.fee
    if amount is None or fee is None or not _is_proved(one, sent):
        log.error("success_without_proof", provider=one.transfer.provider, transfer=one.transfer.id)
        return unknown(services, one, ProviderUnavailable(one.transfer.provider))
    asset, now = one.transfer.amount.asset, services.now()
    cost = amount.rescaled_exactly(asset), fee.rescaled_exactly(asset)
    if cost[0] != one.transfer.amount or cost[1].value > one.transfer.fee_max.value:
        log.error("paid_otherwise_than_asked", transfer=one.transfer.id, amount=cost[0].value, fee=cost[1].value)
    message = None if sent.preimage is None else shown(services, one.attempt.success_action, sent.preimage)

    def also(transaction: Transaction) -> None:
        _end_attempt(
            transaction, one.attempt, replace(one.attempt, state=AttemptState.SUCCEEDED, fee=cost[1], ended_at=now)
        )
        after = replace(
            one.transfer, state=TransferState.SUCCEEDED, state_reason=None, fee=cost[1], message=message,
            modified_at=now, ended_at=now,
        )  # fmt: skip
        move(transaction, one.transfer, after)
        pay_out(transaction, services, after, sent=cost[0], fee=cost[1])

    return JobRun(end=JobEnd(state=JobState.DONE), also=also)


def _is_proved(one: SendingTry, sent: SentPayment) -> bool:
    """Tell whether a success may be booked: the preimage shows it, or a custodian charged us and shows none."""
    if sent.preimage is None:
        return sent.unproved
    return hash_of(sent.preimage) == one.attempt.reference


def _in_flight(services: Services, one: SendingTry) -> JobRun:
    if one.transfer.state is not TransferState.UNKNOWN:
        return _look_again(services, one, error=None)
    return _look_again(services, one, error=None, also=_state_mover(services, one, TransferState.SENDING, reason=None))


def _state_mover(
    services: Services, one: SendingTry, to: TransferState, *, reason: str | None
) -> Callable[[Transaction], None]:
    now = services.now()
    state = AttemptState.UNKNOWN if to is TransferState.UNKNOWN else AttemptState.SENDING

    def also(transaction: Transaction) -> None:
        _end_attempt(transaction, one.attempt, replace(one.attempt, state=state))
        move(transaction, one.transfer, replace(one.transfer, state=to, state_reason=reason, modified_at=now))

    return also


def _look_again(
    services: Services, one: SendingTry, *, error: str | None, also: Callable[[Transaction], None] = lambda _: None
) -> JobRun:
    """Ask again, the later the longer it takes: what is on its way may take hours."""
    waited_s = (services.now() - one.attempt.begun_at).total_seconds()
    delay_s = min(max(waited_s / 4, LOOK_AGAIN_S_MIN), LOOK_AGAIN_S_MAX)
    return waits(services.now() + timedelta(seconds=delay_s), error=error, also=also)


def _end_attempt(transaction: Transaction, attempt: TransferAttempt, ended: TransferAttempt) -> None:
    if not transfers.end_attempt(transaction, attempt, ended):
        raise RuntimeError(f"try {attempt.number} of {attempt.transfer_id} ended under the run that holds its claim")
