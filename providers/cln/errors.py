"""What the node's errors mean: clnrest's status first, then the code that the node gives."""

import ssl
from collections.abc import Mapping
from enum import StrEnum
from http import HTTPStatus
from typing import Final

import httpx

from quittance.domain.errors import ProviderMisconfigured, QuittanceError
from quittance.providers.lightning import NodeUnavailable

NO_CLNREST: Final = "what answers does not speak clnrest's protocol"
CLNREST_SAYS: Final = frozenset({401, 403, 404, 405, 406, 500})
SILENT: Final = "the node does not answer"
SLOW: Final = "the node does not answer in time"
_NOBODY: Final = "nobody listens at the node's address"
_NOT_TRUSTED: Final = "the node does not show a certificate that we trust; give its present ca.pem"
_NO_TLS: Final = "what listens at the address does not speak https"
_NOT_ACCEPTED: Final = "the node does not accept the rune"


class Fault(StrEnum):
    """What a refusal says. Each is an ordinary answer to some call."""

    FORBIDDEN = "FORBIDDEN"
    DUPLICATE = "DUPLICATE"
    NO_NEWS = "NO_NEWS"
    MISSING = "MISSING"
    OTHER_STATUS = "OTHER_STATUS"
    WRONG_PARAMETERS = "WRONG_PARAMETERS"
    EXPIRED = "EXPIRED"
    ALREADY_PAID = "ALREADY_PAID"
    PAYEE_REFUSED = "PAYEE_REFUSED"
    NO_WAY = "NO_WAY"
    NO_FUNDS = "NO_FUNDS"
    TIMED_OUT = "TIMED_OUT"
    GAVE_UP = "GAVE_UP"
    DECLINED = "DECLINED"


class NodeRefusal(ProviderMisconfigured):
    """The node refused with a meaning that some calls expect; a call that does not expect it is misconfigured."""

    def __init__(self, provider: str, reason: str, *, fault: Fault) -> None:
        super().__init__(provider, reason)
        self.fault = fault
        self.said = reason


_NOT_PERMITTED: Final = 1_502
_REFUSALS: Final[Mapping[int, tuple[Fault, str]]] = {
    203: (Fault.PAYEE_REFUSED, "the payee refuses the payment"),
    205: (Fault.NO_WAY, "there is no way to the payee"),
    206: (Fault.NO_WAY, "every way to the payee costs more than allowed"),
    207: (Fault.EXPIRED, "the invoice has expired"),
    209: (Fault.GAVE_UP, "the node gave the payment up"),
    210: (Fault.TIMED_OUT, "the node found no way to the payee in time"),
    213: (Fault.DECLINED, "the node's own rules decline the payment"),
    215: (Fault.NO_FUNDS, "the node has too little to pay with"),
    216: (Fault.NO_WAY, "there is no way to the payee"),
    220: (Fault.NO_WAY, "the payee cannot take that much"),
    219: (Fault.ALREADY_PAID, "the invoice has been paid before"),
    900: (Fault.DUPLICATE, "an invoice with this label exists"),
    901: (Fault.DUPLICATE, "an invoice with this preimage exists"),
    904: (Fault.NO_NEWS, "no invoice was paid in the time given"),
    905: (Fault.MISSING, "the node holds no such invoice"),
    906: (Fault.OTHER_STATUS, "the invoice has another status"),
    -32_602: (Fault.WRONG_PARAMETERS, "the node does not understand what we ask"),
}
_NO_SUCH_CALL: Final = -32_601


def to_quittance_error(status: int, code: int | None, text: str, *, provider: str) -> QuittanceError:
    """Return our error for clnrest's no. What is not known here is an unknown outcome: unavailable.

    Without a code, clnrest could not ask the node: not even whether the rune is good.
    """
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN} and code is not None:
        return _rune_refused(code, provider=provider)
    if code == _NO_SUCH_CALL:
        return ProviderMisconfigured(provider, "the node lacks a call that we need; it is too old")
    if code is not None and code in _REFUSALS:
        fault, sentence = _REFUSALS[code]
        return NodeRefusal(provider, text if fault is Fault.WRONG_PARAMETERS and text else sentence, fault=fault)
    return NodeUnavailable(provider, SILENT)


def without_words(status: int, *, provider: str) -> QuittanceError:
    """Return our error for an answer that is not clnrest's: of a proxy before it, or of something else altogether."""
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
        return NodeUnavailable(provider, SILENT)
    return ProviderMisconfigured(provider, NO_CLNREST)


def _rune_refused(code: int, *, provider: str) -> QuittanceError:
    if code == _NOT_PERMITTED:
        return NodeRefusal(provider, "the rune does not allow this call", fault=Fault.FORBIDDEN)
    return ProviderMisconfigured(provider, _NOT_ACCEPTED)


def from_transport(error: Exception, *, provider: str) -> QuittanceError:
    """Return our error for a connection that failed; whether the node acted is not known."""
    trust = _found(error, ssl.SSLError)
    if isinstance(trust, ssl.SSLCertVerificationError):
        return ProviderMisconfigured(provider, _NOT_TRUSTED)
    if trust is not None and isinstance(error, httpx.ConnectError):
        return ProviderMisconfigured(provider, _NO_TLS)
    if isinstance(error, httpx.ConnectError):
        return NodeUnavailable(provider, _NOBODY)
    if isinstance(error, httpx.TimeoutException | TimeoutError):
        return NodeUnavailable(provider, SLOW)
    return NodeUnavailable(provider, SILENT)


def _found(error: BaseException | None, kind: type[BaseException]) -> BaseException | None:
    """Return what of ``kind`` led to an error."""
    while error is not None and not isinstance(error, kind):
        error = error.__cause__ or error.__context__
    return error
