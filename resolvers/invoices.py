"""Making invoices: remembered before the provider is asked, so that a lost answer is found and never repeated."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from quittance.domain.access import Principal, Scope
from quittance.domain.errors import (
    CorrelationIdTaken,
    HoldNotSupported,
    IdempotencyConflict,
    InvoiceRejected,
    PaymentNotFound,
    PaymentNotPayable,
    ProviderMisconfigured,
    ProviderUnavailable,
)
from quittance.domain.ids import OPTION, PAYMENT, MerchantId, OptionId, PaymentId
from quittance.domain.money import Money
from quittance.domain.payment import (
    OptionState,
    Payment,
    PaymentOption,
    PaymentStatus,
    Standing,
    may_advance,
)
from quittance.domain.policy import Merchant
from quittance.providers.base import HoldsInvoices, Invoice, InvoiceRequest, ReceivingProvider
from quittance.resolvers.invoice_outcomes import changed, fail_option, mark_unknown, record_invoice
from quittance.resolvers.notify import check_notify_url
from quittance.resolvers.orders import InvoiceOrder, article_of, check_order, payment_of, rails_of
from quittance.resolvers.pace import next_check
from quittance.resolvers.rates import read_priced, write_priced
from quittance.resolvers.refund_addresses import check_refund_address
from quittance.resolvers.services import Services
from quittance.store import correlations, idempotency, merchants, options, payments, settlements
from quittance.store.transaction import Transaction

_POLL_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedInvoice:
    payment: Payment
    options: Sequence[PaymentOption]
    client_secret: str = field(repr=False)
    replayed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a unit left to do: a payment, and the attempts that this caller has just claimed; none when it stood before.

    ``first``: the payment has no other attempts.
    """

    payment_id: PaymentId
    payment: Payment | None = None
    claimed: Sequence[PaymentOption] = ()
    first: bool = False


async def generate_invoice(services: Services, principal: Principal, order: InvoiceOrder) -> GeneratedInvoice:
    """Create a payment and have every asked rail make its invoice.

    The same idempotency key with the same order returns the same payment, whatever became of it since; if its
    invoice was never made, making it is taken up again.

    Raises:
        PermissionDenied: the key may not create payments.
        ArticleNotFound, ArticleHidden, InvalidAmount, InvalidInput, UnknownProvider, IdempotencyConflict,
        CorrelationIdTaken, RefundAddressRefused, PayeeUnavailable, ForbiddenAddress, HoldNotSupported,
        RateUnavailable: nothing made.
        ProviderUnavailable: nobody was charged; the same key again is safe.
        InvoiceRejected, ProviderMisconfigured: the payment is in ERROR and can be retried.
        RateLimited: later.
    """
    merchant_id = principal.require(Scope.PAYMENTS_WRITE)
    check_order(order, services.rules)
    check_notify_url(services, order.notify_url, written_as=order.notify_format)
    await services.admit_mutation(principal)
    if order.refund_address is not None:
        await _check_refund_address(services, merchant_id, order)
    return await make_payment(services, merchant_id, order)


async def _check_refund_address(services: Services, merchant_id: MerchantId, order: InvoiceOrder) -> None:
    """Try the refund address of what would be a new payment; its owner is not asked again for one that stands."""

    def query(transaction: Transaction) -> Payment | None:
        key = order.idempotency_key
        if key is not None and idempotency.OF_MERCHANTS.find(transaction, owner=merchant_id, key=key) is not None:
            return None
        return _draft(transaction, services, order, merchant_id, PaymentId(services.new_id(PAYMENT)))[0]

    draft = await read_priced(services, query)
    if draft is not None:
        await check_refund_address(services, draft)


