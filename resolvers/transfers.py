"""The books of money on its way out: set aside before anything is sent, booked when it left, given back when not."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from quittance.domain.errors import IdempotencyConflict, InvalidInput
from quittance.domain.event import EventKind
from quittance.domain.ids import ACCOUNT, LEDGER_TRANSACTION, MerchantId, PaymentId, TransferId, prefix_of
from quittance.domain.job import Job, JobKind
from quittance.domain.ledger import Entry
from quittance.domain.money import Money
from quittance.domain.outgoing_errors import InsufficientBalance, InvalidDestination, TooManyTransfers
from quittance.domain.text import is_storable
from quittance.domain.transfer import (
    Destination,
    DestinationKind,
    RefundReason,
    Transfer,
    TransferPurpose,
    TransferState,
    entries_of_release,
    entries_of_reservation,
    entries_of_sending,
    most_payable,
    own_account,
    refundable_left,
    taken_left,
)
from quittance.resolvers.jobs import new_job
from quittance.resolvers.services import Services
from quittance.store import jobs, ledger, refund_totals, transfers
from quittance.store.transaction import EventDraft, Transaction

COMMENT_MAX = 500
ASK_S = 30  # longer than asking a payee may take
ASKED = frozenset({DestinationKind.ADDRESS, DestinationKind.LNURL})
_EVENTS = {
    TransferPurpose.REFUND: EventKind.REFUND_UPDATED,
    TransferPurpose.PAYOUT: EventKind.PAYOUT_UPDATED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferOrder:
    """What is to be sent, by whom, and out of which money; everything that a transfer has before it begins.

    ``is_awaited``: somebody waits to hear what its payee says.
    """

    id: TransferId
    purpose: TransferPurpose
    owner_id: str
    merchant_id: MerchantId
    provider: str
    amount: Money
    fee_max: Money
    destination: Destination
    idempotency_key: str
    fingerprint: bytes = field(repr=False)
    comment: str | None = None
    payment_id: PaymentId | None = None
    from_refundable: Money | None = None
    fee_from_amount: bool = False
    reason: RefundReason | None = None
    is_awaited: bool = True


def check_texts(*, idempotency_key: str, comment: str | None, reference_max: int) -> None:
    """Refuse texts that cannot be kept.

    Raises:
        InvalidInput: names the field.
    """
    for name, text, most in (("idempotencyKey", idempotency_key, reference_max), ("comment", comment, COMMENT_MAX)):
        if text is not None and not (text.strip() and is_storable(text) and len(text.encode()) <= most):
            raise InvalidInput(name, f"{name} has 1 to {most} bytes of text")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyUse:
    """An idempotency key as its owner's transfers have it, and as the caller ``said`` it."""

    owner_id: str
    key: str
    fingerprint: bytes = field(repr=False)
    said: str


def found_again(transaction: Transaction, use: KeyUse) -> Transfer | None:
    """Return the transfer that this key was first used for.

    Raises:
        IdempotencyConflict: it was used with another input.
    """
    first = transfers.transfer_by_key(transaction, owner_id=use.owner_id, key=use.key)
    if first is not None and first.fingerprint != use.fingerprint:
        raise IdempotencyConflict(use.said)
    return first


def set_aside(transaction: Transaction, services: Services, order: TransferOrder) -> Transfer:
    """Begin a transfer: its amount and its fee cap leave what can be spent, and a job is to send it.

    Where somebody waits, the job for a payee that must be asked first leaves them time to hear what is wrong.

    Raises:
        InsufficientBalance, InvalidDestination, TooManyTransfers: nothing was begun.
    """
    transfer = _new(services, order)
    own = transfer.from_own
    account = own_account(order.owner_id, order.amount.asset)
    held = ledger.lock_owed(transaction, account)
    _check_number(transaction, services, order)
    if own.value and own.value > held:
        can = max(0, most_payable(held, services.transfers.fee))
        raise InsufficientBalance(Money(can, order.amount.asset))
    if not transfers.insert_transfer(transaction, transfer):
        raise InvalidDestination("USED", "this invoice is being paid already, or was; give a fresh one")
    if transfer.payment_id is not None:
        refund_totals.move(
            transaction,
            transfer.payment_id,
            refundable=-transfer.from_refundable.value,
            refunded=transfer.taken_from_payment.value,
        )
    _post(transaction, services, transfer, entries_of_reservation(transfer))
    waited_for = order.is_awaited and transfer.destination.kind in ASKED
    due_at = services.now() + timedelta(seconds=ASK_S if waited_for else 0)
    jobs.add_job(transaction, transfer_job(services, transfer, due_at=due_at))
    announce(transaction, transfer)
    return transfer


