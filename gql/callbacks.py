"""The query about callbacks of providers."""

import strawberry

from quittance.gql.arguments import After, First
from quittance.gql.context import QuittanceInfo
from quittance.gql.pages import PAGE_DEFAULT, asked_page
from quittance.gql.types.callback import ProviderCallbackConnection, ProviderCallbackEdge
from quittance.resolvers import callbacks


@strawberry.type(description="What can be asked about callbacks.")
class CallbackQueries:
    @strawberry.field(
        description="What providers told us at `/callbacks/{provider}`, the newest first. For admin keys of the first "
        "merchant."
    )
    async def provider_callbacks(
        self, info: QuittanceInfo, first: First = PAGE_DEFAULT, after: After = None
    ) -> ProviderCallbackConnection:
        asked = asked_page(first, after)
        found = await callbacks.list_callbacks(
            info.context.services, info.context.principal, after_id=asked.after_id("callback"), limit=asked.limit
        )
        page = asked.of(found, ProviderCallbackEdge.from_domain)
        return ProviderCallbackConnection(edges=page.edges, page_info=page.page_info)