async def make_payment(services: Services, merchant_id: MerchantId, order: InvoiceOrder) -> GeneratedInvoice:
    """Create a payment of an order that was checked; as ``generate_invoice``, for callers who have no key."""
    payment_id = PaymentId(services.new_id(PAYMENT))
    plan = await write_priced(
        services,
        lambda transaction: _plan(transaction, services, order, merchant_id=merchant_id, payment_id=payment_id),
    )
    standing = await finish(services, plan)
    return GeneratedInvoice(
        payment=standing.payment,
        options=standing.options,
        client_secret=services.derive.client_secret(plan.payment_id),
        replayed=plan.payment is None,
    )


async def retry_payment(services: Services, principal: Principal, payment_id: PaymentId) -> Payment:
    """Give a payment that failed or expired a new invoice; the old one stays as history and may still be paid.

    It asks for the same amount as before: a price in a national currency was converted once, when it was first asked.

    Raises:
        PermissionDenied, PaymentNotFound, UnknownProvider, RateLimited: nothing changed.
        PaymentNotPayable: its status does not allow another try.
        ProviderUnavailable, InvoiceRejected, ProviderMisconfigured: as for ``generate_invoice``.
    """
    merchant_id = principal.require(Scope.PAYMENTS_WRITE)
    await services.admit_mutation(principal)

    def unit(transaction: Transaction) -> Plan:
        payment = payments.lock_payment(transaction, payment_id)
        if payment is None or payment.merchant_id != merchant_id:
            raise PaymentNotFound(payment_id)
        if payment.status is PaymentStatus.CANCELED:  # by this merchant, who can ask anew
            raise PaymentNotPayable(payment_id, payment.status)
        return begin_again(transaction, services, payment)

    return (await finish(services, await services.database.write(unit))).payment


def _plan(
    transaction: Transaction, services: Services, order: InvoiceOrder, *, merchant_id: MerchantId, payment_id: PaymentId
) -> Plan:
    now = services.now()
    if order.idempotency_key is not None:
        asked = idempotency.FirstUse(fingerprint=order.fingerprint(), payment_id=payment_id)
        first = idempotency.OF_MERCHANTS.remember(
            transaction, owner=merchant_id, key=order.idempotency_key, first_use=asked, at=now
        )
        if first.fingerprint != asked.fingerprint:
            raise IdempotencyConflict(order.idempotency_key)
        if first.payment_id != payment_id:
            return Plan(payment_id=first.payment_id)
    payment, rails, merchant = _draft(transaction, services, order, merchant_id, payment_id)
    if payment.correlation_id is not None:
        _claim_correlation_id(transaction, payment, payment.correlation_id, once=merchant.unique_correlation_ids)
    return begin(transaction, services, payment, rails=rails)


def _draft(
    transaction: Transaction, services: Services, order: InvoiceOrder, merchant_id: MerchantId, payment_id: PaymentId
) -> tuple[Payment, Sequence[ReceivingProvider], Merchant]:
    """Return the payment that an order comes to, not stored yet, its rails, and whose it is."""
    merchant = merchants.merchant_by_id(transaction, merchant_id)
    if merchant is None:
        raise RuntimeError(f"key of an unknown merchant {merchant_id}")
    article = None if order.article_id is None else article_of(transaction, order.article_id, merchant_id)
    rails = rails_of(services, order, merchant)
    payment = payment_of(services, order, merchant=merchant, article=article, payment_id=payment_id, rails=rails)
    return payment, rails, merchant


def _claim_correlation_id(transaction: Transaction, payment: Payment, correlation_id: str, *, once: bool) -> None:
    """Remember who had the id first, also where it may be used again: its merchant may change its mind.

    Raises:
        CorrelationIdTaken: another payment has it, and it is to be used ``once``.
    """
    first = correlations.claim_correlation_id(
        transaction, merchant_id=payment.merchant_id, correlation_id=correlation_id, payment_id=payment.id
    )
    if once and first != payment.id:
        raise CorrelationIdTaken(correlation_id, first)


def begin(
    transaction: Transaction, services: Services, payment: Payment, *, rails: Sequence[ReceivingProvider]
) -> Plan:
    """Remember a new payment, and an attempt on each rail for ``finish`` to make."""
    payments.insert_payment(transaction, payment)
    claimed = [_claimed_option(transaction, services, payment, rail=rail) for rail in rails]
    transaction.emit(changed(payment))
    return Plan(payment_id=payment.id, payment=payment, claimed=claimed, first=True)


