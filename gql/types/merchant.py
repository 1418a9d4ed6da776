"""Merchants, their keys and their log, on the wire."""

import asyncio
from datetime import datetime
from typing import Annotated

import strawberry

from quittance.domain import access, audit
from quittance.domain import policy as policies
from quittance.domain.audit import AuditAction, AuditFilter
from quittance.domain.ids import MerchantId
from quittance.domain.policy import LatePolicy, OverPolicy, UnderPolicy
from quittance.gql.context import QuittanceInfo
from quittance.gql.types.node import Node, PageInfo
from quittance.gql.types.qr import QrFormat, qr_data_uri
from quittance.resolvers import audit as log
from quittance.resolvers import keys, lightning_names, merchants

strawberry.enum(LatePolicy, description="What becomes of money that comes too late: it counts, or is owed back.")
strawberry.enum(
    UnderPolicy, description="What becomes of too little money: it is kept and the payment stays open, or is owed back."
)
strawberry.enum(
    OverPolicy,
    description="What becomes of too much money: KEEP and CREDIT give it to the merchant, REFUND owes it back.",
)
strawberry.enum(AuditAction, description="What was done.")


@strawberry.type(description="What a merchant wants done with money that does not come as asked.")
class SettlementPolicy:
    late: LatePolicy = strawberry.field(description="Money that comes after expiry or cancel.")
    late_grace_seconds: int = strawberry.field(
        description="How long after expiry money still counts as in time, where late money is refunded."
    )
    under: UnderPolicy = strawberry.field(description="Less money than asked.")
    under_tolerance_ppm: int = strawberry.field(
        description="How much may be missing of what was asked, in millionths, for the payment to be complete."
    )
    over: OverPolicy = strawberry.field(description="More money than asked, or a second time.")

    @staticmethod
    def from_domain(subject: policies.SettlementPolicy) -> "SettlementPolicy":
        return SettlementPolicy(
            late=subject.late,
            late_grace_seconds=subject.late_grace_s,
            under=subject.under,
            under_tolerance_ppm=subject.under_tolerance_ppm,
            over=subject.over,
        )


@strawberry.type(description="A shop: it owns articles, payments and keys.")
class Merchant(Node):
    name: str = strawberry.field(description="The merchant's name.")
    default_provider: str = strawberry.field(description="The rail of payments that name none.")
    policy: SettlementPolicy = strawberry.field(description="What is done with money that does not come as asked.")
    created_at: datetime = strawberry.field(description="When it was made.")
    unique_correlation_ids: bool = strawberry.field(
        description="Whether a payment with the `correlationId` of another one is refused."
    )

    @strawberry.field(description="Where anybody can pay it, such as shop@example.com; null without a name.")
    async def lightning_address(self, info: QuittanceInfo) -> str | None:
        name = await self._lightning_name(info)
        return None if name is None else lightning_names.address_of(info.context.services, name)

    @strawberry.field(description="The same as an LNURL, in capitals; null without a name.")
    async def lnurl(self, info: QuittanceInfo) -> str | None:
        name = await self._lightning_name(info)
        return None if name is None else lightning_names.lnurl_of(info.context.services, name)

    @strawberry.field(description="The LNURL as a QR code: a data: URI; null without a name.")
    async def lnurl_qr_code(
        self,
        info: QuittanceInfo,
        format: Annotated[QrFormat | None, strawberry.argument(description="How to draw it.")] = QrFormat.SVG,  # noqa: A002
    ) -> str | None:
        name = await self._lightning_name(info)
        if name is None:
            return None
        lnurl = lightning_names.lnurl_of(info.context.services, name)
        return await asyncio.to_thread(qr_data_uri, lnurl.lower(), format or QrFormat.SVG)

    async def _lightning_name(self, info: QuittanceInfo) -> str | None:
        return await info.context.loaders.lightning_name.load(MerchantId(self.id))

    @staticmethod
    def from_domain(subject: policies.Merchant) -> "Merchant":
        return Merchant(
            id=strawberry.ID(subject.id),
            name=subject.name,
            default_provider=subject.default_provider,
            policy=SettlementPolicy.from_domain(subject.policy),
            created_at=subject.created_at,
            unique_correlation_ids=subject.unique_correlation_ids,
        )


@strawberry.type(description="A merchant in a page.")
class MerchantEdge:
    cursor: str = strawberry.field(description="Where this merchant stands in the list.")
    node: Merchant = strawberry.field(description="The merchant.")


@strawberry.type(description="A page of merchants.")
class MerchantConnection:
    edges: list[MerchantEdge] = strawberry.field(description="The merchants of this page, the newest first.")
    page_info: PageInfo = strawberry.field(description="Where this page begins and ends.")

    @strawberry.field(description="How many merchants this key may see.")
    async def total_count(self, info: QuittanceInfo) -> int:
        return await merchants.count_merchants(info.context.services, info.context.principal)


@strawberry.type(description="What is known of an API key; the key itself was shown once.")
class ApiKey:
    subject: strawberry.Private[access.ApiKey]
    id: strawberry.ID = strawberry.field(description="The key's id, which is no secret.")
    name: str = strawberry.field(description="What the key is for.")
    prefix: str = strawberry.field(description="The first digits of the key's SHA-256, to tell keys apart by.")
    scopes: list[str] = strawberry.field(description="What it may do.")
    created_at: datetime = strawberry.field(description="When it was made.")
    last_used_at: datetime | None = strawberry.field(description="When it was last used, to within a minute.")
    revoked_at: datetime | None = strawberry.field(
        description="From when on it does not work; ahead, when it was rotated and still works for a while."
    )

    @strawberry.field(description="Whether it works now.")
    def active(self, info: QuittanceInfo) -> bool:
        return self.subject.works(at=info.context.services.now())

    @staticmethod
    def from_domain(subject: access.ApiKey) -> "ApiKey":
        return ApiKey(
            subject=subject,
            id=strawberry.ID(subject.id),
            name=subject.name,
            prefix=subject.prefix,
            scopes=sorted(subject.scopes),
            created_at=subject.created_at,
            last_used_at=subject.last_used_at,
            revoked_at=subject.revoked_at,
        )


