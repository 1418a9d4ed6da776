"""What was bought anonymously becomes an account's own: once, by one account, whatever the money does meanwhile."""

import asyncio
from typing import Any

import pytest
from tests.integration.buying import OPEN, article_of, buy, claim, reader
from tests.integration.outgoing_money import claim as claim_refund
from tests.integration.test_isolation import new_article

from quittance.domain.access import ANONYMOUS
from quittance.domain.policy import OverPolicy
from quittance.resolvers.settlements import Booking


async def viewers(till: Any) -> dict[str, str]:
    return {row["id"]: row["viewer"] for row in await till.rows("payment")}


async def paid(till: Any, made: Any) -> None:
    await till.report(await till.pay(made["payment"]["id"]))


async def opened(till: Any, made: Any) -> Any:
    """Return the text as whoever holds the client secret reads it."""
    asked = {"id": made["payment"]["id"], "secret": made["clientSecret"]}
    return (await till.shop.run(OPEN, asked, as_=ANONYMOUS))["payment"]["article"]["content"]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_payment_is_claimed_before_or_after_it_settles(till: Any, when: str) -> None:
    article_id, alice = await new_article(till), await reader(till)
    made = await buy(till, article_id)
    payment_id = made["payment"]["id"]

    if when == "after":
        await paid(till, made)
    claimed = await claim(till, made["clientSecret"], as_=alice)
    if when == "before":
        await paid(till, made)
    again = await claim(till, made["clientSecret"], as_=alice)
    bought = await buy(till, article_id, as_=alice)

    assert claimed["payment"]["id"] == again["payment"]["id"] == bought["payment"]["id"] == payment_id
    assert bought["replayed"] is True
    shown = await article_of(till, article_id, as_=alice)
    assert (shown["content"], shown["views"], shown["payment"]["id"]) == ("the text", 1, payment_id)
    assert await viewers(till) == {payment_id: alice.account_id}
    assert await opened(till, made) == "the text"


async def test_of_accounts_that_claim_together_one_gets_it(till: Any, new_services: Any) -> None:
    article_id = await new_article(till)
    accounts = [await reader(till, f"reader{number}", number=number + 1) for number in range(6)]
    made = await buy(till, article_id)
    await paid(till, made)
    tills = [till, till.on(new_services())]

    answers = await asyncio.gather(*(claim(tills[n % 2], made["clientSecret"], as_=accounts[n % 6]) for n in range(12)))

    kinds = [answer["__typename"] for answer in answers]
    assert sorted(kinds) == ["ClaimPaymentSuccess"] * 2 + ["PaymentNotClaimableError"] * 10
    (owner,) = {accounts[n % 6].account_id for n in range(12) if kinds[n] == "ClaimPaymentSuccess"}
    assert list((await viewers(till)).values()) == [owner]
    refused = next(answer for answer in answers if answer["__typename"] == "PaymentNotClaimableError")
    assert (refused["code"], refused["paymentId"]) == ("PAYMENT_NOT_CLAIMABLE", made["payment"]["id"])
    seen = [(await article_of(till, article_id, as_=one))["content"] for one in accounts]
    assert seen.count("the text") == 1


async def test_of_two_payments_that_one_account_claims_together_it_owns_one(till: Any, new_services: Any) -> None:
    """Each claim must see what the other did, though neither touches the other's payment."""
    tills = [till, till.on(new_services())]
    alice = await reader(till)
    for _ in range(6):
        article_id = await new_article(till)
        made = [await buy(till, article_id) for _ in range(2)]
        for one in made:
            await paid(till, one)
        barrier = asyncio.Barrier(2)

        async def one_of(number: int, secret: str, barrier: asyncio.Barrier = barrier) -> str:
            await barrier.wait()
            return str((await claim(tills[number], secret, as_=alice))["__typename"])

        told = await asyncio.gather(*(one_of(number, one["clientSecret"]) for number, one in enumerate(made)))

        assert sorted(told) == ["AlreadyOwnedError", "ClaimPaymentSuccess"]
        rows = [row for row in await till.rows("payment") if row["article_id"] == article_id]
        assert [row["viewer"] for row in rows].count(alice.account_id) == 1


