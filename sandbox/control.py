"""The sandbox's remote control: what GET and POST below /sandbox do. Loopback only."""

import ipaddress
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from quittance.sandbox import wallet
from quittance.sandbox.faults import InvalidFault, UnknownFault
from quittance.sandbox.rails import SandboxRails, SandboxRefused

BODY_BYTES_MAX: Final = 16_384
PAY_WAIT_S: Final = 10.0
_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
_PAYMENT_REQUEST_MAX: Final = 7_089

_Handler = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, object]]]


class _Wrong(Exception):
    """A request that is answered by an error."""

    def __init__(self, code: str, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


def control_routes(rails: SandboxRails) -> list[Route]:
    """Return the routes of the remote control, to be mounted in sandbox mode only."""
    control = _Control(rails)
    return [
        Route("/sandbox", _guarded(control.status, reads_body=False), methods=["GET"]),
        Route("/sandbox/strike/deliveries", _guarded(control.deliveries, reads_body=False), methods=["GET"]),
        Route("/sandbox/pay", _guarded(control.pay), methods=["POST"]),
        Route("/sandbox/invoice", _guarded(control.invoice), methods=["POST"]),
        Route("/sandbox/sign-message", _guarded(control.sign_message), methods=["POST"]),
        Route("/sandbox/lnurl-auth", _guarded(control.log_in), methods=["POST"]),
        Route("/sandbox/withdraw", _guarded(control.withdraw), methods=["POST"]),
        Route("/sandbox/clock", _guarded(control.advance), methods=["POST"]),
        Route("/sandbox/faults", _guarded(control.arm), methods=["POST"]),
    ]


class _Control:
    def __init__(self, rails: SandboxRails) -> None:
        self._rails = rails

    async def status(self, _: Mapping[str, Any]) -> Mapping[str, object]:
        return self._rails.status()

    async def deliveries(self, _: Mapping[str, Any]) -> Mapping[str, object]:
        return {"deliveries": self._rails.strike_deliveries()}

    async def pay(self, body: Mapping[str, Any]) -> Mapping[str, object]:
        request = _text(body, "paymentRequest", size_max=_PAYMENT_REQUEST_MAX)
        node = self._node(body)
        amount_msat = _amount_msat(body)
        try:
            preimage = await self._rails.pay(request, node=node, amount_msat=amount_msat, wait_s=PAY_WAIT_S)
        except SandboxRefused as refusal:
            code = "PAYMENT_PENDING" if refusal.pending else "PAYMENT_REFUSED"
            raise _Wrong(code, refusal.reason, status=409) from refusal
        return {"preimage": preimage.hex()}

    async def invoice(self, body: Mapping[str, Any]) -> Mapping[str, object]:
        amount_msat = _amount_msat(body)
        try:
            made = self._rails.new_invoice(self._node(body) or "alice", amount_msat=amount_msat)
        except SandboxRefused as refusal:
            raise _Wrong("INVOICE_REFUSED", refusal.reason, status=409) from refusal
        return {"paymentRequest": made}

    async def sign_message(self, body: Mapping[str, Any]) -> Mapping[str, object]:
        message = _text(body, "message", size_max=BODY_BYTES_MAX)
        signature, pubkey = self._rails.sign_message(message.encode(), node=self._node(body) or "alice")
        return {"signature": signature, "pubkey": pubkey}

    async def log_in(self, body: Mapping[str, Any]) -> Mapping[str, object]:
        text = _text(body, "lnurl", size_max=_PAYMENT_REQUEST_MAX)
        try:
            login = wallet.read_login(text)
        except ValueError as error:
            raise _Wrong("INVALID_BODY", f"lnurl: {error}") from error
        node = self._rails.nodes[self._node(body) or "alice"]
        try:
            return await wallet.answer_login(login, secret=node.key.secret)
        except wallet.DoorRefused as refused:
            raise _Wrong("LOGIN_REFUSED", str(refused), status=409) from refused

    async def withdraw(self, body: Mapping[str, Any]) -> Mapping[str, object]:
        text = _text(body, "lnurl", size_max=_PAYMENT_REQUEST_MAX)
        amount_msat, node = _amount_msat(body), self._node(body) or "alice"
        try:
            url = wallet.read_withdrawal(text)
        except ValueError as error:
            raise _Wrong("INVALID_BODY", f"lnurl: {error}") from error

        def invoice_of(asked_msat: int, description: str) -> str:
            return self._rails.new_invoice(node, amount_msat=asked_msat, memo=description)

        try:
            taken = await wallet.take_withdrawal(url, amount_msat=amount_msat, invoice_of=invoice_of)
        except (wallet.DoorRefused, SandboxRefused) as refused:
            raise _Wrong("WITHDRAWAL_REFUSED", str(refused), status=409) from refused
        return {"status": "OK", "paymentRequest": taken.payment_request, "amountMsat": taken.amount_msat}

    async def advance(self, body: Mapping[str, Any]) -> Mapping[str, object]:
        seconds = body.get("advanceSeconds")
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            raise _Wrong("INVALID_BODY", "advanceSeconds is a number")
        try:
            self._rails.clock.advance(seconds)
        except (OverflowError, ValueError) as error:
            raise _Wrong("INVALID_BODY", str(error)) from error
        return {"clock": self._rails.status()["clock"]}

    async def arm(self, body: Mapping[str, Any]) -> Mapping[str, object]:
        rail, fault = _text(body, "rail"), _text(body, "fault")
        calls, seconds = _optional(body, "calls", int), _optional(body, "seconds", int, float)
        try:
            await self._rails.faults.arm(
                rail,
                fault,
                calls=1 if calls is None else calls,
                method=_optional(body, "method", str),
                seconds=seconds,
            )
        except UnknownFault as error:
            raise _Wrong("UNKNOWN_FAULT", f"{error}; GET /sandbox lists them", status=404) from error
        except InvalidFault as error:
            raise _Wrong("INVALID_BODY", str(error)) from error
        return {"faults": self._rails.faults.describe()}

    def _node(self, body: Mapping[str, Any]) -> str | None:
        node: str | None = _optional(body, "node", str) or None
        if node is not None and node not in self._rails.nodes:
            raise _Wrong("UNKNOWN_NODE", f"the nodes are {', '.join(self._rails.nodes)}", status=404)
        return node


def _guarded(handler: _Handler, *, reads_body: bool = True) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            _check_caller(request)
            answer = await handler(await _body(request) if reads_body else {})
        except _Wrong as wrong:
            error = {"code": wrong.code, "message": str(wrong)}
            return JSONResponse({"error": error}, status_code=wrong.status)
        return JSONResponse(answer, headers={"Cache-Control": "no-store"})

    return endpoint


def _check_caller(request: Request) -> None:
    """Let in who is on this machine and means it: a page that made its name point here is neither.

    Raises:
        _Wrong: anybody else; the address is told nothing.
    """
    if request.client is None or not _is_loopback(request.client.host):
        raise _Wrong("NOT_FOUND", "not found", status=404)
    host = request.headers.get("host", "")
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    if name.lower() not in _HOSTS:
        raise _Wrong("FORBIDDEN_HOST", "the sandbox answers to localhost, 127.0.0.1 and [::1]", status=403)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def _body(request: Request) -> Mapping[str, Any]:
    """Read a JSON object. Its media type keeps out forms of other sites, which need no leave to post text.

    Raises:
        _Wrong: no JSON, no object, or too much of it.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise _Wrong("UNSUPPORTED_MEDIA_TYPE", "send application/json", status=415)
    content = bytearray()
    try:
        async for chunk in request.stream():
            content += chunk
            if len(content) > BODY_BYTES_MAX:
                raise _Wrong("BODY_TOO_LARGE", f"a body has at most {BODY_BYTES_MAX} bytes", status=413)
        body = json.loads(content)
    except (ClientDisconnect, RecursionError, ValueError) as error:
        raise _Wrong("INVALID_BODY", "the body is not JSON") from error
    if not isinstance(body, dict):
        raise _Wrong("INVALID_BODY", "the body is a JSON object")
    return body


def _text(body: Mapping[str, Any], name: str, *, size_max: int = 64) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= size_max:
        raise _Wrong("INVALID_BODY", f"{name} is a text of 1 to {size_max} characters")
    return value


def _amount_msat(body: Mapping[str, Any]) -> int | None:
    amount_msat: int | None = _optional(body, "amountMsat", int)
    if amount_msat is not None and not 0 < amount_msat < 2**63:
        raise _Wrong("INVALID_BODY", "amountMsat is a whole number above zero")
    return amount_msat


def _optional(body: Mapping[str, Any], name: str, *kinds: type) -> Any:
    value = body.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, kinds)):
        raise _Wrong("INVALID_BODY", f"{name} is of the wrong type")
    return value
