"""Booking money that arrived: once, in one transaction, whoever reports it and how often."""

from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum

from quittance.domain.event import EventKind
from quittance.domain.ids import LEDGER_TRANSACTION, SETTLEMENT, SettlementId
from quittance.domain.ledger import entries_of_settlement
from quittance.domain.money import Money
from quittance.domain.payment import OptionState, Payment, PaymentOption, PaymentPurpose, PaymentStatus
from quittance.domain.policy import Decision, decide
from quittance.providers.base import FeedPosition, Settlement
from quittance.resolvers.policy_refunds import plan_policy_refund
from quittance.resolvers.services import Services
from quittance.resolvers.upvotes import record_upvote
from quittance.store import articles, ledger, merchants, options, payments, refund_totals, settlements
from quittance.store.transaction import EventDraft, Transaction


class Booking(StrEnum):
    """What became of a report. FOREIGN: not our invoice; DUPLICATE: booked before, nothing changed."""

    BOOKED = "BOOKED"
    DUPLICATE = "DUPLICATE"
    FOREIGN = "FOREIGN"


async def report_settlement(services: Services, *, provider: str, settlement: Settlement) -> Booking:
    """Book one settlement together with the feed position it came with."""

    def unit(transaction: Transaction) -> Booking:
        booking = book_settlement(transaction, services, provider=provider, settlement=settlement)
        if settlement.position is not None:
            settlements.advance_feed(
                transaction,
                provider=provider,
                source=settlement.position.source,
                index=settlement.position.index,
                at=services.now(),
            )
        return booking

    return await services.database.write(unit)


async def feed_position(services: Services, *, provider: str) -> FeedPosition | None:
    """Return how far the provider's settlement feed is booked."""
    found = await services.database.read(lambda transaction: settlements.feed_position(transaction, provider))
    return None if found is None else FeedPosition(source=found[0], index=found[1])


async def replace_feed_position(services: Services, *, provider: str, position: FeedPosition) -> None:
    """Remember that everything up to ``position`` is booked, even if it is lower than before."""
    await services.database.write(
        lambda transaction: settlements.replace_feed(
            transaction, provider=provider, source=position.source, index=position.index, at=services.now()
        )
    )


def book_settlement(transaction: Transaction, services: Services, *, provider: str, settlement: Settlement) -> Booking:
    """Advance the payment, post the ledger and append the event; a second report of the same money does nothing."""
    option = options.option_by_reference(transaction, provider=provider, reference=settlement.reference)
    if option is None:
        return Booking.FOREIGN
    payment = payments.lock_payment_of(transaction, option)
    decision = _decide(transaction, payment, option, settlement)
    booked = settlements.BookedSettlement(
        id=SettlementId(services.new_id(SETTLEMENT)),
        merchant_id=payment.merchant_id,
        provider=provider,
        reference=settlement.reference,
        payment_id=payment.id,
        option_id=option.id,
        received=decision.accepted + decision.refundable,
        disposition=decision.disposition,
        settled_at=settlement.settled_at,
        booked_at=services.now(),
    )
    if not settlements.insert_settlement(transaction, booked):
        return Booking.DUPLICATE
    after = _move_payment(transaction, payment, booked=booked, decision=decision)
    _settle_option(transaction, services, after, option, decision=decision)
    shared = 0
    if decision.completes and after.purpose is PaymentPurpose.UPVOTE:
        shared = record_upvote(transaction, services, after, booked=booked, accepted=decision.accepted)
    if decision.refundable.value and after.received is not None:  # before the ledger, as whoever ends a refund does
        refund_totals.owe_back(transaction, after.id, received=after.received.value, more=decision.refundable.value)
    ledger.post(
        transaction,
        entries_of_settlement(
            provider=provider,
            merchant_id=payment.merchant_id,
            received=booked.received,
            decision=decision,
            shared=shared,
        ),
        transaction_id=services.new_id(LEDGER_TRANSACTION),
        settlement_id=booked.id,
        at=booked.booked_at,
    )
    if decision.refundable.value:
        plan_policy_refund(transaction, services, after, booked)
    return Booking.BOOKED


def _decide(transaction: Transaction, payment: Payment, option: PaymentOption, settlement: Settlement) -> Decision:
    merchant = merchants.merchant_by_id(transaction, payment.merchant_id)
    if merchant is None:
        raise RuntimeError(f"payment {payment.id} has no merchant")
    return decide(
        merchant.policy,
        asked=payment.amount,
        before=Money(settlements.partial_value(transaction, payment.id), payment.amount.asset),
        received=settlement.received.rescaled_exactly(payment.amount.asset),
        complete=payment.status is PaymentStatus.COMPLETE,
        late_by=_late_by(payment, option, settled_at=settlement.settled_at),
    )


def _settle_option(
    transaction: Transaction, services: Services, after: Payment, option: PaymentOption, *, decision: Decision
) -> None:
    """End the attempt and, if the payment is complete, the others; one that is not must still expire in its time."""
    now = services.now()
    overdue = option.expires_at + timedelta(seconds=services.rules.expiry_grace_s)
    check_at = None if after.status is PaymentStatus.COMPLETE else max(now, overdue)
    options.set_option_state(transaction, option, OptionState.SETTLED, check_at=check_at)
    if decision.completes:
        options.close_other_options(transaction, after.id, but=option.id, check_at=now)
        if after.article_id is not None:
            articles.count_purchase(transaction, after.article_id, after.purpose)


def _late_by(payment: Payment, option: PaymentOption, *, settled_at: datetime) -> timedelta | None:
    """Return how long after its time the money came; money for a canceled payment is as late as can be.

    What was held came when it was locked, which was in time, however much later it was captured.
    """
    if option.state is OptionState.HELD:
        return None
    if payment.status is PaymentStatus.CANCELED:
        return timedelta.max
    late_by = settled_at - option.expires_at
    return late_by if late_by > timedelta(0) else None


def _move_payment(
    transaction: Transaction, before: Payment, *, booked: settlements.BookedSettlement, decision: Decision
) -> Payment:
    received = booked.received if before.received is None else before.received + booked.received
    now = booked.booked_at
    after = replace(before, received=received)
    if decision.completes:
        if after.status is PaymentStatus.PENDING_INVOICE:
            after = after.advance(PaymentStatus.PENDING_PAYMENT, at=now)
        after = after.advance(PaymentStatus.COMPLETE, at=now)
        after = replace(after, settled_at=booked.settled_at, status_reason=None)
    after = replace(after, modified_at=now)
    if not payments.change_payment(transaction, before, after):
        raise RuntimeError(f"payment {before.id} changed while it was locked")
    transaction.emit(
        EventDraft(
            kind=EventKind.PAYMENT_SETTLED if decision.completes else EventKind.PAYMENT_UPDATED,
            merchant_id=after.merchant_id,
            payment_id=after.id,
            article_id=after.article_id,
            account_id=after.account_id,
            status=after.status.value,
        )
    )
    return after
