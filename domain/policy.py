"""A merchant, and what it wants done with money that does not come as asked."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from quittance.domain.errors import InvalidInput
from quittance.domain.ids import MerchantId
from quittance.domain.money import Money
from quittance.domain.rotation import NEVER_SHOWN, SecretVersions
from quittance.domain.text import is_storable

_PPM = 1_000_000
NAME_MAX = 191
LATE_GRACE_S_MAX = 365 * 86_400
UNDER_TOLERANCE_PPM_MAX = _PPM


class LatePolicy(StrEnum):
    ACCEPT = "ACCEPT"
    REFUND = "REFUND"


class UnderPolicy(StrEnum):
    """WAIT keeps what came and the payment open; REFUND owes it back."""

    WAIT = "WAIT"
    REFUND = "REFUND"


class OverPolicy(StrEnum):
    """KEEP and CREDIT book the excess to the merchant; REFUND owes it back."""

    KEEP = "KEEP"
    CREDIT = "CREDIT"
    REFUND = "REFUND"


class Disposition(StrEnum):
    """What was done with one settlement."""

    ACCEPTED = "ACCEPTED"
    ACCEPTED_EXCESS_REFUNDABLE = "ACCEPTED_EXCESS_REFUNDABLE"
    PARTIAL = "PARTIAL"
    UNDERPAID_REFUNDABLE = "UNDERPAID_REFUNDABLE"
    LATE_REFUNDABLE = "LATE_REFUNDABLE"
    SURPLUS = "SURPLUS"
    SURPLUS_REFUNDABLE = "SURPLUS_REFUNDABLE"


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlementPolicy:
    """``late_grace_s``: how long after expiry money still counts as in time when late money is refunded."""

    late: LatePolicy = LatePolicy.ACCEPT
    late_grace_s: int = 300
    under: UnderPolicy = UnderPolicy.WAIT
    under_tolerance_ppm: int = 0
    over: OverPolicy = OverPolicy.KEEP


def check_policy(policy: SettlementPolicy) -> None:
    """Refuse numbers that no merchant can mean.

    Raises:
        InvalidInput: names the field as the contract does.
    """
    if not 0 <= policy.late_grace_s <= LATE_GRACE_S_MAX:
        raise InvalidInput("policy.lateGraceSeconds", f"lateGraceSeconds lies between 0 and {LATE_GRACE_S_MAX}")
    if not 0 <= policy.under_tolerance_ppm <= UNDER_TOLERANCE_PPM_MAX:
        raise InvalidInput(
            "policy.underTolerancePpm", f"underTolerancePpm lies between 0 and {UNDER_TOLERANCE_PPM_MAX}"
        )


def check_name(name: str) -> None:
    """Refuse what cannot name a merchant or a key.

    Raises:
        InvalidInput: it is empty, too long, or cannot be stored.
    """
    if not name.strip() or len(name) > NAME_MAX:
        raise InvalidInput("name", f"a name has 1 to {NAME_MAX} characters")
    if not is_storable(name) or any(character < " " or character == "\x7f" for character in name):
        raise InvalidInput("name", "a name holds no control characters and no half of a surrogate pair")


@dataclass(frozen=True, slots=True, kw_only=True)
class Merchant:
    """``notify_secret`` signs what is sent to the addresses that payments bring along.

    With ``unique_correlation_ids`` no two of its payments have the same correlation id.
    """

    id: MerchantId
    name: str
    default_provider: str
    policy: SettlementPolicy
    created_at: datetime
    notify_secret: SecretVersions = NEVER_SHOWN
    unique_correlation_ids: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """How one settlement is split: ``accepted`` to the merchant, ``refundable`` owed back; they sum to what came."""

    disposition: Disposition
    accepted: Money
    refundable: Money
    completes: bool


def decide(
    policy: SettlementPolicy,
    *,
    asked: Money,
    before: Money,
    received: Money,
    complete: bool,
    late_by: timedelta | None,
) -> Decision:
    """Say what becomes of ``received``.

    ``before`` is what was accepted earlier for the same payment; ``late_by`` is how long after expiry the money
    settled, None for money in time. Money for a payment that is complete is a surplus.
    """
    if complete:
        refund = policy.over is OverPolicy.REFUND
        return _whole(Disposition.SURPLUS_REFUNDABLE if refund else Disposition.SURPLUS, received, refund=refund)
    if late_by is not None and policy.late is LatePolicy.REFUND and late_by > timedelta(seconds=policy.late_grace_s):
        return _whole(Disposition.LATE_REFUNDABLE, received, refund=True)
    missing = asked.value - before.value - received.value
    if missing > asked.value * policy.under_tolerance_ppm // _PPM:
        refund = policy.under is UnderPolicy.REFUND
        return _whole(Disposition.UNDERPAID_REFUNDABLE if refund else Disposition.PARTIAL, received, refund=refund)
    excess = min(max(0, -missing), received.value) if policy.over is OverPolicy.REFUND else 0
    return Decision(
        disposition=Disposition.ACCEPTED_EXCESS_REFUNDABLE if excess else Disposition.ACCEPTED,
        accepted=Money(received.value - excess, received.asset),
        refundable=Money(excess, received.asset),
        completes=True,
    )


def _whole(disposition: Disposition, received: Money, *, refund: bool) -> Decision:
    """Give all of ``received`` to one side, without completing the payment."""
    nothing = Money(0, received.asset)
    accepted, refundable = (nothing, received) if refund else (received, nothing)
    return Decision(disposition=disposition, accepted=accepted, refundable=refundable, completes=False)
