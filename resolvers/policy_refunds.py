"""Money that a merchant's policy does not keep goes back by itself, once it is booked as owed.

A booking does not depend on where a refund goes: the money is owed first, and a job of its own sends it.
"""

from functools import partial

import structlog

from quittance.domain.errors import QuittanceError
from quittance.domain.ids import SettlementId
from quittance.domain.job import Job, JobEnd, JobKind, JobState
from quittance.domain.payment import Payment
from quittance.domain.policy import Disposition
from quittance.domain.transfer import RefundReason
from quittance.resolvers.jobs import JobRun, new_job
from quittance.resolvers.refunds import RefundOrder, begin_refund
from quittance.resolvers.services import Services
from quittance.store import jobs, payments, settlements
from quittance.store.settlements import BookedSettlement
from quittance.store.transaction import Transaction

log = structlog.get_logger("quittance.refunds")

_REASONS = {
    Disposition.LATE_REFUNDABLE: RefundReason.LATE,
    Disposition.UNDERPAID_REFUNDABLE: RefundReason.UNDERPAID,
    Disposition.SURPLUS_REFUNDABLE: RefundReason.SURPLUS,
    Disposition.ACCEPTED_EXCESS_REFUNDABLE: RefundReason.SURPLUS,
}


def plan_policy_refund(
    transaction: Transaction, services: Services, payment: Payment, booked: BookedSettlement
) -> None:
    """Have what is owed back of a settlement sent, where the payment says where to; else its payer can claim it."""
    if payment.refund_address is None:
        return
    job = new_job(
        services,
        JobKind.POLICY_REFUND,
        subject=booked.id,
        lane=f"{payment.merchant_id}/refunds",
        order=None,
        due_at=services.now(),
    )
    jobs.add_job(transaction, job)


async def refund_by_policy(services: Services, job: Job) -> JobRun:
    """Begin the refund of what is owed back of a settlement.

    Where it cannot be sent, to an address that cannot be paid say, it stays owed, and the payer can claim it.
    """
    return JobRun(end=JobEnd(state=JobState.DONE), also=partial(_begin, services, SettlementId(job.subject)))


def _begin(services: Services, settlement_id: SettlementId, transaction: Transaction) -> None:
    payment_id, disposition = settlements.disposition_of(transaction, settlement_id)
    payment = payments.lock_payment(transaction, payment_id)
    if payment is None:
        raise RuntimeError(f"settlement {settlement_id} is of no payment")
    order = RefundOrder(payment_id=payment.id, idempotency_key=settlement_id)
    try:
        begin_refund(transaction, services, payment, order, reason=_REASONS[disposition])
    except QuittanceError as error:
        log.warning("refund_stays_owed", payment=payment.id, code=error.code)
