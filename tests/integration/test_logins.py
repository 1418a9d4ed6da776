"""Readers log in with their node: LC-05 to LC-13, replays and forgeries."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from tests.integration.readers import CHALLENGE, ME, caller, log_in, new_nonce, node, verify

from quittance.domain.access import ANONYMOUS, Principal
from quittance.domain.errors import RateLimited, Unauthenticated
from quittance.gql.context import Credentials
from quittance.resolvers.access import authenticate
from quittance.resolvers.merchants import ensure_bootstrap
from quittance.resolvers.services import ACCOUNT_BUDGET, ACCOUNTS_BY_CALLER_BUDGET, MUTATION_BUDGET, ReaderRules
from quittance.sandbox.clock import SandboxClock
from quittance.sandbox.rails import SandboxRails
from quittance.server.access import ADDRESS_BUDGET, KEY_BUDGET, ServerAccess
from quittance.server.limiter import MinuteLimiter
from quittance.store.models import Row


async def nonces(till: Any) -> int:
    return len(await till.rows("login_challenge"))


async def test_lc_05_each_nonce_is_another_one_and_says_until_when(till: Any) -> None:
    made = [await till.shop.mutate("createLoginChallenge", CHALLENGE, {}, as_=ANONYMOUS) for _ in range(2)]

    stored = repr(await till.rows("login_challenge"))
    assert len({one["nonce"] for one in made}) == 2
    assert all(len(one["nonce"]) >= 43 and one["nonce"].isascii() and one["nonce"] not in stored for one in made)
    assert made[0]["expiresAt"] > till.clock.now().isoformat()


async def test_what_is_signed_names_this_server(till: Any) -> None:
    far = till.shop.with_services(replace(till.services, public_url="https://pay.example:8443/below"))

    here, there = await new_nonce(till.shop), await new_nonce(far)

    assert here.split(" ")[:-1] == ["shop.test", "login"]
    assert there.split(" ")[:-1] == ["pay.example:8443", "login"]
    assert len(here.split(" ")[-1]) == 43


async def test_a_signature_of_the_bare_random_part_logs_nobody_in(till: Any) -> None:
    nonce = await new_nonce(till.shop)
    bare = nonce.rpartition(" ")[2]
    signature = node().sign_message(bare.encode())

    unknown = await verify(till.shop, bare, signature, username="alice")
    other = await verify(till.shop, nonce, signature, username="alice", identityPubkey=node().public.hex())

    assert (unknown["code"], other["code"]) == ("LOGIN_CHALLENGE_NOT_FOUND", "INVALID_SIGNATURE")
    assert await till.rows("account") == []


async def test_lc_09_lc_37_an_unknown_key_gets_an_account_and_is_logged_in(till: Any) -> None:
    answer = await log_in(till.shop, "Alice.B-1_2")

    me = (await till.shop.run(ME, as_=await caller(till.shop, answer["token"])))["viewer"]
    assert answer["token"].startswith("qr_")
    assert len(answer["token"]) >= 46
    assert me["kind"] == "READER"
    assert (me["merchant"], me["keyName"], me["scopes"], me["balances"]) == (None, None, [], [])
    assert me["account"]["username"] == "Alice.B-1_2"
    assert me["account"]["identityPubkey"] == node().public.hex()
    assert (me["account"]["balances"], me["account"]["payments"]) == ([], {"totalCount": 0, "edges": []})
    assert [one["current"] for one in me["account"]["sessions"]] == [True]
    assert answer["account"] == {name: me["account"][name] for name in answer["account"]}


async def test_lc_08_a_known_key_logs_in_its_account_whatever_name_it_says(till: Any) -> None:
    first = await log_in(till.shop, "alice")
    await log_in(till.shop, "bobby", number=2)

    again = [await log_in(till.shop, name) for name in ("other", "bobby", "?", None)]

    assert [one["account"] for one in again] == [first["account"]] * 4
    assert len({one["token"] for one in [first, *again]}) == 5
    assert len(await till.rows("account")) == 2


@pytest.mark.parametrize("username", [None, "", "abc"])
async def test_lc_10_an_unknown_key_must_say_a_name_and_may_try_the_nonce_again(
    till: Any, username: str | None
) -> None:
    nonce = await new_nonce(till.shop)
    signature = node().sign_message(nonce.encode())

    refused = await verify(till.shop, nonce, signature, username=username)
    then = await verify(till.shop, nonce, signature, username="alice")

    assert (refused["code"], refused["retryable"]) == ("USERNAME_REQUIRED", False)
    assert then["account"]["username"] == "alice"


@pytest.mark.parametrize("username", ["a" * 36, "a b c", "älice", "ali\x00ce", "alice\n", "<alice>", "\ud800lice"])
async def test_other_names_are_refused(till: Any, username: str) -> None:
    answer = await log_in(till.shop, username)

    assert (answer["code"], answer["field"]) == ("INVALID_INPUT", "username")
    assert await till.rows("account") == []


@pytest.mark.parametrize("username", ["abcd", "a" * 35])
async def test_lc_09_a_name_has_4_to_35_characters(till: Any, username: str) -> None:
    assert (await log_in(till.shop, username))["account"]["username"] == username


async def test_a_name_belongs_to_one_reader_in_large_and_small_letters(till: Any) -> None:
    await log_in(till.shop, "Alice")
    nonce = await new_nonce(till.shop)
    signature = node(2).sign_message(nonce.encode())

    refused = await verify(till.shop, nonce, signature, username="aLICE")
    then = await verify(till.shop, nonce, signature, username="alice2")

    assert refused["code"] == "USERNAME_TAKEN"
    assert then["account"]["username"] == "alice2"


async def test_lc_11_a_nonce_logs_in_once(till: Any) -> None:
    nonce = await new_nonce(till.shop)
    signature = node().sign_message(nonce.encode())
    first = await verify(till.shop, nonce, signature, username="alice")

    second = await verify(till.shop, nonce, signature, username="alice")

    assert first["token"]
    assert second["code"] == "LOGIN_CHALLENGE_NOT_FOUND"
    assert len(await till.rows("reader_session")) == 1


@pytest.mark.parametrize("known", [False, True])
async def test_lc_11_of_many_who_use_a_nonce_together_one_is_logged_in(
    till: Any, new_services: Any, known: bool
) -> None:
    if known:
        await log_in(till.shop)
    before = len(await till.rows("reader_session"))
    nonce = await new_nonce(till.shop)
    signature = node().sign_message(nonce.encode())
    shops = [till.shop, till.shop.with_services(new_services())]
    barrier = asyncio.Barrier(16)

    async def one(number: int) -> Any:
        await barrier.wait()
        return await verify(shops[number % 2], nonce, signature, username="alice")

    answers = await asyncio.gather(*(one(number) for number in range(16)))

    assert sorted(answer["__typename"] for answer in answers) == ["LoginChallengeNotFoundError"] * 15 + [
        "VerifyLoginSuccess"
    ]
    assert len(await till.rows("reader_session")) == before + 1
    assert (len(await till.rows("account")), await nonces(till)) == (1, 0)


async def test_first_logins_of_one_key_together_make_one_account(till: Any, new_services: Any) -> None:
    shops = [till.shop, till.shop.with_services(new_services())]

    answers = await asyncio.gather(*(log_in(shops[number % 2], f"alice{number}") for number in range(8)))

    assert [answer["__typename"] for answer in answers] == ["VerifyLoginSuccess"] * 8
    assert len({answer["account"]["id"] for answer in answers}) == len(await till.rows("account")) == 1


async def test_keys_that_want_one_name_together_get_it_once(till: Any, new_services: Any) -> None:
    shops = [till.shop, till.shop.with_services(new_services())]

    answers = await asyncio.gather(*(log_in(shops[number % 2], "alice", number=number + 1) for number in range(8)))

    assert sorted(answer["__typename"] for answer in answers) == ["UsernameTakenError"] * 7 + ["VerifyLoginSuccess"]
    assert len(await till.rows("account")) == 1
    assert await nonces(till) == 7


async def test_a_nonce_that_is_foreign_or_expired_is_answered_as_one_that_was_used(
    till: Any, clock: SandboxClock
) -> None:
    used, late = await new_nonce(till.shop), await new_nonce(till.shop)
    await verify(till.shop, used, node().sign_message(used.encode()), username="alice")
    clock.advance(ReaderRules().challenge_s + 1)

    tried = [used, late, "", "\x00", "\ud800", "x" * 10_000, "login challenge 0001"]
    answers = [
        await verify(till.shop, nonce, node().sign_message(nonce.encode(errors="replace")), username="alice")
        for nonce in tried
    ]

    assert {answer["code"] for answer in answers} == {"LOGIN_CHALLENGE_NOT_FOUND"}
    assert len({json.dumps(answer) for answer in answers}) == 1


async def test_a_nonce_can_be_used_until_it_expires(till: Any, clock: SandboxClock) -> None:
    nonce = await new_nonce(till.shop)
    clock.advance(ReaderRules().challenge_s - 30)

    assert (await verify(till.shop, nonce, node().sign_message(nonce.encode()), username="alice"))["token"]


async def test_lc_07_a_broken_signature_is_refused_and_leaves_the_nonce_to_its_reader(till: Any) -> None:
    nonce = await new_nonce(till.shop)
    good = node().sign_message(nonce.encode())

    refused = [await verify(till.shop, nonce, bad, username="mallory") for bad in ("", "x", good[:-1], "y" * 104)]
    then = await verify(till.shop, nonce, good, username="alice")

    assert {answer["code"] for answer in refused} == {"INVALID_SIGNATURE"}
    assert then["account"]["username"] == "alice"
    assert len(await till.rows("account")) == 1


async def test_a_signature_of_another_text_logs_nobody_in_that_it_should_not(till: Any) -> None:
    """It names a key that nobody holds: not the reader's, so neither the account nor, once said, the key."""
    await log_in(till.shop, "alice")
    nonce, other = await new_nonce(till.shop), await new_nonce(till.shop)
    foreign = node().sign_message(other.encode())
    pubkey = node().public.hex()

    unnamed = await verify(till.shop, nonce, foreign)
    named = await verify(till.shop, nonce, foreign, username="alice")
    held = await verify(till.shop, nonce, foreign, username="alice2", identityPubkey=pubkey)
    own = await verify(till.shop, nonce, node().sign_message(nonce.encode()), identityPubkey=pubkey.upper())

    assert [unnamed["code"], named["code"], held["code"]] == [
        "USERNAME_REQUIRED",
        "USERNAME_TAKEN",
        "INVALID_SIGNATURE",
    ]
    assert own["account"]["identityPubkey"] == pubkey


