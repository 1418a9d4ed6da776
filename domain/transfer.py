"""Money on its way out: refunds and payouts, the only ways their states may move, and what the ledger says of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from quittance.domain.ids import ACCOUNT, MerchantId, PaymentId, TransferId, prefix_of
from quittance.domain.ledger import Account, AccountKind, Entry, check_balanced
from quittance.domain.money import Asset, Money

_PPM = 1_000_000


class TransferPurpose(StrEnum):
    REFUND = "REFUND"
    PAYOUT = "PAYOUT"


class TransferState(StrEnum):
    """PENDING: set aside, nothing was sent. SENDING: a rail was asked. UNKNOWN: its answer was lost; it is looked up.

    SUCCEEDED and FAILED are final. After a try that failed for good another may follow: SENDING is PENDING again.
    """

    PENDING = "PENDING"
    SENDING = "SENDING"
    UNKNOWN = "UNKNOWN"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


_NEXT: Mapping[TransferState, frozenset[TransferState]] = {
    TransferState.PENDING: frozenset({TransferState.SENDING, TransferState.FAILED}),
    TransferState.SENDING: frozenset(
        {TransferState.PENDING, TransferState.UNKNOWN, TransferState.SUCCEEDED, TransferState.FAILED}
    ),
    TransferState.UNKNOWN: frozenset(
        {TransferState.PENDING, TransferState.SENDING, TransferState.SUCCEEDED, TransferState.FAILED}
    ),
    TransferState.SUCCEEDED: frozenset(),
    TransferState.FAILED: frozenset(),
}
assert _NEXT.keys() == set(TransferState)

FINAL = frozenset(state for state, following in _NEXT.items() if not following)


def may_move(state: TransferState, to: TransferState) -> bool:
    """Tell whether the table allows this move; staying is always allowed."""
    return to is state or to in _NEXT[state]


class RefundReason(StrEnum):
    """Why money goes back. All but REQUESTED follow from the merchant's policy, or from the payer's own wish."""

    REQUESTED = "REQUESTED"
    LATE = "LATE"
    UNDERPAID = "UNDERPAID"
    SURPLUS = "SURPLUS"
    CLAIMED = "CLAIMED"


class DestinationKind(StrEnum):
    """INVOICE: BOLT11. ADDRESS: a Lightning Address (LUD-16). LNURL: LUD-01 or LUD-17. NODE: keysend to a key."""

    INVOICE = "INVOICE"
    ADDRESS = "ADDRESS"
    LNURL = "LNURL"
    NODE = "NODE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Who is paid. ``payment_hash`` is that of an invoice, in hex."""

    kind: DestinationKind
    text: str
    payment_hash: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """One payment to somebody. ``amount`` is what they get, ``fee_max`` the most that the way may cost besides.

    Both are set aside from the start: ``from_refundable`` of money that is owed to the payer of ``payment_id``, the
    rest of the owner's own. ``fee_from_amount``: the way uses up money of the payment too. ``owner_id`` is a merchant
    or a reader's account; ``merchant_id`` is who is told of it.
    """

    id: TransferId
    purpose: TransferPurpose
    owner_id: str
    merchant_id: MerchantId
    payment_id: PaymentId | None
    provider: str
    state: TransferState
    state_reason: str | None
    amount: Money
    fee_max: Money
    from_refundable: Money
    fee_from_amount: bool
    fee: Money | None
    destination: Destination
    comment: str | None
    reason: RefundReason | None
    idempotency_key: str
    fingerprint: bytes = field(repr=False)
    attempts: int
    message: str | None
    created_at: datetime
    modified_at: datetime
    ended_at: datetime | None

    @property
    def reserved(self) -> Money:
        return self.amount + self.fee_max

    @property
    def from_own(self) -> Money:
        """How much of what is set aside is the owner's own."""
        return self.reserved - self.from_refundable

    @property
    def taken_from_payment(self) -> Money:
        """How much of what was paid this refund gives back, or may use up on the way."""
        return self.reserved if self.fee_from_amount else self.amount


