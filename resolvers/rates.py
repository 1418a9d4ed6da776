"""Exchange rates for callers and for prices, as the board has them."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TypeVar

from quittance.domain.access import Principal, Scope
from quittance.domain.currency import currency_asset
from quittance.domain.errors import InvalidAmount
from quittance.domain.money import Money
from quittance.domain.rate import CombinedRate, RateFlaw, RateUnavailable
from quittance.resolvers.services import Services
from quittance.store.transaction import Transaction

T = TypeVar("T")


async def find_rate(services: Services, principal: Principal, *, base: str, quote: str) -> CombinedRate | None:
    """Return the rate, or None where none can be believed now.

    Sources are asked for a merchant; everybody else is told what is known already.
    """
    board = services.rates
    if board is None:
        return None
    if principal.merchant_id is not None:
        await board.begin(base, quote)
    try:
        return board.current(base, quote)
    except RateUnavailable:
        return None


def check_may_watch(principal: Principal) -> None:
    """Let merchants alone have sources asked again and again.

    Raises:
        PermissionDenied: it is no key that may read payments.
    """
    principal.require(Scope.PAYMENTS_READ)


async def watch_rate(services: Services, *, base: str, quote: str) -> AsyncGenerator[CombinedRate | RateUnavailable]:
    """Yield the rate as it is, and then each change; or why there is none, until there is one."""
    if services.rates is None:
        yield RateUnavailable(base, quote, RateFlaw.UNKNOWN_PAIR)
        return
    async with aclosing(services.rates.watch(base, quote)) as standings:
        async for standing in standings:
            yield RateUnavailable(base, quote, standing) if isinstance(standing, RateFlaw) else standing


async def write_priced(services: Services, unit: Callable[[Transaction], T]) -> T:
    """Run a unit that may need a rate. One that nobody needed within a day is waited for, once; no other ever is.

    Raises:
        RateUnavailable: there is none; nothing was written.
    """
    return await _priced(services, lambda: services.database.write(unit))


async def read_priced(services: Services, query: Callable[[Transaction], T]) -> T:
    """Run a query that may need a rate; as ``write_priced`` otherwise."""
    return await _priced(services, lambda: services.database.read(query))


async def _priced(services: Services, run: Callable[[], Awaitable[T]]) -> T:
    try:
        return await run()
    except RateUnavailable as missing:
        if services.rates is None:
            raise
        await services.rates.begin(missing.base, missing.quote)
        services.rates.current(missing.base, missing.quote)  # without a rate it says why, and nothing is tried again
    return await run()


def checked_fiat(amount: Money) -> Money:
    """Return an amount of a national currency in its minor unit.

    Raises:
        InvalidAmount: zero, negative, or finer than the minor unit.
    """
    if amount.value <= 0:
        raise InvalidAmount("an amount is greater than zero")
    return amount.rescaled_exactly(currency_asset(amount.asset.code))