async def test_lc_12_a_node_that_no_graph_knows_logs_in(till: Any, rails: SandboxRails) -> None:
    nonce = await new_nonce(till.shop)
    signature, pubkey = rails.sign_message(nonce.encode(), node="alice")
    known = await verify(till.shop, nonce, signature, username="alice")
    private = await log_in(till.shop, "hermit", number=99)

    assert known["account"]["identityPubkey"] == pubkey
    assert private["account"]["identityPubkey"] == node(99).public.hex()
    assert node(99).public.hex() not in {one.pubkey for one in rails.nodes.values()}


async def test_nonces_that_expired_go_as_new_ones_come(till: Any, clock: SandboxClock) -> None:
    for _ in range(40):
        await new_nonce(till.shop)
    clock.advance(ReaderRules().challenge_s + 1)

    left = []
    for _ in range(4):
        await new_nonce(till.shop)
        left.append(await nonces(till))

    assert left == [25, 10, 3, 4]  # sixteen for each new one


async def test_strangers_make_so_many_accounts_and_nonces_a_minute(till: Any) -> None:
    limiter = MinuteLimiter({MUTATION_BUDGET: 7, ACCOUNT_BUDGET: 2, ACCOUNTS_BY_CALLER_BUDGET: 9})
    shop = till.shop.with_services(replace(till.services, limiter=limiter))

    answers = [await log_in(shop, f"reader{number}", number=number) for number in (1, 2, 3)]
    known = await till.shop.with_services(replace(till.services, limiter=MinuteLimiter({MUTATION_BUDGET: 9}))).mutate(
        "createLoginChallenge", CHALLENGE, {}, as_=ANONYMOUS
    )
    last = await shop.mutate("createLoginChallenge", CHALLENGE, {}, as_=ANONYMOUS)
    refused = await shop.mutate("createLoginChallenge", CHALLENGE, {}, as_=ANONYMOUS)

    assert [answer["__typename"] for answer in answers] == ["VerifyLoginSuccess"] * 2 + ["RateLimitedError"]
    assert answers[2]["retryable"] is True
    assert known["nonce"]
    assert last["nonce"]
    assert (refused["code"], refused["retryable"]) == ("RATE_LIMITED", True)
    assert len(await till.rows("account")) == 2


