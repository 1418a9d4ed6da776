"""The names that merchants are paid by, and what payers type or scan to pay them or their articles."""

from urllib.parse import urlsplit

from quittance.domain.access import Principal, Scope
from quittance.domain.audit import AuditAction, Deed
from quittance.domain.errors import InvalidInput, LightningNamesUsedUp, LightningNameTaken, MerchantNotFound
from quittance.domain.ids import MerchantId
from quittance.domain.lnurl import WELL_KNOWN, encode
from quittance.domain.payee_name import NAMES_MAX, check_payee_name, check_unreserved
from quittance.domain.policy import Merchant
from quittance.domain.reader import check_lightning_address
from quittance.resolvers.audit import record_in
from quittance.resolvers.services import Services
from quittance.store import lightning_names, merchants
from quittance.store.transaction import Transaction


async def set_lightning_name(
    services: Services, principal: Principal, merchant_id: MerchantId, name: str | None
) -> Merchant:
    """Let the caller's merchant, or, for the operator, any, be paid by this name alone; None takes it away.

    A name stays its first merchant's for ever: what was printed never pays a stranger. So one merchant has a few at
    most, with those it gave up. Names that sound like the server's own are the operator's to give.

    Raises:
        PermissionDenied, MerchantNotFound, InvalidInput, RateLimited: nothing changed.
        LightningNameTaken, LightningNamesUsedUp: likewise.
    """
    own = principal.require(Scope.ADMIN)
    await services.admit_mutation(principal)
    wanted = None if name is None else check_payee_name(name)
    if merchant_id != own and not principal.is_operator:
        raise MerchantNotFound(merchant_id)

    if wanted is not None and not principal.is_operator:
        check_unreserved(wanted)

    def unit(transaction: Transaction) -> Merchant:
        merchant = merchants.lock_merchant(transaction, merchant_id)
        if merchant is None:
            raise MerchantNotFound(merchant_id)
        (before,) = lightning_names.names_of_merchants(transaction, [merchant_id])
        if before == wanted:
            return merchant
        if wanted is None:
            lightning_names.release_name(transaction, merchant_id)
        else:
            _take(transaction, services, merchant_id, wanted)
        detail = f"lightningName: {before or 'none'} -> {wanted or 'none'}"
        deed = Deed(action=AuditAction.MERCHANT_UPDATED, subject_id=merchant_id, detail=detail)
        record_in(transaction, services, principal, merchant_id=merchant_id, deed=deed)
        return merchant

    return await services.database.write(unit)


def _take(transaction: Transaction, services: Services, merchant_id: MerchantId, name: str) -> None:
    """Let a merchant, which is locked, be paid by this name.

    Raises:
        LightningNameTaken: another merchant had it first.
        LightningNamesUsedUp: it would be one too many.
    """
    taken = lightning_names.names_ever_of(transaction, merchant_id)
    if not lightning_names.take_name(transaction, merchant_id, name, at=services.now()):
        raise LightningNameTaken(name)
    if name not in taken and len(taken) >= NAMES_MAX:
        raise LightningNamesUsedUp(NAMES_MAX)


def payee_url(services: Services, name: str) -> str:
    """Return where a merchant's name, or an article's id, says what can be paid."""
    return f"{services.public_url}{WELL_KNOWN}{name}"


def lnurl_of(services: Services, name: str) -> str:
    return encode(payee_url(services, name))


def address_of(services: Services, name: str) -> str | None:
    """Return a Lightning Address; None where the server is reached below a path, or by a name without a dot."""
    parts = urlsplit(services.public_url)
    if parts.path:
        return None
    try:
        return check_lightning_address(f"{name}@{parts.netloc}")
    except InvalidInput:
        return None
