"""Strike's REST API below ``/v1``: keys, limits, faults, errors, and the operations behind them."""

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from quittance.sandbox.faults import Faults
from quittance.sandbox.http import CutOff
from quittance.sandbox.strike.calls import Answer, Call, Handler
from quittance.sandbox.strike.keys import Keys
from quittance.sandbox.strike.kinds import RAIL
from quittance.sandbox.strike.limits import Limits
from quittance.sandbox.strike.operations import OPERATIONS, Operation
from quittance.sandbox.strike.reading import Given
from quittance.sandbox.strike.refusals import Blocked, Refused, not_found

_BODY_BYTES_MAX: Final = 65_536
_TRACE_BYTES: Final = 7
_MEDIA_TYPE: Final = "application/json; charset=utf-8"
_PAGE: Final = "<!DOCTYPE html><html><title>Attention Required!</title><body>Sorry, you have been blocked</body></html>"
_REFUSING: Final[Mapping[str, tuple[int, str, str]]] = {
    "unavailable": (503, "SERVICE_UNAVAILABLE", "Service is temporarily unavailable."),
    "processing_conflict": (409, "PROCESSING_CONFLICT", "The resource is being processed."),
}


class StrikeServer:
    """Answers the operations of one account. ``before`` is done before every call.

    ``exponents``: amounts such as ``5e-05`` are taken by every call.
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        *,
        keys: Keys,
        limits: Limits,
        faults: Faults,
        before: Callable[[], None],
        exponents: bool = False,
    ) -> None:
        assert handlers.keys() == OPERATIONS.keys(), "every operation is answered"
        self._handlers = handlers
        self._keys = keys
        self._limits = limits
        self._faults = faults
        self._before = before
        self._exponents = exponents

    def app(self) -> Starlette:
        routes = [
            Route(f"/v1{operation.path}", self._endpoint(name, operation), methods=[operation.method])
            for name, operation in OPERATIONS.items()
        ]
        return Starlette(routes=routes, exception_handlers={404: _unknown, 405: _unknown})

    def _endpoint(self, name: str, operation: Operation) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            try:
                self._keys.admit(request.headers.get("authorization"), scope=operation.scope)
                await self._admit(name, operation)
                call = await self._read(name, request)
                self._before()
                answer = self._handlers[name](call)
                answer = await answer if isinstance(answer, Awaitable) else answer
            except Refused as refusal:
                return _refused(refusal)
            except Blocked:
                return HTMLResponse(_PAGE, status_code=403)
            if self._faults.take(RAIL, "lost_answer", method=name) is not None:
                return CutOff(status_code=answer.status)
            return _answered(answer)

        return endpoint

    async def _admit(self, name: str, operation: Operation) -> None:
        """Count the call, and fail as a fault wants it.

        Raises:
            Refused: the call does nothing.
            Blocked: nor does the edge let it through.
        """
        tripped = self._faults.take(RAIL, "rate_limited", method=name)
        if tripped is not None:
            self._limits.trip(operation.limit, lockout_s=tripped.seconds)
        self._limits.count(operation.limit)
        fault = self._faults.take(RAIL, "delay", "hang", "html_403", *_REFUSING, method=name)
        if fault is None:
            return
        if fault.kind.name == "html_403":
            raise Blocked
        if fault.kind.name in _REFUSING:
            raise Refused(*_REFUSING[fault.kind.name])
        await asyncio.sleep(fault.seconds)
        if fault.kind.name == "hang":
            raise Refused(504, "GATEWAY_TIMEOUT", "Gateway timeout.")

    async def _read(self, name: str, request: Request) -> Call:
        exponents = self._exponents or self._faults.take(RAIL, "accept_exponents", method=name) is not None
        return Call(
            operation=name,
            given=Given(await _body(request), exponents=exponents),
            query=request.query_params,
            path=request.path_params,
            host=str(request.base_url).rstrip("/"),
            idempotency_key=request.headers.get("idempotency-key"),
        )


async def _body(request: Request) -> Mapping[str, Any]:
    """Return the members of a body; one that is not there has none.

    Raises:
        Refused: it is too long, or no JSON object.
    """
    content = bytearray()
    try:
        async for chunk in request.stream():
            content += chunk
            if len(content) > _BODY_BYTES_MAX:
                raise Refused(413, "INVALID_DATA", "Request body is too large.")
        given = json.loads(content or b"{}")
    except (ClientDisconnect, RecursionError, ValueError) as error:
        raise Refused(400, "INVALID_DATA", "Request body is not valid JSON.") from error
    if not isinstance(given, dict):
        raise Refused(400, "INVALID_DATA", "Request body is not an object.")
    return given


def _answered(answer: Answer) -> Response:
    headers = {"Location": answer.location} if answer.location is not None else {}
    if answer.body is None:
        return Response(status_code=answer.status, headers=headers)
    return JSONResponse(answer.body, status_code=answer.status, headers=headers, media_type=_MEDIA_TYPE)


def _refused(refusal: Refused) -> Response:
    trace_id = f"{secrets.token_hex(_TRACE_BYTES).upper()[:13]}:00000001"
    return JSONResponse(refusal.body(trace_id=trace_id), status_code=refusal.status)


async def _unknown(_: Request, __: Exception) -> Response:
    return _refused(not_found())