async def test_s1_no_table_holds_a_token_or_nonce_and_no_repr_shows_one(till: Any) -> None:
    nonce = await new_nonce(till.shop)
    signature = node().sign_message(nonce.encode())
    open_nonce = await new_nonce(till.shop)
    token = (await verify(till.shop, nonce, signature, username="alice"))["token"]
    principal = await caller(till.shop, token)

    rows = [row for table in Row.metadata.tables for row in await till.rows(table)]
    told = "\n".join(repr(one) for one in (rows, principal, till.services, till.shop.context(principal)))

    assert "alice" in told
    assert [secret for secret in (nonce, open_nonce, signature, token) if secret in told] == []


@pytest.mark.parametrize("token", ["qr_", "qr_" + "A" * 43, "qr_\x00", "qk_" + "A" * 43])
async def test_a_token_that_was_never_given_is_refused(till: Any, token: str) -> None:
    await log_in(till.shop)

    with pytest.raises(Unauthenticated):
        await caller(till.shop, token)


async def test_a_merchants_key_that_a_setting_fixes_may_begin_as_tokens_do(services: Any) -> None:
    secret = "qr_a-key-that-somebody-chose"
    key = await ensure_bootstrap(services, name="Shop", secret=secret)

    principal = await authenticate(services, authorization=f"Bearer {secret}", client_secret=None)

    assert (principal.key_id, principal.account_id) == (key.id, None)


async def test_readers_count_against_their_address_and_not_each_token_for_itself(till: Any) -> None:
    used: list[Principal] = []
    services = replace(till.services, limiter=MinuteLimiter({ADDRESS_BUDGET: 3, KEY_BUDGET: 100}))
    access = ServerAccess(services, till.shop.broker, key_used=used.append)
    tokens = [(await log_in(till.shop))["token"] for _ in range(2)]
    credentials = [Credentials(authorization=f"Bearer {token}", address="192.0.2.1") for token in tokens]
    callers = [await access.authenticate(one) for one in credentials]

    for number in range(3):
        await access.admit(callers[number % 2], "192.0.2.1")
    with pytest.raises(RateLimited):
        await access.admit(callers[0], "192.0.2.1")
    await access.admit(callers[0], "192.0.2.2")

    assert used == callers