class AttemptState(StrEnum):
    """SENDING: about to be asked for, or under way. Only the last two are known ends."""

    SENDING = "SENDING"
    UNKNOWN = "UNKNOWN"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferAttempt:
    """One try on one rail, written down before the rail is asked. ``reference`` is the payment hash in hex.

    ``payment_request`` is None for keysend. ``success_action`` is what the payee wants shown (LUD-09), as JSON.
    ``asked_at`` is when the rail was last asked to pay it, written down before; None for not yet.
    """

    transfer_id: TransferId
    number: int
    provider: str
    reference: str
    payment_request: str | None
    expires_at: datetime | None
    state: AttemptState
    failure: str | None
    asset: Asset
    fee: Money | None
    success_action: str | None
    begun_at: datetime
    asked_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundTotal:
    """In the payment's smallest units. ``refundable``: owed back, and not on its way. ``refunded``: given back, or on
    its way.
    """

    refundable: int
    refunded: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeRule:
    """The most a way may cost: a share of the amount in millionths, and at least so many millisatoshi."""

    ppm: int = 10_000
    msat_min: int = 10_000


def fee_max_of(amount_msat: int, rule: FeeRule) -> int:
    """Return the fee cap for an amount, rounded up, in millisatoshi."""
    return max(rule.msat_min, -(-amount_msat * rule.ppm // _PPM))


def most_payable(held_msat: int, rule: FeeRule) -> int:
    """Return the largest amount that can be paid, with its fee cap, out of what is held; zero or less for none."""
    amount = min(held_msat - rule.msat_min, held_msat * _PPM // (_PPM + rule.ppm))
    while amount > 0 and amount + fee_max_of(amount, rule) > held_msat:
        amount -= 1
    return amount


def own_account(owner_id: str, asset: Asset) -> Account:
    """Return where the money of a merchant or a reader stands."""
    kind = AccountKind.READER if prefix_of(owner_id) == ACCOUNT else AccountKind.MERCHANT
    return Account(kind=kind, owner=owner_id, asset=asset)


def entries_of_reservation(transfer: Transfer) -> Sequence[Entry]:
    """Return the lines that set aside what a transfer may cost."""
    return _lines(
        transfer,
        own=transfer.from_own.value,
        refundable=transfer.from_refundable.value,
        reserved=-transfer.reserved.value,
    )


def entries_of_release(transfer: Transfer) -> Sequence[Entry]:
    """Return the lines that give back what was set aside for a transfer that failed."""
    return [replace(entry, value=-entry.value) for entry in entries_of_reservation(transfer)]


def entries_of_sending(transfer: Transfer, *, sent: Money, fee: Money) -> Sequence[Entry]:
    """Return the lines of a transfer that left: the rail is credited what it cost, and what is left goes back.

    What is left of the cap goes back to the owner as far as the owner gave it, else to the payer. A rail that charged
    more than was allowed is booked as it charged; the owner bears it.
    """
    cost = sent + fee
    to_payer = refundable_left(transfer, sent=sent, fee=fee)
    to_owner = (transfer.reserved - cost).value - to_payer
    rail = Entry(
        account=Account(kind=AccountKind.PROVIDER, owner=transfer.provider, asset=cost.asset), value=-cost.value
    )
    return _lines(transfer, own=-to_owner, refundable=-to_payer, reserved=transfer.reserved.value, more=(rail,))


def refundable_left(transfer: Transfer, *, sent: Money, fee: Money) -> int:
    """Return how much of the money that was owed to the payer a transfer did not use up."""
    return max(0, (transfer.from_refundable - sent - fee).value)


def taken_left(transfer: Transfer, *, sent: Money, fee: Money) -> int:
    """Return how much of what a refund took of its payment it did not use up."""
    return max(0, (transfer.reserved - sent - fee).value) if transfer.fee_from_amount else 0


def _lines(
    transfer: Transfer, *, own: int, refundable: int, reserved: int, more: Sequence[Entry] = ()
) -> Sequence[Entry]:
    asset = transfer.amount.asset
    owed_to_payer = Account(kind=AccountKind.REFUNDABLE, owner=transfer.merchant_id, asset=asset)
    set_aside = Account(kind=AccountKind.RESERVED, owner=transfer.owner_id, asset=asset)
    lines = [
        Entry(account=own_account(transfer.owner_id, asset), value=own),
        Entry(account=owed_to_payer, value=refundable),
        Entry(account=set_aside, value=reserved),
        *more,
    ]
    entries = [line for line in lines if line.value]
    check_balanced(entries)
    return entries
