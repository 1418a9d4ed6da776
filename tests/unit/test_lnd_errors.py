"""Every row of the table of LND's errors, and what no row knows."""

import grpc
import grpc.aio
import pytest

from quittance.domain.errors import InvoiceRejected, ProviderMisconfigured, ProviderUnavailable, QuittanceError
from quittance.providers.lightning import NodeUnavailable
from quittance.providers.lnd.errors import Fault, NodeRefusal, to_quittance_error

Code = grpc.StatusCode
UNAVAILABLE, MISCONFIGURED, REJECTED = ProviderUnavailable, ProviderMisconfigured, InvoiceRejected
ROWS = [
    (Code.UNAVAILABLE, "failed to connect to all addresses; last error: connection refused", UNAVAILABLE),
    (Code.UNAVAILABLE, "Socket closed", UNAVAILABLE),
    (Code.UNAVAILABLE, "GOAWAY received", UNAVAILABLE),
    (Code.UNAVAILABLE, "Ssl handshake failed: CERTIFICATE_VERIFY_FAILED: self signed certificate", MISCONFIGURED),
    (Code.UNAVAILABLE, "Ssl handshake failed: SSL_ERROR_SSL: WRONG_VERSION_NUMBER", MISCONFIGURED),
    (Code.UNAVAILABLE, "Cannot check peer: missing selected ALPN property.", MISCONFIGURED),
    (Code.UNAVAILABLE, "SSLV3_ALERT_HANDSHAKE_FAILURE: Invalid certificate verification context", MISCONFIGURED),
    (Code.UNAVAILABLE, "Failed to create security handshaker.", MISCONFIGURED),
    (Code.UNAVAILABLE, "errors resolving node.invalid:10009: Domain name not found", UNAVAILABLE),
    (Code.UNAVAILABLE, "Handshake read failed (recvmsg:Connection reset by peer (104))", UNAVAILABLE),
    (Code.UNAVAILABLE, "UNAUTHENTICATED: Hostname Verification Check failed.", MISCONFIGURED),
    (Code.UNKNOWN, "wallet locked, unlock it to enable full RPC access", UNAVAILABLE),
    (Code.UNKNOWN, "wallet not created, create one to enable full RPC access", MISCONFIGURED),
    (Code.UNKNOWN, "waiting to start, RPC services not available", UNAVAILABLE),
    (Code.UNKNOWN, "the RPC server is in the process of starting up, but not yet ready to accept calls", UNAVAILABLE),
    (Code.UNKNOWN, "server is still in the process of starting", UNAVAILABLE),
    (Code.UNIMPLEMENTED, "unknown service lnrpc.Lightning", MISCONFIGURED),
    (Code.UNIMPLEMENTED, "unknown method CancelInvoice for service invoicesrpc.Invoices", MISCONFIGURED),
    (Code.UNKNOWN, "permission denied", Fault.FORBIDDEN),
    (Code.PERMISSION_DENIED, "permission denied", Fault.FORBIDDEN),
    (Code.UNKNOWN, "verification failed: signature mismatch after caveat verification", MISCONFIGURED),
    (Code.UNKNOWN, "cannot get macaroon: root key with id 1 doesn't exist", MISCONFIGURED),
    (Code.UNKNOWN, "cannot retrieve macaroon: cannot get macaroon: macaroon store is locked", UNAVAILABLE),
    (Code.UNKNOWN, "cannot retrieve macaroon: cannot unmarshal macaroon id", MISCONFIGURED),
    (Code.UNKNOWN, "expected 1 macaroon, got 0", MISCONFIGURED),
    (Code.UNKNOWN, "expected 1 macaroon, got 2", MISCONFIGURED),
    (Code.UNKNOWN, "empty macaroon data", MISCONFIGURED),
    (Code.UNKNOWN, "cannot determine data format of binary-encoded macaroon", MISCONFIGURED),
    (Code.UNKNOWN, "unmarshal v1: packet size too big", MISCONFIGURED),
    (Code.UNKNOWN, "unmarshal v2: field data extends past end of buffer", MISCONFIGURED),
    (Code.UNKNOWN, "encoding/hex: invalid byte: U+007A 'z'", MISCONFIGURED),
    (Code.UNKNOWN, "encoding/hex: odd length hex string", MISCONFIGURED),
    (Code.UNKNOWN, 'caveat "time-before 2026" not satisfied: macaroon has expired', MISCONFIGURED),
    (Code.UNAUTHENTICATED, "", MISCONFIGURED),
    (Code.UNKNOWN, "invoice with payment hash already exists", Fault.DUPLICATE),
    (Code.UNKNOWN, "invoice with payemnt addr already exists", Fault.COLLISION),
    (Code.NOT_FOUND, "unable to locate invoice", Fault.MISSING),
    (Code.NOT_FOUND, "there are no existing invoices", Fault.MISSING),
    (Code.UNKNOWN, "unable to locate invoice", Fault.MISSING),
    (Code.INVALID_ARGUMENT, "invoice ref must be set", MISCONFIGURED),
    (Code.INVALID_ARGUMENT, "unable to parse pay hash", MISCONFIGURED),
    (Code.UNKNOWN, "payment hash must be exactly 32 bytes, is instead 31", MISCONFIGURED),
    (Code.UNKNOWN, "invalid hash length of 31, want 32", MISCONFIGURED),
    (Code.UNKNOWN, "invalid preimage length of 31, want 32", MISCONFIGURED),
    (Code.UNKNOWN, "sat and msat arguments are mutually exclusive", MISCONFIGURED),
    (Code.NOT_FOUND, "payment isn't initiated", Fault.MISSING),
    (Code.ALREADY_EXISTS, "invoice is already paid", Fault.DUPLICATE),
    (Code.ALREADY_EXISTS, "payment is in transition", Fault.DUPLICATE),
    (Code.ALREADY_EXISTS, "payment already exists", Fault.DUPLICATE),
    (Code.UNKNOWN, "memo too large: 1025 bytes (maxsize=1024)", REJECTED),
    (Code.UNKNOWN, "description hash is 3 bytes, must be 32", REJECTED),
    (Code.UNKNOWN, "expiry of 40000000 seconds greater than max expiry of 31536000 seconds", REJECTED),
    (Code.UNKNOWN, "CLTV delta of 5 must be greater than minimum of 24", REJECTED),
    (Code.UNKNOWN, "amount cannot be negative", REJECTED),
    (Code.UNKNOWN, "invoice amount 10000001 BTC is too large, max is 100000 BTC", REJECTED),
    (Code.UNKNOWN, "data length too big to fit within 10 bits: 1024", REJECTED),
    (Code.UNKNOWN, "cannot use hash of all-zeroes preimage", REJECTED),
    (Code.DEADLINE_EXCEEDED, "Deadline Exceeded", UNAVAILABLE),
    (Code.RESOURCE_EXHAUSTED, "Received message larger than max (9 vs. 4)", MISCONFIGURED),
    (Code.INTERNAL, "internal server error", UNAVAILABLE),
    (Code.UNKNOWN, "invoice already settled", Fault.FINAL),
    (Code.UNKNOWN, "wallet already unlocked, WalletUnlocker service is no longer available", UNAVAILABLE),
    (Code.UNKNOWN, "something that nobody has seen", UNAVAILABLE),
    (Code.NOT_FOUND, "something that nobody has seen", UNAVAILABLE),
    (Code.CANCELLED, "", UNAVAILABLE),
]


