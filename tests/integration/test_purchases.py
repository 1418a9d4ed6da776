"""What readers and strangers buy: one view of an article each, and upvotes."""

import asyncio
import sqlite3
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError
from tests.integration.buying import OPEN, CountingRail, article_of, buy, reader
from tests.integration.litecoin import litoshi
from tests.integration.racing import node_invoices
from tests.integration.test_faults_idempotency import DiesAfterTheNodeActed
from tests.integration.test_isolation import new_article

from quittance.domain.access import ANONYMOUS, Principal
from quittance.domain.ids import PaymentId
from quittance.resolvers.services import ASKING_BUDGET, MUTATION_BUDGET
from quittance.sandbox.clock import SandboxClock
from quittance.sandbox.rails import SandboxRails
from quittance.server.limiter import MinuteLimiter
from quittance.store import payments

MERCHANTS_TO_SAY = {
    "description": "mine",
    "correlationId": "order-1",
    "notifyUrl": "https://example.com/",
    "expiresIn": 86_400,
    "alsoAccept": ["lnd"],
    "provider": "other",
    "hold": True,
}


async def test_lc_16_a_reader_buys_and_reads_for_good(till: Any, rails: SandboxRails) -> None:
    article_id, alice = await new_article(till), await reader(till)
    before = await article_of(till, article_id, as_=alice)

    made = await buy(till, article_id, as_=alice, refundAddress=rails.address_of("alice"))
    waiting = await article_of(till, article_id, as_=alice)
    await till.report(await till.pay(made["payment"]["id"]))
    after = await article_of(till, article_id, as_=alice)
    again = await buy(till, article_id, as_=alice)

    payment = made["payment"]
    assert (made["replayed"], payment["status"], payment["purpose"]) == (False, "PENDING_PAYMENT", "VIEW")
    assert (payment["amount"]["value"], payment["refundAddress"]) == ("5000", rails.address_of("alice"))
    assert (before["locked"], before["content"], before["payment"]) == (True, None, None)
    assert (waiting["locked"], waiting["content"]) == (True, None)
    assert waiting["payment"] == {"id": payment["id"], "status": "PENDING_PAYMENT"}
    assert (after["locked"], after["content"], after["views"]) == (False, "the text", 1)
    assert (again["replayed"], again["payment"]["id"], again["payment"]["status"]) == (True, payment["id"], "COMPLETE")
    assert again["payment"]["article"]["content"] == "the text"
    assert again["clientSecret"] == made["clientSecret"]
    assert node_invoices(rails) == 1
    stored = await till.payment(payment["id"])
    assert (stored.merchant_id, stored.viewer) == (till.shop.principal.merchant_id, alice.account_id)


async def test_lc_18_the_invoice_says_who_buys_what(till: Any, rails: SandboxRails) -> None:
    article_id, alice = await new_article(till), await reader(till)

    made = await buy(till, article_id, as_=alice)

    memo = f"User 'alice' | ArticleId {article_id}"
    assert made["payment"]["description"] == memo
    assert [invoice.memo for invoice in rails.nodes["merchant"].invoices.values()] == [memo]


async def test_lc_17_twenty_equal_calls_together_make_one_payment_and_ask_the_node_once(
    till: Any, new_services: Any, lnd: Any
) -> None:
    article_id, alice = await new_article(till), await reader(till)
    rail: Any = CountingRail(lnd)
    tills = [till.on(replace(services, rails={"lnd": rail})) for services in (till.services, new_services())]
    barrier = asyncio.Barrier(20)

    async def one(number: int) -> Any:
        await barrier.wait()
        return await buy(tills[number % 2], article_id, as_=alice)

    answers = await asyncio.gather(*(one(number) for number in range(20)))

    assert sorted(answer["replayed"] for answer in answers) == [False] + [True] * 19
    assert [answer["payment"] for answer in answers] == [answers[0]["payment"]] * 20
    assert len({answer["clientSecret"] for answer in answers}) == 1
    assert answers[0]["payment"]["status"] == "PENDING_PAYMENT"
    assert (rail.asked, len(await till.rows("payment")), len(await till.rows("payment_option"))) == (1, 1, 1)


async def test_lc_17_the_database_itself_refuses_a_second_view(till: Any) -> None:
    article_id, alice = await new_article(till), await reader(till)
    own = await till.payment((await buy(till, article_id, as_=alice))["payment"]["id"])
    second = replace(own, id=PaymentId(till.services.new_id("pay")))

    with pytest.raises((sqlite3.IntegrityError, IntegrityError)):
        await till.services.database.write(lambda transaction: payments.insert_payment(transaction, second))

    assert len(await till.rows("payment")) == 1


