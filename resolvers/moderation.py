"""What the operator takes off: an article that nobody reads until the operator shows it again."""

from dataclasses import replace

from quittance.domain.access import Principal
from quittance.domain.article import Article, ArticleStatus
from quittance.domain.audit import AuditAction, Deed
from quittance.domain.errors import ArticleNotFound, InvalidInput
from quittance.domain.ids import ArticleId
from quittance.domain.text import is_storable
from quittance.resolvers.articles import told
from quittance.resolvers.audit import record_in
from quittance.resolvers.services import Services
from quittance.store import articles
from quittance.store.transaction import Transaction

REASON_MAX = 500


async def moderate_article(
    services: Services, principal: Principal, article_id: ArticleId, *, status: ArticleStatus, reason: str
) -> Article:
    """Remove an article of any merchant, or put back one that was removed; the same again changes nothing.

    The audit logs of the merchant and of the operator say why.

    Raises:
        PermissionDenied: not the operator.
        ArticleNotFound, RateLimited: nothing changed.
        InvalidInput: no reason, or a status that is its merchant's to change.
    """
    principal.require_operator()
    await services.admit_mutation(principal)
    if not (reason.strip() and is_storable(reason) and len(reason) <= REASON_MAX):
        raise InvalidInput("reason", f"a reason has 1 to {REASON_MAX} characters")

    def unit(transaction: Transaction) -> Article:
        before = articles.lock_article(transaction, article_id)
        if before is None:
            raise ArticleNotFound(article_id)
        if status is before.status:
            return before
        if ArticleStatus.REMOVED not in {status, before.status}:
            raise InvalidInput("status", "its merchant shows and hides it; the operator removes it, or puts it back")
        after = replace(before, status=status, modified_at=services.now())
        articles.update_article(transaction, after)
        deed = Deed(action=AuditAction.ARTICLE_MODERATED, subject_id=article_id, detail=f"status: {status}: {reason}")
        record_in(transaction, services, principal, merchant_id=after.merchant_id, deed=deed)
        transaction.emit(told(before, after))
        return after

    return await services.database.write(unit)
