"""Queries and mutations of merchants, API keys and the audit log."""

from typing import Annotated

import strawberry

from quittance.domain.audit import AuditFilter
from quittance.domain.cursor import encode_key
from quittance.domain.ids import ApiKeyId, MerchantId
from quittance.gql.arguments import After, First, Id, given
from quittance.gql.context import QuittanceInfo
from quittance.gql.pages import PAGE_DEFAULT, asked_page
from quittance.gql.results_merchants import (
    CreateApiKeyResult,
    CreateApiKeySuccess,
    CreateMerchantResult,
    CreateMerchantSuccess,
    RevokeApiKeyResult,
    RevokeApiKeySuccess,
    RotateApiKeyResult,
    RotateApiKeySuccess,
    UpdateMerchantResult,
    UpdateMerchantSuccess,
)
from quittance.gql.types.merchant import (
    ApiKey,
    ApiKeyConnection,
    ApiKeyEdge,
    AuditEntry,
    AuditEntryConnection,
    AuditEntryEdge,
    AuditLogFilter,
    CreateApiKeyInput,
    CreateMerchantInput,
    Merchant,
    MerchantConnection,
    MerchantEdge,
    UpdateMerchantInput,
)
from quittance.resolvers import audit, keys, merchants
from quittance.resolvers.merchants import MerchantChange, PolicyChange

_MERCHANT, _KEY, _ENTRY = "merchant", "apiKey", "auditEntry"


@strawberry.type(description="What can be asked about merchants, their keys and their log.")
class MerchantQueries:
    @strawberry.field(description="Every merchant, for an admin key of the first one; for other admins their own.")
    async def merchants(
        self, info: QuittanceInfo, first: First = PAGE_DEFAULT, after: After = None
    ) -> MerchantConnection:
        asked = asked_page(first, after)
        found = await merchants.list_merchants(
            info.context.services, info.context.principal, after_id=asked.after_id(_MERCHANT), limit=asked.limit
        )
        page = asked.of(
            found, lambda one: MerchantEdge(cursor=encode_key(_MERCHANT, one.id), node=Merchant.from_domain(one))
        )
        return MerchantConnection(edges=page.edges, page_info=page.page_info)

    @strawberry.field(description="The merchant's API keys, for its admin keys; the newest first.")
    async def api_keys(self, info: QuittanceInfo, first: First = PAGE_DEFAULT, after: After = None) -> ApiKeyConnection:
        asked = asked_page(first, after)
        found = await keys.list_own_keys(
            info.context.services, info.context.principal, after_id=asked.after_id(_KEY), limit=asked.limit
        )
        page = asked.of(found, lambda one: ApiKeyEdge(cursor=encode_key(_KEY, one.id), node=ApiKey.from_domain(one)))
        return ApiKeyConnection(edges=page.edges, page_info=page.page_info)

    @strawberry.field(description="Who did what within the merchant, for its admin keys; the newest first.")
    async def audit_log(
        self,
        info: QuittanceInfo,
        first: First = PAGE_DEFAULT,
        after: After = None,
        filter: Annotated[  # noqa: A002
            AuditLogFilter | None, strawberry.argument(description="What to narrow the log to.")
        ] = None,
    ) -> AuditEntryConnection:
        asked = asked_page(first, after)
        narrowed = AuditFilter()
        if filter is not None:
            narrowed = AuditFilter(action=filter.action, actor_id=filter.actor_id, subject_id=filter.subject_id)
        found = await audit.list_entries(
            info.context.services,
            info.context.principal,
            narrowed=narrowed,
            after_id=asked.after_id(_ENTRY),
            limit=asked.limit,
        )
        page = asked.of(
            found, lambda one: AuditEntryEdge(cursor=encode_key(_ENTRY, one.id), node=AuditEntry.from_domain(one))
        )
        return AuditEntryConnection(narrowed=narrowed, edges=page.edges, page_info=page.page_info)