async def test_each_reader_and_each_article_has_a_payment_of_its_own(till: Any, other_shop: Any) -> None:
    mine, theirs = await new_article(till), await new_article(till.of(other_shop))
    alice, bob = await reader(till), await reader(till, "bobby", number=2)

    made = [await buy(till, article_id, as_=who) for article_id in (mine, theirs) for who in (alice, bob)]
    await till.report(await till.pay(made[0]["payment"]["id"]))

    assert len({one["payment"]["id"] for one in made}) == 4
    assert [one["replayed"] for one in made] == [False] * 4
    assert (await till.payment(made[2]["payment"]["id"])).merchant_id == other_shop.principal.merchant_id
    seen = [(await article_of(till, mine, as_=who))["content"] for who in (alice, bob, ANONYMOUS)]
    assert seen == ["the text", None, None]


@pytest.mark.parametrize("field", MERCHANTS_TO_SAY)
async def test_what_is_the_merchants_to_say_is_refused(till: Any, field: str) -> None:
    article_id, alice = await new_article(till), await reader(till)
    said = {field: MERCHANTS_TO_SAY[field]}

    refused = [await buy(till, article_id, as_=who, **said) for who in (alice, ANONYMOUS)]

    assert {(one["code"], one["field"], one["retryable"]) for one in refused} == {("INVALID_INPUT", field, False)}
    assert await till.rows("payment") == []


async def test_g4_an_explicit_null_says_nothing(till: Any) -> None:
    article_id, alice = await new_article(till), await reader(till)
    nothing = dict.fromkeys([*MERCHANTS_TO_SAY, "purpose", "amount", "idempotencyKey", "refundAddress"])

    made = [await buy(till, article_id, as_=who, **nothing) for who in (alice, ANONYMOUS)]
    nowhere = [await buy(till, None, as_=who, **nothing) for who in (alice, ANONYMOUS)]

    assert [one["payment"]["purpose"] for one in made] == ["VIEW", "VIEW"]
    assert [(one["code"], one["needed"]) for one in nowhere] == [("PERMISSION_DENIED", "payments:write")] * 2


async def test_only_a_merchant_asks_for_what_is_no_article(till: Any) -> None:
    alice = await reader(till)

    refused = [await buy(till, None, as_=who, amount={"sat": "5"}) for who in (alice, ANONYMOUS)]

    assert [one["code"] for one in refused] == ["PERMISSION_DENIED"] * 2
    assert await till.rows("payment") == []


async def test_r2_a_readers_key_is_the_readers_own(till: Any) -> None:
    first, second = await new_article(till), await new_article(till)
    alice, bob = await reader(till), await reader(till, "bobby", number=2)
    await till.order(idempotency_key="k")

    made = await buy(till, first, as_=alice, idempotencyKey="k")
    other = await buy(till, first, as_=bob, idempotencyKey="k")
    again = await buy(till, first, as_=alice, idempotencyKey="k")
    conflict = await buy(till, second, as_=alice, idempotencyKey="k")
    stranger = await buy(till, first, idempotencyKey="k")

    assert (made["replayed"], other["replayed"], again["replayed"]) == (False, False, True)
    assert again["payment"]["id"] == made["payment"]["id"] != other["payment"]["id"]
    assert conflict["code"] == "IDEMPOTENCY_CONFLICT"
    assert (stranger["code"], stranger["field"]) == ("INVALID_INPUT", "idempotencyKey")
    assert len(await till.rows("payment")) == 3


async def test_lc_27_upvotes_want_a_login_first_and_then_enough(till: Any) -> None:
    article_id, alice = await new_article(till), await reader(till)
    little: dict[str, Any] = {"purpose": "UPVOTE", "amount": {"msat": "999999"}, "description": "x"}

    stranger = await buy(till, article_id, **little)
    refused = await buy(till, article_id, as_=alice, purpose="UPVOTE", amount={"msat": "999999"})
    least = await buy(till, article_id, as_=alice, purpose="UPVOTE")
    more = await buy(till, article_id, as_=alice, purpose="UPVOTE", amount={"sat": "2000"})
    await till.report(await till.pay(more["payment"]["id"]))

    assert stranger["code"] == "LOGIN_REQUIRED"
    assert refused["code"] == "INVALID_AMOUNT"
    assert least["payment"]["amount"]["value"] == "1000000"
    assert more["payment"]["amount"]["value"] == "2000000"
    shown = await article_of(till, article_id, as_=alice)
    assert (shown["upvotes"], shown["views"], shown["content"], shown["payment"]) == (1, 0, None, None)


