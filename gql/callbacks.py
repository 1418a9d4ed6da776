"""The query about callbacks of providers."""

import strawberry

from quittance.gql.arguments import PAGE_DEFAULT, After, First, page_size, resumed_after
from quittance.gql.context import QuittanceInfo
from quittance.gql.types.callback import ProviderCallbackConnection, ProviderCallbackEdge
from quittance.gql.types.node import page_info
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
        size = page_size(first)
        found = await callbacks.list_callbacks(
            info.context.services, info.context.principal, after_id=resumed_after("callback", after), limit=size + 1
        )
        edges = [ProviderCallbackEdge.from_domain(one) for one in found[:size]]
        return ProviderCallbackConnection(
            edges=edges,
            page_info=page_info([edge.cursor for edge in edges], more=len(found) > size, resumed=after is not None),
        )
