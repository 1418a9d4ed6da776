"""A reader who names no payment hears of all that buy for them, and of nobody else's."""

from typing import Any

import pytest
from tests.integration.buying import buy, claim, reader
from tests.integration.test_isolation import FROM_THE_START, new_article, refused, watch
from tests.integration.watched import WatchedDatabase

from quittance.domain.access import ANONYMOUS
from quittance.domain.event import EVERYTHING, EventSelector
from quittance.domain.ids import AccountId
from quittance.store.events import events_after

SETTLED = """
subscription ($article: ID, $after: String) {
  paymentSettled(articleId: $article, after: $after) { payment { id article { content } } }
}
"""
UPDATED = "subscription ($after: String) { paymentUpdated(after: $after) { payment { id } } }"
REFUNDED = "subscription ($after: String) { refundUpdated(after: $after) { payment: refund { id } } }"
REPLAYED = {"after": FROM_THE_START}


async def test_a_reader_hears_of_what_buys_for_them_and_nobody_elses(till: Any, other_shop: Any) -> None:
    mine, theirs = await new_article(till), await new_article(till.of(other_shop))
    alice, bob = await reader(till), await reader(till, "bobby", number=2)
    own = [await buy(till, article_id, as_=alice) for article_id in (mine, theirs)]
    others = [await buy(till, mine, as_=bob), await buy(till, mine)]
    merchants = await till.order(article_id=mine)
    for made in [*own, *others]:
        await till.report(await till.pay(made["payment"]["id"]))
    await till.report(await till.pay(merchants.payment.id))
    first, second = (made["payment"]["id"] for made in own)

    settled = await watch(till, SETTLED, REPLAYED, as_=alice, least=2)
    of_article = await watch(till, SETTLED, REPLAYED | {"article": theirs}, as_=alice, least=1)
    updated = await watch(till, UPDATED, REPLAYED, as_=alice, least=6)

    assert settled == [first, second]
    assert of_article == [second]
    assert updated == [first, first, second, second, first, second]
    assert await refused(till, SETTLED, REPLAYED, as_=ANONYMOUS) == "PermissionDenied"
    assert len(await watch(till, SETTLED, REPLAYED, least=4)) == 4


async def test_a_claimed_payment_is_heard_of_from_then_on(till: Any) -> None:
    alice = await reader(till)
    made = await buy(till, await new_article(till))
    before = await watch(till, UPDATED, REPLAYED, as_=alice)

    await claim(till, made["clientSecret"], as_=alice)
    await till.report(await till.pay(made["payment"]["id"]))

    assert before == []
    assert await watch(till, UPDATED, REPLAYED, as_=alice, least=1) == [made["payment"]["id"]]


async def test_refunds_are_watched_by_payment_or_by_a_merchant(till: Any) -> None:
    assert await refused(till, REFUNDED, REPLAYED, as_=await reader(till)) == "PermissionDenied"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # PostgreSQL scans tables this small
async def test_a_readers_events_are_read_by_an_index(till: Any) -> None:
    alice = await reader(till)
    made = await buy(till, await new_article(till), as_=alice)
    selector = EventSelector(kinds=EVERYTHING.kinds, account_id=AccountId(alice.account_id or ""))
    watched: Any = WatchedDatabase(till.services.database)

    found = await watched.read(lambda t: events_after(t, selector, after=0, up_to=1_000, limit=10))

    assert [event.payment_id for event in found] == [made["payment"]["id"]] * 2
    ((steps),) = watched.plans().values()
    assert [step for step in steps if step.startswith("SCAN") or "TEMP B-TREE" in step] == []
    assert any("ix_event_of_reader" in step for step in steps)
