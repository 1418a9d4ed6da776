"""Upvotes are shared out among those who upvoted before: LC-27, LC-31 to LC-34, to the millisatoshi."""

import asyncio
import random
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from tests.integration.mortal import Fate, dies, mortal
from tests.integration.upvotes import (
    EARNINGS,
    new_article,
    new_reader,
    order_upvote,
    owed,
    reader,
    seen,
    share,
    upvote,
    with_upvoters,
)

from quittance.domain.errors import InvalidAmount
from quittance.domain.ids import AccountId, OptionId, PaymentId
from quittance.domain.job import Job, JobKind
from quittance.domain.policy import LatePolicy, OverPolicy, UnderPolicy
from quittance.resolvers.jobs import new_job
from quittance.resolvers.upvotes import SHARES_A_UNIT, share_out
from quittance.store import options


def split(sharers: int, each: int, remainder: int, state: str = "SPLIT") -> dict[str, Any]:
    return {
        "state": state,
        "sharedAmong": sharers,
        "share": {"value": str(each)},
        "remainder": {"value": str(remainder)},
    }


def job_of(till: Any, payment_id: PaymentId) -> Job:
    return new_job(
        till.services, JobKind.UPVOTE_SPLIT, subject=payment_id, lane="l", order=None, due_at=till.services.now()
    )


async def test_lc_32_three_readers_upvote_and_share(till: Any) -> None:
    article_id = await new_article(till)
    alice, bob, carol = [
        await new_reader(till, name, number) for number, name in enumerate(("alice", "bobby", "carol"), start=1)
    ]
    a, b, c = (str(one.account_id) for one in (alice, bob, carol))
    story: list[tuple[Any, int, dict[str, Any], dict[str, int]]] = [
        (alice, 1_000_000, split(0, 0, 1_000_000), {"MERCHANT": 1_000_000}),
        (bob, 1_000_000, split(1, 1_000_000, 0), {"MERCHANT": 1_000_000, a: 1_000_000}),
        (carol, 1_000_001, split(2, 500_000, 1), {"MERCHANT": 1_000_001, a: 1_500_000, b: 500_000}),
        (alice, 3_000_000, split(2, 1_500_000, 0), {"MERCHANT": 1_000_001, a: 1_500_000, b: 2_000_000, c: 1_500_000}),
        (
            None,
            1_000_000,
            split(3, 333_333, 1),
            {"MERCHANT": 1_000_002, a: 1_833_333, b: 2_333_333, c: 1_833_333},
        ),
    ]

    came = 0
    for payer, amount, shown, owing in story:
        payment_id = await upvote(till, article_id, payer and payer.account_id, amount_msat=amount)
        await share(till)
        came += amount
        assert await seen(till, payment_id) == shown
        assert await owed(till) == owing | {"PROVIDER": -came}
    me = (await till.shop.run(EARNINGS, as_=alice))["viewer"]["account"]
    assert me["balances"] == [{"value": "1833333"}]
    assert [edge["node"]["amount"]["value"] for edge in me["earnings"]["edges"]] == ["333333", "500000", "1000000"]
    assert {edge["node"]["article"]["id"] for edge in me["earnings"]["edges"]} == {article_id}
    assert me["earnings"]["totalCount"] == 3
    assert [row["upvotes"] for row in await till.rows("article")] == [5]
    assert [(row["account_id"], row["place"]) for row in await till.rows("upvoter")] == sorted([(a, 1), (b, 2), (c, 3)])


async def test_what_is_to_be_shared_is_nobodys_to_spend_until_it_is(till: Any) -> None:
    article_id = await new_article(till)
    await with_upvoters(till, article_id, 3)

    payment_id = await upvote(till, article_id, reader(9), amount_msat=1_000_000)
    before = await owed(till), await seen(till, payment_id)
    await share(till)

    assert before == ({"PROVIDER": -1_000_000, "MERCHANT": 1, "SPLIT": 999_999}, split(3, 333_333, 1, "SPLITTING"))
    assert await owed(till) == {"PROVIDER": -1_000_000, "MERCHANT": 1} | {reader(n): 333_333 for n in (1, 2, 3)}


