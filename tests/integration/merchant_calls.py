"""What merchants and keys are asked for through the contract, and who asks."""

from typing import Any

from quittance.domain.access import Principal, Scope
from quittance.domain.errors import QuittanceError, Unauthenticated
from quittance.gql.schema import schema
from quittance.resolvers.access import authenticate

MERCHANT = """
  id name defaultProvider createdAt uniqueCorrelationIds
  policy { late lateGraceSeconds under underTolerancePpm over }
"""
KEY = "id name prefix scopes createdAt lastUsedAt revokedAt active"
ERROR = """
  __typename
  ... on UserError { code message retryable }
  ... on InvalidInputError { field }
  ... on MerchantNotFoundError { merchantId }
  ... on ApiKeyNotFoundError { apiKeyId }
  ... on PermissionDeniedError { needed }
"""
NO_KEY_ERROR = ERROR.replace("... on ApiKeyNotFoundError { apiKeyId }", "")
NO_MERCHANT_ERROR = ERROR.replace("... on MerchantNotFoundError { merchantId }", "")
NEITHER_ERROR = NO_KEY_ERROR.replace("... on MerchantNotFoundError { merchantId }", "")
CREATE = f"""
mutation ($input: CreateMerchantInput!) {{ createMerchant(input: $input) {{
  {NEITHER_ERROR} ... on CreateMerchantSuccess {{ merchant {{ {MERCHANT} }} apiKey {{ {KEY} }} secret }} }} }}
"""
UPDATE = f"""
mutation ($input: UpdateMerchantInput!) {{ updateMerchant(input: $input) {{
  {NO_KEY_ERROR} ... on UpdateMerchantSuccess {{ merchant {{ {MERCHANT} }} }} }} }}
"""
CREATE_KEY = f"""
mutation ($input: CreateApiKeyInput!) {{ createApiKey(input: $input) {{
  {NEITHER_ERROR} ... on CreateApiKeySuccess {{ apiKey {{ {KEY} }} secret }} }} }}
"""
REVOKE = f"""
mutation ($id: ID!) {{ revokeApiKey(id: $id) {{
  {NO_MERCHANT_ERROR.replace("... on InvalidInputError { field }", "")}
  ... on RevokeApiKeySuccess {{ apiKey {{ {KEY} }} }} }} }}
"""
ROTATE = f"""
mutation ($id: ID!, $overlap: Int) {{ rotateApiKey(id: $id, overlapSeconds: $overlap) {{
  {NO_MERCHANT_ERROR} ... on RotateApiKeySuccess {{ apiKey {{ {KEY} }} secret }} }} }}
"""
MERCHANTS = f"query ($first: Int, $after: String) {{ merchants(first: $first, after: $after) {{ totalCount edges {{ cursor node {{ {MERCHANT} }} }} pageInfo {{ hasNextPage endCursor }} }} }}"  # noqa: E501
KEYS = f"query ($first: Int, $after: String) {{ apiKeys(first: $first, after: $after) {{ totalCount edges {{ cursor node {{ {KEY} }} }} pageInfo {{ hasNextPage endCursor }} }} }}"  # noqa: E501
FOREIGN_IDS = ["", "\x00", "\ud800", "mer_" + "f" * 32, "key_" + "f" * 32, "' OR 1=1 --", "x" * 10_000]


async def new_merchant(shop: Any, name: str = "A shop") -> Any:
    return await shop.mutate("createMerchant", CREATE, {"input": {"name": name}})


async def new_key(shop: Any, *scopes: str, name: str = "a till", **more: Any) -> Any:
    given = {"name": name, "scopes": list(scopes or ["payments:read"])}
    return await shop.mutate("createApiKey", CREATE_KEY, {"input": given}, **more)


async def update(shop: Any, **more: Any) -> Any:
    return await shop.mutate("updateMerchant", UPDATE, {"input": {"id": shop.principal.merchant_id} | more})


async def caller(shop: Any, secret: str) -> Principal:
    return await authenticate(shop.services, authorization=f"Bearer {secret}", client_secret=None)


async def opens(shop: Any, secret: str) -> bool:
    try:
        await caller(shop, secret)
    except Unauthenticated:
        return False
    return True


async def refusals(shop: Any, document: str, variables: Any, as_: Principal) -> list[str]:
    result = await schema.execute(document, variables, shop.context(as_))
    assert all(isinstance(error.original_error, QuittanceError) for error in result.errors or [])
    return [error.original_error.code for error in result.errors or []]  # type: ignore[union-attr]


def narrow(principal: Principal, *scopes: Scope) -> Principal:
    return Principal(merchant_id=principal.merchant_id, key_id=principal.key_id, scopes=frozenset(scopes))


NOT_ADMIN = tuple(scope for scope in Scope if scope is not Scope.ADMIN)
