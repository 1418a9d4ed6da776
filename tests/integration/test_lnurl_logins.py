"""Readers log in with a wallet (LUD-04): replays, forgeries, races, and browsers that are not theirs."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from tests.integration.readers import caller, log_in
from tests.integration.wallets import COMPLETED, begin, door_of, finish, public, say, sign, signed

from quittance.domain import lnurl
from quittance.domain.access import ANONYMOUS, Principal
from quittance.gql.schema import schema
from quittance.resolvers.services import ReaderRules
from quittance.sandbox.clock import SandboxClock
from quittance.server.limiter import MinuteLimiter
from quittance.store.models import Row

OK = {"status": "OK"}


@pytest.fixture
async def door(till: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with door_of(till.services) as client:
        yield client


async def completed(shop: Any, begun: dict[str, Any], *, as_: Principal = ANONYMOUS) -> AsyncIterator[Any]:
    """Return the stream of a browser that waits."""
    stream: Any = await schema.subscribe(COMPLETED, {"secret": begun["loginSecret"]}, shop.context(as_))
    return stream  # type: ignore[no-any-return]


async def test_a_code_leads_to_our_door_and_says_what_to_sign(till: Any) -> None:
    begun = await begin(till.shop, username="alice")

    url = urlsplit(lnurl.decode(begun["lnurl"]))
    assert begun["lnurl"] == begun["lnurl"].upper()
    assert (url.scheme, url.netloc, url.path) == ("http", "shop.test", "/lnurl/auth")
    assert parse_qs(url.query) == {"tag": ["login"], "k1": [begun["k1"]], "action": ["login"]}
    assert len(bytes.fromhex(begun["k1"])) == 32
    assert begun["loginSecret"].startswith("ql_")
    assert begun["qrCode"].startswith("data:image/svg+xml;base64,")
    assert begun["png"].startswith("data:image/png;base64,")
    assert (await begin(till.shop))["k1"] != begun["k1"]


async def test_an_unknown_wallet_gets_an_account_and_the_browser_that_began_its_token(
    till: Any, door: httpx.AsyncClient
) -> None:
    begun = await begin(till.shop, username="alice")
    early = await finish(till.shop, begun)
    told = await sign(door, begun)

    done = await finish(till.shop, begun)

    me = await caller(till.shop, done["token"])
    assert (early["code"], early["retryable"]) == ("LOGIN_NOT_SIGNED", True)
    assert told == OK
    assert done["account"] == {
        "id": me.account_id,
        "username": "alice",
        "identityPubkey": None,
        "lnurlKey": public(),
    }


async def test_a_known_wallet_logs_in_its_account_whatever_name_is_said(till: Any, door: httpx.AsyncClient) -> None:
    accounts = []
    for name in ("alice", "other", None):
        begun = await begin(till.shop, username=name)
        await sign(door, begun)
        accounts.append((await finish(till.shop, begun))["account"])

    assert accounts == [accounts[0]] * 3
    assert len(await till.rows("account")) == 1
    assert len(await till.rows("reader_session")) == 3


async def test_a_name_may_be_said_at_the_end_and_a_wrong_one_leaves_the_login(
    till: Any, door: httpx.AsyncClient
) -> None:
    await log_in(till.shop, "alice", number=9)
    begun = await begin(till.shop)
    await sign(door, begun)

    refused = [await finish(till.shop, begun, username=name) for name in (None, "abc", "ALICE", "<b>old")]
    done = await finish(till.shop, begun, username="alice2")

    assert [one["code"] for one in refused] == [
        "USERNAME_REQUIRED",
        "USERNAME_REQUIRED",
        "USERNAME_TAKEN",
        "INVALID_INPUT",
    ]
    assert done["account"]["username"] == "alice2"


async def test_a_name_that_nobody_can_have_is_refused_before_a_code_is_shown(till: Any) -> None:
    assert (await begin(till.shop, username="a b c d"))["code"] == "INVALID_INPUT"
    assert await till.rows("lnurl_login") == []


async def test_a_challenge_is_signed_once_and_a_login_collected_once(till: Any, door: httpx.AsyncClient) -> None:
    begun = await begin(till.shop, username="alice")

    told = [await sign(door, begun), await sign(door, begun), await sign(door, begun, 2)]
    done = [await finish(till.shop, begun), await finish(till.shop, begun)]
    late = await sign(door, begun)

    assert [one["status"] for one in [*told, late]] == ["OK", "OK", "ERROR", "ERROR"]
    assert [row["kind"] for row in await till.rows("event")] == ["login.signed"]
    assert done[0]["account"]["lnurlKey"] == public(1)
    assert done[1]["code"] == "LOGIN_CHALLENGE_NOT_FOUND"
    assert len(await till.rows("reader_session")) == 1


async def test_of_two_wallets_that_sign_together_one_logs_in(till: Any, new_services: Any) -> None:
    begun = await begin(till.shop, username="alice")
    doors = [door_of(till.services), door_of(new_services())]
    barrier = asyncio.Barrier(16)

    async def one(number: int) -> dict[str, str]:
        await barrier.wait()
        return await sign(doors[number % 2], begun, number + 1)

    told = await asyncio.gather(*(one(number) for number in range(16)))
    done = await finish(till.shop, begun)

    winner = [number for number, answer in enumerate(told, start=1) if answer == OK]
    assert len(winner) == 1
    assert done["account"]["lnurlKey"] == public(winner[0])
    for each in doors:
        await each.aclose()


async def test_of_many_who_collect_together_one_gets_the_token(
    till: Any, new_services: Any, door: httpx.AsyncClient
) -> None:
    begun = await begin(till.shop, username="alice")
    await sign(door, begun)
    shops = [till.shop, till.shop.with_services(new_services())]

    done = await asyncio.gather(*(finish(shops[number % 2], begun) for number in range(12)))

    assert sorted(one["__typename"] for one in done) == ["FinishLoginSuccess"] + ["LoginChallengeNotFoundError"] * 11
    assert (len(await till.rows("account")), len(await till.rows("reader_session"))) == (1, 1)


async def test_one_wallet_that_logs_in_in_many_browsers_together_has_one_account(
    till: Any, new_services: Any, door: httpx.AsyncClient
) -> None:
    shops = [till.shop, till.shop.with_services(new_services())]
    begun = [await begin(till.shop, username=f"alice{number}") for number in range(8)]
    for each in begun:
        await sign(door, each)

    done = await asyncio.gather(*(finish(shops[number % 2], each) for number, each in enumerate(begun)))

    assert [one["__typename"] for one in done] == ["FinishLoginSuccess"] * 8
    assert len({one["account"]["id"] for one in done}) == len(await till.rows("account")) == 1


async def test_the_secret_of_another_browser_opens_nothing(till: Any, door: httpx.AsyncClient) -> None:
    """Who sees the code knows k1 and the LNURL; neither they nor another login's secret collect this one."""
    shown, other = await begin(till.shop, username="alice"), await begin(till.shop, username="mallory")
    await sign(door, shown)

    tried = [other["loginSecret"], shown["k1"], shown["lnurl"], "", "ql_", "\x00", "\ud800", "x" * 10_000]
    refused = [await finish(till.shop, {"loginSecret": secret}) for secret in tried]
    done = await finish(till.shop, shown)

    assert refused[0]["code"] == "LOGIN_NOT_SIGNED"
    assert {one["code"] for one in refused[1:]} == {"LOGIN_CHALLENGE_NOT_FOUND"}
    assert done["account"]["username"] == "alice"


