"""Articles: rows in, articles out."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, func, insert, or_, select, update
from sqlalchemy.sql.elements import ColumnElement

from quittance.domain.article import Article, ArticleOrder, ArticleStatus
from quittance.domain.ids import ArticleId, MerchantId
from quittance.domain.money import Asset, Money
from quittance.domain.payment import PaymentPurpose
from quittance.domain.text import is_storable
from quittance.store.by_key import one_by_id
from quittance.store.models import ArticleRow, table_of
from quittance.store.statement import BatchStatement, Statement, every_column
from quittance.store.transaction import Transaction, from_us, to_us

_ARTICLE = table_of(ArticleRow)
_VISIBLE = ArticleStatus.VISIBLE.value

_INSERT = Statement(lambda _: insert(_ARTICLE).values(every_column(_ARTICLE)))
_BY_IDS = BatchStatement(lambda _, keys: select(*_ARTICLE.c).where(_ARTICLE.c.id.in_(keys)))
_UPDATE = Statement(
    lambda _: (
        update(_ARTICLE)
        .where(_ARTICLE.c.id == bindparam("article_id"), _ARTICLE.c.merchant_id == bindparam("owner"))
        .values(
            {
                name: bindparam(name)
                for name in (
                    "title",
                    "summary",
                    "content",
                    "status",
                    "price_value",
                    "asset_code",
                    "asset_scale",
                    "modified_at_us",
                )
            }
        )
    )
)
_LOCK = Statement(lambda _: select(*_ARTICLE.c).where(_ARTICLE.c.id == bindparam("id")).with_for_update())
_COUNT_VIEW = Statement(
    lambda _: update(_ARTICLE).where(_ARTICLE.c.id == bindparam("article_id")).values(views=_ARTICLE.c.views + 1)
)
_COUNT_UPVOTE = Statement(
    lambda _: update(_ARTICLE).where(_ARTICLE.c.id == bindparam("article_id")).values(upvotes=_ARTICLE.c.upvotes + 1)
)


def _listed(*, own: bool) -> ColumnElement[bool]:
    if own:
        return or_(_ARTICLE.c.status == _VISIBLE, _ARTICLE.c.merchant_id == bindparam("merchant_id"))
    return _ARTICLE.c.status == _VISIBLE


def _page(order: ArticleOrder, *, own: bool, resumed: bool) -> Statement:
    def build(_: object) -> Any:
        query = select(*_ARTICLE.c).where(_listed(own=own)).limit(bindparam("limit"))
        after = _ARTICLE.c.id < bindparam("after_id")
        if order is ArticleOrder.OLDEST:
            query = query.order_by(_ARTICLE.c.id)
            after = _ARTICLE.c.id > bindparam("after_id")
        elif order is ArticleOrder.NEWEST:
            query = query.order_by(_ARTICLE.c.id.desc())
        else:
            query = query.order_by(_ARTICLE.c.views.desc(), _ARTICLE.c.id.desc())
            after = or_(
                _ARTICLE.c.views < bindparam("after_views"),
                (_ARTICLE.c.views == bindparam("after_views")) & after,
            )
        return query.where(after) if resumed else query

    return Statement(build)


_PAGES = {
    (order, own, resumed): _page(order, own=own, resumed=resumed)
    for order in ArticleOrder
    for own in (False, True)
    for resumed in (False, True)
}
_COUNTS = {
    own: Statement(lambda _, own=own: select(func.count()).select_from(_ARTICLE).where(_listed(own=own)))  # type: ignore[misc]
    for own in (False, True)
}


def insert_article(transaction: Transaction, article: Article) -> None:
    transaction.execute(
        _INSERT,
        _columns(article)
        | {
            "id": article.id,
            "merchant_id": article.merchant_id,
            "views": article.views,
            "upvotes": article.upvotes,
            "created_at_us": to_us(article.created_at),
        },
    )


def update_article(transaction: Transaction, article: Article) -> bool:
    """Store the texts, status and price of an article; counts stay as they are. False when it is another's."""
    parameters = _columns(article) | {"article_id": article.id, "owner": article.merchant_id}
    return transaction.execute(_UPDATE, parameters) == 1


def articles_by_id(transaction: Transaction, ids: Sequence[ArticleId]) -> list[Article | None]:
    """Return one entry per id, in order: the contract of a dataloader."""
    return one_by_id(transaction, _BY_IDS, ids, _to_domain)


def lock_article(transaction: Transaction, article_id: ArticleId) -> Article | None:
    """Return the article, locked against other units until this one commits."""
    row = transaction.first(_LOCK, {"id": article_id}) if is_storable(article_id) else None
    return None if row is None else _to_domain(row)


def count_purchase(transaction: Transaction, article_id: ArticleId, purpose: PaymentPurpose) -> None:
    """Add one to the running total that a completed payment of this purpose belongs to."""
    if purpose is PaymentPurpose.VIEW:
        transaction.execute(_COUNT_VIEW, {"article_id": article_id})
    elif purpose is PaymentPurpose.UPVOTE:
        transaction.execute(_COUNT_UPVOTE, {"article_id": article_id})


def list_articles(
    transaction: Transaction,
    *,
    merchant_id: MerchantId | None,
    order: ArticleOrder,
    after: tuple[int, str] | None,
    limit: int,
) -> list[Article]:
    """Return visible articles, and the merchant's own hidden ones, after ``(views, id)`` of the last one seen."""
    parameters: dict[str, object] = {"limit": limit}
    if merchant_id is not None:
        parameters["merchant_id"] = merchant_id
    if after is not None:
        parameters |= {"after_views": after[0], "after_id": after[1]}
    statement = _PAGES[order, merchant_id is not None, after is not None]
    return [_to_domain(row) for row in transaction.all(statement, parameters)]


def count_articles(transaction: Transaction, *, merchant_id: MerchantId | None) -> int:
    parameters = {} if merchant_id is None else {"merchant_id": merchant_id}
    row = transaction.first(_COUNTS[merchant_id is not None], parameters)
    return int(row[0]) if row else 0


def _columns(article: Article) -> dict[str, object]:
    return {
        "title": article.title,
        "summary": article.summary,
        "content": article.content,
        "status": article.status.value,
        "price_value": article.price.value,
        "asset_code": article.price.asset.code,
        "asset_scale": article.price.asset.scale,
        "modified_at_us": to_us(article.modified_at),
    }


def _to_domain(row: Any) -> Article:
    (id_, merchant_id, title, summary, content, status, price, code, scale, views, upvotes, created, modified) = row
    return Article(
        id=ArticleId(id_),
        merchant_id=MerchantId(merchant_id),
        title=title,
        summary=summary,
        content=content,
        status=ArticleStatus(status),
        price=Money(price, Asset(code, scale)),
        views=views,
        upvotes=upvotes,
        created_at=from_us(created),
        modified_at=from_us(modified),
    )
