"""Between the node's words about payments and our facts: what is final, what failed, and what proves a success."""

from collections.abc import Mapping
from typing import Final

import grpc
import grpc.aio

from quittance.domain.errors import InvoiceRejected, ProviderMisconfigured, QuittanceError, SendRefused
from quittance.domain.money import Asset, Money
from quittance.providers.base import SendFailure, SentPayment, SentStatus
from quittance.providers.lightning import NodeUnavailable
from quittance.providers.lightning_paying import proved
from quittance.providers.lnd._proto import lnrpc_pb2
from quittance.providers.lnd.errors import to_quittance_error

FINAL: Final = frozenset({SentStatus.SUCCEEDED, SentStatus.FAILED})
MAY_NOT_PAY: Final = "the macaroon may not pay; it needs offchain:read and offchain:write"
_NOT_ACCEPTED: Final = "the node does not accept the macaroon that is to pay"
_NO_ROUTER: Final = "the node cannot pay by the calls that we know; it is too old, or built without its router"
_UNTOLD: Final = "the node does not say what became of the payment"

_STATUS: Final[Mapping[int, SentStatus]] = {
    lnrpc_pb2.Payment.INITIATED: SentStatus.IN_FLIGHT,
    lnrpc_pb2.Payment.IN_FLIGHT: SentStatus.IN_FLIGHT,
    lnrpc_pb2.Payment.SUCCEEDED: SentStatus.SUCCEEDED,
    lnrpc_pb2.Payment.FAILED: SentStatus.FAILED,
}
_FAILURE: Final[Mapping[int, SendFailure]] = {
    lnrpc_pb2.FAILURE_REASON_NONE: SendFailure.OTHER,
    lnrpc_pb2.FAILURE_REASON_TIMEOUT: SendFailure.TIMEOUT,
    lnrpc_pb2.FAILURE_REASON_NO_ROUTE: SendFailure.NO_ROUTE,
    lnrpc_pb2.FAILURE_REASON_ERROR: SendFailure.OTHER,
    lnrpc_pb2.FAILURE_REASON_INCORRECT_PAYMENT_DETAILS: SendFailure.REFUSED_BY_PAYEE,
    lnrpc_pb2.FAILURE_REASON_INSUFFICIENT_BALANCE: SendFailure.INSUFFICIENT_BALANCE,
    lnrpc_pb2.FAILURE_REASON_CANCELED: SendFailure.CANCELED,
}
assert _FAILURE.keys() == set(lnrpc_pb2.PaymentFailureReason.values())

# What LND says before a payment exists, and at no other time. Anything that is not here may be said of one that runs.
_REFUSED: Final[Mapping[str, str]] = {
    "invoice expired": "the invoice has expired",
    "invoice not for current active network": "the invoice is for another network",
    "amount must be specified": "the invoice names no amount, and none was given",
    "amount must not be specified": "the invoice names an amount, and another was given",
    "self-payments not allowed": "the node does not pay itself",
}
_FORBIDDEN: Final = "permission denied"
_UNOPENED: Final = (
    "verification failed", "cannot get macaroon", "cannot retrieve macaroon", "expected 1 macaroon", "not satisfied",
    "cannot determine data format", "unmarshal v1:", "unmarshal v2:", "empty macaroon", "encoding/hex:",
)  # fmt: skip
_NO_SUCH_CALL: Final = ("unknown service", "unknown method")
_BEGUN: Final = ("invoice is already paid", "payment is in transition", "payment already exists")


class AlreadyBegun(Exception):
    """The node had begun a payment with this hash: only following it tells what became of it."""


class NeverBegun(Exception):
    """The node's one proof that it holds no payment with this hash."""


def to_sent(message: lnrpc_pb2.Payment, *, reference: str, provider: str, asset: Asset) -> SentPayment:
    """Return how the node says that a payment stands; a success has to be proved.

    Raises:
        ProviderMisconfigured: the message makes no sense, so the outcome is not known.
    """
    status = _STATUS.get(message.status)
    if status is None:
        raise ProviderMisconfigured(provider, f"the node reports the unknown payment status {message.status}")
    if message.payment_hash != reference:
        raise ProviderMisconfigured(provider, "the node answers with another payment than the one asked for")
    if status is SentStatus.FAILED:
        failure = _FAILURE.get(message.failure_reason, SendFailure.OTHER)
        return SentPayment(reference=reference, status=status, failure=failure)
    if status is SentStatus.IN_FLIGHT:
        return SentPayment(reference=reference, status=status)
    if message.value_msat <= 0 or message.fee_msat < 0:
        raise ProviderMisconfigured(provider, "the node reports a payment of an impossible amount")
    return SentPayment(
        reference=reference,
        status=status,
        amount=Money(message.value_msat, asset),
        fee=Money(message.fee_msat, asset),
        preimage=proved(message.payment_preimage, reference=reference, provider=provider),
    )


def sending_error(error: grpc.aio.AioRpcError, *, provider: str) -> Exception:
    """Return what an error means that came instead of any news of a payment that we asked for.

    Only what LND is known to say before it begins is a refusal; after all else the payment may be on its way.
    """
    text = (error.details() or "").lower()
    match error.code():
        case code if _says_begun(code, text):
            return AlreadyBegun(provider)
        case grpc.StatusCode.UNIMPLEMENTED if any(known in text for known in _NO_SUCH_CALL):
            return ProviderMisconfigured(provider, _NO_ROUTER)
        case grpc.StatusCode.PERMISSION_DENIED if _FORBIDDEN in text:
            return ProviderMisconfigured(provider, MAY_NOT_PAY)
        case grpc.StatusCode.UNKNOWN:
            return _told_before_the_start(text, provider=provider) or unknown_outcome(error, provider=provider)
        case _:
            return unknown_outcome(error, provider=provider)


def _told_before_the_start(text: str, *, provider: str) -> QuittanceError | None:
    """Return what a plain Go error means, if it is one that LND never gives of a payment that exists."""
    if _FORBIDDEN in text:
        return ProviderMisconfigured(provider, MAY_NOT_PAY)
    if any(known in text for known in _UNOPENED):
        return ProviderMisconfigured(provider, _NOT_ACCEPTED)
    reason = next((sentence for known, sentence in _REFUSED.items() if known in text), None)
    return None if reason is None else SendRefused(provider, reason)


def _says_begun(code: grpc.StatusCode, text: str) -> bool:
    """LND 0.17 says by its words alone what later versions say by a code."""
    says = code is grpc.StatusCode.UNKNOWN and any(known in text for known in _BEGUN)
    return says or code is grpc.StatusCode.ALREADY_EXISTS


def unknown_outcome(error: grpc.aio.AioRpcError, *, provider: str) -> NodeUnavailable:
    """Return an error that says no more than that; its reason is for the operator."""
    known = to_quittance_error(error, provider=provider)
    return known if isinstance(known, NodeUnavailable) else NodeUnavailable(provider, _UNTOLD)


def tracking_error(error: grpc.aio.AioRpcError, *, provider: str) -> Exception:
    """Return what an error means that came instead of an answer how a payment stands."""
    if error.code() is grpc.StatusCode.NOT_FOUND and "payment isn't initiated" in (error.details() or "").lower():
        return NeverBegun(provider)
    known: QuittanceError = to_quittance_error(error, provider=provider)
    return NodeUnavailable(provider, _UNTOLD) if isinstance(known, InvoiceRejected) else known