async def test_r1_upvotes_with_one_key_together_are_one(till: Any, new_services: Any, rails: SandboxRails) -> None:
    article_id, alice = await new_article(till), await reader(till)
    tills = [till, till.on(new_services())]
    asked = {"purpose": "UPVOTE", "idempotencyKey": "k"}

    answers = await asyncio.gather(*(buy(tills[number % 2], article_id, as_=alice, **asked) for number in range(20)))
    other = await buy(till, article_id, as_=alice, purpose="UPVOTE")

    assert sorted(answer["replayed"] for answer in answers) == [False] + [True] * 19
    assert len({answer["payment"]["id"] for answer in answers}) == 1
    assert other["payment"]["id"] != answers[0]["payment"]["id"]
    assert node_invoices(rails) == 2


async def test_a_stranger_buys_what_the_client_secret_opens_and_nothing_else(till: Any) -> None:
    article_id, other_id = await new_article(till), await new_article(till)
    made, other = await buy(till, article_id), await buy(till, article_id)
    payment_id, secret = made["payment"]["id"], made["clientSecret"]
    await till.report(await till.pay(payment_id))
    holder = Principal(payment_id=PaymentId(payment_id))

    opened = await till.shop.run(OPEN, {"id": payment_id, "secret": secret}, as_=ANONYMOUS)
    forged = await till.shop.run(OPEN, {"id": payment_id, "secret": other["clientSecret"]}, as_=ANONYMOUS)
    elsewhere = await till.shop.run(OPEN, {"id": other["payment"]["id"], "secret": secret}, as_=ANONYMOUS)
    seen = [(await article_of(till, id_, as_=holder))["content"] for id_ in (article_id, other_id)]

    assert (await till.payment(payment_id)).viewer == payment_id
    assert made["payment"]["description"] == "T"
    assert opened["payment"] == {"status": "COMPLETE", "article": {"content": "the text"}}
    assert (forged["payment"], elsewhere["payment"]) == (None, None)
    assert seen == ["the text", None]
    assert (await article_of(till, article_id))["content"] is None


async def test_lc_14_what_is_missing_or_hidden_is_not_sold_but_what_was_bought_stays(till: Any) -> None:
    article_id, alice, bob = await new_article(till), await reader(till), await reader(till, "bobby", number=2)
    await till.report(await till.pay((await buy(till, article_id, as_=alice))["payment"]["id"]))
    await buy(till, article_id, as_=bob)
    await till.shop.run("mutation ($id: ID!) { hideArticle(id: $id) { __typename } }", {"id": article_id})

    hidden = [await buy(till, article_id, as_=who) for who in (bob, ANONYMOUS)]
    missing = [await buy(till, "art_" + "0" * 32, as_=who) for who in (alice, ANONYMOUS)]
    own = await buy(till, article_id, as_=alice)

    assert [one["code"] for one in hidden] == ["ARTICLE_HIDDEN"] * 2
    assert [one["code"] for one in missing] == ["ARTICLE_NOT_FOUND"] * 2
    assert (own["payment"]["status"], own["payment"]["article"]["content"]) == ("COMPLETE", "the text")
    assert (await article_of(till, article_id, as_=alice))["content"] == "the text"
    assert await article_of(till, article_id, as_=bob) is None


async def test_lc_01_articles_are_listed_by_views_before_the_page_is_cut(till: Any) -> None:
    ids = [await new_article(till) for _ in range(4)]
    for n, article_id in enumerate(ids):
        for _ in range((2, 0, 3, 0)[n]):
            await till.report(await till.pay((await buy(till, article_id))["payment"]["id"]))
    document = "query ($after: String) { articles(first: 2, after: $after) { edges { cursor node { id views } } } }"

    first = (await till.shop.run(document, as_=ANONYMOUS))["articles"]["edges"]
    rest = (await till.shop.run(document, {"after": first[-1]["cursor"]}, as_=ANONYMOUS))["articles"]["edges"]

    shown = [(edge["node"]["id"], edge["node"]["views"]) for edge in [*first, *rest]]
    assert shown == [(ids[2], 3), (ids[0], 2), (ids[3], 0), (ids[1], 0)]


