"""What payers may do about money that is owed back to them: see it, and have it sent."""

from quittance.domain.access import Principal, Scope
from quittance.domain.errors import PaymentNotFound
from quittance.domain.ids import MerchantId, TransferId
from quittance.domain.payment import Payment
from quittance.domain.transfer import RefundReason, Transfer
from quittance.resolvers.payments import find_payment, is_payers
from quittance.resolvers.refunds import RefundOrder, begin_refund
from quittance.resolvers.services import Services
from quittance.resolvers.transfer_requests import begin_transfer
from quittance.resolvers.transfers import check_texts
from quittance.store import payments, transfers
from quittance.store.transaction import Transaction


async def claim_refund(
    services: Services, principal: Principal, order: RefundOrder, client_secret: str | None
) -> Transfer:
    """Send a payer what is owed back to them, and no more; the way is paid out of it.

    A merchant's key does not do: where the money goes is for the payer to say.

    Raises:
        As ``refund_payment``.
    """
    check_texts(
        idempotency_key=order.idempotency_key, comment=order.comment, reference_max=services.rules.reference_max
    )
    await services.admit_asking(principal)

    def unit(transaction: Transaction) -> Transfer:
        payment = payments.lock_payment(transaction, order.payment_id)
        if payment is None or not _may_claim(services, principal, payment, client_secret):
            raise PaymentNotFound(order.payment_id)
        return begin_refund(transaction, services, payment, order, reason=RefundReason.CLAIMED)[0]

    def merchant_of(transaction: Transaction) -> MerchantId | None:
        found = payments.payments_by_id(transaction, [order.payment_id])[0]
        return None if found is None else found.merchant_id

    return await begin_transfer(services, principal, unit, subject_id=order.payment_id, merchant_of=merchant_of)


def _may_claim(services: Services, principal: Principal, payment: Payment, client_secret: str | None) -> bool:
    """Tell whether this caller says where the money goes: the account it belongs to, else who has the client secret.

    A client secret that was shared before the account claimed the payment still opens the article, and no money.
    """
    if payment.account_id is not None:
        return principal.account_id == payment.account_id
    return is_payers(services, principal, payment, client_secret)


async def find_transfer(services: Services, principal: Principal, transfer_id: TransferId) -> Transfer | None:
    """Return a refund or a payout that this caller may see: its owner's, or of a payment that they may see."""
    found = (await services.database.read(lambda t: transfers.transfers_by_id(t, [transfer_id])))[0]
    if found is None:
        return None
    if found.payment_id is not None:
        return found if await find_payment(services, principal, found.payment_id) is not None else None
    owner = principal.account_id or principal.merchant_with(Scope.PAYMENTS_READ)
    return found if found.owner_id == owner else None
