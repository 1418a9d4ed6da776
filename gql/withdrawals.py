"""Withdrawals by a code: begun by their owner, watched by their owner; wallets come through doors of their own."""

from typing import Annotated

import strawberry

from quittance.domain.ids import WithdrawalId
from quittance.gql.arguments import Id
from quittance.gql.context import QuittanceInfo
from quittance.gql.errors import (
    CannotPayFromError,
    InsufficientBalanceError,
    InvalidAmountError,
    InvalidInputError,
    LoginRequiredError,
    PermissionDeniedError,
    RateLimitedError,
)
from quittance.gql.types.withdrawal import CreateWithdrawalInput, Withdrawal
from quittance.resolvers import withdrawals


@strawberry.type(description="The withdrawal, with its code this once.")
class CreateWithdrawalSuccess:
    withdrawal: Withdrawal = strawberry.field(description="The withdrawal.")


CreateWithdrawalResult = Annotated[
    CreateWithdrawalSuccess
    | LoginRequiredError
    | PermissionDeniedError
    | InsufficientBalanceError
    | InvalidAmountError
    | InvalidInputError
    | CannotPayFromError
    | RateLimitedError,
    strawberry.union("CreateWithdrawalResult", description="What `createWithdrawal` gives."),
]


@strawberry.type
class WithdrawalQueries:
    @strawberry.field(description="A withdrawal of the caller's own, without its code; null for any other.")
    async def withdrawal(self, info: QuittanceInfo, id: Id) -> Withdrawal | None:  # noqa: A002
        found = await withdrawals.find_withdrawal(info.context.services, info.context.principal, WithdrawalId(id))
        return None if found is None else Withdrawal.from_domain(found)


@strawberry.type
class WithdrawalMutations:
    @strawberry.mutation(
        description="Show a code that a wallet scans to take money of the caller's balance: a reader's, or the "
        "merchant's with the scope payouts:write. Nothing is set aside until a wallet brings an invoice."
    )
    async def create_withdrawal(
        self,
        info: QuittanceInfo,
        input: Annotated[  # noqa: A002
            CreateWithdrawalInput | None, strawberry.argument(description="How much, and for how long.")
        ] = None,
    ) -> CreateWithdrawalResult | None:
        amount_max = None if input is None or input.amount_max is None else input.amount_max.to_domain()
        shown = await withdrawals.create_withdrawal(
            info.context.services,
            info.context.principal,
            amount_max=amount_max,
            expires_in_s=None if input is None else input.expires_in,
        )
        return CreateWithdrawalSuccess(withdrawal=Withdrawal.from_domain(shown.standing, lnurl=shown.lnurl))
