"""Upvotes: recorded by the unit that completes them, shared out page by page."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import bindparam, func, insert, select, update

from quittance.domain.ids import AccountId, ArticleId, MerchantId, PaymentId, SettlementId
from quittance.domain.money import Asset, Money
from quittance.domain.split import Split
from quittance.domain.upvote import Upvote, Upvoter, UpvoteState
from quittance.store.by_key import one_by_id
from quittance.store.models import table_of
from quittance.store.models_upvotes import UpvoteRow, UpvoterRow
from quittance.store.statement import BatchStatement, Statement, every_column
from quittance.store.transaction import Transaction, from_us, to_us

_UPVOTE = table_of(UpvoteRow)
_UPVOTER = table_of(UpvoterRow)

_INSERT = Statement(lambda _: insert(_UPVOTE).values(every_column(_UPVOTE)))
_INSERT_UPVOTER = Statement(lambda _: insert(_UPVOTER).values(every_column(_UPVOTER)))
_LAST_PLACE = Statement(
    lambda _: select(func.coalesce(func.max(_UPVOTER.c.place), 0)).where(
        _UPVOTER.c.article_id == bindparam("article_id")
    )
)
_PLACE = Statement(
    lambda _: select(_UPVOTER.c.place).where(
        _UPVOTER.c.article_id == bindparam("article_id"), _UPVOTER.c.account_id == bindparam("account_id")
    )
)
_UPVOTERS = Statement(
    lambda _: (
        select(_UPVOTER.c.place, _UPVOTER.c.account_id)
        .where(
            _UPVOTER.c.article_id == bindparam("article_id"),
            _UPVOTER.c.place > bindparam("after"),
            _UPVOTER.c.place <= bindparam("up_to"),
            _UPVOTER.c.account_id != bindparam("but"),
        )
        .order_by(_UPVOTER.c.place)
        .limit(bindparam("limit"))
    )
)
_LOCK = Statement(lambda _: select(*_UPVOTE.c).where(_UPVOTE.c.payment_id == bindparam("payment_id")).with_for_update())
_BY_PAYMENTS = BatchStatement(lambda _, keys: select(*_UPVOTE.c).where(_UPVOTE.c.payment_id.in_(keys)))
_ADVANCE = Statement(
    lambda _: (
        update(_UPVOTE)
        .where(
            _UPVOTE.c.payment_id == bindparam("of_payment"),
            _UPVOTE.c.state == UpvoteState.SPLITTING.value,
            _UPVOTE.c.posted_place == bindparam("before_place"),
        )
        .values(
            posted_place=bindparam("posted_place"), posted_count=bindparam("posted_count"), state=bindparam("to_state")
        )
    )
)


def last_place(transaction: Transaction, article_id: ArticleId) -> int:
    """Return how many readers have upvoted an article; call it with the article locked."""
    row = transaction.first(_LAST_PLACE, {"article_id": article_id})
    return int(row[0]) if row else 0


def place_of(transaction: Transaction, article_id: ArticleId, account_id: AccountId) -> int | None:
    """Return a reader's place among the upvoters of an article; None for one who is none yet."""
    row = transaction.first(_PLACE, {"article_id": article_id, "account_id": account_id})
    return None if row is None else int(row[0])


def insert_upvoter(transaction: Transaction, article_id: ArticleId, upvoter: Upvoter) -> None:
    """Give a reader the next place; call it with the article locked."""
    parameters = {"article_id": article_id, "account_id": upvoter.account_id, "place": upvoter.place}
    transaction.execute(_INSERT_UPVOTER, parameters)


def insert_upvote(transaction: Transaction, upvote: Upvote) -> None:
    split = upvote.split
    transaction.execute(
        _INSERT,
        {
            "payment_id": upvote.payment_id,
            "article_id": upvote.article_id,
            "merchant_id": upvote.merchant_id,
            "account_id": upvote.account_id,
            "settlement_id": upvote.settlement_id,
            "asset_code": split.share.asset.code,
            "asset_scale": split.share.asset.scale,
            "sharers": split.sharers,
            "share_value": split.share.value,
            "remainder_value": split.remainder.value,
            "voters_before": upvote.voters_before,
            "posted_place": upvote.posted_place,
            "posted_count": upvote.posted_count,
            "state": upvote.state.value,
            "completed_at_us": to_us(upvote.completed_at),
        },
    )


def lock_upvote(transaction: Transaction, payment_id: PaymentId) -> Upvote | None:
    """Return the upvote, locked against other units until this one commits."""
    row = transaction.first(_LOCK, {"payment_id": payment_id})
    return None if row is None else _to_domain(row)


def upvotes_of_payments(transaction: Transaction, payment_ids: Sequence[PaymentId]) -> list[Upvote | None]:
    """Return one entry per payment, in order: the contract of a dataloader."""
    return one_by_id(transaction, _BY_PAYMENTS, payment_ids, _to_domain)


def next_sharers(transaction: Transaction, upvote: Upvote, *, limit: int) -> list[Upvoter]:
    """Return those who share in an upvote and are not posted yet, in the order of their places."""
    parameters = {
        "article_id": upvote.article_id,
        "after": upvote.posted_place,
        "up_to": upvote.voters_before,
        "but": upvote.account_id or "",
        "limit": limit,
    }
    rows = transaction.all(_UPVOTERS, parameters)
    return [Upvoter(place=place, account_id=AccountId(account_id)) for place, account_id in rows]


def advance_upvote(
    transaction: Transaction, before: Upvote, *, posted: Sequence[Upvoter], state: UpvoteState
) -> Upvote:
    """Note that these shares are posted, by compare-and-set.

    Raises:
        RuntimeError: they, or others, were posted meanwhile; nothing of this unit may count.
    """
    after = replace(
        before,
        posted_place=posted[-1].place if posted else before.posted_place,
        posted_count=before.posted_count + len(posted),
        state=state,
    )
    parameters = {
        "of_payment": before.payment_id,
        "before_place": before.posted_place,
        "posted_place": after.posted_place,
        "posted_count": after.posted_count,
        "to_state": state.value,
    }
    if transaction.execute(_ADVANCE, parameters) != 1:
        raise RuntimeError(f"the upvote {before.payment_id} changed while it was locked")
    return after


def _to_domain(row: Any) -> Upvote:
    payment_id, article_id, merchant_id, account_id, settlement_id, code, scale, sharers, share, rest, *more = row
    voters_before, posted_place, posted_count, state, completed_at_us = more
    asset = Asset(code, scale)
    return Upvote(
        payment_id=PaymentId(payment_id),
        article_id=ArticleId(article_id),
        merchant_id=MerchantId(merchant_id),
        account_id=None if account_id is None else AccountId(account_id),
        settlement_id=SettlementId(settlement_id),
        split=Split(sharers=sharers, share=Money(share, asset), remainder=Money(rest, asset)),
        voters_before=voters_before,
        posted_place=posted_place,
        posted_count=posted_count,
        state=UpvoteState(state),
        completed_at=from_us(completed_at_us),
    )