async def test_one_stranger_cannot_use_up_what_the_others_may_ask(till: Any, rails: SandboxRails) -> None:
    article_id, alice = await new_article(till), await reader(till)
    limiter = MinuteLimiter({MUTATION_BUDGET: 100, ASKING_BUDGET: 2})
    limited = till.on(replace(till.services, limiter=limiter))
    here, there = (Principal(address=address) for address in ("192.0.2.1", "192.0.2.2"))

    answers = [await buy(limited, article_id, as_=here) for _ in range(3)]
    also_here = await buy(limited, article_id, as_=replace(alice, address="192.0.2.1"))
    elsewhere = await buy(limited, article_id, as_=there)
    merchant = await buy(limited, article_id, as_=till.shop.principal)

    assert [one["__typename"] for one in answers] == ["GenerateInvoiceSuccess"] * 2 + ["RateLimitedError"]
    assert (also_here["code"], also_here["retryable"]) == ("RATE_LIMITED", True)
    assert [one["__typename"] for one in (elsewhere, merchant)] == ["GenerateInvoiceSuccess"] * 2
    assert node_invoices(rails) == 4


async def test_mutations_of_strangers_are_counted_by_address(till: Any) -> None:
    limiter = MinuteLimiter({MUTATION_BUDGET: 1, ASKING_BUDGET: 100})
    limited = till.on(replace(till.services, limiter=limiter))
    article_id = await new_article(till)
    here, there = (Principal(address=address) for address in ("192.0.2.1", "192.0.2.2"))

    answers = [(await buy(limited, article_id, as_=who))["__typename"] for who in (here, here, there)]

    assert answers == ["GenerateInvoiceSuccess", "RateLimitedError", "GenerateInvoiceSuccess"]


async def test_a_payment_whose_node_did_not_answer_is_taken_up_again(till: Any, rails: SandboxRails) -> None:
    article_id, alice = await new_article(till), await reader(till)
    await rails.faults.arm("lnd", "lost_answer", method="AddInvoice")

    failed = await buy(till, article_id, as_=alice)
    again = await buy(till, article_id, as_=alice)

    assert (failed["code"], failed["retryable"]) == ("PROVIDER_UNAVAILABLE", True)
    assert (again["replayed"], again["payment"]["status"]) == (True, "PENDING_PAYMENT")
    assert (node_invoices(rails), len(await till.rows("payment"))) == (1, 1)


async def test_an_article_with_a_title_longer_than_an_invoice_holds_is_sold(till: Any) -> None:
    article_id = await new_article(till, title="\N{ROCKET}" * 191)

    made = await buy(till, article_id)

    assert made["payment"]["description"] == "\N{ROCKET}" * (639 // 4)


async def test_an_article_is_sold_to_readers_on_the_rail_of_its_price(both: Any) -> None:
    article_id, alice = await new_article(both, price=litoshi(70_000)), await reader(both)

    made = [await buy(both, article_id, as_=who, provider=said)
            for who, said in ((alice, None), (ANONYMOUS, None), (ANONYMOUS, "lnd-ltc"))]  # fmt: skip
    upvote = await buy(both, article_id, as_=alice, purpose="UPVOTE")
    refused = await buy(both, article_id, provider="lnd")

    assert [one["payment"]["paymentRequest"][:6] for one in made] == ["lnrltc"] * 3
    assert upvote["payment"]["paymentRequest"].startswith("lnbcrt")
    assert (refused["code"], refused["field"]) == ("INVALID_INPUT", "provider")


async def test_r3_a_purchase_whose_process_died_after_the_node_acted_is_found(
    till: Any, new_services: Any, rails: SandboxRails, lnd: Any, clock: SandboxClock
) -> None:
    article_id, alice = await new_article(till), await reader(till)
    dying = till.on(replace(till.services, rails={"lnd": DiesAfterTheNodeActed(lnd)}, making={}))
    with pytest.raises(asyncio.CancelledError):
        await buy(dying, article_id, as_=alice)

    clock.advance(till.services.rules.claim_s + 1)
    again = await buy(till.on(new_services()), article_id, as_=alice)

    assert (again["replayed"], again["payment"]["status"]) == (True, "PENDING_PAYMENT")
    assert (node_invoices(rails), len(await till.rows("payment"))) == (1, 1)
