"""Wallets that are linked to an account: once, to one account, and never replaced."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from tests.integration.readers import caller, log_in, node
from tests.integration.wallets import COMPLETED, begin, door_of, finish, public, sign

from quittance.domain.access import ANONYMOUS, Principal
from quittance.gql.schema import schema

OK = {"status": "OK"}


@pytest.fixture
async def door(till: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with door_of(till.services) as client:
        yield client


async def completed(shop: Any, begun: dict[str, Any], *, as_: Principal = ANONYMOUS) -> AsyncIterator[Any]:
    """Return the stream of a browser that waits."""
    stream: Any = await schema.subscribe(COMPLETED, {"secret": begun["loginSecret"]}, shop.context(as_))
    return stream  # type: ignore[no-any-return]


async def test_a_reader_links_a_wallet_to_the_account_of_their_node(till: Any, door: httpx.AsyncClient) -> None:
    first = await log_in(till.shop, "alice")
    me = await caller(till.shop, first["token"])
    begun = await begin(till.shop, as_=me, action="LINK")
    waiting = asyncio.ensure_future(anext(await completed(till.shop, begun, as_=me)))
    await sign(door, begun, 7)
    async with asyncio.timeout(10):
        told = (await waiting).data["loginCompleted"]

    foreign = await finish(till.shop, begun)
    linked = await finish(till.shop, begun, as_=me)
    later = await begin(till.shop)
    await sign(door, later, 7)
    done = await finish(till.shop, later)

    assert told == {"__typename": "WalletSigned", "key": public(7)}
    assert foreign["code"] == "LOGIN_REQUIRED"
    assert linked["__typename"] == "LinkWalletSuccess"
    assert done["account"] == linked["account"]
    assert (done["account"]["id"], done["account"]["lnurlKey"]) == (first["account"]["id"], public(7))
    assert done["account"]["identityPubkey"] == node().public.hex()


async def test_a_wallet_with_an_account_is_linked_to_no_other(till: Any, door: httpx.AsyncClient) -> None:
    begun = await begin(till.shop, username="bobby")
    await sign(door, begun, 7)
    await finish(till.shop, begun)
    me = await caller(till.shop, (await log_in(till.shop, "alice"))["token"])
    link = await begin(till.shop, as_=me, action="LINK")
    await sign(door, link, 7)

    assert (await finish(till.shop, link, as_=me))["code"] == "KEY_TAKEN"
    assert [row["lnurl_key"] for row in await till.rows("account")] == [public(7), None]


async def test_a_linked_wallet_is_never_replaced(till: Any, door: httpx.AsyncClient) -> None:
    """Whoever stole the token of a reader who has nothing but a wallet would have the account for good."""
    begun = await begin(till.shop, username="alice")
    await sign(door, begun, 7)
    me = await caller(till.shop, (await finish(till.shop, begun))["token"])
    theirs, own = [await begin(till.shop, as_=me, action="LINK") for _ in range(2)]
    await sign(door, theirs, 8)
    await sign(door, own, 7)

    refused = await finish(till.shop, theirs, as_=me)
    again = await finish(till.shop, own, as_=me)

    assert (refused["__typename"], refused["code"]) == ("WalletLinkedError", "WALLET_LINKED")
    assert "log in with that one" in refused["message"]
    assert (again["__typename"], again["account"]["lnurlKey"]) == ("LinkWalletSuccess", public(7))
    assert [row["lnurl_key"] for row in await till.rows("account")] == [public(7)]


async def test_of_accounts_that_link_one_wallet_together_one_has_it(
    till: Any, new_services: Any, door: httpx.AsyncClient
) -> None:
    shops = [till.shop, till.shop.with_services(new_services())]
    readers = [
        await caller(till.shop, (await log_in(till.shop, f"reader{number}", number=number + 1))["token"])
        for number in range(6)
    ]
    links = [await begin(till.shop, as_=one, action="LINK") for one in readers]
    for link in links:
        await sign(door, link, 7)
    barrier = asyncio.Barrier(6)

    async def one(number: int) -> dict[str, Any]:
        await barrier.wait()
        return await finish(shops[number % 2], links[number], as_=readers[number])

    done = await asyncio.gather(*(one(number) for number in range(6)))

    assert sorted(answer["__typename"] for answer in done) == ["KeyTakenError"] * 5 + ["LinkWalletSuccess"]
    assert [row["lnurl_key"] for row in await till.rows("account")].count(public(7)) == 1


async def test_a_link_that_two_wallets_signed_links_neither(till: Any, door: httpx.AsyncClient) -> None:
    me = await caller(till.shop, (await log_in(till.shop, "alice"))["token"])
    link = await begin(till.shop, as_=me, action="LINK")
    stranger, reader = await sign(door, link, 8), await sign(door, link, 7)

    done = await finish(till.shop, link, as_=me)

    assert (stranger["status"], reader["status"]) == ("OK", "ERROR")
    assert done["code"] == "LOGIN_CHALLENGE_NOT_FOUND"
    assert [row["lnurl_key"] for row in await till.rows("account")] == [None]


async def test_only_a_reader_begins_a_link(till: Any) -> None:
    assert (await begin(till.shop, action="LINK"))["code"] == "LOGIN_REQUIRED"
    assert (await begin(till.shop, as_=till.shop.principal, action="LINK"))["code"] == "LOGIN_REQUIRED"


async def test_the_same_wallet_may_say_it_again_and_a_link_is_not_void_by_it(
    till: Any, new_services: Any, door: httpx.AsyncClient
) -> None:
    """A wallet that lost the answer asks again, and is told what happened."""
    me = await caller(till.shop, (await log_in(till.shop, "alice"))["token"])
    link, login = await begin(till.shop, as_=me, action="LINK"), await begin(till.shop, username="bobby")
    async with door_of(new_services()) as far:
        told = [
            await asyncio.gather(*(sign((door, far)[number % 2], begun, wallet) for number in range(8)))
            for begun, wallet in ((link, 7), (login, 8))
        ]

    linked, done = await finish(till.shop, link, as_=me), await finish(till.shop, login)

    assert told == [[OK] * 8] * 2
    assert [row["kind"] for row in await till.rows("event")] == ["login.signed"] * 2
    assert (linked["account"]["lnurlKey"], done["account"]["lnurlKey"]) == (public(7), public(8))
