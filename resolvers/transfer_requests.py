"""Transfers that somebody asks for: begun, their payee asked while the caller waits, and refusals written down."""

from collections.abc import Callable

from quittance.domain.access import Principal
from quittance.domain.audit import AuditAction, Deed
from quittance.domain.errors import QuittanceError
from quittance.domain.ids import MerchantId
from quittance.domain.job import JobKind
from quittance.domain.outgoing_errors import InvalidDestination
from quittance.domain.transfer import Transfer, TransferState
from quittance.resolvers.audit import record_in
from quittance.resolvers.payees import prepare
from quittance.resolvers.sending import written_down
from quittance.resolvers.services import Services
from quittance.resolvers.transfer_outcomes import given_up
from quittance.resolvers.transfers import ASKED, announce, give_back, transfer_job
from quittance.store import jobs, transfers
from quittance.store.transaction import Transaction


async def begin_transfer(
    services: Services,
    principal: Principal,
    unit: Callable[[Transaction], Transfer],
    *,
    subject_id: str,
    merchant_of: Callable[[Transaction], MerchantId | None],
) -> Transfer:
    """Run the unit that sets a transfer aside, and ask its payee, so that the caller hears at once what is wrong.

    A destination that is refused is written down under ``subject_id``, in the log of the merchant that ``merchant_of``
    finds.

    Raises:
        as the unit: nothing was begun.
        InvalidDestination, InvalidPayee, ForbiddenAddress, PayeeRefused, AmountOutOfBounds, PayeeInvoiceMismatch:
            the transfer has FAILED, and what was set aside is given back.
    """
    try:
        begun = await services.database.write(unit)
    except InvalidDestination as error:
        await record_refusal(services, principal, error, subject_id=subject_id, merchant_of=merchant_of)
        raise
    transfer = await _ask_payee(services, begun)
    services.wake_jobs()
    return transfer


async def record_refusal(
    services: Services,
    principal: Principal,
    error: InvalidDestination,
    *,
    subject_id: str,
    merchant_of: Callable[[Transaction], MerchantId | None],
) -> None:
    """Write down that money was asked to go where it cannot go."""

    def unit(transaction: Transaction) -> None:
        merchant_id = merchant_of(transaction)
        if merchant_id is not None:
            detail = f"{error.flaw}: {error.reason}"
            deed = Deed(action=AuditAction.DESTINATION_REFUSED, subject_id=subject_id, detail=detail)
            record_in(transaction, services, principal, merchant_id=merchant_id, deed=deed)

    await services.database.write(unit)


async def _ask_payee(services: Services, transfer: Transfer) -> Transfer:
    """Ask the payee of a new transfer for an invoice while its caller waits, so that they hear at once what is wrong.

    A try is written down with what the payee gave, and a job sends it. A payee that does not answer is asked again
    by the job.

    Raises:
        InvalidDestination, InvalidPayee, ForbiddenAddress, PayeeRefused, AmountOutOfBounds, PayeeInvoiceMismatch:
            the transfer has FAILED, and what was set aside is given back.
    """
    if transfer.state is not TransferState.PENDING or transfer.attempts or transfer.destination.kind not in ASKED:
        return transfer
    try:
        prepared = await prepare(services, transfer, services.payer(transfer.provider))
    except QuittanceError as error:
        if error.retryable:
            return transfer
        code = error.code
        begun_by_another = await services.database.write(lambda t: _refuse(t, services, transfer, code))
        if begun_by_another is not None:
            return begun_by_another
        raise

    def unit(transaction: Transaction) -> Transfer | None:
        begun = written_down(transaction, services, transfer, prepared, asked_at=None)
        if begun is not None:
            jobs.plan_job(transaction, transfer_job(services, transfer, due_at=services.now()))
        return None if begun is None else begun[0]

    return await services.database.write(unit) or transfer


def _refuse(transaction: Transaction, services: Services, transfer: Transfer, code: str) -> Transfer | None:
    """Fail a transfer of which nothing was sent; where another call or its job went on with it, return how it is."""
    after = given_up(services, transfer, reason=code)
    if not transfers.change_transfer(transaction, transfer, after):
        return transfers.transfers_by_id(transaction, [transfer.id])[0]
    jobs.drop_job(transaction, JobKind.TRANSFER, transfer.id)
    announce(transaction, after)
    give_back(transaction, services, after)
    return None
