"""Withdrawals by a code, on the wire."""

import asyncio
from datetime import datetime
from typing import Annotated

import strawberry

from quittance.domain.money import msat
from quittance.domain.withdrawal import WithdrawalStatus
from quittance.gql.types.money import AmountInput, Money
from quittance.gql.types.qr import QrFormat, qr_data_uri
from quittance.gql.types.transfer import Payout
from quittance.resolvers.withdrawals import WithdrawalStanding

strawberry.enum(
    WithdrawalStatus,
    description="Where a withdrawal stands. OPEN: a wallet may take the money. PAYING: one brought an invoice, which "
    "is being paid; a payment that fails for good makes it OPEN again. PAID and EXPIRED are final.",
)


@strawberry.input(description="A code to withdraw with.")
class CreateWithdrawalInput:
    amount_max: AmountInput | None = strawberry.field(
        default=None, description="The most that can be taken, in bitcoin; all of the balance unless it is said."
    )
    expires_in: int | None = strawberry.field(
        default=None, description="For how many seconds the code can be used; the server has a default and a maximum."
    )


@strawberry.type(description="Leave to take money of a balance, once. It is shown to its owner alone.")
class Withdrawal:
    id: strawberry.ID = strawberry.field(description="The withdrawal's id, which is no secret.")
    status: WithdrawalStatus = strawberry.field(description="Where it stands.")
    lnurl: str | None = strawberry.field(
        description="What a wallet reads (LUD-01, LUD-03), in capitals. Whoever sees it can take the money. It is "
        "told in the answer of `createWithdrawal`, stored nowhere, and null ever after."
    )
    min_withdrawable: Money = strawberry.field(description="The least that a wallet can ask for.")
    max_withdrawable: Money = strawberry.field(
        description="The most that a wallet can ask for now: what the balance covers with its fee cap, and never more "
        "than `amountMax`; zero unless it is OPEN."
    )
    created_at: datetime = strawberry.field(description="When it was made.")
    expires_at: datetime = strawberry.field(description="Until when a wallet can bring an invoice.")
    payout: Payout | None = strawberry.field(description="The newest payout that was begun with it.")

    @strawberry.field(description="The code to show: a data: URI. As secret as `lnurl`, and null with it.")
    async def qr_code(
        self,
        format: Annotated[QrFormat | None, strawberry.argument(description="How to draw it.")] = QrFormat.SVG,  # noqa: A002
    ) -> str | None:
        if self.lnurl is None:
            return None
        text = self.lnurl.lower()  # which a code draws in capitals, as it does with invoices
        return await asyncio.to_thread(qr_data_uri, text, format or QrFormat.SVG)

    @staticmethod
    def from_domain(standing: WithdrawalStanding, *, lnurl: str | None = None) -> "Withdrawal":
        subject = standing.withdrawal
        return Withdrawal(
            id=strawberry.ID(subject.id),
            status=standing.status,
            lnurl=lnurl,
            min_withdrawable=Money.from_domain(msat(standing.amount_msat_min)),
            max_withdrawable=Money.from_domain(msat(standing.amount_msat_max)),
            created_at=subject.created_at,
            expires_at=subject.expires_at,
            payout=None if standing.payout is None else Payout.from_domain(standing.payout),
        )
