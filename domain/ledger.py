"""Double entry: every transaction sums to zero per asset. Debits are positive."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from quittance.domain.ids import MerchantId
from quittance.domain.money import Asset, Money
from quittance.domain.policy import Decision


class AccountKind(StrEnum):
    """PROVIDER: money a rail holds for us. MERCHANT: owed to a merchant. REFUNDABLE: owed back to payers.

    READER: owed to a reader. RESERVED: of its owner's money, what is set aside for money on its way out.
    """

    PROVIDER = "PROVIDER"
    MERCHANT = "MERCHANT"
    REFUNDABLE = "REFUNDABLE"
    READER = "READER"
    RESERVED = "RESERVED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    kind: AccountKind
    owner: str
    asset: Asset

    @property
    def id(self) -> str:
        return f"{self.kind}/{self.owner}/{self.asset.code}/{self.asset.scale}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """``value`` smallest units of the account's asset; positive is a debit."""

    account: Account
    value: int


def entries_of_settlement(
    *, provider: str, merchant_id: MerchantId, received: Money, decision: Decision
) -> Sequence[Entry]:
    """Return the balanced lines of one settlement: the rail's account is debited, those we owe are credited.

    Raises:
        ValueError: the decision does not split exactly what came; a bug.
    """
    asset = received.asset
    lines = [
        Entry(account=Account(kind=AccountKind.PROVIDER, owner=provider, asset=asset), value=received.value),
        Entry(
            account=Account(kind=AccountKind.MERCHANT, owner=merchant_id, asset=asset), value=-decision.accepted.value
        ),
        Entry(
            account=Account(kind=AccountKind.REFUNDABLE, owner=merchant_id, asset=asset),
            value=-decision.refundable.value,
        ),
    ]
    entries = [line for line in lines if line.value]
    check_balanced(entries)
    return entries


def check_balanced(entries: Sequence[Entry]) -> None:
    """Refuse lines that do not sum to zero per asset.

    Raises:
        ValueError: they do not; a bug, so nothing may be posted.
    """
    sums: dict[Asset, int] = defaultdict(int)
    for entry in entries:
        sums[entry.account.asset] += entry.value
    if any(sums.values()):
        raise ValueError(f"unbalanced ledger transaction: {dict(sums)}")
