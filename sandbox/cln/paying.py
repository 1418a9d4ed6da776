"""The calls by which a Core Lightning node pays."""

from contextlib import aclosing
from typing import Any, Final

from quittance.domain import bolt11
from quittance.providers.lnd._proto import lnrpc_pb2 as ln
from quittance.sandbox.cln.parameters import Parameters, hash_of, number, text
from quittance.sandbox.cln.refusals import (
    ALREADY_PAID,
    DESTINATION_REFUSED,
    INVOICE_EXPIRED,
    NO_FUNDS,
    NO_ROUTE,
    PLUGIN,
    TOO_EXPENSIVE,
    WRONG_PARAMETERS,
    Refused,
)
from quittance.sandbox.lnd import paying, refusals
from quittance.sandbox.lnd.network import Network
from quittance.sandbox.lnd.node import SandboxNode
from quittance.sandbox.lnd.records import PaymentRecord

_FEE_MSAT_MIN: Final = 5_000
_STATUS: Final = {ln.Payment.SUCCEEDED: "complete", ln.Payment.FAILED: "failed", ln.Payment.IN_FLIGHT: "pending"}
_NO_PART: Final = frozenset({ln.FAILURE_REASON_NO_ROUTE, ln.FAILURE_REASON_INSUFFICIENT_BALANCE})

Answer = dict[str, Any]


class Paying:
    """Payments by one node."""

    def __init__(self, network: Network, node: SandboxNode) -> None:
        self._network = network
        self._node = node

    async def xpay(self, given: Parameters) -> Answer:
        """Pay an invoice and wait until that is final."""
        order = self._order(given)
        earlier = self._node.payments.get(order.payment_hash)
        if earlier is not None and earlier.status == ln.Payment.SUCCEEDED:
            raise Refused(ALREADY_PAID, "Already paid this invoice successfully")
        if earlier is not None and not earlier.is_final:
            raise Refused(PLUGIN, "Unexpected injectpaymentonion error 200: still in progress")
        payment = paying.start(self._network, self._node, order)
        async with aclosing(paying.follow(self._node, order.payment_hash)) as changes:
            async for change in changes:
                payment = change
        if payment.status == ln.Payment.SUCCEEDED:
            return {
                "payment_preimage": payment.preimage.hex(),
                "failed_parts": 0,
                "successful_parts": 1,
                "amount_msat": payment.value_msat,
                "amount_sent_msat": payment.value_msat + payment.fee_msat,
            }
        raise _failure(payment, order)

    def listpays(self, given: Parameters) -> Answer:
        """List payments of which at least one part was sent: all, or those with one hash."""
        payment_hash = hash_of(given, "payment_hash")
        found = [
            payment
            for payment in self._node.payments.values()
            if payment_hash in {None, payment.payment_hash} and payment.failure_reason not in _NO_PART
        ]
        return {"pays": [_row(payment) for payment in found]}

    def _order(self, given: Parameters) -> paying.PaymentOrder:
        try:
            invoice = paying.read_invoice(text(given, "invstring"))
        except refusals.Refused as refusal:
            raise Refused(WRONG_PARAMETERS, f"Invalid bolt11 invoice: {refusal.text}") from refusal
        if invoice.prefix != self._network.chain.prefix:
            raise Refused(WRONG_PARAMETERS, f"Invalid bolt11 invoice: Prefix {invoice.prefix} is not for regtest")
        amount_msat = _amount(invoice, number(given, "amount_msat", default=0))
        overdue_s = self._network.now_s() - invoice.expires_at_s
        if overdue_s > 0:
            raise Refused(INVOICE_EXPIRED, f"Invoice expired {overdue_s} seconds ago")
        return paying.PaymentOrder(
            destination=bytes.fromhex(invoice.payee),
            payment_hash=bytes.fromhex(invoice.payment_hash),
            payment_addr=bytes.fromhex(invoice.payment_secret or ""),
            amount_msat=amount_msat,
            fee_msat_max=number(given, "maxfee", default=max(_FEE_MSAT_MIN, amount_msat // 100)),
            payment_request=text(given, "invstring"),
            allow_self=True,
            settles_own=True,
        )


def _amount(invoice: bolt11.Bolt11, given_msat: int) -> int:
    if invoice.amount_msat is not None and given_msat:
        raise Refused(WRONG_PARAMETERS, "amount_msat unnecessary")
    if invoice.amount_msat is None and not given_msat:
        raise Refused(WRONG_PARAMETERS, "amount_msat required")
    return invoice.amount_msat or given_msat


def _failure(payment: PaymentRecord, order: paying.PaymentOrder) -> Refused:
    if payment.failure_reason == ln.FAILURE_REASON_INCORRECT_PAYMENT_DETAILS:
        return Refused(
            DESTINATION_REFUSED,
            "Destination said it doesn't know invoice: incorrect_or_unknown_payment_details",
        )
    if payment.failure_reason == ln.FAILURE_REASON_NO_ROUTE and payment.fee_msat > order.fee_msat_max:
        return Refused(TOO_EXPENSIVE, "Could not find route without excessive cost")
    if payment.failure_reason == ln.FAILURE_REASON_INSUFFICIENT_BALANCE:
        return Refused(NO_FUNDS, "Failed: We could not find a usable set of paths. source has too little capacity")
    return Refused(NO_ROUTE, "We could not find a usable set of paths.")


def _row(payment: PaymentRecord) -> Answer:
    row: Answer = {
        "bolt11": payment.payment_request,
        "destination": payment.destination.hex(),
        "payment_hash": payment.payment_hash.hex(),
        "status": _STATUS[payment.status],
        "created_at": payment.created_at_ns // 10**9,
        "created_index": payment.payment_index,
        "amount_sent_msat": 0,
    }
    if payment.status != ln.Payment.FAILED:
        row["amount_msat"] = payment.value_msat
        row["amount_sent_msat"] = payment.value_msat + payment.fee_msat
    if payment.status == ln.Payment.SUCCEEDED:
        row |= {"preimage": payment.preimage.hex(), "completed_at": row["created_at"]}
    return row
