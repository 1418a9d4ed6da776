"""What `ledger verify` finds where the books of upvotes were changed behind its back."""

from typing import Any

from sqlalchemy import bindparam, update
from tests.integration.upvotes import new_article, reader, share, upvote, with_upvoters

from quittance.domain.upvote import UpvoteState
from quittance.resolvers.verification import Verification
from quittance.store.models import LedgerAccountRow, table_of
from quittance.store.models_upvotes import UpvoteRow
from quittance.store.statement import Statement

_ACCOUNT = table_of(LedgerAccountRow)
_UPVOTE = table_of(UpvoteRow)


async def test_what_differs_on_a_readers_account_is_no_merchants(till: Any) -> None:
    article_id = await new_article(till)
    await upvote(till, article_id, reader(1))
    await upvote(till, article_id, reader(2))
    await share(till)
    tamper = Statement(
        lambda _: (
            update(_ACCOUNT)
            .where(_ACCOUNT.c.owner == bindparam("whose"))
            .values(balance_value=_ACCOUNT.c.balance_value - 1)
        )
    )
    await till.services.database.write(lambda t: t.execute(tamper, {"whose": reader(1)}))

    found = [one async for one in Verification(services=till.services).findings()]
    own = Verification(services=till.services, merchant_id=till.shop.principal.merchant_id)

    assert [(one.kind, one.merchant_id, one.provider) for one in found] == [("BALANCE_DRIFT", None, None)]
    assert [one async for one in own.findings()] == []


async def test_shares_that_were_lost_are_found(till: Any) -> None:
    article_id = await new_article(till)
    await with_upvoters(till, article_id, 3)
    payment_id = await upvote(till, article_id, None, amount_msat=1_000_000)
    waiting = [one.message async for one in Verification(services=till.services).findings()]
    lose = Statement(
        lambda _: (
            update(_UPVOTE)
            .where(_UPVOTE.c.payment_id == bindparam("whose"))
            .values(state=UpvoteState.SPLIT.value, posted_count=_UPVOTE.c.sharers)
        )
    )

    await till.services.database.write(lambda t: t.execute(lose, {"whose": payment_id}))

    merchant_id = till.shop.principal.merchant_id
    found = [one async for one in Verification(services=till.services).findings()]
    own = [one async for one in Verification(services=till.services, merchant_id=merchant_id).findings()]
    assert waiting == []
    assert found == own
    assert [(one.kind, one.merchant_id, one.expected, one.found) for one in found] == [
        ("BALANCE_DRIFT", merchant_id, "0", "999999")
    ]
