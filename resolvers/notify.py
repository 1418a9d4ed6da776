"""The addresses that payments bring along, and the merchant's secret that signs what is sent to them."""

from dataclasses import replace

from quittance.domain.access import Principal, Scope
from quittance.domain.audit import AuditAction
from quittance.domain.payment import NoticeFormat
from quittance.domain.policy import Merchant
from quittance.domain.secrets import check_overlap
from quittance.domain.webhook import shown_secret
from quittance.providers.base import Outgoing
from quittance.resolvers import audit
from quittance.resolvers.services import Services
from quittance.store import merchants
from quittance.store.transaction import Transaction


def check_notify_url(services: Services, url: str | None, *, written_as: NoticeFormat = NoticeFormat.EVENTS) -> None:
    """Accept no address, or the form of one that may be called.

    Raises:
        ForbiddenAddress: it says what to give instead.
    """
    if url is not None:
        caller_of(services, written_as).check(url)


def caller_of(services: Services, written_as: NoticeFormat) -> Outgoing:
    """Return what calls an address: the operator's own shop may live where no merchant's address may lead."""
    if written_as is NoticeFormat.EVENTS:
        return services.webhooks.outgoing
    if services.webhooks.shop is None:
        raise RuntimeError("this process was not given what calls a shop")
    return services.webhooks.shop


async def rotate_notify_secret(services: Services, principal: Principal, *, overlap_s: int) -> str:
    """Give the merchant a new secret for the addresses of its payments, and return it, shown this once.

    For ``overlap_s`` seconds deliveries are signed with the old one too, as in ``rotate_secret`` of an endpoint.

    Raises:
        PermissionDenied, InvalidInput, RateLimited: nothing changed.
    """
    merchant_id = principal.require(Scope.ADMIN)
    await services.admit_mutation(principal)
    check_overlap(overlap_s)

    def unit(transaction: Transaction) -> Merchant:
        before = merchants.lock_merchant(transaction, merchant_id)
        if before is None:
            raise RuntimeError(f"key of an unknown merchant {merchant_id}")
        after = replace(before, notify_secret=before.notify_secret.rotated(overlap_s=overlap_s, at=services.now()))
        merchants.update_merchant(transaction, after)
        audit.record(transaction, services, principal, action=AuditAction.NOTIFY_SECRET_ROTATED, subject_id=merchant_id)
        return after

    changed = await services.database.write(unit)
    return shown_secret(services.derive.notify_secret(merchant_id, changed.notify_secret.newest))