def _check_number(transaction: Transaction, services: Services, order: TransferOrder) -> None:
    """Refuse more transfers than a rail can carry at once, or one payment be cut into; the owner's balance is locked.

    Raises:
        TooManyTransfers: there are as many already.
    """
    rules = services.transfers
    most = rules.reader_open_max if prefix_of(order.owner_id) == ACCOUNT else rules.merchant_open_max
    if transfers.count_open(transaction, order.owner_id, most=most) >= most:
        raise TooManyTransfers(most)
    if order.payment_id is None:
        return
    of_payment = transfers.count_transfers(transaction, TransferPurpose.REFUND, payment_id=order.payment_id)
    if of_payment >= rules.refunds_of_payment_max:
        raise TooManyTransfers(rules.refunds_of_payment_max)


def transfer_job(services: Services, transfer: Transfer, *, due_at: datetime) -> Job:
    """Return the job that sends a transfer; its owner's share the places of the owner."""
    lane = f"{transfer.owner_id}/transfers"
    return new_job(services, JobKind.TRANSFER, subject=transfer.id, lane=lane, order=None, due_at=due_at)


def pay_out(transaction: Transaction, services: Services, transfer: Transfer, *, sent: Money, fee: Money) -> None:
    """Book a transfer that left, and give back what its way did not cost."""
    refundable, taken = refundable_left(transfer, sent=sent, fee=fee), taken_left(transfer, sent=sent, fee=fee)
    if transfer.payment_id is not None and (taken or refundable):
        refund_totals.move(transaction, transfer.payment_id, refundable=refundable, refunded=-taken)
    _post(transaction, services, transfer, entries_of_sending(transfer, sent=sent, fee=fee))


def give_back(transaction: Transaction, services: Services, transfer: Transfer) -> None:
    """Undo what was set aside for a transfer of which nothing left."""
    if transfer.payment_id is not None:
        refund_totals.move(
            transaction,
            transfer.payment_id,
            refundable=transfer.from_refundable.value,
            refunded=-transfer.taken_from_payment.value,
        )
    _post(transaction, services, transfer, entries_of_release(transfer))


def announce(transaction: Transaction, transfer: Transfer) -> None:
    """Tell of a transfer: under its payment where it has one, else under its owner."""
    transaction.emit(
        EventDraft(
            kind=_EVENTS[transfer.purpose],
            merchant_id=transfer.merchant_id,
            status=transfer.state.value,
            subject_id=f"{transfer.payment_id or transfer.owner_id}/{transfer.id}",
        )
    )


def _new(services: Services, order: TransferOrder) -> Transfer:
    now = services.now()
    return Transfer(
        id=order.id,
        purpose=order.purpose,
        owner_id=order.owner_id,
        merchant_id=order.merchant_id,
        payment_id=order.payment_id,
        provider=order.provider,
        state=TransferState.PENDING,
        state_reason=None,
        amount=order.amount,
        fee_max=order.fee_max,
        from_refundable=order.from_refundable or Money(0, order.amount.asset),
        fee_from_amount=order.fee_from_amount,
        fee=None,
        destination=order.destination,
        comment=order.comment,
        reason=order.reason,
        idempotency_key=order.idempotency_key,
        fingerprint=order.fingerprint,
        attempts=0,
        message=None,
        created_at=now,
        modified_at=now,
        ended_at=None,
    )


def _post(transaction: Transaction, services: Services, transfer: Transfer, entries: Sequence[Entry]) -> None:
    ledger.post(
        transaction,
        entries,
        transaction_id=services.new_id(LEDGER_TRANSACTION),
        transfer_id=transfer.id,
        at=services.now(),
    )
