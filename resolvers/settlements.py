"""Booking money that arrived: once, in one transaction, whoever reports it and how often."""

from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum

from quittance.domain.event import EventKind
from quittance.domain.ids import LEDGER_TRANSACTION, SETTLEMENT, SettlementId
from quittance.domain.ledger import entries_of_settlement
from quittance.domain.money import Money
from quittance.domain.payment import OptionState, Payment, PaymentOption, PaymentStatus
from quittance.domain.policy import Decision, decide
from quittance.providers.base import FeedPosition, Settlement
from quittance.resolvers.services import Services
from quittance.store import articles, ledger, merchants, options, payments, settlements
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
    payment = payments.lock_payment(transaction, option.payment_id)
    if payment is None:
        raise RuntimeError(f"option {option.id} has no payment")
    merchant = merchants.merchant_by_id(transaction, payment.merchant_id)
    if merchant is None:
        raise RuntimeError(f"payment {payment.id} has no merchant")
    received = settlement.received.rescaled_exactly(payment.amount.asset)
    decision = decide(
        merchant.policy,
        asked=payment.amount,
        before=Money(settlements.partial_value(transaction, payment.id), payment.amount.asset),
        received=received,
        complete=payment.status is PaymentStatus.COMPLETE,
        late_by=_late_by(payment, option, settled_at=settlement.settled_at),
    )
    now = services.now()
    settlement_id = SettlementId(services.new_id(SETTLEMENT))
    added = settlements.insert_settlement(
        transaction,
        settlements.BookedSettlement(
            id=settlement_id,
            provider=provider,
            reference=settlement.reference,
            payment_id=payment.id,
            option_id=option.id,
            received=received,
            disposition=decision.disposition,
            settled_at=settlement.settled_at,
            booked_at=now,
        ),
    )
    if not added:
        return Booking.DUPLICATE
    after = _move_payment(
        transaction, payment, received=received, decision=decision, settled_at=settlement.settled_at, now=now
    )
    pending = after.status is not PaymentStatus.COMPLETE
    check_at = max(now, option.expires_at + timedelta(seconds=services.rules.expiry_grace_s)) if pending else None
    options.set_option_state(transaction, option.id, OptionState.SETTLED, check_at=check_at)
    if decision.completes:
        options.close_other_options(transaction, payment.id, but=option.id, check_at=now)
        if payment.article_id is not None:
            articles.count_purchase(transaction, payment.article_id, payment.purpose)
    ledger.post(
        transaction,
        entries_of_settlement(provider=provider, merchant_id=payment.merchant_id, received=received, decision=decision),
        transaction_id=services.new_id(LEDGER_TRANSACTION),
        settlement_id=settlement_id,
        at=now,
    )
    return Booking.BOOKED


def _late_by(payment: Payment, option: PaymentOption, *, settled_at: datetime) -> timedelta | None:
    """Return how long after its time the money came; money for a canceled payment is as late as can be."""
    if payment.status is PaymentStatus.CANCELED:
        return timedelta.max
    late_by = settled_at - option.expires_at
    return late_by if late_by > timedelta(0) else None


def _move_payment(
    transaction: Transaction,
    payment: Payment,
    *,
    received: Money,
    decision: Decision,
    settled_at: datetime,
    now: datetime,
) -> Payment:
    before = payment
    after = replace(payment, received=received if payment.received is None else payment.received + received)
    if decision.completes:
        if after.status is PaymentStatus.PENDING_INVOICE:
            after = after.advance(PaymentStatus.PENDING_PAYMENT, at=now)
        after = replace(after.advance(PaymentStatus.COMPLETE, at=now), settled_at=settled_at, status_reason=None)
    after = replace(after, modified_at=now)
    if not payments.change_payment(transaction, before, after):
        raise RuntimeError(f"payment {payment.id} changed while it was locked")
    transaction.emit(
        EventDraft(
            kind=EventKind.PAYMENT_SETTLED if decision.completes else EventKind.PAYMENT_UPDATED,
            merchant_id=payment.merchant_id,
            payment_id=payment.id,
            article_id=payment.article_id,
            status=after.status.value,
        )
    )
    return after
