"""Upvotes are shared out: fixed by the unit that completes them, posted to readers page by page, each share once."""

from quittance.domain.ids import LEDGER_TRANSACTION, PaymentId
from quittance.domain.job import Job, JobEnd, JobKind, JobState
from quittance.domain.ledger import entries_of_shares
from quittance.domain.money import Money
from quittance.domain.payment import Payment
from quittance.domain.split import split_equally
from quittance.domain.upvote import Upvote, Upvoter, UpvoteState
from quittance.resolvers.automatic_payouts import plan_automatic_payouts
from quittance.resolvers.jobs import JobRun, new_job
from quittance.resolvers.services import Services
from quittance.store import jobs, ledger, settlements, upvotes
from quittance.store.settlements import BookedSettlement
from quittance.store.transaction import Transaction

SHARES_A_UNIT = 500  # a unit holds the accounts that it posts to, and the writer of SQLite


def record_upvote(
    transaction: Transaction, services: Services, payment: Payment, *, booked: BookedSettlement, accepted: Money
) -> int:
    """Fix who shares in an upvote that this unit completes, and return how much is to be set aside for them.

    Call it once the unit has counted the upvote: that locks the article, so upvotes complete one after the other.
    """
    if payment.article_id is None:
        raise RuntimeError(f"the upvote {payment.id} is of no article")
    account_id = payment.account_id
    before = upvotes.last_place(transaction, payment.article_id)
    place = None if account_id is None else upvotes.place_of(transaction, payment.article_id, account_id)
    total = Money(settlements.partial_value(transaction, payment.id) + accepted.value, accepted.asset)
    split = split_equally(total, sharers=before if place is None else before - 1)
    upvote = Upvote(
        payment_id=payment.id,
        article_id=payment.article_id,
        merchant_id=payment.merchant_id,
        account_id=account_id,
        settlement_id=booked.id,
        split=split,
        voters_before=before,
        state=UpvoteState.SPLITTING if split.sharers else UpvoteState.SPLIT,
        completed_at=booked.booked_at,
    )
    upvotes.insert_upvote(transaction, upvote)
    if account_id is not None and place is None:
        upvotes.insert_upvoter(transaction, payment.article_id, Upvoter(place=before + 1, account_id=account_id))
    if split.sharers:
        jobs.add_job(transaction, _job(services, upvote))
    return split.shared.value


async def share_out(services: Services, job: Job) -> JobRun:
    """Post what is left of an upvote's shares. Killed anywhere, it goes on behind the last page that was committed."""
    payment_id = PaymentId(job.subject)
    while await services.database.write(lambda transaction: _post_page(transaction, services, payment_id)):
        pass
    return JobRun(end=JobEnd(state=JobState.DONE))


def _post_page(transaction: Transaction, services: Services, payment_id: PaymentId) -> bool:
    """Post some shares, and note it in the same unit; True while more are left."""
    upvote = upvotes.lock_upvote(transaction, payment_id)
    if upvote is None:
        raise RuntimeError(f"there is no upvote {payment_id}")
    if upvote.state is UpvoteState.SPLIT:
        return False
    page = upvotes.next_sharers(transaction, upvote, limit=SHARES_A_UNIT)
    ended = upvote.posted_count + len(page) == upvote.split.sharers
    if not page or upvote.posted_count + len(page) > upvote.split.sharers:
        raise RuntimeError(f"{upvote.split.sharers} share in the upvote {payment_id}, and others were found")
    plan_automatic_payouts(transaction, services, [upvoter.account_id for upvoter in page])  # jobs before balances
    ledger.post(
        transaction,
        entries_of_shares(
            merchant_id=upvote.merchant_id,
            share=upvote.split.share,
            account_ids=[upvoter.account_id for upvoter in page],
        ),
        transaction_id=services.new_id(LEDGER_TRANSACTION),
        settlement_id=upvote.settlement_id,
        at=services.now(),
    )
    upvotes.advance_upvote(
        transaction, upvote, posted=page, state=UpvoteState.SPLIT if ended else UpvoteState.SPLITTING
    )
    return not ended


def _job(services: Services, upvote: Upvote) -> Job:
    return new_job(
        services,
        JobKind.UPVOTE_SPLIT,
        subject=upvote.payment_id,
        lane=f"{upvote.merchant_id}/upvotes",
        order=None,
        due_at=services.now(),
    )