async def test_a_foreign_or_expired_challenge_is_refused_and_expired_logins_go(
    till: Any, door: httpx.AsyncClient, clock: SandboxClock
) -> None:
    never, signed_in_time = await begin(till.shop), await begin(till.shop, username="alice")
    await sign(door, signed_in_time)
    foreign = signed(never, k1="00" * 32)
    clock.advance(ReaderRules().challenge_s + 1)

    told = [await sign(door, never), await say(door, foreign)]
    done = [await finish(till.shop, never), await finish(till.shop, signed_in_time)]
    await begin(till.shop)

    reason = "this code was used or has expired; let the page show a new one"
    assert told == [{"status": "ERROR", "reason": reason}] * 2
    assert [one["code"] for one in done] == ["LOGIN_CHALLENGE_NOT_FOUND"] * 2
    assert len(await till.rows("lnurl_login")) == 1
    assert await till.rows("account") == []


async def test_a_wrong_signature_leaves_the_challenge_to_the_wallet(till: Any, door: httpx.AsyncClient) -> None:
    begun, other = await begin(till.shop, username="alice"), await begin(till.shop)
    good = signed(begun)

    wrong = [
        good | {"sig": signed(other)["sig"]},
        good | {"key": public(2)},
        good | {"sig": good["sig"][:-2]},
        good | {"sig": ""},
        good | {"sig": "zz" * 70},
        good | {"sig": "00" * 73},
        good | {"sig": " " + good["sig"]},
        good | {"key": good["key"] + "00"},
        good | {"key": "05" + good["key"][2:]},
        good | {"k1": good["k1"][:-2]},
        good | {"k1": "é" * 64},
        good | {"tag": "withdrawRequest"},
        {name: value for name, value in good.items() if name != "sig"},
        {},
    ]
    told = [(await say(door, one))["status"] for one in wrong]
    then = await say(door, good)

    assert told == ["ERROR"] * len(wrong)
    assert then == OK


