"""GraphQL over HTTP: POST and GET on one path, event streams for those who ask, a page for browsers."""

from collections.abc import Mapping

import orjson
import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from quittance.domain.access import Principal
from quittance.domain.cursor import decode_position
from quittance.domain.errors import InvalidCursor, QuittanceError, RateLimited, Unauthenticated
from quittance.gql.context import Access, Credentials
from quittance.gql.documents import GraphQLRequest
from quittance.gql.execution import Answer, AnswerKind, Executor, Prepared, request_error
from quittance.gql.hub import Hub
from quittance.gql.limits import LimitExceeded
from quittance.gql.masking import RequestRefused, current_request_id, problem_of, unexpected
from quittance.server.http.door import Connections, Door, DoorSettings
from quittance.server.http.graphql_request import (
    JSON,
    RESPONSE_JSON,
    Accepted,
    HttpRefusal,
    check_content_type,
    check_cross_site,
    negotiate,
    parse_body,
    parse_query,
    read_body,
    refusal,
)
from quittance.server.http.graphql_streams import EventStreamResponse, single_result
from quittance.server.http.sockets import GraphQLSockets

log = structlog.get_logger("quittance.http")

_METHODS = "GET, POST"
_STREAM_STATUS = {"UNAUTHENTICATED": 401, "PERMISSION_DENIED": 403, "INTERNAL": 500}


def graphql_routes(*, executor: Executor, hub: Hub, access: Access, settings: DoorSettings) -> list[BaseRoute]:
    """Return the routes of the GraphQL door: one path for HTTP and for sockets."""
    connections = Connections(settings.limits)
    door = Door(executor=executor, hub=hub, access=access, settings=settings, connections=connections)
    return [Route(settings.path, GraphQLHttp(door)), WebSocketRoute(settings.path, GraphQLSockets(door))]


