"""What the mutations of merchants and keys give: a success, or one of the errors that they can meet."""

from typing import Annotated

import strawberry

from quittance.gql.errors import (
    ApiKeyNotFoundError,
    InvalidInputError,
    MerchantNotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    UnknownProviderError,
)
from quittance.gql.types.merchant import ApiKey, Merchant

_SECRET = "The key itself: it is shown this once and stored nowhere."  # noqa: S105 - a description


@strawberry.type(description="The merchant as it was made, and its first admin key.")
class CreateMerchantSuccess:
    merchant: Merchant = strawberry.field(description="The new merchant.")
    api_key: ApiKey = strawberry.field(description="Its first key, with the scope admin.")
    secret: str = strawberry.field(description=_SECRET)


@strawberry.type(description="The merchant as it is now.")
class UpdateMerchantSuccess:
    merchant: Merchant = strawberry.field(description="The changed merchant.")


@strawberry.type(description="The key as it was made.")
class CreateApiKeySuccess:
    api_key: ApiKey = strawberry.field(description="The new key.")
    secret: str = strawberry.field(description=_SECRET)


@strawberry.type(description="The key, which does not work any more.")
class RevokeApiKeySuccess:
    api_key: ApiKey = strawberry.field(description="The revoked key.")


@strawberry.type(description="The successor of a key, with the same name and scopes.")
class RotateApiKeySuccess:
    api_key: ApiKey = strawberry.field(description="The new key.")
    secret: str = strawberry.field(description=_SECRET)


CreateMerchantResult = Annotated[
    CreateMerchantSuccess | PermissionDeniedError | InvalidInputError | UnknownProviderError | RateLimitedError,
    strawberry.union("CreateMerchantResult", description="What `createMerchant` gives."),
]
UpdateMerchantResult = Annotated[
    UpdateMerchantSuccess
    | PermissionDeniedError
    | MerchantNotFoundError
    | InvalidInputError
    | UnknownProviderError
    | RateLimitedError,
    strawberry.union("UpdateMerchantResult", description="What `updateMerchant` gives."),
]
CreateApiKeyResult = Annotated[
    CreateApiKeySuccess | PermissionDeniedError | InvalidInputError | RateLimitedError,
    strawberry.union("CreateApiKeyResult", description="What `createApiKey` gives."),
]
RevokeApiKeyResult = Annotated[
    RevokeApiKeySuccess | PermissionDeniedError | ApiKeyNotFoundError | RateLimitedError,
    strawberry.union("RevokeApiKeyResult", description="What `revokeApiKey` gives."),
]
RotateApiKeyResult = Annotated[
    RotateApiKeySuccess | PermissionDeniedError | ApiKeyNotFoundError | InvalidInputError | RateLimitedError,
    strawberry.union("RotateApiKeyResult", description="What `rotateApiKey` gives."),
]
