"""Browsers that wait for a wallet to sign: told once, at once, and only their own login."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from tests.integration.readers import caller
from tests.integration.wallets import COMPLETED, begin, door_of, finish, sign

from quittance.domain.access import ANONYMOUS, Principal
from quittance.gql.schema import schema
from quittance.resolvers.services import ReaderRules

OK = {"status": "OK"}


@pytest.fixture
async def door(till: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with door_of(till.services) as client:
        yield client


async def completed(shop: Any, begun: dict[str, Any], *, as_: Principal = ANONYMOUS) -> AsyncIterator[Any]:
    """Return the stream of a browser that waits."""
    stream: Any = await schema.subscribe(COMPLETED, {"secret": begun["loginSecret"]}, shop.context(as_))
    return stream  # type: ignore[no-any-return]


async def test_a_browser_that_waits_is_given_the_token_once_the_wallet_has_signed(till: Any, new_services: Any) -> None:
    begun, other = await begin(till.shop, username="alice"), await begin(till.shop, username="bobby")
    waiting, alone = await completed(till.shop, begun), await completed(till.shop, other)
    first = asyncio.ensure_future(anext(waiting))
    second = asyncio.ensure_future(anext(alone))

    async with door_of(new_services()) as far:  # another process
        await sign(far, begun)
    async with asyncio.timeout(10):
        told = (await first).data["loginCompleted"]
        with pytest.raises(StopAsyncIteration):
            await anext(waiting)

    assert told["account"]["username"] == "alice"
    assert (await caller(till.shop, told["token"])).account_id == told["account"]["id"]
    assert not second.done()
    assert len(await till.rows("reader_session")) == 1
    second.cancel()


async def test_of_two_browsers_with_one_secret_one_gets_the_token(till: Any, door: httpx.AsyncClient) -> None:
    begun = await begin(till.shop, username="alice")
    waiting = [asyncio.ensure_future(anext(await completed(till.shop, begun))) for _ in range(2)]
    await asyncio.sleep(0)

    await sign(door, begun)
    async with asyncio.timeout(10):
        told = [answer.data["loginCompleted"] for answer in await asyncio.gather(*waiting)]

    assert sorted(one["__typename"] for one in told) == ["FinishLoginSuccess", "LoginChallengeNotFoundError"]
    assert len(await till.rows("reader_session")) == 1


async def test_who_subscribes_after_the_wallet_signed_is_told_at_once(till: Any, door: httpx.AsyncClient) -> None:
    begun = await begin(till.shop, username="alice")
    await sign(door, begun)

    async with asyncio.timeout(10):
        told = (await anext(await completed(till.shop, begun))).data["loginCompleted"]

    assert told["__typename"] == "FinishLoginSuccess"


async def test_a_login_without_a_name_is_told_and_left_to_finish(till: Any, door: httpx.AsyncClient) -> None:
    begun = await begin(till.shop)
    await sign(door, begun)

    async with asyncio.timeout(10):
        told = (await anext(await completed(till.shop, begun))).data["loginCompleted"]
    done = await finish(till.shop, begun, username="alice")

    assert told == {"__typename": "UsernameRequiredError", "code": "USERNAME_REQUIRED"}
    assert done["account"]["username"] == "alice"


async def test_who_waits_for_a_login_that_expires_is_told(till: Any) -> None:
    shop = till.shop.with_services(replace(till.services, readers=ReaderRules(challenge_s=1)))
    begun = await begin(shop)

    async with asyncio.timeout(10):
        told = (await anext(await completed(shop, begun))).data["loginCompleted"]

    assert told["code"] == "LOGIN_CHALLENGE_NOT_FOUND"


async def test_a_secret_that_opens_nothing_is_refused_before_anything_streams(till: Any) -> None:
    refused: Any = await schema.subscribe(COMPLETED, {"secret": "ql_unknown"}, till.shop.context(ANONYMOUS))
    [error] = (await anext(refused)).errors if hasattr(refused, "__anext__") else refused.errors

    assert getattr(error.original_error, "code", None) == "LOGIN_CHALLENGE_NOT_FOUND"
