"""What a caller may know of the server and of itself."""

from enum import StrEnum

import strawberry

from quittance.domain.ledger import AccountKind
from quittance.gql.context import QuittanceInfo
from quittance.gql.types.merchant import Merchant
from quittance.gql.types.money import Money
from quittance.gql.types.reader import Account
from quittance.resolvers import ledger, rails


@strawberry.enum(description="Who calls.")
class ViewerKind(StrEnum):
    ANONYMOUS = "ANONYMOUS"
    CLIENT_SECRET = "CLIENT_SECRET"  # noqa: S105 - a kind of caller
    MERCHANT = "MERCHANT"
    READER = "READER"


@strawberry.enum(description="What a rail can do.")
class ProviderCapability(StrEnum):
    RECEIVE = "RECEIVE"
    CANCEL = "CANCEL"
    SETTLEMENT_FEED = "SETTLEMENT_FEED"
    HOLD = "HOLD"
    SEND = "SEND"
    WEBHOOKS = "WEBHOOKS"


@strawberry.type(description="Who calls, as the server understands it.")
class Viewer:
    kind: ViewerKind = strawberry.field(description="By what the caller proved itself.")
    merchant: Merchant | None = strawberry.field(description="The merchant of the API key.")
    key_name: str | None = strawberry.field(description="The name of the API key.")
    scopes: list[str] = strawberry.field(description="What the API key may do.")
    account: Account | None = strawberry.field(description="The account of the reader's token.")

    @strawberry.field(description="What is booked to the merchant, one amount per asset.")
    async def balances(self, info: QuittanceInfo) -> list[Money]:
        found = await ledger.balances_of_caller(info.context.services, info.context.principal)
        return [Money.from_domain(amount) for kind, amount in found if kind is AccountKind.MERCHANT]


@strawberry.type(description="Whether a rail can take money now.")
class ProviderHealth:
    ready: bool = strawberry.field(description="Whether it can.")
    detail: str | None = strawberry.field(description="Why, or why not; null without a key.")


@strawberry.type(description="A connected rail.")
class Provider:
    name: str = strawberry.field(description="The name to ask for it by.")
    asset_code: str = strawberry.field(description="The asset its invoices are made in.")
    asset_scale: int = strawberry.field(description="How many decimal places that asset's smallest unit has.")
    capabilities: list[ProviderCapability] = strawberry.field(description="What it can do.")

    @strawberry.field(description="Whether it can take money now; the rail is asked.")
    async def health(self, info: QuittanceInfo) -> ProviderHealth:
        health = await rails.health(info.context.services, self.name)
        known = info.context.principal.merchant_id is not None
        return ProviderHealth(ready=health.ready, detail=health.detail if known else None)