async def test_an_account_that_bought_the_article_keeps_its_own_and_loses_nothing(till: Any) -> None:
    article_id, alice = await new_article(till), await reader(till)
    own, anonymous = await buy(till, article_id, as_=alice), await buy(till, article_id)
    for made in (own, anonymous):
        await paid(till, made)
    before = await viewers(till)

    refused = await claim(till, anonymous["clientSecret"], as_=alice)

    assert (refused["__typename"], refused["code"]) == ("AlreadyOwnedError", "ALREADY_OWNED")
    assert (refused["paymentId"], refused["articleId"]) == (own["payment"]["id"], article_id)
    assert await viewers(till) == before
    assert await opened(till, anonymous) == "the text"


async def test_a_claimed_payment_takes_the_place_of_one_that_was_not_paid(till: Any) -> None:
    article_id, alice = await new_article(till), await reader(till)
    own, anonymous = await buy(till, article_id, as_=alice), await buy(till, article_id)
    await paid(till, anonymous)

    claimed = await claim(till, anonymous["clientSecret"], as_=alice)
    await paid(till, own)

    own_id, claimed_id = own["payment"]["id"], anonymous["payment"]["id"]
    assert claimed["payment"]["status"] == "COMPLETE"
    assert await viewers(till) == {own_id: own_id, claimed_id: alice.account_id}
    assert (await article_of(till, article_id, as_=alice))["payment"]["id"] == claimed_id
    assert await opened(till, own) == await opened(till, anonymous) == "the text"
    assert (await claim(till, own["clientSecret"], as_=alice))["code"] == "ALREADY_OWNED"


async def test_an_account_that_paid_a_part_keeps_its_own(till: Any) -> None:
    article_id, alice = await new_article(till), await reader(till)
    own, anonymous = await buy(till, article_id, as_=alice), await buy(till, article_id)
    await till.report(await till.money(own["payment"]["id"], amount_msat=1_000))

    refused = await claim(till, anonymous["clientSecret"], as_=alice)
    await till.report(await till.money(anonymous["payment"]["id"]))

    assert (refused["code"], refused["paymentId"]) == ("ALREADY_OWNED", own["payment"]["id"])
    assert (await viewers(till))[own["payment"]["id"]] == alice.account_id
    assert await opened(till, anonymous) == "the text"


async def test_money_owed_on_a_claimed_payment_is_the_account_s(till: Any) -> None:
    """A link that was shared before opens the article still, and no money; nor does a refund take the article away."""
    article_id, alice = await new_article(till), await reader(till)
    made = await buy(till, article_id)
    payment_id, secret = made["payment"]["id"], made["clientSecret"]
    await till.set_policy(over=OverPolicy.REFUND)
    await till.report(await till.money(payment_id, amount_msat=int(made["payment"]["amount"]["value"]) + 300_000))
    await claim(till, secret, as_=alice)

    said = {"destination": till.rails.address_of("bob")}
    shared = await claim_refund(till, payment_id, as_=ANONYMOUS, clientSecret=secret, **said)
    own = await claim_refund(till, payment_id, as_=alice, **said)

    assert shared["code"] == "PAYMENT_NOT_FOUND"
    assert own["reason"] == "CLAIMED"
    assert await opened(till, made) == "the text"


async def test_two_unpaid_ones_can_be_swapped_back(till: Any) -> None:
    article_id, alice = await new_article(till), await reader(till)
    own, anonymous = await buy(till, article_id, as_=alice), await buy(till, article_id)

    await claim(till, anonymous["clientSecret"], as_=alice)
    back = await claim(till, own["clientSecret"], as_=alice)

    assert back["payment"]["id"] == own["payment"]["id"]
    assert (await viewers(till))[own["payment"]["id"]] == alice.account_id
    assert list((await viewers(till)).values()).count(alice.account_id) == 1


