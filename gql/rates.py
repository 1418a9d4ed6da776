"""Exchange rates: asked once, or watched."""

from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import aclosing
from typing import Annotated, cast

import strawberry

from quittance.domain.rate import CombinedRate, RateUnavailable
from quittance.gql.context import QuittanceInfo
from quittance.gql.error_handlers import as_data
from quittance.gql.errors import RateUnavailableError
from quittance.gql.streams import StateStream
from quittance.gql.types.rate import Rate
from quittance.resolvers import rates

Base = Annotated[str, strawberry.argument(description="The asset to be priced, such as BTC.")]
Quote = Annotated[str, strawberry.argument(description="The currency to price it in, such as USD.")]

RateUpdated = Annotated[
    Rate | RateUnavailableError,
    strawberry.union("RateUpdated", description="A rate as it is now, or why there is none until the next event."),
]


@strawberry.type(description="What can be asked about exchange rates.")
class RateQueries:
    @strawberry.field(
        description="The rate that prices are converted at now; null while none can be believed. For a merchant's key "
        "the sources are asked for a pair that nobody needed of late; everybody else is told what is known."
    )
    async def rate(self, info: QuittanceInfo, base: Base, quote: Quote) -> Rate | None:
        found = await rates.find_rate(
            info.context.services, info.context.principal, base=base.upper(), quote=quote.upper()
        )
        return None if found is None else Rate.from_domain(found)


@strawberry.type(description="What can be watched of exchange rates.")
class RateSubscription:
    @strawberry.subscription(
        description="A rate as it is now, and at each change: for a merchant's key. It is kept fresh while it is "
        "watched. A change that was overtaken before it could be sent is left out."
    )
    async def rate_updated(self, info: QuittanceInfo, base: Base, quote: Quote) -> AsyncIterable[RateUpdated]:
        services, pair = info.context.services, (base.upper(), quote.upper())
        rates.check_may_watch(info.context.principal)
        return StateStream(key=pair, states=lambda: _told(rates.watch_rate(services, base=pair[0], quote=pair[1])))


async def _told(standings: AsyncGenerator[CombinedRate | RateUnavailable]) -> AsyncGenerator[RateUpdated]:
    async with aclosing(standings):
        async for standing in standings:
            if isinstance(standing, CombinedRate):
                yield Rate.from_domain(standing)
            else:
                yield cast("RateUpdated", as_data(standing))
