"""Double entry: every transaction sums to zero per asset. Debits are positive."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from quittance.domain.ids import AccountId, MerchantId
from quittance.domain.money import Asset, Money
from quittance.domain.policy import Decision


class AccountKind(StrEnum):
    """PROVIDER: money a rail holds for us. MERCHANT: owed to a merchant. REFUNDABLE: owed back to payers.

    READER: owed to a reader. RESERVED: of its owner's money, what is set aside for money on its way out.
    SPLIT: what came for upvotes of a merchant's articles and is not yet shared out among readers.
    """

    PROVIDER = "PROVIDER"
    MERCHANT = "MERCHANT"
    REFUNDABLE = "REFUNDABLE"
    READER = "READER"
    RESERVED = "RESERVED"
    SPLIT = "SPLIT"


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
    *, provider: str, merchant_id: MerchantId, received: Money, decision: Decision, shared: int = 0
) -> Sequence[Entry]:
    """Return the balanced lines of one settlement: the rail's account is debited, those we owe are credited.

    ``shared`` smallest units of the merchant's are set aside for readers: of what comes now, and, where that is less,
    of what came for the same payment before.

    Raises:
        ValueError: the decision does not split exactly what came; a bug.
    """
    asset = received.asset
    lines = [
        Entry(account=Account(kind=AccountKind.PROVIDER, owner=provider, asset=asset), value=received.value),
        Entry(
            account=Account(kind=AccountKind.MERCHANT, owner=merchant_id, asset=asset),
            value=shared - decision.accepted.value,
        ),
        Entry(account=Account(kind=AccountKind.SPLIT, owner=merchant_id, asset=asset), value=-shared),
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


def entries_of_shares(*, merchant_id: MerchantId, share: Money, account_ids: Sequence[AccountId]) -> Sequence[Entry]:
    """Return the balanced lines that give some readers a share each of what was set aside for them."""
    aside = Account(kind=AccountKind.SPLIT, owner=merchant_id, asset=share.asset)
    entries = [
        Entry(account=Account(kind=AccountKind.READER, owner=account_id, asset=share.asset), value=-share.value)
        for account_id in account_ids
    ]
    entries.append(Entry(account=aside, value=share.value * len(account_ids)))
    check_balanced(entries)
    return entries
