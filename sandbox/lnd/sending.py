"""What a person's wallet lets its node send, and what can be said of a payment that failed."""

from typing import Final

from quittance.providers.lnd._proto import lnrpc_pb2 as ln
from quittance.providers.lnd._proto import routerrpc_pb2 as router
from quittance.sandbox.lnd import paying
from quittance.sandbox.lnd.network import Network

_FEE_MSAT_MIN: Final = 10_000


def why_failed(network: Network, order: paying.PaymentOrder, reason: int) -> str:
    """Return why the payee sent money back, where the sandbox can see more than a payer could."""
    payee = network.node_at(order.destination)
    invoice = payee.invoices.get(order.payment_hash) if payee is not None else None
    if reason == ln.FAILURE_REASON_INCORRECT_PAYMENT_DETAILS and invoice is not None:
        if invoice.state == ln.Invoice.SETTLED:
            return "invoice is already paid"
        if invoice.state == ln.Invoice.CANCELED:
            return "invoice is canceled"
    return ln.PaymentFailureReason.Name(ln.PaymentFailureReason.ValueType(reason))


def payment_of(payment_request: str, *, amount_msat: int | None) -> router.SendPaymentRequest:
    """Return what a wallet would send: by invoice, or by its parts when the payer wants another amount."""
    invoice = paying.read_invoice(payment_request)
    value_msat = amount_msat if amount_msat is not None else invoice.amount_msat or 0
    fee_limit_msat = max(_FEE_MSAT_MIN, value_msat // 100)
    if amount_msat is None or invoice.amount_msat is None:
        return router.SendPaymentRequest(
            payment_request=payment_request, amt_msat=amount_msat or 0, fee_limit_msat=fee_limit_msat
        )
    return router.SendPaymentRequest(
        dest=bytes.fromhex(invoice.payee),
        payment_hash=bytes.fromhex(invoice.payment_hash),
        payment_addr=bytes.fromhex(invoice.payment_secret or ""),
        amt_msat=value_msat,
        fee_limit_msat=fee_limit_msat,
    )