async def test_r6_claims_purchases_and_money_together_leave_one_owned_view_and_nothing_lost(
    till: Any, new_services: Any
) -> None:
    """The own payment settles, the anonymous one settles, and both are claimed while the article is asked for again."""
    tills = [till, till.on(new_services())]
    for number in range(8):
        article_id = await new_article(till)
        alice = await reader(till, f"reader{number}", number=number + 1)
        own, anonymous = await buy(till, article_id, as_=alice), await buy(till, article_id)
        settlements = [await till.pay(made["payment"]["id"]) for made in (own, anonymous)]

        booked = await asyncio.gather(
            tills[0].report(settlements[number % 2]),
            claim(tills[1], anonymous["clientSecret"], as_=alice),
            tills[1].report(settlements[1 - number % 2]),
            buy(tills[0], article_id, as_=alice),
            claim(tills[0], own["clientSecret"], as_=alice),
        )

        assert [booked[0], booked[2]] == [Booking.BOOKED] * 2
        rows = [row for row in await till.rows("payment") if row["article_id"] == article_id]
        assert [row["status"] for row in rows] == ["COMPLETE"] * 2
        assert [row["viewer"] for row in rows].count(alice.account_id) == 1
        assert all(row["viewer"] in {alice.account_id, row["id"]} for row in rows)
        assert (await article_of(till, article_id, as_=alice))["content"] == "the text"
        assert [await opened(till, made) for made in (own, anonymous)] == ["the text"] * 2
    assert await till.balances() == {"PROVIDER": 80_000, "MERCHANT": -80_000}


async def test_only_a_reader_claims_and_only_what_is_anonymous(till: Any) -> None:
    article_id, alice = await new_article(till), await reader(till)
    merchants = await till.order(article_id=article_id)
    order = await till.order()
    anonymous = await buy(till, article_id)
    forged = anonymous["clientSecret"][:-1] + ("0" if anonymous["clientSecret"][-1] != "0" else "1")
    before = await viewers(till)

    strangers = [await claim(till, anonymous["clientSecret"], as_=who) for who in (ANONYMOUS, till.shop.principal)]
    refused = [await claim(till, made.client_secret, as_=alice) for made in (merchants, order)]
    wrong = [await claim(till, secret, as_=alice) for secret in (forged, "", "x" * 5_000, "\x00", "\ud800")]

    assert [one["code"] for one in strangers] == ["LOGIN_REQUIRED"] * 2
    assert [one["code"] for one in refused] == ["PAYMENT_NOT_CLAIMABLE"] * 2
    assert {(one["code"], one["field"]) for one in wrong} == {("INVALID_INPUT", "clientSecret")}
    assert await viewers(till) == before


async def test_r8_a_claim_locks_every_payment_before_it_changes_hands(till: Any) -> None:
    article_id, alice = await new_article(till), await reader(till)
    await buy(till, article_id, as_=alice)
    anonymous = await buy(till, article_id)
    ran: list[str] = []
    till.services.database.counter = ran.append

    await claim(till, anonymous["clientSecret"], as_=alice)
    till.services.database.counter = None

    said = [" ".join(sql.split()) for sql in ran]
    locks = [n for n, sql in enumerate(said) if "FROM payment WHERE payment.id =" in sql]
    writes = [n for n, sql in enumerate(said) if sql.startswith("UPDATE payment SET viewer")]
    assert (len(locks), len(writes)) == (2, 2)
    assert max(locks) < min(writes)
    assert all("payment.viewer = " in said[n].partition("WHERE")[2] for n in writes)
    if till.services.database.dialect == "postgresql":
        assert all(said[n].endswith("FOR UPDATE") for n in locks)
