"""The audit log: written in the same unit as the change that it tells of, read by the merchant's admins."""

from quittance.domain.access import Principal, Scope
from quittance.domain.audit import AuditAction, AuditEntry, AuditFilter, Deed, actor_of
from quittance.domain.ids import AUDIT_ENTRY, AuditEntryId, MerchantId
from quittance.resolvers.services import Services
from quittance.store import audit
from quittance.store.transaction import Transaction


def record(
    transaction: Transaction,
    services: Services,
    principal: Principal,
    *,
    action: AuditAction,
    subject_id: str,
    detail: str | None = None,
) -> None:
    """Write down what the caller did within its own merchant; it stays if, and only if, the unit commits."""
    if principal.merchant_id is None:
        raise ValueError("who acts for no merchant changes nothing that is logged")
    deed = Deed(action=action, subject_id=subject_id, detail=detail)
    record_in(transaction, services, principal, merchant_id=principal.merchant_id, deed=deed)


def record_in(
    transaction: Transaction, services: Services, principal: Principal | None, *, merchant_id: MerchantId, deed: Deed
) -> None:
    """Write it down in the log of the merchant it was done to, and in the caller's own when that is another.

    ``principal`` is None for the command line, which belongs to no merchant.
    """
    own = merchant_id if principal is None else principal.merchant_id or merchant_id
    actor_id, actor_name = actor_of(principal)
    for log in sorted({merchant_id, own}):
        entry = AuditEntry(
            id=AuditEntryId(services.new_id(AUDIT_ENTRY)),
            merchant_id=log,
            actor_id=actor_id,
            actor_name=actor_name,
            action=deed.action,
            subject_id=deed.subject_id,
            detail=deed.detail,
            at=services.now(),
        )
        audit.insert_entry(transaction, entry)


async def list_entries(
    services: Services, principal: Principal, *, narrowed: AuditFilter, after_id: str | None, limit: int
) -> list[AuditEntry]:
    """Return what was done within, or to, the caller's merchant, the newest first.

    Raises:
        PermissionDenied: needs ``admin``.
    """
    merchant_id = principal.require(Scope.ADMIN)
    return await services.database.scan(
        lambda transaction: audit.list_entries(
            transaction, merchant_id=merchant_id, narrowed=narrowed, after_id=after_id, limit=limit
        )
    )


async def count_entries(services: Services, principal: Principal, *, narrowed: AuditFilter) -> int:
    merchant_id = principal.require(Scope.ADMIN)
    return await services.database.scan(
        lambda transaction: audit.count_entries(transaction, merchant_id=merchant_id, narrowed=narrowed)
    )