class GraphQLHttp:
    """The ASGI application behind the path."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        accepted = negotiate(request.headers.get("accept"))
        try:
            response = await self._respond(request, accepted)
        except HttpRefusal as refused:
            body = orjson.dumps({"errors": [refused.problem]})
            response = _response(request, body, accepted.json, status=refused.status, headers=refused.headers)
        except ClientDisconnect:
            return
        except Exception as error:  # noqa: BLE001 - the last line before the client: logged there and masked
            body = orjson.dumps({"errors": [unexpected(error, log=log)]})
            response = _response(request, body, accepted.json, status=500)
        await response(scope, receive, send)

    async def _respond(self, request: Request, accepted: Accepted) -> ASGIApp:
        settings = self._door.settings
        if request.method not in {"GET", "POST"}:
            raise refusal(405, "send GET or POST", Allow=_METHODS)
        if request.method == "GET":
            if settings.playground is not None and accepted.html and _asks_nothing(request):
                return settings.playground(request)
            check_cross_site(request, self._door, accepted)
        else:
            check_content_type(request.headers)
        if accepted.json is None and not accepted.streams:
            raise refusal(406, f"answers are {RESPONSE_JSON}, {JSON} or text/event-stream", "NOT_ACCEPTABLE")
        principal = await self._admit(request)
        if request.method == "GET":
            return await self._one(request, parse_query(request), principal, accepted)
        body = await read_body(request, bytes_max=settings.limits.body_bytes_max)
        asked = parse_body(body, batch_max=settings.limits.batch_max)
        if isinstance(asked, list):
            return await self._batch(request, asked, principal, accepted)
        return await self._one(request, asked, principal, accepted)

    async def _admit(self, request: Request) -> Principal:
        """Name and count the caller.

        Raises:
            HttpRefusal: 401 or 429.
        """
        address = self._door.settings.client_address(request.scope)
        credentials = Credentials(authorization=request.headers.get("authorization"), address=address)
        try:
            principal = await self._door.access.authenticate(credentials)
            await self._door.access.admit(principal, address)
        except Unauthenticated as error:
            raise HttpRefusal(401, problem_of(error), {"WWW-Authenticate": 'Bearer realm="quittance"'}) from error
        except RateLimited as error:
            raise HttpRefusal(429, problem_of(error), {"Retry-After": str(error.retry_after_s)}) from error
        return principal

    async def _one(self, request: Request, asked: GraphQLRequest, principal: Principal, accepted: Accepted) -> ASGIApp:
        try:
            prepared = self._door.executor.prepare(asked)
        except RequestRefused as refused:
            return _answered(request, request_error(refused.problems), accepted)
        if prepared.operation.kind == "subscription":
            return await self._stream(request, prepared, principal, accepted)
        if prepared.operation.kind == "mutation" and request.method == "GET":
            raise refusal(405, "a mutation must be sent by POST", "MUTATION_NOT_ALLOWED", Allow="POST")
        answer = await self._door.executor.run(prepared, self._door.access.new_context(principal))
        if accepted.json is None or accepted.streams_first:
            if answer.kind is AnswerKind.REQUEST_ERROR:
                return _answered(request, answer, accepted)
            return single_result(answer, headers=_headers(request))
        return _answered(request, answer, accepted)

    async def _stream(self, request: Request, prepared: Prepared, principal: Principal, accepted: Accepted) -> ASGIApp:
        if not accepted.streams:
            raise refusal(406, "a subscription needs Accept: text/event-stream, or a websocket", "NOT_ACCEPTABLE")
        stream = EventStreamResponse(door=self._door, principal=principal, headers=_headers(request))
        try:
            stream.enter(self._door.settings.client_address(request.scope))
        except LimitExceeded as error:
            raise HttpRefusal(429, problem_of(error), {"Retry-After": "10"}) from error
        try:
            answer = await stream.begin(prepared, after=_last_event_id(request))
        except BaseException:
            stream.leave()
            raise
        if answer is None:
            return stream
        stream.leave()
        status = _STREAM_STATUS.get(answer.errors[0]["extensions"]["code"], 400)
        headers = {"WWW-Authenticate": 'Bearer realm="quittance"'} if status == 401 else {}
        return _response(request, answer.encode(), RESPONSE_JSON, status=status, headers=headers)

    async def _batch(
        self, request: Request, asked: list[GraphQLRequest], principal: Principal, accepted: Accepted
    ) -> Response:
        """Answer a batch one after the other; each request after the first is counted like one of its own."""
        address = self._door.settings.client_address(request.scope)
        answers = []
        for number, one in enumerate(asked):
            try:
                if number:
                    await self._door.access.admit(principal, address)
            except QuittanceError as error:
                answers.append(request_error([problem_of(error)]))
                continue
            context = self._door.access.new_context(principal)
            answers.append(await self._door.executor.execute(one, context, allow_mutation=True))
        return _response(request, orjson.dumps([answer.as_response() for answer in answers]), accepted.json)


def _asks_nothing(request: Request) -> bool:
    return not {"query", "documentId", "extensions"} & request.query_params.keys()


def _last_event_id(request: Request) -> int | None:
    """Return where a client that reconnects left off.

    Raises:
        HttpRefusal: 400.
    """
    cursor = request.headers.get("last-event-id")
    if not cursor:
        return None
    try:
        return decode_position(cursor)
    except InvalidCursor as error:
        raise HttpRefusal(400, problem_of(error)) from error


def _answered(request: Request, answer: Answer, accepted: Accepted) -> Response:
    """Answer with 400 what never began to execute; the older media type always says 200."""
    wrong = answer.kind is AnswerKind.REQUEST_ERROR and accepted.json != JSON
    return _response(request, answer.encode(), accepted.json, status=400 if wrong else 200)


def _response(
    request: Request,
    body: bytes,
    media_type: str | None,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    named = {**_headers(request), **(headers or {}), "Content-Type": f"{media_type or RESPONSE_JSON}; charset=utf-8"}
    return Response(body, status_code=status, headers=named)


def _headers(request: Request) -> dict[str, str]:
    headers = {"Cache-Control": "no-store", "Vary": "Accept, Authorization, Origin"}
    if "request_id" not in request.scope.get("state", {}):
        headers["X-Request-Id"] = current_request_id()
    return headers
