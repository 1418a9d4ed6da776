"""Withdrawals by a code that a wallet scans (LUD-03): who holds the code takes the money, once."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from urllib.parse import urlencode

from quittance.domain.errors import QuittanceError
from quittance.domain.ids import MerchantId, TransferId, WithdrawalId
from quittance.domain.transfer import FeeRule, Transfer, TransferState, most_payable

TAG = "withdrawRequest"
DOOR = "/lnurl/withdraw"
CALLBACK = "/lnurl/withdraw/callback"
SECRET_BYTES = 32


class WithdrawalStatus(StrEnum):
    """OPEN: a wallet may give an invoice. PAYING: one was taken, and is not known to have failed."""

    OPEN = "OPEN"
    PAYING = "PAYING"
    PAID = "PAID"
    EXPIRED = "EXPIRED"


class WithdrawalRefused(QuittanceError):
    """A wallet gets nothing for this code, or not for this invoice; nothing moved. ``reason`` is for its owner."""

    code = "WITHDRAWAL_REFUSED"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawal:
    """Leave to take up to ``amount_msat_max`` of a balance, until it expires; None for all of it.

    ``payout_id`` is the newest payout that was begun with it.
    """

    id: WithdrawalId
    owner_id: str
    merchant_id: MerchantId
    provider: str
    amount_msat_max: int | None
    payout_id: TransferId | None
    created_at: datetime
    expires_at: datetime

    def status(self, payout: Transfer | None, *, at: datetime) -> WithdrawalStatus:
        """Return where it stands with its newest payout; one that failed for good leaves it as it was."""
        if payout is not None and payout.state is TransferState.SUCCEEDED:
            return WithdrawalStatus.PAID
        if payout is not None and payout.state is not TransferState.FAILED:
            return WithdrawalStatus.PAYING
        return WithdrawalStatus.OPEN if at < self.expires_at else WithdrawalStatus.EXPIRED

    def most(self, held_msat: int, rule: FeeRule) -> int:
        """Return how many millisatoshi can be taken of what is held, the fee cap left; zero for none."""
        most = max(0, most_payable(held_msat, rule))
        return most if self.amount_msat_max is None else min(most, self.amount_msat_max)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewWithdrawal:
    """A withdrawal as it begins: ``secret`` is all that a wallet needs, and is shown once."""

    withdrawal: Withdrawal
    secret: bytes = field(repr=False)

    def url(self, public_url: str) -> str:
        """Return what the code leads to. The secret is in the query, because logs keep paths."""
        return f"{public_url}{DOOR}?{urlencode({'k1': self.secret.hex()})}"