async def test_lc_31_an_upvote_pays_the_least_at_least_and_counts_once_complete(till: Any) -> None:
    article_id = await new_article(till)
    with pytest.raises(InvalidAmount):
        await order_upvote(till, article_id, reader(1), amount_msat=999_999)

    payment_id = await order_upvote(till, article_id, reader(1))
    counted = [(await till.rows("article"))[0]["upvotes"]]
    money = await till.money(payment_id, amount_msat=1_000_000)
    await asyncio.gather(*(till.report(money) for _ in range(5)))
    counted.append((await till.rows("article"))[0]["upvotes"])

    assert counted == [0, 1]
    assert len(await till.rows("upvote")) == len(await till.rows("upvoter")) == 1


async def test_articles_share_with_their_own_upvoters_alone(till: Any) -> None:
    one, other = await new_article(till), await new_article(till)
    await upvote(till, one, reader(1))

    await upvote(till, other, reader(2))
    await share(till)

    assert await owed(till) == {"PROVIDER": -2_000_000, "MERCHANT": 2_000_000}


async def test_an_upvote_that_is_paid_in_parts_is_shared_as_a_whole(till: Any) -> None:
    await till.set_policy(under=UnderPolicy.WAIT)
    article_id = await new_article(till)
    await with_upvoters(till, article_id, 2)
    payment_id = await order_upvote(till, article_id, reader(3))
    await till.report(await till.money(payment_id, amount_msat=900_001))
    partial = await owed(till), await till.rows("upvote")

    await add_option(till, payment_id)
    await till.report(await till.money(payment_id, amount_msat=100_000))
    await share(till)

    assert partial == ({"PROVIDER": -900_001, "MERCHANT": 900_001}, [])
    assert await seen(till, payment_id) == split(2, 500_000, 1)
    assert await owed(till) == {"PROVIDER": -1_000_001, "MERCHANT": 1, reader(1): 500_000, reader(2): 500_000}


async def test_what_is_too_much_goes_by_the_merchants_policy(till: Any) -> None:
    article_id = await new_article(till)
    await with_upvoters(till, article_id, 2)
    kept = await order_upvote(till, article_id, reader(1))
    await till.report(await till.money(kept, amount_msat=1_500_000))
    await till.set_policy(over=OverPolicy.REFUND)
    cut = await order_upvote(till, article_id, reader(1))
    await till.report(await till.money(cut, amount_msat=1_700_000))
    await share(till)

    assert [await seen(till, one) for one in (kept, cut)] == [split(1, 1_500_000, 0), split(1, 1_000_000, 0)]
    assert await owed(till) == {"PROVIDER": -3_200_000, "REFUNDABLE": 700_000, reader(2): 2_500_000}


async def test_money_for_an_upvote_that_is_complete_is_not_shared(till: Any) -> None:
    article_id = await new_article(till)
    await with_upvoters(till, article_id, 2)
    payment_id = await upvote(till, article_id, reader(3))
    await add_option(till, payment_id)
    await till.report(await till.money(payment_id, amount_msat=400_000))
    await share(till)

    assert await owed(till) == {
        "PROVIDER": -1_400_000, "MERCHANT": 400_000, reader(1): 500_000, reader(2): 500_000,
    }  # fmt: skip
    assert len(await till.rows("upvote")) == 1


async def test_an_upvote_that_comes_too_late_or_too_small_shares_nothing_and_counts_nothing(till: Any) -> None:
    await till.set_policy(late=LatePolicy.REFUND, late_grace_s=0, under=UnderPolicy.REFUND)
    article_id = await new_article(till)
    await with_upvoters(till, article_id, 2)
    late, small = [await order_upvote(till, article_id, reader(number)) for number in (3, 4)]
    over = (await till.payment(late)).expires_at
    till.clock.advance(7_200)
    assert over < till.clock.now()

    await till.report(await till.money(late, amount_msat=1_000_000))
    await till.report(await till.money(small, amount_msat=1_000, at=over))
    await share(till)

    assert await owed(till) == {"PROVIDER": -1_001_000, "REFUNDABLE": 1_001_000}
    assert await till.rows("upvote") == []
    assert len(await till.rows("upvoter")) == 2