@strawberry.type(description="An API key in a page.")
class ApiKeyEdge:
    cursor: str = strawberry.field(description="Where this key stands in the list.")
    node: ApiKey = strawberry.field(description="The key.")


@strawberry.type(description="A page of API keys.")
class ApiKeyConnection:
    edges: list[ApiKeyEdge] = strawberry.field(description="The keys of this page, the newest first.")
    page_info: PageInfo = strawberry.field(description="Where this page begins and ends.")

    @strawberry.field(description="How many keys the merchant has, those that are revoked too.")
    async def total_count(self, info: QuittanceInfo) -> int:
        return await keys.count_own_keys(info.context.services, info.context.principal)


@strawberry.type(description="Who did what.")
class AuditEntry:
    id: strawberry.ID = strawberry.field(description="The entry's id.")
    actor_id: str = strawberry.field(description="The id of the API key that did it, or `command line`.")
    actor_name: str = strawberry.field(description="The name that the key had then, or `command line`.")
    action: AuditAction = strawberry.field(description="What was done.")
    subject_id: strawberry.ID = strawberry.field(description="The id of what it was done to.")
    detail: str | None = strawberry.field(description="More about it, for people; never a secret.")
    at: datetime = strawberry.field(description="When.")

    @staticmethod
    def from_domain(subject: audit.AuditEntry) -> "AuditEntry":
        return AuditEntry(
            id=strawberry.ID(subject.id),
            actor_id=subject.actor_id,
            actor_name=subject.actor_name,
            action=subject.action,
            subject_id=strawberry.ID(subject.subject_id),
            detail=subject.detail,
            at=subject.at,
        )


@strawberry.type(description="An entry of the audit log in a page.")
class AuditEntryEdge:
    cursor: str = strawberry.field(description="Where this entry stands in the log.")
    node: AuditEntry = strawberry.field(description="The entry.")


@strawberry.type(description="A page of the audit log.")
class AuditEntryConnection:
    narrowed: strawberry.Private[AuditFilter]
    edges: list[AuditEntryEdge] = strawberry.field(description="The entries of this page, the newest first.")
    page_info: PageInfo = strawberry.field(description="Where this page begins and ends.")

    @strawberry.field(description="How many entries the whole list has.")
    async def total_count(self, info: QuittanceInfo) -> int:
        return await log.count_entries(info.context.services, info.context.principal, narrowed=self.narrowed)


@strawberry.input(description="What to narrow the audit log to; what is left out does not narrow.")
class AuditLogFilter:
    action: AuditAction | None = strawberry.field(default=None, description="Entries of this action.")
    actor_id: str | None = strawberry.field(default=None, description="Entries of this API key, or of `command line`.")
    subject_id: strawberry.ID | None = strawberry.field(default=None, description="Entries about this object.")


@strawberry.input(description="A new merchant.")
class CreateMerchantInput:
    name: str = strawberry.field(description="The merchant's name, at most 191 characters.")
    default_provider: str | None = strawberry.field(
        default=None, description="The rail of payments that name none; the server's own default unless said."
    )


@strawberry.input(description="What to change of a policy; what is left out stays as it is.")
class SettlementPolicyInput:
    late: LatePolicy | None = strawberry.field(default=strawberry.UNSET, description="Late money; cannot be null.")
    late_grace_seconds: int | None = strawberry.field(
        default=strawberry.UNSET, description="The grace time, at most a year; cannot be null."
    )
    under: UnderPolicy | None = strawberry.field(
        default=strawberry.UNSET, description="Too little money; cannot be null."
    )
    under_tolerance_ppm: int | None = strawberry.field(
        default=strawberry.UNSET, description="What may be missing, in millionths, 0 to 1000000; cannot be null."
    )
    over: OverPolicy | None = strawberry.field(default=strawberry.UNSET, description="Too much money; cannot be null.")


@strawberry.input(description="What to change of a merchant; what is left out stays as it is.")
class UpdateMerchantInput:
    id: strawberry.ID = strawberry.field(description="The merchant: the key's own, or, for the operator, any.")
    name: str | None = strawberry.field(default=strawberry.UNSET, description="The name; cannot be null.")
    default_provider: str | None = strawberry.field(
        default=strawberry.UNSET, description="A connected rail; cannot be null."
    )
    policy: SettlementPolicyInput | None = strawberry.field(
        default=strawberry.UNSET, description="The policy, from the next settlement on; cannot be null."
    )
    unique_correlation_ids: bool | None = strawberry.field(
        default=strawberry.UNSET,
        description="Whether a payment with the `correlationId` of an earlier one, however old, is refused from now "
        "on; cannot be null.",
    )


@strawberry.input(description="A new API key of the caller's merchant.")
class CreateApiKeyInput:
    name: str = strawberry.field(description="What the key is for, at most 191 characters.")
    scopes: list[str] = strawberry.field(
        description="What it may do: admin, articles:write, payments:read, payments:write."
    )
