"""How many accounts are made: a budget for each address, and one that all share, which taken names do not use up."""

from dataclasses import replace
from typing import Any

import pytest
from tests.integration.readers import log_in
from tests.integration.wallets import begin, door_of, finish, sign

from quittance.domain.access import Principal
from quittance.resolvers.services import ACCOUNT_BUDGET, ACCOUNTS_BY_CALLER_BUDGET, MUTATION_BUDGET
from quittance.server.limiter import MinuteLimiter

HERE, THERE = Principal(address="192.0.2.1"), Principal(address="192.0.2.2")
WAYS = pytest.mark.parametrize("way", ["node", "wallet"])


def limited(till: Any, budgets: dict[str, int]) -> Any:
    limiter = MinuteLimiter({MUTATION_BUDGET: 1_000} | budgets)
    return till.shop.with_services(replace(till.services, limiter=limiter))


async def arrive(shop: Any, way: str, username: str, *, number: int, as_: Principal) -> str:
    """Log in with the key of this number, and return what came of it."""
    if way == "node":
        return str((await log_in(shop, username, number=number, as_=as_)).get("code", "IN"))
    begun = await begin(shop, username=username, as_=as_)
    async with door_of(replace(shop.services, limiter=MinuteLimiter({"requests_by_address": 1}))) as door:
        await sign(door, begun, number)
    return str((await finish(shop, begun, as_=as_)).get("code", "IN"))


@WAYS
async def test_an_address_makes_so_many_accounts_and_leaves_room_to_others(till: Any, way: str) -> None:
    shop = limited(till, {ACCOUNT_BUDGET: 3, ACCOUNTS_BY_CALLER_BUDGET: 2})

    here = [await arrive(shop, way, f"reader{number}", number=number, as_=HERE) for number in range(1, 6)]
    there = await arrive(shop, way, "reader6", number=6, as_=THERE)
    known = [await arrive(shop, way, "reader1", number=number, as_=HERE) for number in (1, 2)]

    assert here == ["IN"] * 2 + ["RATE_LIMITED"] * 3
    assert there == "IN"
    assert known == ["IN"] * 2
    assert len(await till.rows("account")) == 3


@WAYS
async def test_all_addresses_together_make_so_many_accounts(till: Any, way: str) -> None:
    shop = limited(till, {ACCOUNT_BUDGET: 2, ACCOUNTS_BY_CALLER_BUDGET: 2})

    came = [
        await arrive(shop, way, f"reader{number}", number=number, as_=Principal(address=f"192.0.2.{number}"))
        for number in range(1, 4)
    ]

    assert came == ["IN", "IN", "RATE_LIMITED"]
    assert len(await till.rows("account")) == 2


@WAYS
async def test_a_name_that_is_taken_costs_its_caller_alone(till: Any, way: str) -> None:
    shop = limited(till, {ACCOUNT_BUDGET: 2, ACCOUNTS_BY_CALLER_BUDGET: 4})
    await arrive(shop, way, "alice", number=1, as_=THERE)

    tried = [await arrive(shop, way, "ALICE", number=number, as_=HERE) for number in range(2, 7)]
    there = await arrive(shop, way, "bobby", number=9, as_=THERE)

    assert tried == ["USERNAME_TAKEN"] * 4 + ["RATE_LIMITED"]
    assert there == "IN"


async def test_a_merchants_server_is_counted_by_its_key(till: Any) -> None:
    shop = limited(till, {ACCOUNT_BUDGET: 9, ACCOUNTS_BY_CALLER_BUDGET: 1})

    came = [
        await arrive(shop, "node", f"reader{number}", number=number, as_=who)
        for number, who in enumerate((till.shop.principal, till.shop.principal, HERE), start=1)
    ]

    assert came == ["IN", "RATE_LIMITED", "IN"]
