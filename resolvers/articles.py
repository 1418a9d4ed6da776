"""Articles: what readers pay to see, and who may see it."""

from dataclasses import dataclass, replace

from quittance.domain.access import Principal, Scope
from quittance.domain.article import Article, ArticleOrder, ArticleStatus, check_article
from quittance.domain.audit import AuditAction
from quittance.domain.errors import ArticleNotFound, ArticleRemoved, InvalidArticle
from quittance.domain.event import EventKind
from quittance.domain.ids import ARTICLE, ArticleId
from quittance.domain.money import Money
from quittance.resolvers.audit import record
from quittance.resolvers.orders import check_amount
from quittance.resolvers.services import Services
from quittance.store import articles
from quittance.store.transaction import EventDraft, Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class ArticleDraft:
    """A new article."""

    title: str
    content: str
    summary: str | None
    price: Money
    status: ArticleStatus = ArticleStatus.VISIBLE


@dataclass(frozen=True, slots=True, kw_only=True)
class ArticleChange:
    """What to change; None leaves a field as it is. ``clear_summary`` takes the summary away."""

    title: str | None = None
    content: str | None = None
    summary: str | None = None
    clear_summary: bool = False
    price: Money | None = None
    status: ArticleStatus | None = None


async def create_article(services: Services, principal: Principal, draft: ArticleDraft) -> Article:
    """Add an article to the caller's shop; a visible one is published at once.

    Raises:
        PermissionDenied, InvalidArticle, InvalidAmount: nothing was made.
    """
    merchant_id = principal.require(Scope.ARTICLES_WRITE)
    await services.admit_mutation(principal)
    _check_status(draft.status)
    check_article(title=draft.title, summary=draft.summary, content=draft.content)
    now = services.now()
    article = Article(
        id=ArticleId(services.new_id(ARTICLE)),
        merchant_id=merchant_id,
        title=draft.title,
        summary=draft.summary,
        content=draft.content,
        status=draft.status,
        price=check_amount(services, draft.price),
        views=0,
        upvotes=0,
        created_at=now,
        modified_at=now,
    )

    def unit(transaction: Transaction) -> Article:
        articles.insert_article(transaction, article)
        record(transaction, services, principal, action=AuditAction.ARTICLE_CREATED, subject_id=article.id)
        if article.status is ArticleStatus.VISIBLE:
            transaction.emit(_event(article, EventKind.ARTICLE_PUBLISHED))
        return article

    return await services.database.write(unit)


async def update_article(
    services: Services, principal: Principal, article_id: ArticleId, change: ArticleChange
) -> Article:
    """Change an article, or hide and show it. What readers bought before stays readable to them.

    Raises:
        PermissionDenied, ArticleNotFound, InvalidArticle, InvalidAmount: nothing changed.
        ArticleRemoved: the operator took it off; its texts and price may be changed, its status may not.
    """
    merchant_id = principal.require(Scope.ARTICLES_WRITE)
    await services.admit_mutation(principal)
    if change == ArticleChange():
        raise InvalidArticle("input", "say at least one field to change")
    _check_status(change.status)
    price = None if change.price is None else check_amount(services, change.price)

    def unit(transaction: Transaction) -> Article:
        before = articles.lock_article(transaction, article_id)
        if before is None or before.merchant_id != merchant_id:
            raise ArticleNotFound(article_id)
        if change.status is not None and before.status is ArticleStatus.REMOVED:
            raise ArticleRemoved(article_id)
        after = replace(
            before,
            title=before.title if change.title is None else change.title,
            content=before.content if change.content is None else change.content,
            summary=None if change.clear_summary else before.summary if change.summary is None else change.summary,
            price=price or before.price,
            status=change.status or before.status,
            modified_at=services.now(),
        )
        check_article(title=after.title, summary=after.summary, content=after.content)
        articles.update_article(transaction, after)
        record(
            transaction,
            services,
            principal,
            action=AuditAction.ARTICLE_UPDATED,
            subject_id=article_id,
            detail=_difference(before, after),
        )
        transaction.emit(told(before, after))
        return after

    return await services.database.write(unit)


def may_list(principal: Principal, article: Article) -> bool:
    """Tell whether this caller may know that the article exists: everybody for a visible one, else its merchant."""
    return article.status is ArticleStatus.VISIBLE or article.merchant_id == principal.merchant_id


async def list_articles(
    services: Services,
    principal: Principal,
    *,
    order: ArticleOrder,
    after: tuple[int, str] | None,
    limit: int,
) -> list[Article]:
    """Return visible articles, and the caller's own hidden ones, after the last one seen."""
    return await services.database.scan(
        lambda transaction: articles.list_articles(
            transaction, merchant_id=principal.merchant_id, order=order, after=after, limit=limit
        )
    )


async def count_articles(services: Services, principal: Principal) -> int:
    return await services.database.scan(
        lambda transaction: articles.count_articles(transaction, merchant_id=principal.merchant_id)
    )


def _difference(before: Article, after: Article) -> str | None:
    """Name what changed; a status, which decides who may buy, with its new value."""
    names = [name for name in ("title", "summary", "content", "price") if getattr(before, name) != getattr(after, name)]
    told = names if after.status is before.status else [*names, f"status: {after.status}"]
    return ", ".join(told) or None


def told(before: Article, after: Article) -> EventDraft:
    """Return the event that says that an article changed, or is published by the change."""
    shown = before.status is not ArticleStatus.VISIBLE and after.status is ArticleStatus.VISIBLE
    return _event(after, EventKind.ARTICLE_PUBLISHED if shown else EventKind.ARTICLE_UPDATED)


def _check_status(status: ArticleStatus | None) -> None:
    if status is ArticleStatus.REMOVED:
        raise InvalidArticle("status", "the operator alone removes articles; hide it instead")


def _event(article: Article, kind: EventKind) -> EventDraft:
    return EventDraft(kind=kind, merchant_id=article.merchant_id, article_id=article.id, status=article.status.value)