def begin_again(transaction: Transaction, services: Services, payment: Payment) -> Plan:
    """Move a locked payment back to PENDING_INVOICE, with a new attempt on each of its rails for ``finish`` to make.

    Raises:
        PaymentNotPayable: its status does not allow another try.
    """
    if payment.status is PaymentStatus.PENDING_INVOICE:  # another caller's attempt is under way: join it
        return Plan(payment_id=payment.id)
    if not may_advance(payment.status, PaymentStatus.PENDING_INVOICE):
        raise PaymentNotPayable(payment.id, payment.status)
    earlier = options.options_of_payments(transaction, [payment.id])[0]
    rails = [services.rail(name) for name in dict.fromkeys(option.provider for option in earlier)]
    after = payment.advance(PaymentStatus.PENDING_INVOICE, at=services.now())
    payments.change_payment(transaction, payment, replace(after, expires_at=None, status_reason=None))
    transaction.emit(changed(after))
    missing = payment.amount.value - settlements.partial_value(transaction, payment.id)
    asked = replace(payment, amount=Money(missing, payment.amount.asset))  # what came in part is not asked for again
    claimed = [_claimed_option(transaction, services, asked, rail=rail) for rail in rails]
    return Plan(payment_id=payment.id, payment=payment, claimed=claimed)


def _claimed_option(
    transaction: Transaction, services: Services, payment: Payment, *, rail: ReceivingProvider
) -> PaymentOption:
    """Remember that ``rail`` is about to be asked, by this caller, for an invoice of this payment."""
    now = services.now()
    option_id = OptionId(services.new_id(OPTION))
    claimed_until = now + timedelta(seconds=services.rules.claim_s)
    option = PaymentOption(
        id=option_id,
        payment_id=payment.id,
        provider=rail.name,
        state=OptionState.PENDING,
        reference=rail.reference(services.derive.preimage(option_id)),
        amount=payment.amount,
        payment_request=None,
        created_at=now,
        expires_at=now + timedelta(seconds=payment.expires_in_s),
    )
    check_at = next_check(services.rules, now=now, option=option, payment=payment)
    options.insert_option(transaction, option, claimed_until=claimed_until, check_at=check_at)
    return option


async def finish(services: Services, plan: Plan) -> Standing:
    """Return the payment once its invoices are decided; callers in one process share one attempt.

    The attempt goes on when the caller goes away: what was begun at a provider is always brought to an end.
    """
    if plan.payment is not None:  # others may wait already, but only the holder of the claim can begin
        task = _begin(services, plan)
    elif plan.payment_id not in services.making:
        standing = await _stand(services, plan.payment_id)
        if standing.payment.status is PaymentStatus.ERROR:
            return await _revive(services, standing.payment)
        if not standing.undecided or standing.payment.status is not PaymentStatus.PENDING_INVOICE:
            return standing
        task = services.making.get(plan.payment_id) or _begin(services, plan)
    else:
        task = services.making[plan.payment_id]
    return await asyncio.shield(task)


def _begin(services: Services, plan: Plan) -> "asyncio.Task[Standing]":
    """Start making the invoices, where later callers of this process find it."""

    def forget(ended: "asyncio.Task[Standing]") -> None:
        if services.making.get(plan.payment_id) is ended:
            del services.making[plan.payment_id]

    task = asyncio.create_task(_make_invoices(services, plan))
    services.making[plan.payment_id] = task
    task.add_done_callback(forget)
    return task


async def _revive(services: Services, payment: Payment) -> Standing:
    """Take up a payment whose invoice could not be made, because its caller asks for it again."""

    def unit(transaction: Transaction) -> Plan:
        current = payments.lock_payment(transaction, payment.id)
        if current is None or current.status is not PaymentStatus.ERROR:
            return Plan(payment_id=payment.id)
        return begin_again(transaction, services, current)

    return await finish(services, await services.database.write(unit))


