"""Paying: what a payer's node refuses, where the money goes, and how a payment ends."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

import grpc

from quittance.domain import bolt11
from quittance.providers.lnd._proto import lnrpc_pb2 as ln
from quittance.providers.lnd._proto import routerrpc_pb2 as router
from quittance.sandbox.lnd.chains import NETWORK, Chain
from quittance.sandbox.lnd.invoices import HASH_BYTES, amount_msat
from quittance.sandbox.lnd.keys import recover
from quittance.sandbox.lnd.network import Network
from quittance.sandbox.lnd.node import Change, SandboxNode
from quittance.sandbox.lnd.records import (
    CUSTOM_RECORDS_FROM,
    KEYSEND_RECORD,
    InvoiceRecord,
    PaymentRecord,
    read_records,
    written_records,
)
from quittance.sandbox.lnd.refusals import Refused

_FEE_BASE_MSAT: Final = 1_000
_FEE_PPM: Final = 1
_CALL: Final = "SendPaymentV2"


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentOrder:
    """What to pay: an invoice, or its parts with an amount of the payer's choice.

    ``settles_own``: the payer settles its own invoices by itself. One that does not needs a way that leads back to it,
    and peers by default let nothing back through the channel it came by (LND's allow-circular-route).
    """

    destination: bytes
    payment_hash: bytes
    payment_addr: bytes
    amount_msat: int
    fee_msat_max: int
    payment_request: str
    allow_self: bool
    settles_own: bool = False
    custom_records: Mapping[int, bytes] = field(default_factory=dict)


def route_fee_msat(value_msat: int) -> int:
    """Return what the one hop between any two nodes charges: LND's default policy."""
    return _FEE_BASE_MSAT + value_msat * _FEE_PPM // 1_000_000


def read_invoice(payment_request: str) -> bolt11.Bolt11:
    """Return a decoded invoice.

    Raises:
        Refused: it does not decode.
    """
    try:
        return bolt11.decode(payment_request, recover=recover)
    except bolt11.MalformedInvoice as error:
        raise Refused(error.reason) from error


def check_network(invoice: bolt11.Bolt11, chain: Chain) -> None:
    """Accept an invoice of this chain.

    Raises:
        Refused: it is of another.
    """
    if invoice.prefix != chain.prefix:
        raise Refused(f"invoice not for current active network '{NETWORK}'")


def order_from(request: router.SendPaymentRequest, *, chain: Chain, now_s: int) -> PaymentOrder:
    """Read SendPaymentV2's request to a node of ``chain``.

    Raises:
        Refused: LND would not start it.
    """
    fee_msat_max = amount_msat(request.fee_limit_sat, request.fee_limit_msat)
    value_msat = amount_msat(request.amt, request.amt_msat)
    if not request.payment_request:
        return _order_of_parts(request, value_msat=value_msat, fee_msat_max=fee_msat_max)
    for name in ("dest", "payment_hash", "final_cltv_delta", "payment_addr"):
        if getattr(request, name):
            raise Refused(f"{name} and payment_request cannot appear together")
    invoice = read_invoice(request.payment_request)
    check_network(invoice, chain)
    if invoice.expires_at_s < now_s:
        raise Refused(f"invoice expired. Valid until {datetime.fromtimestamp(invoice.expires_at_s, UTC)}")
    if invoice.amount_msat is not None and value_msat:
        raise Refused("amount must not be specified when paying a non-zero amount invoice")
    if invoice.amount_msat is None and not value_msat:
        raise Refused("amount must be specified when paying a zero amount invoice")
    return PaymentOrder(
        destination=bytes.fromhex(invoice.payee),
        payment_hash=bytes.fromhex(invoice.payment_hash),
        payment_addr=bytes.fromhex(invoice.payment_secret or ""),
        amount_msat=invoice.amount_msat or value_msat,
        fee_msat_max=fee_msat_max,
        payment_request=request.payment_request,
        allow_self=request.allow_self_payment,
    )


def _order_of_parts(request: router.SendPaymentRequest, *, value_msat: int, fee_msat_max: int) -> PaymentOrder:
    if len(request.dest) != 33:
        raise Refused("invalid destination pubkey length")
    if len(request.payment_hash) != HASH_BYTES:
        raise Refused(f"invalid hash length of {len(request.payment_hash)}, want {HASH_BYTES}")
    if not value_msat:
        raise Refused("amount must be specified")
    if any(number < CUSTOM_RECORDS_FROM for number in request.dest_custom_records):
        raise Refused(f"custom records entry with TLV type below min: {CUSTOM_RECORDS_FROM}")
    return PaymentOrder(
        destination=request.dest,
        payment_hash=request.payment_hash,
        payment_addr=request.payment_addr,
        amount_msat=value_msat,
        fee_msat_max=fee_msat_max,
        payment_request="",
        allow_self=request.allow_self_payment,
        custom_records=dict(request.dest_custom_records),
    )


def start(network: Network, payer: SandboxNode, order: PaymentOrder) -> PaymentRecord:
    """Begin a payment and take it as far as it goes at once: paid, held, stuck or failed.

    Raises:
        Refused: it was not begun; with the chain's ``begun_code`` when an earlier one was.
    """
    if order.destination == payer.key.public and not order.allow_self:
        raise Refused("self-payments not allowed")
    earlier = payer.payments.get(order.payment_hash)
    if earlier is not None and earlier.status != ln.Payment.FAILED:
        paid = earlier.status == ln.Payment.SUCCEEDED
        text = "invoice is already paid" if paid else "payment is in transition"
        raise Refused(text, network.chain.begun_code)
    fee_msat = route_fee_msat(order.amount_msat)
    account = replace(payer.record, payment_index=payer.record.payment_index + 1)
    payment = PaymentRecord(
        node=payer.name,
        payment_index=account.payment_index,
        payment_hash=order.payment_hash,
        destination=order.destination,
        payment_addr=order.payment_addr,
        value_msat=order.amount_msat,
        fee_msat=fee_msat,
        payment_request=order.payment_request,
        custom_records=written_records(order.custom_records),
        created_at_ns=int(network.clock.now().timestamp() * 1_000_000) * 1_000,
    )
    reason = _no_way(network, payer, order, fee_msat=fee_msat)
    if reason is not None:
        payment = replace(payment, status=ln.Payment.FAILED, failure_reason=reason)
        network.apply(Change(nodes={payer.name: account}, payments=[payment]))
        return payment
    account = replace(account, balance_msat=account.balance_msat - order.amount_msat - fee_msat)
    change = Change(nodes={payer.name: account})
    if network.faults.take(network.chain.rail, "pending_forever", method=_CALL) is not None:
        change.payments.append(replace(payment, stuck=True))
        network.apply(change)
    else:
        _deliver(network, change, payment)
    return payer.payments[order.payment_hash]


def _no_way(
    network: Network, payer: SandboxNode, order: PaymentOrder, *, fee_msat: int
) -> "ln.PaymentFailureReason | None":
    balance_msat = payer.record.balance_msat
    if balance_msat < order.amount_msat:
        return ln.FAILURE_REASON_INSUFFICIENT_BALANCE
    if network.faults.take(network.chain.rail, "no_route", method=_CALL) is not None:
        return ln.FAILURE_REASON_NO_ROUTE
    if order.destination == payer.key.public and not order.settles_own:
        return ln.FAILURE_REASON_NO_ROUTE
    if network.node_at(order.destination) is None or fee_msat > order.fee_msat_max:
        return ln.FAILURE_REASON_NO_ROUTE
    if balance_msat < order.amount_msat + fee_msat:
        return ln.FAILURE_REASON_INSUFFICIENT_BALANCE
    return None


def _deliver(network: Network, change: Change, payment: PaymentRecord) -> None:
    """Bring money that left its payer to the invoice: settled, held, or back."""
    payee = network.node_at(payment.destination)
    assert payee is not None, "a route was found"
    invoice = payee.invoices.get(payment.payment_hash)
    if invoice is None:
        invoice = _unasked(network, payee, payment)
    refused = network.faults.take(network.chain.rail, "payee_refuses", method=_CALL) is not None
    if refused or invoice is None or not _accepts(invoice, payment, now_s=network.now_s()):
        network.fail(change, payment, ln.FAILURE_REASON_INCORRECT_PAYMENT_DETAILS)
        return
    invoice = replace(invoice, payer=payment.node)
    if not invoice.hold:
        change.payments.append(payment)
        network.settle(change, invoice, preimage=invoice.preimage, paid_msat=payment.value_msat)
        return
    change.payments.append(replace(payment, stuck=False))
    change.invoices.append(
        replace(invoice, state=ln.Invoice.ACCEPTED, accepted_at_s=network.now_s(), paid_msat=payment.value_msat)
    )
    network.apply(change)


def _unasked(network: Network, payee: SandboxNode, payment: PaymentRecord) -> InvoiceRecord | None:
    """Return the invoice that a node makes for money that brings its own preimage, or ``None``; it is kept later."""
    preimage = read_records(payment.custom_records).get(KEYSEND_RECORD, b"")
    if sha256(preimage).digest() != payment.payment_hash:
        return None
    if network.faults.take(network.chain.rail, "no_keysend", method=_CALL) is not None:
        return None
    return payee.invoices.unasked(
        preimage=preimage,
        payment_addr=payment.payment_addr,
        value_msat=payment.value_msat,
        custom_records=payment.custom_records,
        now_s=network.now_s(),
    )


def _accepts(invoice: InvoiceRecord, payment: PaymentRecord, *, now_s: int) -> bool:
    return (
        invoice.state == ln.Invoice.OPEN
        and invoice.due_at_s is not None
        and now_s <= invoice.due_at_s
        and payment.payment_addr == invoice.payment_addr
        and payment.value_msat >= invoice.value_msat
    )


def release(network: Network) -> None:
    """Let every stuck payment arrive, or fail where it comes too late."""
    for payment in network.payments_in_flight():
        _deliver(network, Change(), payment)


def give_up(network: Network) -> None:
    """Let every stuck payment fail."""
    for payment in network.payments_in_flight():
        network.fail(Change(), payment, ln.FAILURE_REASON_TIMEOUT)


async def follow(payer: SandboxNode, payment_hash: bytes) -> AsyncGenerator[PaymentRecord, None]:
    """Yield how a payment stands, then each change, until it is final.

    Raises:
        Refused: NOT_FOUND, the proof that the node never started it; or the stream was dropped.
    """
    with payer.listeners.payment(payment_hash) as changes:
        payment = payer.payments.get(payment_hash)
        if payment is None:
            raise Refused("payment isn't initiated", grpc.StatusCode.NOT_FOUND)
        yield payment
        while not payment.is_final:
            change = await changes.get()
            if change is None:
                raise Refused("Socket closed", grpc.StatusCode.UNAVAILABLE)
            payment = change
            yield payment


async def outcome(payer: SandboxNode, payment_hash: bytes, *, wait_s: float) -> PaymentRecord | None:
    """Return a payment once it is final; ``None`` when it is still in flight after ``wait_s``."""
    try:
        async with asyncio.timeout(wait_s):
            async with aclosing(follow(payer, payment_hash)) as changes:
                async for payment in changes:
                    if payment.is_final:
                        return payment
    except TimeoutError:
        return None
    return None