async def test_garbage_never_breaks_the_door(till: Any, door: httpx.AsyncClient) -> None:
    chance = random.Random(4)
    begun = await begin(till.shop, username="alice")
    good = signed(begun)
    letters = "0123456789abcdefABCDEFg %\x00é" + "0" * 20

    for _ in range(200):
        name = chance.choice(["sig", "key", "k1"])
        text = list(good[name])
        for _ in range(chance.randint(1, 5)):
            text[chance.randrange(len(text))] = chance.choice(letters)
        changed = "".join(text)
        if changed.lower() != good[name]:
            assert (await say(door, good | {name: changed}))["status"] == "ERROR"

    assert await say(door, good) == OK


async def test_only_get_signs_a_login(till: Any, door: httpx.AsyncClient) -> None:
    begun = await begin(till.shop, username="alice")

    answers = [
        await door.request(method, "/lnurl/auth", params=signed(begun)) for method in ("HEAD", "POST", "OPTIONS")
    ]
    then = await finish(till.shop, begun)

    assert [answer.status_code for answer in answers] == [405] * 3
    assert then["code"] == "LOGIN_NOT_SIGNED"
    assert await sign(door, begun) == OK


async def test_errors_of_wallets_do_not_speak_of_nonces(till: Any, door: httpx.AsyncClient) -> None:
    await log_in(till.shop, "alice", number=9)
    begun = await begin(till.shop)
    await sign(door, begun)

    told = [await finish(till.shop, begun, username=name) for name in (None, "ALICE")]
    told.append(await finish(till.shop, {"loginSecret": "ql_unknown"}))

    assert [one["message"] for one in told] == [
        "a new account needs a username of 4 letters or more; send the same again with one",
        "another reader has this name; send the same again with another one",
        "this login is unknown, was used or has expired; begin a new one",
    ]


async def test_strangers_call_the_door_so_many_times_a_minute(till: Any) -> None:
    begun = await begin(till.shop, username="alice")
    limited = replace(till.services, limiter=MinuteLimiter({"requests_by_address": 3}))

    async with door_of(limited) as few:
        told = [await say(few, {}) for _ in range(3)]
        refused = await sign(few, begun)

    assert {one["status"] for one in told} == {"ERROR"}
    assert refused["reason"].startswith("too many requests")


async def test_s1_no_table_and_no_event_holds_what_opens_a_login(till: Any, door: httpx.AsyncClient) -> None:
    open_one, begun = await begin(till.shop), await begin(till.shop, username="alice")
    await sign(door, begun)
    before = [row for table in Row.metadata.tables for row in await till.rows(table)]
    token = (await finish(till.shop, begun))["token"]

    after = [row for table in Row.metadata.tables for row in await till.rows(table)]
    told = repr(before) + repr(after)
    hidden = [token, *(one[name] for one in (open_one, begun) for name in ("loginSecret", "k1", "lnurl"))]
    assert [row["kind"] for row in await till.rows("event")] == ["login.signed"]
    assert [secret for secret in hidden if secret in told or repr(bytes(secret, "ascii")) in told] == []
    assert [repr(bytes.fromhex(one["k1"])) in told for one in (open_one, begun)] == [False, False]
