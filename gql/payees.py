"""Mutations of those who are paid by address."""

from typing import Annotated

import strawberry

from quittance.domain.errors import InvalidInput
from quittance.domain.ids import MerchantId
from quittance.domain.payee_name import NAMES_MAX
from quittance.gql.context import QuittanceInfo
from quittance.gql.errors import (
    InvalidInputError,
    LightningNamesUsedUpError,
    LightningNameTakenError,
    MerchantNotFoundError,
    PermissionDeniedError,
    RateLimitedError,
)
from quittance.gql.types.merchant import Merchant
from quittance.resolvers import lightning_names


@strawberry.input(description="The name that a merchant is paid by.")
class SetLightningAddressInput:
    id: strawberry.ID = strawberry.field(description="The merchant: the key's own, or, for the operator, any.")
    name: str | None = strawberry.field(
        default=strawberry.UNSET,
        description="What stands before the @: up to 64 small letters, digits, dots, - and _. Null takes the name "
        "away, and keeps it from everybody else. It must be said.",
    )


@strawberry.type(description="The merchant, which is paid by its new name alone.")
class SetLightningAddressSuccess:
    merchant: Merchant = strawberry.field(description="The merchant.")


SetLightningAddressResult = Annotated[
    SetLightningAddressSuccess
    | PermissionDeniedError
    | MerchantNotFoundError
    | InvalidInputError
    | LightningNameTakenError
    | LightningNamesUsedUpError
    | RateLimitedError,
    strawberry.union("SetLightningAddressResult", description="What `setLightningAddress` gives."),
]


@strawberry.type(description="What those who are paid by address can do.")
class PayeeMutations:
    @strawberry.mutation(
        description="Let a merchant be paid at name@ this server. A name is its first merchant's for ever, so each "
        f"may have {NAMES_MAX} in all; names such as admin and support are the operator's to give."
    )
    async def set_lightning_address(
        self,
        info: QuittanceInfo,
        input: Annotated[SetLightningAddressInput, strawberry.argument(description="The name.")],  # noqa: A002
    ) -> SetLightningAddressResult | None:
        if input.name is strawberry.UNSET:
            raise InvalidInput("name", "say a name, or null to take the present one away")
        changed = await lightning_names.set_lightning_name(
            info.context.services, info.context.principal, MerchantId(input.id), input.name
        )
        return SetLightningAddressSuccess(merchant=Merchant.from_domain(changed))