async def _stand(services: Services, payment_id: PaymentId) -> Standing:
    """Return the payment and its attempts as they stand."""

    def query(transaction: Transaction) -> tuple[Payment | None, list[PaymentOption]]:
        # options first: both change in one commit, so a payment read after them is never older than they are
        every = options.options_of_payments(transaction, [payment_id])[0]
        return payments.payments_by_id(transaction, [payment_id])[0], every

    payment, every = await services.database.read(query)
    if payment is None:
        raise RuntimeError(f"payment {payment_id} is missing after its commit")
    return Standing(payment=payment, options=every)


async def _make_invoices(services: Services, plan: Plan) -> Standing:
    """Have each attempt's rail make its invoice, and return how the payment stands then.

    Raises:
        ProviderUnavailable, InvoiceRejected, ProviderMisconfigured: the first failure, when no rail made one.
    """
    failures: list[Exception] = []
    if plan.payment is not None:
        opened = [await attempt(services, plan.payment, option, failures) for option in plan.claimed]
        made = [one for one in opened if one is not None]
        if plan.first and len(made) == len(plan.claimed):
            return Standing(payment=made[-1][0], options=[option for _, option in made])
    else:
        await _take_over(services, plan.payment_id, failures)
    standing = await _stand(services, plan.payment_id)
    if failures and standing.payment.status in {PaymentStatus.PENDING_INVOICE, PaymentStatus.ERROR}:
        raise failures[0]
    return standing


async def _take_over(services: Services, payment_id: PaymentId, failures: list[Exception]) -> None:
    """Make what another caller began and has not finished, once its claim lapses; until then, wait for it."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + services.rules.wait_for_invoice_s
    while loop.time() < deadline:
        standing = await _stand(services, payment_id)
        if not standing.undecided or standing.payment.status is not PaymentStatus.PENDING_INVOICE:
            return
        taken = [option for option in standing.undecided if await claim(services, option)]
        for option in taken:
            await attempt(services, standing.payment, option, failures)
        if failures:
            return
        if not taken:
            await asyncio.sleep(_POLL_S)
    failures.append(ProviderUnavailable((await _stand(services, payment_id)).payment.provider))


async def claim(services: Services, option: PaymentOption) -> bool:
    """Take an undecided attempt over, if nobody works on it."""
    now = services.now()
    until = now + timedelta(seconds=services.rules.claim_s)
    return await services.database.write(
        lambda transaction: options.claim_option(transaction, option.id, now=now, until=until)
    )


async def attempt(
    services: Services, payment: Payment, option: PaymentOption, failures: list[Exception]
) -> tuple[Payment, PaymentOption] | None:
    """Have the rail make the invoice of an attempt that the caller claimed; return both once it can be paid.

    What went wrong is recorded, and added to ``failures``.
    """
    request = InvoiceRequest(
        amount=option.amount,
        description=payment.description or f"Payment {payment.id}",
        expires_in_s=payment.expires_in_s,
        described_by=payment.described_by,
        preimage=services.derive.preimage(option.id),
    )
    try:
        invoice = await _ask_for_invoice(services.rail(option.provider), request, hold=payment.hold)
    except ProviderUnavailable as error:
        await mark_unknown(services, option)
        failures.append(error)
    except (HoldNotSupported, InvoiceRejected, ProviderMisconfigured) as error:
        await fail_option(services, option, reason=error.code)
        failures.append(error)
    else:
        return await record_invoice(services, option, invoice)
    return None


async def _ask_for_invoice(rail: ReceivingProvider, request: InvoiceRequest, *, hold: bool) -> Invoice:
    """Never ask for an ordinary invoice where money is to be held: it would be taken the moment it comes."""
    if not hold:
        return await rail.create_invoice(request)
    if not isinstance(rail, HoldsInvoices):
        raise HoldNotSupported(rail.name)
    return await rail.create_held_invoice(request)