async def test_a_late_upvote_that_is_accepted_takes_its_place_when_its_money_comes(till: Any) -> None:
    article_id = await new_article(till)
    late = await order_upvote(till, article_id, reader(1))
    till.clock.advance(7_200)
    await till.reconcile()
    await upvote(till, article_id, reader(2))

    await till.report(await till.money(late, amount_msat=1_000_000))
    await share(till)

    assert await owed(till) == {"PROVIDER": -2_000_000, "MERCHANT": 1_000_000, reader(2): 1_000_000}


async def test_twenty_upvotes_together_share_by_the_order_in_which_they_complete(till: Any, new_services: Any) -> None:
    article_id = await new_article(till)
    tills = [till, till.on(new_services())]
    amounts = [1_000_000 + 137 * number for number in range(20)]
    payers = [None if number % 7 == 3 else reader(number % 12) for number in range(20)]
    made = [
        await order_upvote(till, article_id, payer, amount_msat=amount)
        for payer, amount in zip(payers, amounts, strict=True)
    ]
    money = [await till.money(one, amount_msat=amount) for one, amount in zip(made, amounts, strict=True)]
    barrier = asyncio.Barrier(20)

    async def settle(number: int) -> None:
        await barrier.wait()
        await tills[number % 2].report(money[number])
        await tills[number % 2].report(money[number])

    await asyncio.gather(*(settle(number) for number in range(20)))
    await asyncio.gather(*(share(one) for one in tills))

    by_payment = {one: (payer, amount) for one, payer, amount in zip(made, payers, amounts, strict=True)}
    expected = model([by_payment[PaymentId(one)] for one in await completion_order(till)])
    assert await owed(till) == expected | {"PROVIDER": -sum(amounts)}
    assert sum(value for key, value in expected.items()) == sum(amounts)
    assert (await till.rows("article"))[0]["upvotes"] == 20
    assert [row["state"] for row in await till.rows("upvote")] == ["SPLIT"] * 20


@pytest.mark.parametrize("seed", range(4))
async def test_random_upvotes_share_as_a_plain_model_does(till: Any, seed: int) -> None:
    chance = random.Random(seed)
    article_id = await new_article(till)
    done: list[tuple[AccountId | None, int]] = []

    for _ in range(25):
        payer = chance.choice([None, *map(reader, range(8))])
        amount = chance.choice([1_000_000, chance.randint(1_000_000, 1_000_100), chance.randint(1_000_000, 10**10)])
        await upvote(till, article_id, payer, amount_msat=amount)
        done.append((payer, amount))
        if chance.random() < 0.3:
            await share(till)
    await share(till)

    assert await owed(till) == model(done) | {"PROVIDER": -sum(amount for _, amount in done)}


