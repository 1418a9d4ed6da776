"""What the node's errors mean. Most reach us as UNKNOWN with a text, so the code is matched first, then the text."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import grpc
import grpc.aio

from quittance.domain.errors import InvoiceRejected, ProviderMisconfigured, QuittanceError
from quittance.providers.lightning import NodeUnavailable

_TEXT_MAX: Final = 200
_SILENT: Final = "the node does not answer"


class Fault(StrEnum):
    """What an error says. The members after REJECTED are ordinary answers to some calls."""

    UNAVAILABLE = "UNAVAILABLE"
    MISCONFIGURED = "MISCONFIGURED"
    REJECTED = "REJECTED"
    FORBIDDEN = "FORBIDDEN"
    DUPLICATE = "DUPLICATE"
    COLLISION = "COLLISION"
    MISSING = "MISSING"
    FINAL = "FINAL"
    NOT_HELD = "NOT_HELD"


class NodeRefusal(ProviderMisconfigured):
    """The node refused with a meaning that some calls expect; a call that does not expect it is misconfigured."""

    def __init__(self, provider: str, reason: str, *, fault: Fault) -> None:
        super().__init__(provider, reason)
        self.fault = fault


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """An error with one of ``codes`` whose text holds one of ``texts`` means ``fault``; no texts match any text."""

    codes: frozenset[grpc.StatusCode]
    texts: tuple[str, ...] = ()
    fault: Fault
    sentence: str = ""

    def matches(self, code: grpc.StatusCode, text: str) -> bool:
        return code in self.codes and (not self.texts or any(known in text for known in self.texts))


_UNKNOWN: Final = frozenset({grpc.StatusCode.UNKNOWN})
_RULES: Final = (
    _Rule(
        codes=frozenset({grpc.StatusCode.UNAVAILABLE}),
        texts=("missing selected alpn", "alert_handshake_failure"),
        fault=Fault.MISCONFIGURED,
        sentence="what listens at the address is not a node's gRPC port",
    ),
    _Rule(
        codes=frozenset({grpc.StatusCode.UNAVAILABLE}),
        texts=("failed to create security handshaker",),
        fault=Fault.MISCONFIGURED,
        sentence="the tls.cert that we were given holds no certificate",
    ),
    _Rule(
        codes=frozenset({grpc.StatusCode.UNAVAILABLE}),
        texts=("connection refused",),
        fault=Fault.UNAVAILABLE,
        sentence="nobody listens at the node's address",
    ),
    _Rule(
        codes=frozenset({grpc.StatusCode.UNAVAILABLE}),
        texts=("errors resolving", "domain name not found", "dns resolution failed"),
        fault=Fault.UNAVAILABLE,
        sentence="the name in the node's address is not found",
    ),
    _Rule(
        codes=frozenset({grpc.StatusCode.UNAVAILABLE}),
        texts=("certificate", "hostname verification", "wrong_version_number"),
        fault=Fault.MISCONFIGURED,
        sentence="the node does not show the certificate that we trust; give its present tls.cert",
    ),
    _Rule(
        codes=_UNKNOWN,
        texts=("wallet locked", "unlock it to enable full rpc access", "macaroon store is locked"),
        fault=Fault.UNAVAILABLE,
        sentence="the node's wallet is locked; unlock it",
    ),
    _Rule(
        codes=_UNKNOWN,
        texts=("waiting to start", "rpc services not available"),
        fault=Fault.UNAVAILABLE,
        sentence="the node waits to become the leader of its cluster",
    ),
    _Rule(
        codes=_UNKNOWN,
        texts=("in the process of starting",),
        fault=Fault.UNAVAILABLE,
        sentence="the node is starting",
    ),
    _Rule(
        codes=frozenset({grpc.StatusCode.DEADLINE_EXCEEDED}),
        fault=Fault.UNAVAILABLE,
        sentence="the node does not answer in time",
    ),
    _Rule(
        codes=_UNKNOWN,
        texts=("wallet not created",),
        fault=Fault.MISCONFIGURED,
        sentence="the node has no wallet; create one",
    ),
    _Rule(
        codes=frozenset({grpc.StatusCode.UNIMPLEMENTED}),
        fault=Fault.MISCONFIGURED,
        sentence="the node lacks a call that we need; it is too old, or built without its sub-servers",
    ),
    _Rule(
        codes=_UNKNOWN | {grpc.StatusCode.PERMISSION_DENIED},
        texts=("permission denied",),
        fault=Fault.FORBIDDEN,
        sentence="the macaroon does not allow this call",
    ),
    _Rule(
        codes=_UNKNOWN,
        texts=("verification failed", "cannot get macaroon", "cannot retrieve macaroon", "expected 1 macaroon",
               "not satisfied"),
        fault=Fault.MISCONFIGURED,
        sentence="the node does not accept the macaroon",
    ),
    _Rule(
        codes=_UNKNOWN,
        texts=("cannot determine data format", "unmarshal v1:", "unmarshal v2:", "empty macaroon", "encoding/hex:"),
        fault=Fault.MISCONFIGURED,
        sentence="what we were given is no macaroon; give the node's own file, as it is",
    ),
    _Rule(
        codes=frozenset({grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED}),
        fault=Fault.MISCONFIGURED,
        sentence="the node does not accept the macaroon",
    ),
    _Rule(
        codes=_UNKNOWN,
        texts=("invoice with payment hash already exists",),
        fault=Fault.DUPLICATE,
        sentence="an invoice with this payment hash exists",
    ),
    _Rule(
        codes=frozenset({grpc.StatusCode.ALREADY_EXISTS}),
        fault=Fault.DUPLICATE,
        sentence="what was asked for exists",
    ),
    _Rule(
        codes=_UNKNOWN,
        texts=("invoice with payemnt addr already exists", "invoice with payment addr already exists"),
        fault=Fault.COLLISION,
        sentence="the node drew a payment address twice",
    ),
    _Rule(
        codes=_UNKNOWN | {grpc.StatusCode.NOT_FOUND},
        texts=("unable to locate invoice", "there are no existing invoices", "payment isn't initiated"),
        fault=Fault.MISSING,
        sentence="the node holds no such thing",
    ),
    _Rule(
        codes=_UNKNOWN,
        texts=("invoice already settled", "invoice already canceled"),
        fault=Fault.FINAL,
        sentence="the invoice is final",
    ),
    _Rule(
        codes=_UNKNOWN,
        texts=("invoice still open",),
        fault=Fault.NOT_HELD,
        sentence="the invoice holds no money yet",
    ),
    _Rule(
        codes=frozenset({grpc.StatusCode.INVALID_ARGUMENT}),
        fault=Fault.MISCONFIGURED,
        sentence="the node does not understand what we ask",
    ),
    _Rule(
        codes=_UNKNOWN,
        texts=("must be exactly 32 bytes", "invalid hash length", "invalid preimage length", "mutually exclusive"),
        fault=Fault.MISCONFIGURED,
        sentence="the node does not understand what we ask",
    ),
    _Rule(
        codes=_UNKNOWN,
        texts=("memo too large", "description hash is", "expiry of", "cltv delta of", "is too large", "negative value",
               "cannot be negative", "data length too big", "hash of all-zeroes preimage"),
        fault=Fault.REJECTED,
    ),
    _Rule(
        codes=frozenset({grpc.StatusCode.RESOURCE_EXHAUSTED}),
        texts=("larger than max",),
        fault=Fault.MISCONFIGURED,
        sentence="the node's answer is larger than we accept",
    ),
)  # fmt: skip


def to_quittance_error(error: grpc.aio.AioRpcError, *, provider: str) -> QuittanceError:
    """Return our error for the node's. What no rule knows is an unknown outcome: the provider is unavailable."""
    text = error.details() or ""
    known = f"{text} {error.debug_error_string() or ''}".lower()
    rule = next((rule for rule in _RULES if rule.matches(error.code(), known)), None)
    if rule is None or rule.fault is Fault.UNAVAILABLE:
        return NodeUnavailable(provider, _SILENT if rule is None else rule.sentence)
    if rule.fault is Fault.MISCONFIGURED:
        return ProviderMisconfigured(provider, rule.sentence)
    if rule.fault is Fault.REJECTED:
        return InvoiceRejected(provider, text[:_TEXT_MAX])
    return NodeRefusal(provider, rule.sentence, fault=rule.fault)