def node_error(code: grpc.StatusCode, text: str) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), text, "")


@pytest.mark.parametrize(("code", "text", "meaning"), ROWS, ids=[f"{code.name}-{text[:30]}" for code, text, _ in ROWS])
def test_an_error_of_the_node_has_one_meaning(
    code: grpc.StatusCode, text: str, meaning: type[QuittanceError] | Fault
) -> None:
    error = to_quittance_error(node_error(code, text), provider="lnd")

    if isinstance(meaning, Fault):
        assert isinstance(error, NodeRefusal)
        assert error.fault is meaning
    else:
        assert isinstance(error, meaning)
        assert not isinstance(error, NodeRefusal)
    assert "'lnd'" in error.message


def test_a_refusal_says_what_the_node_said() -> None:
    error = to_quittance_error(node_error(Code.UNKNOWN, "memo too large: 1025 bytes"), provider="lnd")

    assert error.message == "provider 'lnd' refused the invoice: memo too large: 1025 bytes"


@pytest.mark.parametrize("code", list(Code))
@pytest.mark.parametrize("text", ["", "permission denied", "certificate"])
def test_every_code_becomes_an_error_of_ours(code: grpc.StatusCode, text: str) -> None:
    assert isinstance(to_quittance_error(node_error(code, text), provider="lnd"), QuittanceError)


@pytest.mark.parametrize(
    ("code", "text", "reason"),
    [
        (Code.UNAVAILABLE, "Failed to connect to remote host: Connection refused", "nobody listens"),
        (Code.UNAVAILABLE, "errors resolving node.invalid:10009: Domain name not found", "is not found"),
        (Code.UNAVAILABLE, "Socket closed", "does not answer"),
        (Code.DEADLINE_EXCEEDED, "Deadline Exceeded", "in time"),
        (Code.UNKNOWN, "wallet locked, unlock it to enable full RPC access", "unlock it"),
        (Code.UNKNOWN, "waiting to start, RPC services not available", "leader"),
        (
            Code.UNKNOWN,
            "the RPC server is in the process of starting up, but not yet ready to accept calls",
            "starting",
        ),
    ],
)
def test_an_absent_node_tells_the_operator_why_and_the_payer_that_a_retry_is_safe(
    code: grpc.StatusCode, text: str, reason: str
) -> None:
    error = to_quittance_error(node_error(code, text), provider="lnd")

    assert isinstance(error, NodeUnavailable)
    assert reason in error.reason
    assert error.message == ProviderUnavailable("lnd").message