async def test_a_page_that_was_cut_off_is_posted_once(till: Any, new_services: Any) -> None:
    article_id = await new_article(till)
    voters = await with_upvoters(till, article_id, 1_200)
    came, struck = 0, 0
    assert SHARES_A_UNIT * 2 < len(voters) < SHARES_A_UNIT * 3

    for moment in range(20):
        payment_id = await upvote(till, article_id, reader(2_000), amount_msat=1_200_000)
        fate = Fate(moment)
        died = await dies(share_out(mortal(new_services(), fate), job_of(till, payment_id)))
        struck += died
        came += 1_200_000
        await share_out(till.services, job_of(till, payment_id))
        await share_out(till.services, job_of(till, payment_id))
        assert await seen(till, payment_id) == split(1_200, 1_000, 0)
        if not died:
            break

    assert struck == 6  # before and after each of three units
    balances = await owed(till)
    assert balances.pop("PROVIDER") == -came
    assert balances == dict.fromkeys(voters, came // 1_200)


async def test_two_who_run_one_job_together_post_each_share_once(till: Any, new_services: Any) -> None:
    article_id = await new_article(till)
    voters = await with_upvoters(till, article_id, 1_100)
    payment_id = await upvote(till, article_id, None, amount_msat=1_100_007)
    job = job_of(till, payment_id)

    await asyncio.gather(*(share_out(one, job) for one in (till.services, new_services(), new_services())))

    assert await owed(till) == {"PROVIDER": -1_100_007, "MERCHANT": 7} | dict.fromkeys(voters, 1_000)
    assert len(await till.rows("ledger_entry")) == 3 + 1_100 + 3


async def test_shares_wait_in_a_job_that_is_done_once_they_are_posted(till: Any) -> None:
    article_id = await new_article(till)
    await upvote(till, article_id, reader(1))
    first = [row for row in await till.rows("job") if row["kind"] == "upvote.split"]
    payment_id = await upvote(till, article_id, reader(2))
    waiting = [row for row in await till.rows("job") if row["kind"] == "upvote.split"]

    await share(till)

    assert first == []
    assert [(row["subject"], row["state"]) for row in waiting] == [(payment_id, "WAITING")]
    assert [row for row in await till.rows("job") if row["kind"] == "upvote.split"] == []


async def test_a_reader_pages_through_what_they_earned_and_sees_nothing_of_others(till: Any) -> None:
    article_id = await new_article(till)
    alice, bob = await new_reader(till, "alice", 1), await new_reader(till, "bobby", 2)
    await upvote(till, article_id, alice.account_id)
    for number in range(5):
        await upvote(till, article_id, reader(50 + number), amount_msat=1_000_000 + number)
        await share(till)
        till.clock.advance(1)

    amounts, after = [], None
    while True:
        page = (await till.shop.run(EARNINGS, {"first": 2, "after": after}, as_=alice))["viewer"]["account"]["earnings"]
        amounts += [int(edge["node"]["amount"]["value"]) for edge in page["edges"]]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    others = (await till.shop.run(EARNINGS, as_=bob))["viewer"]["account"]

    assert amounts == [1_000_004 // 5, 1_000_003 // 4, 1_000_002 // 3, 1_000_001 // 2, 1_000_000]
    assert page["totalCount"] == 5
    assert (others["balances"], others["earnings"]["edges"], others["earnings"]["totalCount"]) == ([], [], 0)


async def test_a_payment_that_is_no_upvote_says_nothing_of_one_and_costs_no_statement_more(till: Any) -> None:
    made = await till.order()
    money = await till.money(made.payment.id)
    ran: list[str] = []
    till.services.database.counter = ran.append
    await till.report(money)
    till.services.database.counter = None

    assert await seen(till, made.payment.id) is None
    assert [sql for sql in ran if "upvote" in sql.replace("article.upvotes", "")] == []


async def completion_order(till: Any) -> list[str]:
    """Return the payments in the order in which they completed, which the article's lock gives to the log too."""
    return [row["payment_id"] for row in await till.rows("event") if row["kind"] == "payment.settled"]


def model(done: list[tuple[AccountId | None, int]]) -> dict[str, int]:
    """Return what everybody is owed, by the rule as it is written."""
    owing: Counter[str] = Counter()
    voters: list[AccountId] = []
    for payer, amount in done:
        others = [voter for voter in voters if voter != payer]
        for voter in others:
            owing[voter] += amount // len(others)
        owing["MERCHANT"] += amount - (amount // len(others) * len(others) if others else 0)
        if payer is not None and payer not in voters:
            voters.append(payer)
    return {key: value for key, value in owing.items() if value}


async def add_option(till: Any, payment_id: PaymentId) -> None:
    """Let a payment be paid a second time: by another invoice, as a retry leaves one behind."""
    first = (await till.options(payment_id))[0]
    option_id = OptionId(till.services.new_id("opt"))
    other = replace(first, id=option_id, reference=f"{option_id[-32:]:0>64}")
    now = till.services.now()
    await till.services.database.write(lambda t: options.insert_option(t, other, claimed_until=now, check_at=now))