@strawberry.type(description="What can be done with merchants and keys.")
class MerchantMutations:
    @strawberry.mutation(
        description="Add a merchant, with an admin key of its own. For admin keys of the first merchant."
    )
    async def create_merchant(
        self,
        info: QuittanceInfo,
        input: Annotated[CreateMerchantInput, strawberry.argument(description="The merchant.")],  # noqa: A002
    ) -> CreateMerchantResult | None:
        made = await merchants.create_merchant_as_operator(
            info.context.services, info.context.principal, name=input.name, default_provider=input.default_provider
        )
        return CreateMerchantSuccess(
            merchant=Merchant.from_domain(made.merchant),
            api_key=ApiKey.from_domain(made.first.key),
            secret=made.first.secret,
        )

    @strawberry.mutation(description="Change a merchant's name, default rail or policy; what is left out stays.")
    async def update_merchant(
        self,
        info: QuittanceInfo,
        input: Annotated[UpdateMerchantInput, strawberry.argument(description="What to change.")],  # noqa: A002
    ) -> UpdateMerchantResult | None:
        changed = await merchants.update_merchant(
            info.context.services, info.context.principal, MerchantId(input.id), _change(input)
        )
        return UpdateMerchantSuccess(merchant=Merchant.from_domain(changed))

    @strawberry.mutation(description="Make an API key for the caller's merchant. For admin keys.")
    async def create_api_key(
        self,
        info: QuittanceInfo,
        input: Annotated[CreateApiKeyInput, strawberry.argument(description="The key.")],  # noqa: A002
    ) -> CreateApiKeyResult | None:
        made = await keys.create_own_key(
            info.context.services, info.context.principal, name=input.name, scopes=input.scopes
        )
        return CreateApiKeySuccess(api_key=ApiKey.from_domain(made.key), secret=made.secret)

    @strawberry.mutation(
        description="Revoke an API key at once; its open sockets are closed soon after. For admin keys."
    )
    async def revoke_api_key(self, info: QuittanceInfo, id: Id) -> RevokeApiKeyResult | None:  # noqa: A002
        revoked = await keys.revoke_own_key(info.context.services, info.context.principal, ApiKeyId(id))
        return RevokeApiKeySuccess(api_key=ApiKey.from_domain(revoked))

    @strawberry.mutation(
        description="Replace an API key by one with the same name and scopes; both work until the overlap has passed."
    )
    async def rotate_api_key(
        self,
        info: QuittanceInfo,
        id: Id,  # noqa: A002
        overlap_seconds: Annotated[
            int | None,
            strawberry.argument(
                description="How many seconds the old key still works: 0 to 2592000; a day unless said."
            ),
        ] = keys.OVERLAP_S_DEFAULT,
    ) -> RotateApiKeyResult | None:
        overlap_s = keys.OVERLAP_S_DEFAULT if overlap_seconds is None else overlap_seconds
        made = await keys.rotate_own_key(
            info.context.services, info.context.principal, ApiKeyId(id), overlap_s=overlap_s
        )
        return RotateApiKeySuccess(api_key=ApiKey.from_domain(made.key), secret=made.secret)


async def merchant_node(info: QuittanceInfo, merchant_id: MerchantId) -> Merchant | None:
    """Return the merchant to those who may see it: its own keys, and the operator's."""
    found = await merchants.find_merchant(info.context.services, info.context.principal, merchant_id)
    return None if found is None else Merchant.from_domain(found)


def _change(said: UpdateMerchantInput) -> MerchantChange:
    policy = PolicyChange()
    if given(said.policy, "policy") is not None:
        assert said.policy is not None
        policy = PolicyChange(
            late=given(said.policy.late, "policy.late"),
            late_grace_s=given(said.policy.late_grace_seconds, "policy.lateGraceSeconds"),
            under=given(said.policy.under, "policy.under"),
            under_tolerance_ppm=given(said.policy.under_tolerance_ppm, "policy.underTolerancePpm"),
            over=given(said.policy.over, "policy.over"),
        )
    return MerchantChange(
        name=given(said.name, "name"),
        default_provider=given(said.default_provider, "defaultProvider"),
        policy=policy,
        unique_correlation_ids=given(said.unique_correlation_ids, "uniqueCorrelationIds"),
    )
