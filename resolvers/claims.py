"""What was bought anonymously, made an account's own."""

from quittance.domain.access import Principal
from quittance.domain.errors import AlreadyOwned, InvalidInput, PaymentNotClaimable
from quittance.domain.ids import AccountId, PaymentId
from quittance.domain.payment import Payment, PaymentStatus
from quittance.resolvers.purchases import own_view_id
from quittance.resolvers.services import Services
from quittance.store import payments, readers
from quittance.store.transaction import Transaction


async def claim_payment(services: Services, principal: Principal, client_secret: str) -> Payment:
    """Have an anonymous view payment buy for the calling reader from now on; the same again changes nothing.

    It may be settled or not, or settle meanwhile. An own payment for the same article on which nothing came gives
    way and becomes anonymous: its client secret, and money that still comes on it, open the article as before.

    Raises:
        LoginRequired, InvalidInput, RateLimited: nothing changed.
        PaymentNotClaimable: it buys for another account, or for the merchant.
        AlreadyOwned: the account bought the article with another payment, or paid a part of it; the client secret
            still opens this one.
    """
    account_id = principal.require_account()
    await services.admit_mutation(principal)
    payment_id = services.derive.payment_opened_by(client_secret)
    if payment_id is None:
        raise InvalidInput("clientSecret", "this client secret opens no payment; send it as it was given")
    return await services.database.write(lambda transaction: _claim(transaction, services, account_id, payment_id))


def _claim(transaction: Transaction, services: Services, account_id: AccountId, payment_id: PaymentId) -> Payment:
    readers.lock_account(transaction, account_id)  # before any payment, as a purchase does: nobody waits in a circle
    payment = payments.lock_payment(transaction, payment_id)
    if payment is None:
        raise InvalidInput("clientSecret", "this client secret opens no payment; send it as it was given")
    if payment.viewer == account_id:
        return payment
    if payment.viewer != payment.id or payment.article_id is None:
        raise PaymentNotClaimable(payment_id)
    found = own_view_id(transaction, payment.article_id, account_id)
    own = None if found is None else payments.lock_payment(transaction, found)
    now = services.now()
    if own is not None:
        if own.status is PaymentStatus.COMPLETE or (own.received is not None and own.received.value):
            raise AlreadyOwned(own.id, payment.article_id)
        payments.change_viewer(transaction, own, to=own.id, at=now)
    return payments.change_viewer(transaction, payment, to=account_id, at=now)
